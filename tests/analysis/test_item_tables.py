"""The tables of fidelity and calibration against numbers by hand, from runs and from a collected study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from kdbench.analysis.calibration import Calibration
from kdbench.analysis.fidelity import Fidelity
from kdbench.analysis.figure_reliability import FigureReliability
from kdbench.analysis.figure_risk_coverage import FigureRiskCoverage
from kdbench.core.atomic_files import read_json, write_json
from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.reporting.html.students import _joined_notes
from kdbench.reporting.study_choice import EVERYTHING
from kdbench.reporting.tables import Detail, TableData
from kdbench.results import calibration, fidelity
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.made import Made, spec, teacher
from tests.analysis.made_outputs import CLASSES, LABELS, ROWS, keep, logits, study


def only(kind: type[Fidelity | Calibration], store: Store) -> TableData:
    (sheet,) = kind().sheets(studies(store))
    return sheet


def records(sheet: TableData, row: str, metric: str) -> dict[object, dict[str, Any]]:
    return {r["seed"]: r for r in sheet.records if (r["row"], r["metric"]) == (row, metric)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return study(tmp_path_factory.mktemp("worth")).write()


def test_fidelity_is_that_to_the_teacher_that_taught(store: Store) -> None:
    sheet = only(Fidelity, store)
    for seed in (0, 1):
        t = logits(3, seed)
        pairs = {
            "kd": (t, 0.5 * t + 0.2 * logits(1, 20 + seed)),
            "finetune": (t, logits(1, 10 + seed)),  # taught by nobody: a baseline
            "dml": (logits(2, 30 + seed), logits(2, 30 + seed) + logits(0.5, 31 + seed)),
        }
        for row, (known, student) in pairs.items():
            same = known.argmax(1) == student.argmax(1)
            wrong = known.argmax(1) != LABELS
            assert records(sheet, row, "agreement")[seed]["value"] == pytest.approx(100 * same.mean())
            assert records(sheet, row, "agreement_where_wrong")[seed]["value"] == pytest.approx(
                100 * same[wrong].mean()
            )
            expected = fidelity.divergence(known.astype(float), student.astype(float)).mean()
            assert records(sheet, row, "divergence")[seed]["value"] == pytest.approx(expected, rel=2e-3)
            neither = (known.argmax(1) != LABELS) & (student.argmax(1) != LABELS)
            assert records(sheet, row, "both_wrong")[seed]["value"] == pytest.approx(100 * neither.mean())
    assert not records(sheet, "lgtm", "agreement")
    assert records(sheet, "lgtm", "seeds_agree").keys() == {"all"}
    assert "Teacher of DML, LGTM: the one trained along, at its end." in sheet.notes
    assert "The teacher's outputs were not kept for LGTM: an earlier version trained these runs." in sheet.notes
    assert any(note.startswith("Fine-tuning: taught by nobody, compared with the teacher") for note in sheet.notes)
    assert [row[0].text for row in sheet.rows] == ["Fine-tuning", "KD", "DML", "LGTM"]


def test_the_most_faithful_row_is_marked_and_the_others_are_tested(store: Store) -> None:
    sheet = only(Fidelity, store)
    place = {key: i for i, key in enumerate(sheet.column_keys, start=1)}
    rows = dict(zip(sheet.row_keys, sheet.rows, strict=True))
    assert [row for row in rows if rows[row][place["agreement"]].best] == ["kd"]
    assert [row for row in rows if rows[row][place["divergence"]].best] == ["kd"]  # where less is better
    assert not any(rows[row][place["both_right"]].best for row in rows)
    # the interval of one seed counts items alone: that of a share
    share = records(only(Fidelity, study(store.root / "one", seeds=(0,)).write()), "kd", "agreement")[0]
    p = share["value"] / 100
    assert share["high"] - share["mean"] == pytest.approx(100 * 1.959964 * np.sqrt(p * (1 - p) / ROWS))


def test_calibration_before_and_after_the_temperature(store: Store) -> None:
    sheet = only(Calibration, store)
    values, held = logits(1, 10).astype(float), logits(1, 60, 100).astype(float)
    temperature = calibration.fit_temperature(held, LABELS[:100])
    assert records(sheet, "finetune", "temperature")[0]["value"] == pytest.approx(temperature, rel=2e-3)
    for ending, divisor in (("", 1.0), ("_scaled", temperature)):
        log_p = calibration.log_probabilities(values, divisor)
        nll = calibration.log_loss(log_p, LABELS).value
        assert records(sheet, "finetune", f"nll{ending}")[0]["value"] == pytest.approx(nll, rel=2e-3)
    assert [row[0].text for row in sheet.rows] == ["Teacher", "Fine-tuning", "KD", "DML", "LGTM"]
    assert sheet.rules == {1}
    assert "No T, for want of logits on the selection split: DML, LGTM." in sheet.notes
    assert any("15 bins of equal mass" in note for note in sheet.notes)
    assert any(note.startswith("ECE is biased upwards: with 200 items") for note in sheet.notes)
    assert any("SKD" in note for note in sheet.notes)


def test_rows_without_a_best_temperature_are_named(store: Store, tmp_path: Path) -> None:
    """Where all selection rows are right, ever larger logits are better, and only the search ends."""
    assert not any("No temperature" in note for note in only(Calibration, store).notes)
    made = study(tmp_path)
    perfect = np.eye(CLASSES, dtype=np.float32)[LABELS[:100]]
    for seed, held in ((0, perfect), (1, logits(1, 71, 100)), (2, -perfect)):
        keep(made, made.ask(spec("skd", "rte", seed)), logits(1, 70 + seed), selection=held)
    sheet = only(Calibration, made.write())
    assert records(sheet, "skd", "temperature")[0]["value"] == pytest.approx(calibration.COOLEST, rel=1e-3)
    assert records(sheet, "skd", "temperature")[2]["value"] == pytest.approx(calibration.HOTTEST, rel=1e-3)
    assert any(
        note.startswith("No temperature has the least NLL, as where every selection row is right: SKD (2 of 3 seeds).")
        for note in sheet.notes
    )


def test_seeds_without_a_teacher_are_not_counted(tmp_path: Path) -> None:
    """Fine-tuning has four seeds and the teacher two: numbers of two are not said to be of four."""
    made = study(tmp_path)
    for row, seed in (("finetune", 2), ("finetune", 3), ("dist", 4), ("dist", 5)):
        keep(made, made.ask(spec(row, "rte", seed)), logits(1, 10 + seed))
    sheet = only(Fidelity, made.write())
    assert records(sheet, "finetune", "agreement").keys() == {0, 1}
    assert any(note.startswith("Mean over seeds") and "(2 seeds a number)" in note for note in sheet.notes)
    assert not any("differ in seeds" in note for note in sheet.notes)
    lost = "Nothing to show of Fine-tuning (seed 2-3), DIST (seed 4-5): there is no teacher to compare with."
    assert lost in sheet.notes


def test_columns_with_fewer_seeds_are_named(tmp_path: Path) -> None:
    """One teacher is always right, so that no error can be repeated; one run kept no logits to fit a temperature."""
    made = study(tmp_path)
    right = keep(made, made.need(teacher("rte", 2)), (9 * np.eye(CLASSES)[LABELS]).astype(np.float32))
    keep(made, made.ask(spec("kd", "rte", 2, needs={"teacher": right})), logits(2, 80))
    store = made.write()
    found = only(Fidelity, store)
    assert records(found, "kd", "agreement").keys() == {0, 1, 2}
    assert records(found, "kd", "agreement_where_wrong").keys() == {0, 1}
    assert "Columns that have numbers of these seeds alone: Teacher wrong: agree % (KD 0-1)." in found.notes
    assert any("T (Teacher 0-1, KD 0-1)" in note for note in only(Calibration, store).notes)


def test_the_best_calibrated_row_has_the_lowest_numbers(store: Store) -> None:
    sheet = only(Calibration, store)
    place = sheet.column_keys.index("brier") + 1
    numbers = {key: row[place].numbers[0] for key, row in zip(sheet.row_keys, sheet.rows, strict=True)}
    best = {key for key, row in zip(sheet.row_keys, sheet.rows, strict=True) if row[place].best}
    assert best == {min((key for key in numbers if key != "teacher"), key=numbers.get)}


def test_rows_without_a_seed_of_the_best_are_named(tmp_path: Path) -> None:
    """They have no sign, as rows that differ have none."""
    made = Made(Store(tmp_path))
    for method, seeds, skill in (("kd", (0, 1), 3.0), ("dml", (1, 2), 2.9), ("lgtm", (2, 3), 2.9)):
        for seed in seeds:
            found = logits(skill, 10 * seed)
            keep(made, made.ask(spec(method, "rte", seed)), found, selection=found[:100])
    sheet = only(Calibration, made.write())
    told = [note for note in sheet.notes if "Not compared" in note or "differ in seeds" in note]
    # KD is the best of some columns, LGTM of others
    assert told[0] == "Not compared with the best of a column, for want of a common seed: LGTM, KD."
    assert told[1:] == ["Rows differ in seeds: KD 0-1, DML 1-2, LGTM 2-3."]


def test_a_collected_study_gives_the_same_numbers(store: Store, tmp_path: Path) -> None:
    kept = collect_study("kept", [store], tmp_path / "kept", None)
    for kind in (Fidelity, Calibration):
        raw, found = only(kind, store), only(kind, kept)
        assert found.records == raw.records
        assert [[cell.text for cell in row] for row in found.rows] == [[cell.text for cell in row] for row in raw.rows]
        assert found.notes == raw.notes
    again = collect_study("kept", [kept], tmp_path / "again", None)
    files = ("logits.safetensors.xz", "study.json")
    assert [(again.root / f).read_bytes() for f in files] == [(kept.root / f).read_bytes() for f in files]
    # 16 bits for each item and class but one, of 10 students, 2 teachers of students and 2 that were trained along
    assert (kept.root / "logits.safetensors.xz").stat().st_size < 2.6 * ROWS * (CLASSES - 1) * 14


def test_a_study_can_be_collected_without_the_logits_of_a_task(tmp_path: Path) -> None:
    made = study(tmp_path / "results")
    for seed in (0, 1):
        keep(made, made.ask(spec("kd", "sst2", seed)), logits(2, seed))
    kept = collect_study("kept", [made.write()], tmp_path / "kept", None, ["rte"])
    (sheet,) = Calibration().sheets(studies(kept))
    assert {record["task"] for record in sheet.records} == {"sst2"}
    agreements = {sheet.title: records(sheet, "kd", "agreement") for sheet in Fidelity().sheets(studies(kept))}
    whole = {sheet.title: records(sheet, "kd", "agreement") for sheet in Fidelity().sheets(studies(made.store))}
    assert agreements == whole  # of classes, which are kept
    (said,) = [sheet.notes for sheet in Fidelity().sheets(studies(kept)) if " RTE," in sheet.title]
    assert "The teacher's outputs on the reported items were not kept for DML, LGTM." in said
    assert not any("an earlier version trained" in note for note in said)
    # once more, with what is kept
    again = collect_study("again", [kept], tmp_path / "again", None, ["sst2"])
    assert not (again.root / "logits.safetensors.xz").exists()


def test_runs_without_logits_have_classes_only(tmp_path: Path) -> None:
    made = study(tmp_path / "results")
    for run_id in made.runs:
        path = made.store.run(run_id).predictions
        tensors = load_file(path)
        labels, values = tensors["best/validation/labels"], tensors["best/validation/logits"]
        save_file({"best/validation/labels": labels, "best/validation/classes": values.argmax(1)}, path)
    store = made.write()
    sheet = only(Fidelity, store)
    assert records(sheet, "kd", "agreement")
    assert not records(sheet, "kd", "divergence")
    assert "KL and loyalty need logits, which were not kept of any row." in sheet.notes
    with pytest.raises(UserError, match=r"No table of RTE: no logits were kept, as in studies collected without\."):
        Calibration().sheets(studies(store))
    kept = collect_study("kept", [store], tmp_path / "kept", None)
    assert not (kept.root / "logits.safetensors.xz").exists()


def test_rows_without_logits_on_a_task_are_named_once(tmp_path: Path) -> None:
    made = study(tmp_path / "results")
    for method in ("kd", "dml"):
        made.done(made.ask(spec(method, "sst2", 0)), 0.9)
    found = studies(made.write())[0]
    for kind in (FigureReliability, FigureRiskCoverage):
        assert "Left out, for want of logits: all rows on SST-2." in kind().build_panels(found, ["rte", "sst2"]).notes


def test_warnings_stand_before_details(tmp_path: Path) -> None:
    made = study(tmp_path / "results")
    run = made.store.run(next(run for run in made.runs if "-kd-" in run)).path / "result.json"
    write_json(run, read_json(run) | {"had_other_scores": True})
    for table in (Fidelity, Calibration):
        sheet = only(table, made.write())
        (warning,) = (i for i, note in enumerate(sheet.notes) if note.startswith("Trained more than once"))
        assert warning < min(i for i, note in enumerate(sheet.notes) if isinstance(note, Detail))


def test_joined_notes_name_their_tasks_once() -> None:
    one, other = (TableData(task, [], records=[{"task": task}]) for task in ("rte", "sst2"))
    one.notes, other.notes = ["Of all.", "RTE train: a row repeats.", "Of one."], ["Of all."]
    assert _joined_notes([one, other]) == ["Of all.", "RTE train: a row repeats.", "RTE: Of one."]


def test_a_task_whose_labels_are_no_classes_is_left_out(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TASKS.get("rte"), "labels", ("value",))
    found = studies(store)[0]
    assert Fidelity().task_sheet(found, "rte") is None
    assert Calibration().task_sheet(found, "rte") is None


def test_figures_of_confidence(store: Store) -> None:
    found = studies(store)[0]
    picture = FigureReliability().build_panels(found, ["rte"])
    points = [r for r in picture.records if r.get("row") == "finetune"]
    both = np.concatenate([logits(1, 10), logits(1, 11)]).astype(float)
    sure = calibration.confidences(calibration.log_probabilities(both), np.tile(LABELS, 2))
    confidence, accuracy = calibration.reliability(sure, calibration.equal_mass_bins(sure.confidence))
    np.testing.assert_allclose([r["confidence"] for r in points], 100 * confidence, rtol=2e-3)
    np.testing.assert_allclose([r["value"] for r in points], 100 * accuracy, atol=4)  # rounding may move an item
    risks = [r for r in FigureRiskCoverage().build_panels(found, ["rte"]).records if r["row"] == "finetune"]
    errors = [100 * float((logits(1, 10 + seed).argmax(1) != LABELS).mean()) for seed in (0, 1)]
    assert [r["value"] for r in risks if r["coverage"] == 100.0] == pytest.approx(errors)


def test_a_seed_without_logits_is_named(tmp_path: Path) -> None:
    """Its row has a curve of the other seeds."""
    made = study(tmp_path / "results")
    parent = keep(made, made.need(teacher("rte", 2)), logits(3, 2))
    made.done(made.ask(spec("kd", "rte", 2, needs={"teacher": parent})), 0.9)
    found = studies(made.write())[0]
    for kind in (FigureReliability, FigureRiskCoverage):
        picture = kind().build_panels(found, ["rte"])
        assert any(record.get("row") == "kd" for record in picture.records)
        assert "Left out, for want of logits: KD on RTE, 1 of 3 seeds." in picture.notes


def test_notes_of_a_figure_speak_of_its_tasks(tmp_path: Path) -> None:
    """SST-2 has one seed, another precision and a remark on its data, and kept no logits."""
    made = study(tmp_path / "results")
    made.done(made.ask(spec("kd", "sst2", 0, precision="bf16")), 0.9)
    store, file = made.write(), tmp_path / "results" / "sweeps" / "one.json"
    write_json(file, read_json(file) | {"data_remarks": {"sst2": ["SST-2 repeats rows."]}})
    found = studies(store)[0]
    for kind in (FigureReliability, FigureRiskCoverage):
        picture = kind().build_panels(found, ["rte", "sst2"])
        (left,) = (note for note in picture.notes if "SST-2" in note)
        assert left == "Left out, for want of logits: KD on SST-2."
        assert not any("bf16" in note or "1 to 2 seeds" in note for note in picture.notes)
    (sheet,) = Calibration().sheets(studies(store))
    (left,) = (note for note in sheet.notes if "SST-2" in note)
    assert left == "No table of SST-2: no predictions were kept."


def test_the_report_has_a_section_for_each_student(store: Store, tmp_path: Path) -> None:
    """The numbers are those of the tables."""
    from kdbench.reporting.html.page import write_report

    write_report(store, EVERYTHING, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for sheet in (only(Fidelity, store), only(Calibration, store)):
        for key, row in zip(sheet.row_keys, sheet.rows, strict=True):
            section = page.partition(f'id="student-0-{key}"')[2].partition("</details>")[0]
            assert f"<summary>{row[0].text}</summary>" in section
            for cell in row[1:]:
                assert f'<td class="r">{cell.text}</td>' in section
    assert "Deployment" not in page.partition('id="students-0"')[2].partition("</section>")[0]


def test_predicted_numbers_are_no_logits(tmp_path: Path) -> None:
    """A task without classes, whose networks have one output, is collected as before."""
    made = Made(Store(tmp_path / "results"))
    run = made.done(made.ask(spec("kd", "rte", 0)), 0.5)
    numbers = np.linspace(0, 5, ROWS, dtype=np.float32)[:, None]
    tensors = {f"best/{split}/{kind}": values for split in ("validation", "selection")
               for kind, values in (("logits", numbers), ("labels", numbers[:, 0]))}  # fmt: skip
    save_file(tensors, made.store.run(run).predictions)
    found = studies(made.write())[0].runs[run].logits
    assert (found.student, found.teacher, found.temperature) == ({}, {}, None)
