"""Methods in files of one's own: found, recorded by content, found again by every process, and never mixed up."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from kdbench.cli.app import app
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.errors import UserError
from kdbench.core.plugin_files import code_hash
from kdbench.core.plugin_loading import announced
from kdbench.core.spec import RunSpec
from kdbench.distill.method_files import code_of, method_of, row_of
from kdbench.distill.method_registry import METHODS
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.training.executors import sweep_record
from tests.kdbench.small_runs import SMALL, fork, plan, refusal, the_run

SOURCE = '''"""Half of the labels' loss."""

from kdbench.distill.losses import cross_entropy
from kdbench.distill.method import Method


class Half(Method):
    title = "Half"
    variants = {"half_again": ("Half again", {})}

    def loss(self, batch):
        return cross_entropy(batch.labels, self.student.logits(batch)) * 0.5
'''
TINY = [part for pair in [*SMALL[1:], "student=tiny-1x32", "epochs=1"] for part in ("--set", pair)]


@pytest.fixture(autouse=True)
def fresh_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods are looked for anew, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    forget(monkeypatch)


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process."""
    empty = {"_found": None, "_contents": None, "in_packages": {}, "broken": {}, "files": {}, "_failed": {}}
    for name, value in empty.items():
        monkeypatch.setattr(METHODS, name, value)


def write(path: Path, text: str = SOURCE) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def run(*args: str, code: int = 0) -> None:
    assert (app([*args], standalone_mode=False) or 0) == code


def test_the_working_folders_methods_are_found_and_recorded(tmp_path: Path) -> None:
    file = write(tmp_path / "methods" / "half.py")
    spec = the_run(plan(tmp_path, methods="half"))
    assert spec.method_file is not None
    assert spec.method_file.path == str(file)
    assert spec.method_file.sha256 == hashlib.sha256(SOURCE.encode()).hexdigest()
    assert spec.identity()["method_file"] == spec.method_file.code == code_hash(SOURCE.encode())
    # runs from before the hash of the code was kept are known by the whole content
    stored = spec.model_dump(mode="json")
    del stored["method_file"]["code"]
    assert RunSpec.model_validate(stored).identity()["method_file"] == spec.method_file.sha256
    assert method_of(RunSpec.model_validate(stored)) is METHODS.get("half")
    assert {"half", "kd"} <= METHODS.all().keys()


def test_the_content_makes_the_run_and_not_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = []
    for number, text in enumerate((SOURCE, "# a remark\n" + SOURCE, SOURCE.replace("0.5", "0.25"))):
        forget(monkeypatch)
        file = write(tmp_path / str(number) / "half.py", text)
        ids.append(the_run(plan(tmp_path, methods=str(file))).id)
    assert ids[0] == ids[1] != ids[2]


def test_what_needs_no_file_is_written_as_ever(tmp_path: Path) -> None:
    spec = next(spec for spec in plan(tmp_path, methods="kd").runs.values() if spec.method == "kd")
    assert "method_file" not in spec.model_dump(mode="json")
    assert "method_file" not in spec.identity()
    assert RunSpec.model_validate(spec.model_dump(mode="json")) == spec


@pytest.mark.slow
def test_from_the_file_to_the_table_in_processes_of_their_own(tmp_path: Path) -> None:
    """Two worker processes; then, from another folder, everything that shows results, and retry."""
    write(tmp_path / "elsewhere" / "half.py")
    first = ["run", "--methods", "./elsewhere/half.py:half_again,finetune", "--tasks", "rte", "--seeds", "0,1", *TINY]
    command = [sys.executable, "-m", "kdbench", *first, "--jobs", "2"]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Half again" in done.stdout
    other = tmp_path / "other"
    other.mkdir()
    results = ["--results", str(tmp_path / "results")]
    assert "Half again" in forked(other, "table", "1", *results)
    assert "Half again and Fine-tuning" in forked(other, "compare", "half_again", "finetune", *results)
    assert "Half again" in forked(other, "show", "half_again", "rte", *results)
    forked(other, "report", *results)
    store = Store(tmp_path / "results")
    (run_id,) = [run.id for run in store.runs() if run.spec.method == "half" and run.spec.seed == 1]
    (store.run(run_id).path / "result.json").unlink()
    assert "1 trained" in forked(other, "retry", *results)


def forked(folder: Path, *args: str) -> str:
    """Output of a kdbench process that knows of no file yet."""
    said = folder / "said.txt"
    process = fork(folder, said, *args)
    process.join(300)
    assert process.exitcode == 0, said.read_text()
    return said.read_text()


def test_a_changed_file_makes_a_new_run_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "methods" / "half.py")
    command = ["run", "--methods", "half", "--tasks", "rte", *TINY]
    run(*command)
    run(*command)
    assert "has changed" not in capsys.readouterr().out
    (sweep,) = (tmp_path / "results" / "sweeps").iterdir()
    write_json(sweep, {**read_json(sweep), "created": "2020-02-02T02:02:02+0000"})  # not in the same second
    forget(monkeypatch)
    write(file, SOURCE.replace("0.5", "0.0"))
    run("table", "1")
    assert f"{file} has changed since these runs were trained; kdbench run trains them anew." in said_so_far(capsys)
    run(*command)
    assert "has changed since these runs" not in said_so_far(capsys)
    run(*command, "--dry-run")
    assert f"{file} has changed since method 'half' was trained here; 1 earlier run is kept" in said_so_far(capsys)
    (study,) = studies(Store(tmp_path / "results"))
    (shown,) = select_row(study, "half").shown["rte"]
    assert shown.run.spec.method_file == METHODS.files["half"]
    assert len(study.of("half", "rte")) == 2
    old = next(c.run for c in study.of("half", "rte") if c.run.id != shown.run.id)
    run("show", old.id)
    said = said_so_far(capsys)
    assert f"The file of its method, {file}, has changed since." in said
    assert f"kdbench run --methods {file} --tasks rte" in said
    with pytest.raises(UserError, match="is not the one that the run was planned with"):
        sweep_record.retry(Store(tmp_path / "results"), {old.id}, None, lambda order: None)  # type: ignore[arg-type]
    forget(monkeypatch)
    file.unlink()
    with pytest.raises(UserError, match="is gone; put it back"):
        method_of(old.spec)
    run("table", "1")
    assert "Half" in said_so_far(capsys)


def test_every_method_of_kdbench_states_its_version() -> None:
    """So that the files' comments and formatting may change, and stored runs stay those of the method."""
    here = set(METHODS.all().values())
    assert not METHODS.files
    assert [kind.name for kind in here if "version" not in vars(kind)] == []


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in a package of methods, such as methods/ of a checkout."""
    write(tmp_path / "more_methods" / "__init__.py", "")
    file = write(tmp_path / "more_methods" / "half.py")
    monkeypatch.syspath_prepend(tmp_path)
    more = {"kdbench.methods": [EntryPoint("more", "more_methods", "kdbench.methods")]}
    monkeypatch.setattr("kdbench.core.registry.announced", lambda group: [*announced(group), *more.get(group, [])])
    return file


def reimport(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in another process, in which a package's files are imported anew."""
    forget(monkeypatch)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python takes files of one second and size for the same
    for name in [name for name in sys.modules if name.startswith("more_methods")]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()


def test_a_packages_file_without_a_version_is_known_by_its_content(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = []
    for text in (SOURCE, SOURCE.replace("0.5", "0.25000")):
        write(package, text)
        reimport(monkeypatch)
        specs.append(the_run(plan(tmp_path, methods="half")))
        assert specs[-1].method_file is not None
        assert specs[-1].method_file.sha256 == hashlib.sha256(text.encode()).hexdigest()
        assert method_of(specs[-1]) is METHODS.get("half")
    assert specs[0].id != specs[1].id
    with pytest.raises(UserError, match="is not the one that the run was planned with"):
        method_of(specs[0])
    # a version speaks of the class that states it, not of one that derives from it
    write(package, SOURCE.replace('title = "Half"', 'title = "Half"\n    version = 3'))
    reimport(monkeypatch)
    stated = the_run(plan(tmp_path, methods="half"))
    assert (stated.method_file, stated.method_version) == (None, 3)
    write(
        package,
        SOURCE.replace("class Half(Method)", "class Half(KD)").replace(
            "import Method", "import Method\nfrom kdbench.methods.kd import KD"
        ),
    )
    reimport(monkeypatch)
    assert the_run(plan(tmp_path, methods="half")).method_file is not None


def test_a_change_that_the_version_does_not_tell_is_told(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = SOURCE.replace('title = "Half"', 'title = "Half"\n    version = 1')
    command = ["run", "--methods", "half", "--tasks", "rte", *TINY]
    other = stated.replace("0.5", "0.25")
    for text, is_told in (
        (stated, False), (stated + "\n# a remark\n", False), (stated.replace("of the labels'", "the"), False),
        (other, True), (other.replace("version = 1", "version = 2"), False),
    ):  # fmt: skip
        write(package, text)
        reimport(monkeypatch)
        capsys.readouterr()
        run(*command)
        told = f"{package} has changed since 1 run of this command began. Its version is still 1, so that what is done"
        assert (told in said_so_far(capsys)) == is_told
        run(*command, "--dry-run")
        assert (told in said_so_far(capsys)) == is_told


def said_so_far(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_a_process_reads_changed_files_again(tmp_path: Path) -> None:
    """As a notebook does: files of the working folder, and files that were named."""
    for place, asked in ((tmp_path / "methods" / "half.py", "half"), (tmp_path / "far" / "third.py", "far/third.py")):
        text = SOURCE.replace("half_again", f"{place.stem}_again").replace("Half again", f"{place.stem} again")
        text = text.replace('title = "Half"', f'title = "{place.stem}"')
        write(place, text)
        first = the_run(plan(tmp_path, methods=asked))
        assert the_run(plan(tmp_path, methods=asked)).id == first.id
        write(place, text.replace("0.5", "0.25"))
        second = the_run(plan(tmp_path, methods=asked))
        assert second.id != first.id
        assert method_of(second) is METHODS.get(place.stem)


def test_a_process_does_not_mix_the_code_of_a_package(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reimport(monkeypatch)
    plan(tmp_path, methods="half")
    write(package, SOURCE.replace("0.5", "0.25"))
    with pytest.raises(UserError, match=f"{package} has changed since it was read; restart Python"):
        plan(tmp_path, methods="half")


def test_the_code_of_a_run_is_what_was_loaded(package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a version that is edited while a sweep runs: runs that start later still have the old code."""
    before, after = (
        SOURCE.replace("    title", "    version = 1\n    title").replace("0.5", w) for w in ("0.5", "0.25")
    )
    write(package, before)
    reimport(monkeypatch)
    spec = the_run(plan(tmp_path, methods="half"))
    assert spec.method_file is None
    write(package, after)
    assert code_of(spec) == code_hash(before.encode())
    reimport(monkeypatch)
    assert code_of(spec) == code_hash(after.encode()) != code_hash(before.encode())


def test_a_built_in_name_is_never_taken(tmp_path: Path) -> None:
    file = write(tmp_path / "methods" / "kd.py")
    built_in = str(Path(method_file("kd")))
    assert f"two files define a method 'kd', {built_in} and {file}; rename yours" in refusal("run", "--methods", "kd")
    write(tmp_path / "mine" / "dml.py")
    assert "Two files define a method 'dml', " in refusal("run", "--methods", "mine/dml.py")
    write(tmp_path / "mine" / "lgtm_released.py")
    assert "Two files define a method 'lgtm_released', " in refusal("run", "--methods", "mine/lgtm_released.py")
    write(tmp_path / "mine" / "all.py")
    assert "cannot name a method" in refusal("run", "--methods", "mine/all.py")
    write(tmp_path / "mine" / "half.py", SOURCE.replace("half_again", "pkd"))
    assert "its variant 'pkd' has the name of another method" in refusal("run", "--methods", "mine/half.py")


def method_file(name: str) -> str:
    from kdbench import methods

    return str(Path(methods.__path__[0]) / f"{name}.py")


def test_a_copy_of_a_built_in_file_is_no_clash(tmp_path: Path) -> None:
    """Such as the folder of another checkout."""
    write(tmp_path / "methods" / "kd.py", Path(method_file("kd")).read_text())
    assert METHODS.get("kd").title == "KD"
    assert not METHODS.files


def test_other_peoples_folders_of_that_name_are_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "methods" / "numeric.py", "raise SystemExit('not for kdbench')\n")
    write(tmp_path / "methods" / "_draft.py", "import kdbench\nraise SystemExit\n")
    write(tmp_path / "methods" / "helper.py", "import kdbench\n")
    write(tmp_path / "methods" / "bad.py", "import kdbench\nraise SystemExit(4)\n")
    assert "numeric" not in METHODS.all()
    assert METHODS.broken == {"bad": f"SystemExit: 4 ({tmp_path / 'methods' / 'bad.py'})"}
    assert "does not load: SystemExit: 4" in refusal("run", "--methods", "methods/bad.py")
    run("run", "--methods", "all", "--tasks", "rte", "--dry-run")
    assert "The method 'bad' is left out, because it does not load: SystemExit: 4" in capsys.readouterr().err


def test_files_and_variants_as_items_of_methods(tmp_path: Path) -> None:
    file = write(tmp_path / "half.py")
    assert row_of("./half.py") == "half"
    assert row_of("./half.py:half_again") == "half_again"
    assert row_of("kd") == "kd"
    with pytest.raises(UserError, match=r"Unknown variant of '\./half\.py' 'halve'\. Valid: half_again"):
        row_of("./half.py:halve")
    with pytest.raises(UserError, match=r"There is no file 'halves\.py'"):
        row_of("halves.py")
    assert METHODS.files["half"].path == str(file)


def test_a_collected_study_names_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "methods" / "half.py")
    run("run", "--methods", "half", "--tasks", "rte", *TINY)
    run("collect", "small")
    capsys.readouterr()
    run("show", "half", "rte", "--results", "results/small")
    said = said_so_far(capsys)
    assert "kdbench run --methods half.py --tasks rte" in said
    assert str(tmp_path) not in said
    (spec,) = [run.spec for run in Store(tmp_path / "results" / "small", create=False).runs()]
    assert spec.method_file is not None
    assert json.loads(spec.model_dump_json())["method_file"]["path"] == "half.py"
