"""A damaged file costs that file: generated damage of every kind of file, under every command that reads a folder."""

from __future__ import annotations

import json
import lzma
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdbench.cli.app import main
from kdbench.core.records import warn_once
from kdbench.results.archive import format
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.sweep_files import Sweep
from tests.analysis.made import full
from tests.conftest import one_fast

CASES = int(os.environ.get("KDBENCH_DAMAGE_CASES", "3"))  # of each kind of file
DEEP = "[" * 100_000
ODD_TEXTS = ("", "null", "[]", "{}", "3", '"text"', DEEP, "1" * 401, "NaN", "{", '{"a": 1e999}', '{"": {"": []}}')
ODD_VALUES: tuple[Any, ...] = (
    None, [], {}, 3, -1, 0.5, True, "text", "", 10**400, -(10**400), 1e308, [[]], {"a": None}, float("nan"),
    ["\u001b[31m"],
)  # fmt: skip
KINDS = (
    "state.json",
    "result.json",
    "cost.json",
    "environment.json",
    "spec.json",
    "sweep",
    "store.json",
    "series.jsonl",
)
COMMANDS = (
    ("status",), ("table", "1"), ("table", "cost"), ("list", "runs"), ("compare", "kd", "lgtm"), ("verify",),
    ("show", "lgtm", "mrpc"), ("table", "1", "--format", "csv"), ("cancel",),
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole") / "results"
    full(root, seeds=(0, 1))
    return root


def run(words: tuple[str, ...], root: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["kdbench", *words, "--results", str(root)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every field."""
    yield above
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*above, key))


def damage(file: Path, random: random.Random) -> str:
    """Damage a file in one of many ways; returns which."""
    text = file.read_text(encoding="utf-8") or "{}"
    choice = random.randrange(4)
    if choice == 0:
        odd = random.choice(ODD_TEXTS)
        file.write_text(odd, encoding="utf-8")
        return f"holds {odd[:20]!r}"
    if choice == 1:
        cut = random.randrange(len(text))
        file.write_bytes(text.encode()[:cut] + random.choice([b"", b"\xff\xfe\x00", b"\x00" * 8]))
        return f"is cut at {cut}"
    value = json.loads(text.splitlines()[0] if file.suffix == ".jsonl" else text)
    way = random.choice([place for place in places(value) if place] or [()])
    inner = value
    for key in way[:-1]:
        inner = inner[key]
    odd_value = random.choice(ODD_VALUES)
    if choice == 2 and isinstance(inner, dict):
        del inner[way[-1]]
        odd_value = "absent"
    elif way:
        inner[way[-1]] = odd_value
    sys.set_int_max_str_digits(0)
    file.write_text(json.dumps(value) + "\n", encoding="utf-8")
    sys.set_int_max_str_digits(4300)
    return f"has {'.'.join(map(str, way))[:60]} = {type(odd_value).__name__!s}"


def file_of(kind: str, root: Path, random: random.Random) -> Path:
    if kind == "sweep":
        return next((root / "sweeps").glob("*.json"))
    if kind == "store.json":
        return root / kind
    folder = random.choice(sorted((root / "runs").iterdir()))
    file = folder / kind
    if not file.exists():
        file.write_text('{"step": 1, "epoch": 0.5, "split": "train", "key": "loss", "value": 0.5}\n', encoding="utf-8")
    return file


@pytest.mark.parametrize("number", one_fast(map(str, range(CASES)), "0"))
@pytest.mark.parametrize("kind", KINDS)
def test_no_damage_ends_in_a_traceback(
    whole: Path, tmp_path: Path, kind: str, number: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    dice = random.Random(f"{kind} {number}")
    root = tmp_path / "results"
    shutil.copytree(whole, root)
    what = damage(file_of(kind, root, dice), dice)
    for words in (("status",), *dice.sample(COMMANDS[1:], 2)):
        code = run(words, root, monkeypatch)
        out = capsys.readouterr()
        assert code in (0, 1, 2), (what, words)
        assert "Traceback" not in out.err, (what, words)
        assert "\u001b[31m" not in out.out


@pytest.fixture(scope="module")
def kept(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same results as a collected study."""
    root = tmp_path_factory.mktemp("kept") / "study"
    return collect_study("study", [Store(whole, create=False)], root, None).root


def damage_packed(file: Path, random: random.Random) -> str:
    """Damage what a packed file holds, and pack it again."""
    content = lzma.decompress(file.read_bytes())
    kind = random.randrange(3)
    if kind == 0:
        content = random.choice([b"", b"null", DEEP.encode(), b"\xff" * 100, bytes(100 * 2**20)])
    elif kind == 1:
        content = content[: random.randrange(len(content) + 1)]
    else:
        place = random.randrange(len(content) + 1)
        content = content[:place] + random.choice([b"\x00", b"[[[", b"9" * 500, b'"']) + content[place:]
    file.write_bytes(lzma.compress(content, preset=0))
    return f"holds other {len(content):,} bytes"


@pytest.mark.slow
@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("number", range(CASES))
@pytest.mark.parametrize("name", [format.MARKER, *format.DATA])
def test_no_damage_to_a_collected_study_ends_in_a_traceback(
    kept: Path, tmp_path: Path, name: str, number: int, sealed: bool, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As time does it, and as somebody does it who makes the checksums fit."""
    dice, root = random.Random(f"{name} {number} {sealed}"), tmp_path / "study"
    shutil.copytree(kept, root)
    what = (damage_packed if name.endswith(".xz") else damage)(root / name, dice)
    if sealed and name != format.MARKER:
        format.write_seal(root, "study")
    for words in (("status",), *dice.sample(COMMANDS[1:-1], 2)):
        code = run(words, root, monkeypatch)
        out = capsys.readouterr()
        assert code in (0, 1, 2), (what, words)
        assert "Traceback" not in out.err, (what, words)


def test_a_sweep_whose_runs_need_each_other_in_a_circle_is_left_out(
    whole: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "results"
    shutil.copytree(whole, root)
    (file,) = (root / "sweeps").glob("*.json")
    raw = json.loads(file.read_text(encoding="utf-8"))
    child, spec = next((name, spec) for name, spec in raw["runs"].items() if spec["needs"])
    raw["runs"][next(iter(spec["needs"].values()))]["needs"] = {"teacher": child}
    file.write_text(json.dumps(raw), encoding="utf-8")
    warn_once.cache_clear()
    assert studies(Store(root)) == []
    assert "runs need each other in a circle" in caplog.text


def test_a_chain_of_runs_without_end_is_left_out(whole: Path) -> None:
    (file,) = (whole / "sweeps").glob("*.json")
    raw = json.loads(file.read_text(encoding="utf-8"))
    spec = next(iter(raw["runs"].values()))
    raw["runs"] |= {f"r{i}": spec | {"needs": {"teacher": f"r{i + 1}"}} for i in range(5000)}
    with pytest.raises(ValueError, match="more than 100 runs need each other in a row"):
        Sweep.model_validate(raw)
