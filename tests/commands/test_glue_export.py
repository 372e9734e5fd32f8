"""From trained students to the zip, and from the server's scores back to their runs."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from kdbench.cli.app import app
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.records import warn_once
from kdbench.core.spec import DataLocation
from kdbench.data.task_registry import TASKS
from kdbench.results.predictions import read_predictions
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.submission_records import Scores, read_submissions, server_answers
from kdbench.results.submission_zip import check_zip, required_files, write_zip
from tests.analysis.made import STUDY, Made, spec
from tests.commands import made_glue
from tests.commands.made_glue import SERVER, unpack
from tests.kdbench.small_runs import refusal

OFFICIAL = {"MRPC": 1725, "RTE": 3000, "SST-2": 1821, "MNLI-m": 9796, "MNLI-mm": 9847, "QNLI": 5463, "QQP": 390965,
            "CoLA": 1063, "STS-B": 1379, "WNLI": 146, "AX": 1104}  # fmt: skip
TODAY = datetime.datetime.now(tz=datetime.UTC).date()
GOOD = f'date = {TODAY}\nRTE = 66.4\nMNLI-m = 84.6\nMNLI-mm = 83\nCoLA = 0.0\nSST-2 = "50.1"\n'
REFUSED = {
    "no date": (GOOD.replace("date =", "# date ="), "needs a line with the day of the server's answer"),
    "a time": (GOOD.replace(f"{TODAY}", f"{TODAY}T10:00:00"), "needs a line with the day"),
    "years ago": (GOOD.replace(f"{TODAY}", "2019-01-01"), "2019-01-01 cannot be the day of the answer"),
    "in years": (GOOD.replace(f"{TODAY}", "2999-01-01"), "2999-01-01 cannot be the day of the answer"),
    "another name": (GOOD.replace("MNLI-mm", "MNLI_mm"), "'MNLI_mm'. Did you mean 'MNLI-mm'?"),
    "one is missing": (GOOD.replace("MNLI-mm", "QNLI"), "has no scores of MNLI-mm, which 'finetune' answered"),
    "a fraction": (GOOD.replace("66.4", "0.664"), "RTE = 0.664 is not what the server prints: accuracy in per cent"),
    "above 100": (GOOD.replace("66.4", "664"), "each above 1 and at most 100"),
    "an underscore": (GOOD.replace("66.4", '"6_6.4"'), "RTE = '6_6.4' is not what the server prints"),
    "nan": (GOOD.replace("66.4", "nan"), "RTE = nan is not what the server prints"),
    "true": (GOOD.replace("66.4", "true"), "RTE = True is not what the server prints"),
    "two for one": (GOOD.replace("66.4", '"66.4/66.4"'), "RTE = '66.4/66.4' is not what the server prints"),
    "one for two": (GOOD + "MRPC = 88.9\n", 'f1/accuracy in per cent, each above 1 and at most 100, such as MRPC = "'),
    "no TOML": ("RTE: 66.4", "is no TOML"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with files, and with students for RTE (two seeds) and MNLI that follow their noise."""
    folder = tmp_path_factory.mktemp("glue")
    made_glue.write(folder / "files")
    call(
        "run", "--methods", "finetune", "--preset", "tiny", "--tasks", "rte,mnli", "--seeds", "0", "--jobs", "1",
        "--glue-dir", str(folder / "files"), "--results", str(folder / "results"), "--device", "cpu",
        "--set", "epochs=4", "--set", "student=tiny-1x32", "--set", "teacher=tiny-2x32", "--set", "student_lr=1e-2",
    )  # fmt: skip
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, of which the server wants as many rows as there are."""
    made_glue.small_server(monkeypatch)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def call(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False, standalone_mode=False)
    assert not done.return_value, done.output
    return done.output


def server_scores(store: Store) -> dict[str, Scores]:
    return {run: answer.scores for run, answer in server_answers(store).items()}


def stored_answers(folder: Path, task: str) -> Mapping[str, list[str]]:
    """What the student said on the development sets, whose texts the test files repeat, in words; by report split."""
    run = next(run for run in Store(folder / "results").runs() if run.id.startswith(f"{task}-finetune"))
    return {
        split: [TASKS.get(task).labels[i] for i in found.classes.tolist()]
        for split, found in read_predictions(run).items()
    }


def test_the_zip_holds_what_the_stored_students_say_in_words_and_in_order(folder: Path) -> None:
    said = call("glue", "export", "finetune", "--out", "out.zip")
    check_zip(folder / "out.zip", SERVER)
    found = unpack(folder / "out.zip")
    mnli = stored_answers(folder, "mnli")
    assert len({word for words in mnli.values() for word in words}) == 3, "a wrong order of words would not show"
    assert found["MNLI-m.tsv"] == mnli["validation_matched"]
    assert found["MNLI-mm.tsv"] == mnli["validation_mismatched"]
    assert found["RTE.tsv"] == stored_answers(folder, "rte")["validation"]
    assert set(found["QQP.tsv"]) == {"0"}
    assert "its average say nothing about Fine-tuning: MRPC, SST-2, QNLI, QQP, CoLA, WNLI, STS-B, AX." in said
    assert "out.zip is what GLUE's server takes" in call("glue", "check", "out.zip")


@pytest.mark.parametrize("place", ["diagnostic/diagnostic.tsv", "AX/test.tsv"])
def test_the_diagnostic_set_is_predicted_by_the_student_of_mnli(folder: Path, place: str) -> None:
    file = folder / "files" / place
    file.parent.mkdir()
    made_glue.put(file, ["index\tsentence1\tsentence2", *made_glue.texts("dev_matched")])
    said = call("glue", "export", "finetune", "--out", "out.zip", "--glue-dir", "files")
    assert unpack(folder / "out.zip")["AX.tsv"] == stored_answers(folder, "mnli")["validation_matched"]
    assert "say nothing about Fine-tuning: MRPC, SST-2, QNLI, QQP, CoLA, WNLI, STS-B." in said
    # its score is Matthews' correlation, which no table shows
    (folder / "scores.toml").write_text(f"{GOOD}AX = -2.5\n")
    assert "AX: matthews -2.5" in call("glue", "import", "scores.toml", "--row", "finetune")
    assert "MNLI" in call("table", "1", "--test")
    # malformed rows are named, not filled
    made_glue.put(file, ["index\tsentence1\tsentence2", *made_glue.texts("dev_matched")[1:]])
    said = refusal("glue", "export", "finetune", "--out", "out.zip", "--glue-dir", "files")
    assert "line 2: expected 0 in column 'index', found '1'" in said


def test_numbers_are_written_as_the_server_wants_them() -> None:
    (file,) = TASKS.get("stsb").server_files
    assert [file.word_of(number) for number in (-0.2, -0.0, 2.71828, 5.3)] == ["0.000", "0.000", "2.718", "5.000"]


def test_equal_predictions_give_equal_bytes_and_one_record(folder: Path) -> None:
    call("glue", "export", "finetune", "--out", "one.zip")
    call("glue", "export", "finetune", "--out", "two.zip", "--glue-dir", "files")
    assert (folder / "one.zip").read_bytes() == (folder / "two.zip").read_bytes()
    assert len(read_submissions(Store(folder / "results"))) == 1


def test_tasks_that_are_left_out_are_filled(folder: Path) -> None:
    said = call("glue", "export", "finetune", "--out", "out.zip", "--task", "mnli")
    assert set(unpack(folder / "out.zip")["RTE.tsv"]) == {"entailment"}
    assert "nobody, entailment everywhere: left out" in said
    assert "nobody, 0 everywhere: no run is done" in said


def test_a_task_that_another_seed_has_done_is_said_to_be(folder: Path) -> None:
    (sweep,) = (folder / "results" / "sweeps").glob("*.json")
    record = read_json(sweep)
    for cell in record["cells"]:
        cell["seed"] += cell["task"] == "mnli"  # as if MNLI were done with seed 1 only
    write_json(sweep, record)
    said = " ".join(call("glue", "export", "finetune", "--out", "out.zip").split())
    assert "contradiction everywhere: done with seed 1 only" in said
    assert "kdbench glue import FILE --row finetune --preset tiny --seed 0 --results results" in said


def test_nothing_that_trains_sees_a_test_file(folder: Path) -> None:
    for task in (TASKS.get(name)() for name in ("rte", "mnli")):
        location = DataLocation("glue-dir", folder / "files")
        before = task.fingerprint(location)
        assert set(task.load(location).splits) == {"train", *task.report_splits}
        for file in task.server_files:
            (folder / "files" / task.title / f"{file.split}.tsv").unlink()
        assert task.fingerprint(location) == before


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["index\tsentence1\tsentence2", *made_glue.texts("dev")[:-1]], "RTE's split 'test' has 23 rows where"),
        (
            ["index\tsentence1\tsentence2", *made_glue.texts("dev")[1:]],
            "line 2: expected 0 in column 'index'",
        ),
        (["index\tsentence1", "0\ta"], "expected a column 'sentence2' in the header"),
        (["index\tsentence1\tsentence2"], "holds a header but no rows"),
    ],
)
def test_test_files_that_do_not_fit_the_server(folder: Path, lines: list[str], sentence: str) -> None:
    made_glue.put(folder / "files" / "RTE" / "test.tsv", lines)
    assert sentence in refusal("glue", "export", "finetune", "--out", "out.zip", "--glue-dir", "files")
    assert not (folder / "out.zip").exists()
    assert not read_submissions(Store(folder / "results"))


def test_what_cannot_be_exported(folder: Path) -> None:
    assert "Unknown row 'finetun'. Did you mean 'finetune'?" in refusal("glue", "export", "finetun")
    assert "Unknown preset 'tin'. Did you mean 'tiny'?" in refusal("glue", "export", "finetune", "--preset", "tin")
    assert "Seed 3 of 'finetune' is not done (done: 0)" in refusal("glue", "export", "finetune", "--seed", "3")
    assert "Unknown task 'qqp'. Valid: all, glue, mnli, rte." in refusal("glue", "export", "finetune", "--task", "qqp")
    assert "--device warp is not valid" in refusal("glue", "export", "finetune", "--device", "warp")
    assert "does not exist" in refusal("glue", "export", "finetune", "--glue-dir", "nowhere")
    next(folder.glob("results/runs/rte-finetune*/model/model.safetensors")).write_bytes(b"cut")
    assert "cannot be loaded" in refusal("glue", "export", "finetune", "--task", "rte")


def test_made_data_has_no_server(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "results"), study={**STUDY, "source": "generated"})
    made.done(made.ask(spec("kd", "rte", 0)), 0.7)
    made.write()
    assert "'kd' was trained on made data" in refusal("glue", "export", "kd", "--results", str(tmp_path / "results"))


def test_the_server_scores_come_back_to_their_runs(folder: Path) -> None:
    call("glue", "export", "finetune", "--out", "out.zip")
    (folder / "scores.toml").write_text(GOOD, encoding="utf-8")
    assert "MNLI-mm: accuracy 83 (mnli-finetune-s0-" in call("glue", "import", "scores.toml", "--row", "finetune")
    store = Store(folder / "results")
    (study,) = studies(store)
    runs = {task: study.of("finetune", task)[0].run.id for task in ("rte", "mnli")}
    expected = {
        runs["rte"]: {"test": {"accuracy": 66.4}},
        runs["mnli"]: {"test_matched": {"accuracy": 84.6}, "test_mismatched": {"accuracy": 83.0}},
    }
    assert server_scores(store) == expected
    call("glue", "export", "finetune", "--out", "again.zip")
    assert server_scores(store) == expected, "the same answers keep their scores"
    (record,) = read_submissions(store)
    assert (record.row, record.preset, record.seed, record.scored) == ("finetune", "tiny", 0, TODAY)
    (folder / "scores.toml").write_text(GOOD.replace("66.4", "70.5"), encoding="utf-8")
    said = call("glue", "import", "scores.toml", "--row", "finetune", "--seed", "0", "--preset", "tiny")
    assert f"RTE: accuracy 70.5 ({runs['rte']}); replaces accuracy 66.4 of {TODAY}" in " ".join(said.split())
    assert said.count("replaces") == 1
    assert server_scores(store)[runs["rte"]] == {"test": {"accuracy": 70.5}}


def test_table_1_of_the_servers_scores(folder: Path) -> None:
    assert "No scores of a test server for table 1 are in results" in refusal("table", "1", "--test")
    call("glue", "export", "finetune", "--out", "out.zip")
    (folder / "scores.toml").write_text(GOOD, encoding="utf-8")
    call("glue", "import", "scores.toml", "--row", "finetune")
    said = [line.split() for line in call("table", "1", "--test", "--published").splitlines()]
    assert ["Fine-tuning", "66.4", "84.6/83.0", "75.1"] in said  # (66.4 + (84.6 + 83) / 2) / 2
    assert ["KD"] not in [line[:1] for line in said]
    assert any(line[:4] == ["Test", "sets,", "in", "per"] for line in said)
    records = call("table", "1", "--test", "--format", "csv")
    assert f"mnli,test_mismatched,accuracy,0,83.0,{TODAY},mnli-finetune-s0-" in records
    assert call("table", "1") != call("table", "1", "--test")
    assert "Unknown preset 'tin'. Did you mean 'tiny'?" in refusal("table", "1", "--test", "--preset", "tin")
    assert "Table 2 has no rows that a test server can score; --test is for" in refusal("table", "2", "--test")


@pytest.mark.parametrize(
    "change", [{"exported": "2026-01-01T00:00:00"}, {"row": "../up"}, {"preset": "../up"}, {"seed": "one"}]
)
def test_a_damaged_record_costs_that_record(
    folder: Path, change: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    call("glue", "export", "finetune", "--out", "out.zip")
    (file,) = (folder / "results" / "submissions").glob("*.json")
    write_json(file, read_json(file) | change)
    warn_once.cache_clear()
    assert "No such export of 'finetune'" in refusal("glue", "import", "scores.toml", "--row", "finetune")
    assert f"{file.name} is damaged ({next(iter(change))}: " in caplog.text


def test_scores_without_a_metric_are_no_scores(folder: Path) -> None:
    call("glue", "export", "finetune", "--out", "out.zip")
    (folder / "scores.toml").write_text(GOOD, encoding="utf-8")
    call("glue", "import", "scores.toml", "--row", "finetune")
    (file,) = (folder / "results" / "submissions").glob("*.json")
    record = read_json(file)
    record["parts"]["MNLI-mm.tsv"]["scores"] = {"f1": 80.0}
    write_json(file, record)
    said = call("table", "1", "--test")
    assert "66.4" in said
    assert "MNLI" not in said


@pytest.mark.parametrize("kind", REFUSED)
def test_scores_that_cannot_be_the_servers(folder: Path, kind: str) -> None:
    content, sentence = REFUSED[kind]
    call("glue", "export", "finetune", "--out", "out.zip")
    (folder / "scores.toml").write_text(content, encoding="utf-8")
    assert sentence in refusal("glue", "import", "scores.toml", "--row", "finetune")
    assert not server_scores(Store(folder / "results"))


def test_scores_of_what_was_not_exported_or_could_be_several(folder: Path) -> None:
    (folder / "scores.toml").write_text(GOOD, encoding="utf-8")
    assert "(exported: nothing)" in refusal("glue", "import", "scores.toml", "--row", "finetune")
    call("glue", "export", "finetune", "--out", "out.zip")
    assert "files cannot be read (Is a directory)" in refusal("glue", "import", "files", "--row", "finetune")
    assert "(exported: finetune (tiny, tiny-1x32, seed 0))" in refusal("glue", "import", "scores.toml", "--row", "kd")
    (record,) = read_submissions(Store(folder / "results"))
    other = record.model_copy(update={"seed": 1})
    write_json(folder / "results" / "submissions" / f"{other.id}.json", other.model_dump(mode="json"))
    assert "with seed 0 and 1; choose with --seed" in refusal("glue", "import", "scores.toml", "--row", "finetune")
    call("glue", "import", "scores.toml", "--row", "finetune", "--seed", "1")
    scored = {record.seed: record.scored for record in read_submissions(Store(folder / "results"))}
    assert scored == {0: None, 1: TODAY}
    (folder / "results" / "submissions" / "broken.json").write_text("{}", encoding="utf-8")
    assert "with seed 0 and 1; choose with --seed" in refusal("glue", "import", "scores.toml", "--row", "finetune")
    # scores must not come to the runs of another student
    third = record.model_copy(update={"seed": 1, "student": "Tiny", "zip": "0" * 64})
    write_json(folder / "results" / "submissions" / f"{third.id}.json", third.model_dump(mode="json"))
    words = ("glue", "import", "scores.toml", "--row", "finetune", "--seed", "1")
    assert f"was exported with student Tiny and {record.student}; choose with --student" in refusal(*words)
    call(*words, "--student", "tiny")
    again = {(one.student, one.seed): one.scored for one in read_submissions(Store(folder / "results"))}
    assert again == {(record.student, 0): None, (record.student, 1): TODAY, ("Tiny", 1): TODAY}


def test_the_official_numbers_of_rows_and_the_words_that_fill(tmp_path: Path) -> None:
    files = required_files(SERVER)
    assert {name: file.rows for name, file in files.items()} == {f"{n}.tsv": rows for n, rows in OFFICIAL.items()}
    assert {files[f"{name}.tsv"].filler for name in ("MNLI-m", "MNLI-mm", "AX")} == {"contradiction"}
    write_zip(tmp_path / "some.zip", SERVER, {})
    check_zip(tmp_path / "some.zip", SERVER)
    filled = unpack(tmp_path / "some.zip")
    assert {name: set(words) for name, words in filled.items()} == {n: {f.filler} for n, f in files.items()}
    assert {name: len(words) for name, words in filled.items()} == {name: file.rows for name, file in files.items()}
