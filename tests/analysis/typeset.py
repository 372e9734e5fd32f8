"""LaTeX held against the rules that can be read off it, and against pdflatex where it is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PREAMBLES = {
    "one column": "\\documentclass[11pt]{article}\n\\usepackage{booktabs,graphicx}\n",
    "two columns": "\\documentclass[11pt,twocolumn]{article}\n\\usepackage{booktabs,graphicx}\n",
}
WIDER = 3.0  # points that a line may stand out


def tables(text: str) -> list[str]:
    """Each table of an output, with its comments."""
    return [part + "\\end{table*}\n" for part in text.split("\\end{table*}\n")[:-1]]


def check_latex(text: str) -> None:
    """Of one table: braces balance, environments nest, rows have as many cells as columns, nothing is left bare."""
    text = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    bare = re.sub(r"\\[\\&%$#_{}]", "", text)
    assert bare.count("{") == bare.count("}")
    stack = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+\*?)\}", text):
        assert kind == "begin" or stack.pop() == name
        stack += [name] if kind == "begin" else []
    assert not stack
    (layout,) = re.findall(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", text)
    body = text.partition(r"\toprule")[2].partition(r"\bottomrule")[0]
    rows = [row for row in body.splitlines() if row.endswith(r"\\")]
    assert rows
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(layout) - 1}
    text = re.sub(r"\\resizebox.*", "{", text)  # a comment, and a sign of its own
    prose = re.sub(r"(?<!\\)\$.*?(?<!\\)\$", "", text.replace(r"@{}", ""))
    assert not re.search(r"(?<!\\)[%#_$^~]", prose)
    assert not re.search("[±†–<>|α]", text)


def typeset(text: str, kind: str, folder: Path) -> list[str]:
    """Compile tables, a page each; returns what LaTeX complains of: what stands out, and what is too high."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    body = "\n\\clearpage\n".join(tables(text))
    (folder / "t.tex").write_text(f"{PREAMBLES[kind]}\\begin{{document}}\n{body}\\end{{document}}\n", encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    wide = [line for line in done.stdout.splitlines() if line.startswith("Overfull \\hbox") and _points(line) > WIDER]
    return wide + re.findall(r"LaTeX Warning: (?:Float too large|Text page).*", done.stdout)


def _points(line: str) -> float:
    return float(re.findall(r"\(([\d.]+)pt", line)[0])
