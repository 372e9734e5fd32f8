"""The studies that this repository keeps can be read by the code beside them."""

from __future__ import annotations

import re
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy.stats import bartlett

from kdbench import make_table
from kdbench.analysis.study_page.__main__ import write_page
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.page import main_study
from kdbench.analysis.study_page.scores import run_mean
from kdbench.cli.app import app
from kdbench.core.errors import UserError
from kdbench.data.task_registry import TASKS
from kdbench.planning.reproduce import rows_command
from kdbench.reporting.provenance import mean_run_score
from kdbench.results.read_studies import studies
from kdbench.results.selection import select_row
from kdbench.results.store import Store
from kdbench.results.study import StudyResults

ROOT = Path(__file__).resolve().parent.parent
KEPT = sorted(file.parent for file in (ROOT / "results").glob("*/study.json"))


@pytest.mark.slow
@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_tables_and_figures_of_a_kept_study(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not app(["table", "all", "--results", str(folder)], standalone_mode=False)
    assert re.search("^(Table 1|Scores), preset ", capsys.readouterr().out, re.MULTILINE)  # the second without its rows
    drawn = ["figure", "all", "--format", "svg", "--results", str(folder), "--out", str(tmp_path)]
    assert not app(drawn, standalone_mode=False)
    assert list(tmp_path.glob("*.svg"))


def test_the_command_of_a_study_names_what_its_preset_has_changed_since(capsys: pytest.CaptureFixture[str]) -> None:
    """results/minilm-mrpc was trained when preset minilm had other rates, fewer epochs and torch's dropout."""
    (folder,) = (folder for folder in KEPT if folder.name == "minilm-mrpc")
    assert not app(["table", "2", "--results", str(folder)], standalone_mode=False)
    (command,) = (line for line in capsys.readouterr().out.splitlines() if "To train what is missing" in line)
    for pair in (
        "student_lr=0.0001",
        "teacher_lr=0.0001",
        "epochs=3",
        "dropout=torch",
        "recipe=1",
        "precision=bf16",
        "lgtm.influence_coef=1.0",
    ):
        assert f"--set {pair}" in command
    assert "batch_size" not in command


def test_a_variant_keeps_its_own_options_beside_changed_ones_of_its_method() -> None:
    """results/minilm-mrpc was trained when the default of the influence's coefficient was 1."""
    (study,) = studies(Store(ROOT / "results" / "minilm-mrpc", create=False))
    words = rows_command(study, ["lgtm_released", "lgtm_no_influence"], "mrpc")
    assert {"lgtm.influence_coef=1.0", "lgtm_released.influence_coef=teacher_lr"} <= set(words)
    assert not any(word.startswith("lgtm_no_influence.") for word in words)


def test_the_page_about_lgtm_has_the_numbers_of_the_kept_results() -> None:
    """The table about classifiers that start at zero; its cells are those of Table 1 without signs."""
    page = (ROOT / "docs" / "lgtm.md").read_text(encoding="utf-8").partition("## Classifiers that start at zero")[2]
    said = dict(re.findall(r"^\| ((?:ProKT|LGTM|Fine-tuning)[^|]*) (\|.*)\|$", page, re.MULTILINE))
    names = ("study", "zero-heads")
    frames = {name: make_table(1, ROOT / f"results/minilm-{name}").frame for name in names}
    tasks = [f"{task} Acc./macro-F1" for task in ("TREC", "Banking77")]
    kept = {
        name: {row: [cells[task].rstrip("°") for task in tasks] for row, cells in frame.T.items()}
        for name, frame in frames.items()
    }
    expected = {row: kept["study"][row] for row in ("ProKT", "LGTM", "Fine-tuning")}
    expected |= {f"{row}, from zeros": kept["zero-heads"][row] for row in ("ProKT", "LGTM")}
    assert {row: cells.strip("| ").split(" | ") for row, cells in said.items()} == expected


def kept_by_task() -> dict[str, StudyResults]:
    """The kept study of each task on which docs/lgtm.md compares LGTM's readings, in the order of its table."""
    study, influence = (
        main_study(studies(Store(ROOT / f"results/minilm-{name}", create=False))) for name in ("study", "influence")
    )
    return dict.fromkeys(("trec", "tweeteval-emotion", "banking77", "sst2"), study) | {"mrpc": influence}


def test_the_page_about_lgtm_has_its_influence_on_five_tasks() -> None:
    """Students on the rows that select checkpoints, teachers on the reported ones, both at the end of the training."""
    page = (ROOT / "docs" / "lgtm.md").read_text(encoding="utf-8").partition("All five tasks: the mean")[2]
    kept = kept_by_task()

    def spread(scores: list[float]) -> str:
        return f"{fmean(scores):.1f}±{stdev(scores):.1f}" if scores else "–"

    means: dict[str, list[float]] = {}
    for row in ("lgtm", "lgtm_no_influence", "lgtm_printed", "prokt_lgtm", "finetune"):
        cells = [kept["trec"].title(row)]
        for task, study in kept.items():
            kind = TASKS.get(task)
            results = [cell.run.result for cell in study.of(row, task) if cell.run.result] if row in study.rows else []
            ends = [[result["last"]["selection"][metric] for metric in kind.metrics] for result in results]
            teachers = [
                [result["teacher"][split][metric] for metric, split in kind.numbers()]
                for result in results if result.get("teacher")
            ]  # fmt: skip
            cells += [spread([100 * fmean(scores) for scores in some]) for some in (ends, teachers)]
        assert f"| {' | '.join(cells)} |" in page
        means[row] = [float(cell.partition("±")[0]) for cell in cells[1:] if cell != "–"]
    pairs = list(zip(means["lgtm"], means["lgtm_no_influence"], strict=True))
    higher, apart = sum(a > b for a, b in pairs[::2]), max(abs(a - b) for a, b in pairs[1::2])
    assert f"higher mean on {higher} of 5 tasks, and the teachers differ by {apart:.1f} points at most." in page
    for task, study in kept.items():
        one = StudyContrasts(study).on("lgtm", "lgtm_no_influence", task)
        assert one is not None
        assert one.p > 0.05


def test_the_page_about_lgtm_is_right_about_its_readings() -> None:
    """As printed, every seed's teacher ends with one or two classes, and the students have the lowest mean of all."""
    for task, study in kept_by_task().items():
        readings = [row for row in study.rows if row.startswith(("lgtm", "prokt"))]
        cells = {row: some for row in readings if (some := study.of(row, task))}
        ends = {
            row: [use.predicted for cell in some for use in cell.run.class_use["teacher"].values()]
            for row, some in cells.items()
        }
        few = min(2, len(TASKS.get(task).labels) - 1)
        assert {row for row, classes in ends.items() if min(classes) <= few} == {"lgtm_printed"}
        assert len(ends["lgtm_printed"]) >= 3
        assert max(ends["lgtm_printed"]) <= few
        means = {row: fmean(run_mean(cell.run) for cell in some) for row, some in cells.items()}
        assert min(means, key=lambda row: means[row]) == "lgtm_printed"


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_no_test_server_has_scored_a_kept_study(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where no server takes its tasks."""
    for number in ("1", "all"):
        with pytest.raises(UserError, match=r"^No scores of a test server.* hand rows in with kdbench glue export"):
            app(["table", number, "--test", "--results", str(folder)], standalone_mode=False)
    assert capsys.readouterr().out == ""


def test_list_and_show_have_the_selection_score_of_the_kept_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    """That of this run's last checkpoint is 78.1."""
    for command in (["list", "runs", "--method", "kd"], ["show", "mrpc-kd-s0"], ["show", "kd", "mrpc"]):
        assert not app([*command, "--results", str(ROOT / "results" / "minilm-mrpc")], standalone_mode=False)
        assert "79.9" in capsys.readouterr().out


@pytest.mark.slow
def test_the_kept_page_is_that_of_the_kept_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make docs` writes it."""
    monkeypatch.chdir(ROOT)
    write_page(Path("results/minilm-study"), tmp_path / "study.md")
    assert (tmp_path / "study.md").read_text(encoding="utf-8") == (ROOT / "docs/study.md").read_text(encoding="utf-8")


def test_rows_do_not_share_one_variance_between_seeds() -> None:
    """So errors are not pooled over rows; docs/statistics.md has the numbers."""
    page = " ".join((ROOT / "docs" / "statistics.md").read_text(encoding="utf-8").split())
    (study,) = studies(Store(ROOT / "results" / "minilm-study", create=False))
    ranges, p = [], []
    for task in ("banking77", "trec"):
        cells = [select_row(study, row).shown[task] for row in study.rows]
        scores = [[mean_run_score(cell) for cell in own] for own in cells if own]
        spreads = [stdev(values) for values in scores]
        ranges.append(f"from {min(spreads):.2f} to {max(spreads):.1f}")
        p.append(np.format_float_positional(float(f"{bartlett(*scores).pvalue:.0e}"), trim="-"))
    assert f"go {ranges[0]} points on Banking77 and {ranges[1]} on TREC" in page
    assert f"(Bartlett's test: p = {p[0]} and {p[1]};" in page
