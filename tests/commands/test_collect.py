"""`kdbench collect`: what is collected shows what the runs showed, is whole, and says nothing of who ran it."""

from __future__ import annotations

import datetime
import hashlib
import json
import lzma
import re
import shutil
import socket
from pathlib import Path

import pytest

from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.errors import UserError
from kdbench.core.spec import DataRef, ModelRef
from kdbench.results.archive import format
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.submission_records import Submission, SubmittedFile, save_export
from tests.analysis.drawn import everything
from tests.analysis.made import STUDY, Made, spec, states
from tests.commands.conftest import Call, contents
from tests.commands.test_commands import call
from tests.commands.test_compare import study

HOST = "gpu17.cs.example"


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with predictions in `results`, collected in `kept`."""
    path = tmp_path_factory.mktemp("compared")
    store = study(path / "results", ("rte", "mnli"), seeds=(0, 1)).store
    collect_study("kept", [store], path / "kept", None)
    return path


def plain(folder: Path) -> str:
    """All text in a folder, also that of packed files."""
    parts = [lzma.decompress(data) if name.endswith(".xz") else data for name, data in contents(folder).items()]
    return "\n".join(part.decode(errors="replace") for part in parts)


def reseal(folder: Path) -> None:
    format.write_seal(folder, read_json(folder / format.MARKER)["name"])


@pytest.mark.slow
@pytest.mark.parametrize("form", ["terminal", "markdown", "latex", "csv"])
def test_tables_and_comparisons_are_the_same(compared: Path, form: str, say: Call) -> None:
    for command in (["table", "1"], ["table", "all"], ["compare", "kd", "finetune"], ["table", "1", "--published"]):
        raw, kept = (say(compared, *command, "--format", form, "--results", where) for where in ("results", "kept"))
        assert raw == kept
        assert len(raw) > 200
    if form == "terminal":
        assert "°" in say(compared, "table", "1", "--results", "kept")  # so predictions were read


@pytest.mark.slow
def test_figures_are_the_same(tmp_path: Path, say: Call) -> None:
    collect_study("kept", [everything(tmp_path / "results")], tmp_path / "kept", None)
    for kind in ("csv", "svg"):
        drawn = {}
        for where in ("results", "kept"):
            out = f"{where}-{kind}"
            say(tmp_path, "figure", "all", "--format", kind, "--results", where, "--out", out)
            drawn[where] = contents(tmp_path / out)
        assert drawn["results"] == drawn["kept"]
        assert len(drawn["kept"]) >= 5


def test_states_are_kept(tmp_path: Path, say: Call) -> None:
    store, runs = states(tmp_path / "results")
    collect_study("kept", [store], tmp_path / "kept", None)
    for command in (["status"], ["table", "1"], ["list", "runs", "--status", "failed"]):
        raw, kept = (
            re.sub(r"[\d.]+ \w+ ago", "", say(tmp_path, *command, "--results", w)) for w in ("results", "kept")
        )
        assert raw == kept
    assert "the loss is nan at step 3" in say(tmp_path, "show", runs["failed"], "--results", "kept")
    text = (tmp_path / "kept" / format.README).read_text()
    assert f"- `{runs['failed']}`: failed (non-finite): the loss is nan at step 3" in text
    assert f"- `{runs['blocked']}`: blocked by `{runs['failed']}`, which failed" in text
    assert f"- `{runs['pending']}`: not trained" in text


def test_scores_of_a_test_server_are_kept(tmp_path: Path, say: Call) -> None:
    made = Made(Store(tmp_path / "results"))
    run = made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    store, day = made.write(), datetime.date(2026, 1, 31)
    save_export(store, Submission(
        server="GLUE", row="kd", preset="bert-6l", seed=0, exported=datetime.datetime(2026, 1, 30, tzinfo=datetime.UTC),
        zip="0" * 64, parts={"RTE.tsv": SubmittedFile(task="rte", split="test", run=run, scores={"accuracy": 66.4})},
        scored=day,
    ))  # fmt: skip
    collect_study("kept", [store], tmp_path / "kept", None)
    raw, kept = (say(tmp_path, "table", "1", "--test", "--results", where) for where in ("results", "kept"))
    assert raw == kept
    assert "66.4" in kept


def test_the_same_results_give_the_same_bytes(compared: Path, tmp_path: Path) -> None:
    """Also elsewhere, once more in its own place, and of what was collected."""
    kept = contents(compared / "kept")
    for sources in (["results"], ["kept"], ["results", "kept"], ["kept", "results"]):
        collect_study("kept", [Store(compared / source, create=False) for source in sources], tmp_path / "kept", None)
        assert contents(tmp_path / "kept") == kept
    assert set(kept) == set(format.FILES)
    assert not [item for item in tmp_path.iterdir() if item.name != "kept"]


def private(root: Path) -> tuple[Store, list[str]]:
    """Runs whose every free text names machine, user or folders; and what must not be told."""
    home, hub = root / "home" / "alice w", "/srv/alice/hub"
    nets = {"student": f"{home}/nets/small", "teacher": f"{hub}/big"}
    data = DataRef(source="glue-dir", path=f"{home}/glue", fingerprint="abc")
    made = Made(Store(root / "results"), study={**STUDY, **nets, "source": "glue-dir", "glue_dir": f"{home}/glue"})
    small = ModelRef(name=nets["student"], fingerprint="folder/fp")
    options = {"assistants": f"{hub}/mid::{hub}/low", "kd_loss": "kl"}
    wanted = [spec("kd", "rte", s, data=data, student=small, options=options) for s in (0, 1)]
    made.done(made.ask(wanted[0]), 0.7)
    made.ask(wanted[1], choice={"assistants": options["assistants"]})
    message = f"on {HOST}: {home}/glue/RTE/train.tsv is gone, see {root}/results/x or /var/log/kd.txt"
    made.state(wanted[1].id, "failed", kind="missing-data", message=message)
    folder = made.store.run(wanted[1].id)
    folder.note(f"from {root}")
    (folder.path / "error.txt").write_text(f'File "{root}/kdbench/x.py"')
    write_json(folder.path / "environment.json", {"cpu": "one", "python": f"3 of {hub}", "packages": {}})
    store = made.write()
    file = store.sweeps_folder / "one.json"
    command = ["kdbench", "run", "--glue-dir", f"{home}/glue", f"--results={root}/results"]
    command += ["--set", "slurm.account=alice", "--set=slurm.partition=dear"]
    command += ["--set", f"teacher={nets['teacher']}", "--seeds", "0,1"]
    models = {"student": "folder/fp", "teacher": "folder/fq"}
    write_json(file, {**read_json(file), "command": command, "models": models, "carried_out": {"options": hub}})
    return store, [str(root), str(Path.home()), "alice", "/srv", "/var", "dear", HOST]


def test_nothing_tells_who_ran_it_and_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: HOST)
    store, secrets = private(tmp_path)
    collect_study("kept", [store], tmp_path / "kept", None)
    text = plain(tmp_path / "kept")
    assert [secret for secret in secrets if secret in text] == []
    assert not re.search(r"(?<![\w./<~-])/[\w.~]", text)
    sweep = read_json(tmp_path / "kept" / format.SWEEPS)[0]
    assert (
        " ".join(sweep["command"]) == "kdbench run --glue-dir DIR --results=DIR --set teacher=PATH/TO/big --seeds 0,1"
    )
    assert "on HOST: DIR/RTE/train.tsv is gone, see DIR/x or PATH-" in text
    ids = [json.loads(line)["id"] for line in (tmp_path / "kept" / format.RUNS).read_text().splitlines()]
    assert ids == sorted(folder.id for folder in store.runs())
    assert {r.id for r in Store(tmp_path / "kept", create=False).runs()} == set(ids)


def test_models_in_folders_have_the_same_names_in_tables(tmp_path: Path, say: Call) -> None:
    store, _ = private(tmp_path)
    collect_study("kept", [store], tmp_path / "kept", None)
    raw, kept = (say(tmp_path, "table", "1", "--format", "csv", "--results", where) for where in ("results", "kept"))
    assert raw == kept
    assert studies(store)[0].study["teacher"] == "big"


@pytest.mark.parametrize("name", format.DATA)
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_what_is_damaged_is_one_sentence(compared: Path, tmp_path: Path, name: str, harm: str, say: Call) -> None:
    shutil.copytree(compared / "kept", tmp_path / "kept")
    file = tmp_path / "kept" / name
    data = file.read_bytes()
    file.write_bytes(data[:-1] if harm == "cut" else bytes([data[0] ^ 1]) + data[1:])
    if harm == "gone":
        file.unlink()
    text = say(tmp_path, "table", "1", "--results", "kept", code=2)
    assert text.startswith(f"kdbench: kept/{name} is missing, cut off or changed")
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [('{"format": 2, "more": []}', "has format 2, this kdbench reads format 1; update kdbench"),
     ('{"format": 1}', "study.json is missing, cut off or changed"), ("[]", "study.json is missing, cut off"),
     ('{"format": 1, "na', "study.json is missing, cut off"), ("\xff", "study.json is missing, cut off")],
)  # fmt: skip
def test_another_format_is_one_sentence(tmp_path: Path, content: str, sentence: str, say: Call) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / format.MARKER).write_text(content, encoding="latin-1")
    text = say(tmp_path, "status", "--results", "kept", code=2)
    assert sentence in text
    assert text.count("\n") == 1


@pytest.mark.parametrize("name", ["../evil", "/evil", "..", "a/../../evil"])
def test_a_name_that_leads_elsewhere_is_refused(compared: Path, tmp_path: Path, name: str) -> None:
    """Even where the checksums fit."""
    for file in (format.RUNS, format.SWEEPS, format.SUBMISSIONS, format.SERIES):
        folder = tmp_path / file / "kept"
        shutil.copytree(compared / "kept", folder)
        if file == format.RUNS:
            first, *rest = (folder / file).read_text().splitlines()
            (folder / file).write_text("\n".join([json.dumps({**json.loads(first), "id": name}), *rest]) + "\n")
        elif file == format.SERIES:
            (folder / file).write_bytes(lzma.compress(json.dumps({"run": name, "rows": 0}).encode()))
        else:
            write_json(folder / file, [{"id": name, "runs": []}])
        reseal(folder)
        with pytest.raises(UserError, match=f"{file} is missing, cut off or changed"):
            Store(folder, create=False)
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "command", ["run", "run --dry-run", "retry", "retry --failed", "cancel", "logs rte-kd-s0", "glue export kd",
                "glue import x.toml --row kd"],
)  # fmt: skip
def test_what_needs_the_runs_is_refused(compared: Path, command: str, say: Call) -> None:
    before = contents(compared / "kept")
    text = say(compared, *command.split(), "--results", "kept", code=2)
    assert text.startswith("kdbench: kept is a collected study, which is only read")
    assert text.count("\n") == 1
    assert contents(compared / "kept") == before


def test_only_what_was_collected_under_the_name_is_replaced(compared: Path, tmp_path: Path, say: Call) -> None:
    for place in ("foreign", "other", "file"):
        if place == "file":
            (tmp_path / place).write_text("mine")
        else:
            (tmp_path / place).mkdir()
            (tmp_path / place / "notes.txt").write_text("mine")
    shutil.copytree(compared / "kept", tmp_path / "other", dirs_exist_ok=True)
    before = contents(tmp_path)
    for place in ("foreign", "other", "file"):
        text = say(tmp_path, "collect", "mine", "--results", f"{compared}/results", "--out", place, code=2)
        assert text.startswith(f"kdbench: {place} is there and is not the collected study 'mine'")
    assert contents(tmp_path) == before
    (tmp_path / "other" / format.RUNS).write_text("damaged")
    say(tmp_path, "collect", "kept", "--results", f"{compared}/results", "--out", "other")
    assert contents(tmp_path / "other") == {**contents(compared / "kept"), "notes.txt": b"mine"}


@pytest.mark.parametrize("name", ["runs", "cache", "../x", "a/b", ".x", "x\n", "", "-x"])
def test_a_bad_name_is_one_sentence(compared: Path, name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be the name of a study"):
        collect_study(name, [Store(compared / "results")], tmp_path / "x", None)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [("x --results nowhere", "There are no results in nowhere; give another"), ("", "Missing argument 'NAME'"),
     ("x --results results --results typo", "There are no results in typo; correct or leave out that --results DIR."),
     ("x --preset tiny", "Unknown preset 'tiny'. Valid: bert-6l."),
     ("x --without-logits rte,qqq", "Unknown task 'qqq'. Did you mean 'qqp'? Valid: 20newsgroups, ")],
)  # fmt: skip
def test_a_mistake_is_one_sentence(compared: Path, arguments: str, sentence: str, say: Call) -> None:
    text = say(compared, "collect", *arguments.split(), code=2)
    assert text.startswith(f"kdbench: {sentence}")
    assert text.count("\n") == 1


def test_the_checksums_are_those_of_the_files(compared: Path) -> None:
    seal = read_json(compared / "kept" / format.MARKER)
    for name, digest in seal["files"].items():
        assert hashlib.sha256((compared / "kept" / name).read_bytes()).hexdigest() == digest
    assert set(seal["files"]) == {*format.DATA, *format.OPTIONAL}


@pytest.mark.slow
def test_what_was_unpacked_is_gone_afterwards(compared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert "KD" in call(compared, "table", "1", "--results", "kept")
    assert "is a collected study" in call(compared, "retry", "--results", "kept", code=2)
    assert not list(tmp_path.iterdir())


def test_the_readme_says_what_it_is(compared: Path) -> None:
    text = (compared / "kept" / format.README).read_text()
    for words in ("# kept\n", "## Preset bert-6l: t-net teaches s-net", "RTE data-rte; MNLI data-mnli",
                  "| seeds | 0, 1 |", "20 done", "kdbench table all --results results/kept", "## Origin"):  # fmt: skip
        assert words in text
    assert all(f"`{name}`" in text for name in format.FILES if name != format.README)
