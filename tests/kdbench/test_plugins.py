"""A method or a task of one's own: a dropped file, or a package; and what happens to broken ones."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kdbench import methods
from kdbench.core.errors import UserError
from kdbench.core.plugin_loading import announced
from kdbench.core.registry import Registry
from kdbench.data.task import Task
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS

PACKAGE = {
    "pyproject.toml": """
        [build-system]
        requires = ["setuptools"]
        build-backend = "setuptools.build_meta"
        [project]
        name = "kd-mine"
        version = "1.0"
        [project.entry-points."kdbench.methods"]
        mine = "kd_mine:Mine"
        [project.entry-points."kdbench.tasks"]
        parity = "kd_mine:Parity"
        [tool.setuptools]
        py-modules = ["kd_mine"]
        """,
    "kd_mine.py": """
        from kdbench.distill.losses import cross_entropy
        from kdbench.distill.method import Distillation
        from kdbench.data.task import Examples, Task, TaskData


        class Mine(Distillation):
            title = "Mine"

            def loss(self, batch):
                s, t = self.student.logits(batch), self.teacher.logits(batch)
                return cross_entropy(batch.labels, s) + (s - t).square().mean()


        class Parity(Task):
            title = "Parity"
            labels = ("even", "odd")
            metrics = ("accuracy",)

            def load(self, location):
                def split(first):
                    texts = [("one " * (i % 7)).strip() or "none" for i in range(first, first + 60)]
                    return Examples(texts, None, [i % 7 % 2 for i in range(first, first + 60)])
                return TaskData({"train": split(0), "validation": split(60)}, ("one", "none"))

            def score(self, predictions, references):
                return {"accuracy": sum(p == r for p, r in zip(predictions, references)) / len(references)}
        """,
}


def dedent(text: str) -> str:
    lines = text.strip("\n").splitlines()
    indent = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[indent:] for line in lines) + "\n"


@pytest.mark.slow
def test_a_package_of_ones_own_is_installed_and_run(tmp_path: Path) -> None:
    """Built and installed in an environment of its own that sees this one's packages."""
    source = tmp_path / "source"
    source.mkdir()
    for name, text in PACKAGE.items():
        (source / name).write_text(dedent(text))
    venv.create(tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    here = [p for p in sys.path if p.endswith("site-packages")]
    (site / "outer.pth").write_text("".join(f"import site; site.addsitedir({p!r})\n" for p in here))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*install, "--target", str(site), str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    command = [python, "-m", "kdbench", "run", "--methods", "mine", "--tasks", "parity", "--jobs", "1",
               "--set", "epochs=1", "--set", "student=tiny-1x32", "--set", "teacher=tiny-1x32"]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Mine" in done.stdout
    assert "Parity" in done.stdout
    assert len(list((tmp_path / "results" / "runs").glob("parity-mine-*/model/model.safetensors"))) == 1


def registry(*points: tuple[str, str]) -> Registry[Method]:
    made: Registry[Method] = Registry("method", "kdbench.methods", Method)
    made._found = {}
    for name, value in points:
        for found, plugin in made._load(EntryPoint(name, value, "kdbench.methods")).items():
            made.add(found, plugin)
    return made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of the package `methods`, which the registry of all other tests does not see."""
    METHODS.all()
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    yield tmp_path
    for name in ("kdbench.methods.dropped", "kdbench.methods.broken"):
        sys.modules.pop(name, None)


def test_a_dropped_file_is_a_method_of_that_name(folder: Path) -> None:
    (folder / "dropped.py").write_text("from kdbench import Method\n\nclass D(Method):\n    title = 'Dropped'\n")
    found = registry(("builtin", "kdbench.methods")).all()
    assert found["dropped"].title == "Dropped"
    assert found["dropped"].name == "dropped"
    assert {"kd", "dml", "lgtm", "finetune"} <= found.keys()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("from kdbench import Method\n\nclass A(Method):\n    pass\n", "A has no title"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
        ("import sys\nsys.exit()\n", "SystemExit"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
        ("raise BaseException('enough')\n", "BaseException: enough"),
        ("class Silent(BaseException):\n    def __str__(self): raise SystemExit\nraise Silent\n", "Silent"),
        ("1 +\n", "SyntaxError: invalid syntax"),
        ("from kdbench import Method\n\nclass A(Method):\n    title = ''\n\nclass B(A):\n    title = 'B'\n\n"
         "class C(A):\n    title = 'C'\n", "several methods (B, C)"),
    ],
)  # fmt: skip
def test_a_broken_file_is_listed_with_its_error_and_harms_no_other(folder: Path, text: str, why: str) -> None:
    (folder / "broken.py").write_text(text)
    made = registry(("builtin", "kdbench.methods"))
    assert "kd" in made.all()
    assert why in made.broken["broken"]
    with pytest.raises(UserError, match="'broken' does not load"):
        made.get("broken")


def test_two_plugins_of_one_name_are_refused() -> None:
    made = registry(("kd", "kdbench.methods.kd:KD"), ("kd", "kdbench.methods.dml:DML"))
    assert "kdbench.methods.kd.KD and kdbench.methods.dml.DML" in made.broken["kd"]
    assert "kd" not in made.all()


def test_a_package_cannot_take_a_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from kdbench import Method\n\nclass Own(Method):\n    title = 'KD'\n"
    (tmp_path / "another_package.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    other = EntryPoint("aaa", "another_package:Own", "kdbench.methods")
    monkeypatch.setattr("kdbench.core.plugin_loading.entry_points", lambda group: [other])
    made: Registry[Method] = Registry("method", "kdbench.methods", Method)
    assert made.get("kd").title == "KD"  # kdbench's own methods are loaded first, whatever others are called
    with pytest.raises(UserError, match="its title 'KD' is that of the method 'kd'; give it another"):
        made.get("aaa")


def test_a_name_that_is_no_folder_name_is_refused() -> None:
    assert "letters, digits" in registry(("../kd", "kdbench.methods.kd:KD")).broken["../kd"]


def test_something_else_than_a_method_is_refused() -> None:
    assert "is not a subclass of kdbench.distill.method.Method" in registry(("x", "json:JSONDecoder")).broken["x"]


WRONG = [
    ("title = 3", "A.title is wrong: 3: input should be a valid string"),
    ("title = None", "A.title is wrong: None"),
    ("paper = ['x']", "A.paper is wrong: ['x']"),
    ("version = 'second'", "A.version is wrong: 'second': input should be a valid integer"),
    ("position = None", "A.position is wrong: None"),
    (
        "requires = {'teachers'}",
        "A.requires is wrong: 'teachers' at [0]: input should be 'teacher', 'teacher_lr', 'feedback' or "
        "'teacher_network'",
    ),
    ("options_type = dict", "A.options_type is wrong: <class 'dict'>: input should be a subclass of Options"),
    ("options_type = NoOptions()", "A.options_type is wrong"),
    ("variants = {'x': 'X'}", "A.variants is wrong: 'X' at ['x']: input should be a valid tuple"),
    ("variants = {'../x': ('X', {})}", "A.variants is wrong: '../x'"),
    ("variants = None", "A.variants is wrong: None"),
    ("limits = {'labels': {}}", "A.limits is wrong: 'labels'"),
    ("couples_rows = 'perhaps'", "A.couples_rows is wrong: 'perhaps'"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_an_attribute_of_the_wrong_type_is_named(folder: Path, text: str, why: str) -> None:
    head = "from kdbench.distill.method import Method, NoOptions\n\nclass A(Method):\n    title = 'A'\n"
    (folder / "broken.py").write_text(f"{head}    {text}\n")
    made = registry(("builtin", "kdbench.methods"))
    assert why in made.broken["broken"]
    assert made.all().keys() == METHODS.all().keys()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("metrics = 'f1'", "T.metrics is wrong: 'f1': input should be a valid tuple"),
        ("metrics = ()", "T.metrics is wrong: (): tuple should have at least 1 item"),
        ("labels = None", "T.labels is wrong: None"),
        ("labels = ('only',)", "T.labels is wrong: ('only',): a task of classification has two or more labels"),
        ("report_splits = 'validation'", "T.report_splits is wrong: 'validation'"),
        ("official_rows = {'train': 'many'}", "T.official_rows is wrong: 'many' at ['train']"),
        ("group = 7", "T.group is wrong: 7"),
    ],
)
def test_so_of_a_task(tmp_path: Path, text: str, why: str) -> None:
    good = "    title, labels, metrics = 'T', ['no', 'yes'], ['accuracy']\n    load = score = None\n"
    (tmp_path / "odd.py").write_text(f"from kdbench import Task\n\nclass T(Task):\n{good}    {text}\n")
    with pytest.raises(UserError, match=re.escape(why)):
        Registry("task", "kdbench.tasks", Task).add_file(tmp_path / "odd.py")


@pytest.mark.parametrize("lacking", ["labels", "metrics"])
def test_a_task_that_lacks_an_attribute_is_named(tmp_path: Path, lacking: str) -> None:
    given = {"labels": "('no', 'yes')", "metrics": "('accuracy',)"}
    lines = "".join(f"    {key} = {item}\n" for key, item in given.items() if key != lacking)
    text = f"from kdbench import Task\n\nclass T(Task):\n    title = 'T'\n    load = score = None\n{lines}"
    (tmp_path / "odd.py").write_text(text)
    with pytest.raises(UserError, match=f"T has no {lacking}"):
        Registry("task", "kdbench.tasks", Task).add_file(tmp_path / "odd.py")


def test_a_list_serves_where_a_tuple_is_declared(tmp_path: Path) -> None:
    (tmp_path / "lists.py").write_text(
        "from kdbench import Task\n\nclass T(Task):\n    title, labels, metrics = 'T', ['no', 'yes'], ['f1']\n"
        "    load = score = None\n"
    )
    made = Registry("task", "kdbench.tasks", Task)
    assert made.get(made.add_file(tmp_path / "lists.py")).labels == ("no", "yes")


def test_a_registry_that_finds_nothing_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no package that .* announces any in 'kdbench\.nothing'"):
        Registry("method", "kdbench.nothing", Method).all()
    point = EntryPoint("builtin", "no_such_package", "kdbench.methods")
    monkeypatch.setattr("kdbench.core.registry.announced", lambda group: [point])
    with pytest.raises(UserError, match=r"There is no method at all.*No module named 'no_such_package'"):
        Registry("method", "kdbench.methods", Method).all()


def test_a_checkout_needs_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdbench.core.plugin_loading.entry_points", lambda group: [])
    assert [point.value for point in announced("kdbench.executors")] == [
        "kdbench.training.executors.local:Local",
        "kdbench.slurm.executor:Slurm",
    ]
    assert {"kd", "finetune"} <= Registry("method", "kdbench.methods", Method).all().keys()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let this process hear SIGINT, which a shell makes its background jobs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_while_a_plugin_loads_ends_the_program(folder: Path) -> None:
    """It is not taken for the plugin's own doing, even if the plugin swallows it."""
    (folder / "broken.py").write_text(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n    time.sleep(9)\n"
        "except BaseException:\n    pass\n"
    )
    with pytest.raises(KeyboardInterrupt):
        registry(("builtin", "kdbench.methods"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
