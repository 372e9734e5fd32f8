"""`kdbench report`, without a browser: what stands in the file, and that nothing in it can break out of its place."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tomllib
from html import unescape
from pathlib import Path

import pytest

import kdbench
from kdbench.core.atomic_files import read_json, write_json
from kdbench.reporting.html.task_ranking import rank_tasks
from kdbench.reporting.provenance import build_traced_table
from kdbench.results.archive.write import collect_study
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from tests.analysis.drawn import everything, finish, gaps
from tests.analysis.made import Made, full, spec, states, teacher
from tests.commands.test_commands import call, call_here
from tests.commands.test_compare import predict

HOSTILE = "</script><img src=x onerror=\"document.title='taken'\"><b>&amp;'"


def report(folder: Path, *arguments: str) -> str:
    """The page of `folder/results`."""
    call(folder, "report", "--out", "page.html", *arguments)
    return (folder / "page.html").read_text(encoding="utf-8")


def data(page: str) -> dict[str, dict[str, object]]:
    """What the charts are drawn from."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    found: dict[str, dict[str, object]] = json.loads(text)
    return found


def hostile(root: Path) -> Store:
    """Results in which everything that is free text is an attack."""
    made = Made(Store(root), preset="tiny")
    made.study = {**made.study, "student": HOSTILE, "teacher": HOSTILE, "glue_dir": HOSTILE}
    made.done(made.ask(spec("kd", "rte", 0, options={HOSTILE: HOSTILE})), 0.7)
    failed = made.ask(spec("lgtm", "rte", 0))
    made.state(failed, "failed", kind=HOSTILE, message=HOSTILE)
    (made.store.run(failed).path / "error.txt").write_text(HOSTILE)
    store = made.write()
    (file,) = store.sweeps_folder.glob("*.json")
    sweep = json.loads(file.read_text())
    sweep["command"] = ["kdbench", "run", HOSTILE]
    for row in sweep["rows"].values():
        row["title"] = HOSTILE
    file.write_text(json.dumps(sweep))
    return store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reports")
    full(path / "results", seeds=(0, 1))
    return path


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return report(folder)


@pytest.mark.slow
def test_every_number_and_note_of_the_table_is_there_and_leads_to_its_runs(folder: Path, page: str) -> None:
    study = studies(Store(folder / "results"))[-1]
    table = build_traced_table(study)
    assert table is not None
    rows = re.findall(r'<tr data-place="\d+"><th scope="row">(.*?)</th>(.*?)</tr>', page, re.S)
    assert [unescape(title) for title, _ in rows] == [row[0].text for row in table.rows]
    for (_, cells), row, key in zip(rows, table.rows, table.row_keys, strict=True):
        links = re.findall(r'<td(.*?)><a href="#(.*?)">(.*?)</a></td>', cells, re.S)
        texts = [re.sub(r"<.*?>", "", text) for *_, text in links]
        assert texts == [entry.short + entry.below for entry in row[1:]]
        for (_, anchor, _), column in zip(links, table.column_keys, strict=True):
            (card,) = re.findall(rf'<section class="card" id="{re.escape(anchor)}"(.*?)</section>', page, re.S)
            behind = {r["run"] for r in table.records if (r["row"], r["task"]) == (key, column)}
            assert behind <= set(re.findall(r'href="#run-(.*?)"', card))
    assert all(f"<li>{note}</li>" in unescape(page) for note in table.notes)


def test_every_run_is_there_with_its_facts(folder: Path, page: str) -> None:
    study = studies(Store(folder / "results"))[-1]
    for run in study.runs.values():
        (text,) = re.findall(rf'<details class="run" id="run-{run.id}"(.*?)</details>', page, re.S)
        plain = unescape(re.sub(r"<.*?>", " ", text))
        for fact in (run.spec.data.fingerprint, "student_lr", "Machine and versions", "--preset bert-6l --set"):
            assert fact in plain
        for need in run.spec.needs.values():
            assert f'href="#run-{need}"' in text


def test_the_page_needs_nothing_else(page: str) -> None:
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert re.findall(r"<(?:script|img|link|iframe|object)[^>]*(?:src|href)=[\"'](?!data:)", outside) == []
    assert "@import" not in outside
    assert "url(" not in outside
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', page)
    assert "connect-src 'none'" in unescape(policy)
    assert "default-src 'none'" in unescape(policy)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.S)
    hashes = {f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts}
    assert len(scripts) == 4
    assert hashes == set(re.findall(r"'sha256-.*?'", unescape(policy)))


def test_no_text_breaks_out_of_its_place(tmp_path: Path) -> None:
    hostile(tmp_path / "results")
    page = report(tmp_path)
    assert HOSTILE in unescape(page)
    assert "<img" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)
    (text,) = re.findall(r'id="data">(.*?)</script>', page, re.S)
    assert not set("<>&") & set(text)
    assert any(HOSTILE in json.dumps(chart, ensure_ascii=False).replace('\\"', '"') for chart in data(page).values())


def test_unfinished_runs_say_why_and_what_to_do(tmp_path: Path) -> None:
    store, runs = states(tmp_path / "results")
    page = unescape(report(tmp_path))
    for name, words in (
        ("failed", "non-finite: the loss is nan at step 3"),
        ("blocked", f"waits for {runs['failed']}"),
    ):
        (text,) = re.findall(rf'<details class="run" id="run-{runs[name]}"(.*?)</details>', page, re.S)
        assert words in text
        assert "kdbench run --methods kd --tasks rte --seeds 1" in text
    table = build_traced_table(studies(store)[-1])
    assert table is not None
    assert any("Not finished" in note for note in table.notes)
    # the command that trains what is missing names the folder, which here is the usual one for the page alone
    assert all(f"<li>{note.partition(' --results ')[0]}</li>" in page for note in table.notes)


def test_figures_are_drawn_from_the_points_of_kdbench_figure(tmp_path: Path) -> None:
    everything(tmp_path / "results")
    charts = data(report(tmp_path))
    assert {f"paper-0-figure{n}" for n in range(2, 7)} <= charts.keys()
    (panel,) = charts["paper-0-figure6"]["views"]["mnli"]["panels"]  # type: ignore[index]
    assert [curve["y"] for curve in panel["curves"]] == [[0.0, 0.1, 0.7], [0.0, 0.3, 0.35], [0.0, 0.4, 0.45]]
    assert panel["rule"] == 0
    (panel,) = charts["curves-0"]["views"]["mnli|gap"]["panels"]  # type: ignore[index]
    assert [(curve["label"], curve["y"]) for curve in panel["curves"]] == [
        ("Meta Distill", [0.0, 0.1, 0.7]), ("LGTM", [0.0, 0.1, 0.7])
    ]  # fmt: skip


def test_the_average_of_the_spread_says_whose_seeds_it_is_of(tmp_path: Path) -> None:
    """RTE has a seed more than SST-2, and that seed is not in the points of the average."""
    made = Made(Store(tmp_path / "results"))
    said = "The average is over the seeds that all tasks have, so that it may differ from that of the table."
    for task, seed, score in (("rte", 0, 0.6), ("sst2", 0, 0.8), ("rte", 1, 0.9)):
        made.done(made.ask(spec("kd", task, seed)), score)
        made.write()
        chart = data(report(tmp_path))["spread-0"]
        assert (said in str(chart["about"])) == (seed == 1)
    assert [row["x"] for row in chart["views"]["average"]] == [[70.0]]  # type: ignore[index]


def test_cost_counts_what_a_run_needs(tmp_path: Path) -> None:
    full(tmp_path / "results", seeds=(0,))
    views = data(report(tmp_path))["cost-0"]["views"]
    kd = {k: [p["x"] for p in v if p["label"] == "KD"] for k, v in views.items()}  # type: ignore[attr-defined]
    assert kd["mrpc|train_seconds|own"] == [65]
    assert kd["mrpc|train_seconds|all"] == [130]


def test_the_page_is_small(page: str, tmp_path: Path) -> None:
    """The drawing is the page's own; what grows is the runs, by less than 9 kB each."""
    runs = page.count('<details class="run"')
    assert runs > 80
    assert len(page.encode()) < 150_000 + 9_000 * runs
    assert "plotly" not in page.lower()


def test_a_teacher_without_scores_is_a_run_like_others(tmp_path: Path) -> None:
    """Its file of outputs has only the rows of training."""
    made = Made(Store(tmp_path / "results"))
    parent = made.done(made.need(teacher("rte", 0)), 0.9)
    file = made.store.run(parent).path / "result.json"
    found = read_json(file)
    for part in (found["best"], found["last"]):
        part |= {"report": {"validation": {}}, "selection": {}}
    write_json(file, found)
    made.done(made.ask(spec("kd", "rte", 0, needs={"teacher": parent})), 0.7)
    made.write()
    page = report(tmp_path)
    (text,) = re.findall(rf'<details class="run" id="run-{parent}"(.*?)</details>', page, re.S)
    assert "was not scored" not in text
    assert ">70.0<" in page
    collect_study("kept", [made.store], tmp_path / "kept", None)
    call(tmp_path, "report", "--results", "kept", "--out", "kept.html")
    assert ">70.0<" in (tmp_path / "kept.html").read_text(encoding="utf-8")
    assert parent in call(tmp_path, "show", "teacher", "rte")


def test_scores_and_losses_begin_after_step_0(tmp_path: Path) -> None:
    made = Made(Store(tmp_path / "results"))
    rows = [(step, "selection", {"loss": 9.0 if not step else 0.5, "accuracy": 0.1 * (step > 0)}) for step in (0, 10)]
    finish(made, spec("kd", "rte", 0), [*rows, *gaps(0.0, 0.1)])
    made.write()
    views = data(report(tmp_path))["curves-0"]["views"]
    found = {key: view["panels"][0]["curves"][0]["y"] for key, view in views.items()}  # type: ignore[attr-defined]
    assert found == {"rte|score": [10.0], "rte|loss": [0.5], "rte|gap": [0.0, 0.1]}


def test_the_most_informative_task_comes_first(tmp_path: Path) -> None:
    """On MRPC two rows are alike, on RTE all three pairs lie apart; the teacher does not compete."""
    made = Made(Store(tmp_path / "results"))
    skills = {"mrpc": {"finetune": 0.0, "kd": 0.0, "dml": 3.0}, "rte": {"finetune": -0.6, "kd": 0.2, "dml": 1.2}}
    for task, rows in skills.items():
        parent = predict(made, made.need(teacher(task, 0)), 3.0, 9)
        for i, (row, skill) in enumerate(rows.items()):
            predict(made, made.ask(spec(row, task, 0, needs={"teacher": parent} if row == "kd" else {})), skill, i)
    study = studies(made.write())[-1]
    assert study.tasks == ["mrpc", "rte"]
    order, ((name, said),) = rank_tasks(study)
    assert (order, name) == (["rte", "mrpc"], "Shown first")
    assert said == "RTE: most pairs of methods further apart than their errors (not tested)"
    page = report(tmp_path)
    assert said in page
    charts = data(page)
    for name in ("spread-0", "cost-0"):
        assert list(charts[name]["choices"]["Task"])[:2] == ["rte", "mrpc"]  # type: ignore[index]


def test_the_same_results_give_the_same_file(folder: Path, page: str) -> None:
    assert report(folder) == page


def test_without_results_it_says_what_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--preset", "minilm"], ["--preset", "tiney"]):
        said = []
        for command in (["table", "1"], ["report"]):
            assert call_here([*command, *more], monkeypatch) == 2
            said.append(capsys.readouterr().err)
        assert said[0] == said[1]
    assert call_here(["report", "--out", "."], monkeypatch) == 2
    assert "--out . is a folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_parts_of_the_page_are_installed() -> None:
    root = Path(kdbench.__file__).parent
    project = root.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a checkout")
    patterns = tomllib.loads(project.read_text())["tool"]["setuptools"]["package-data"]["kdbench.reporting.html"]
    folder = root / "reporting" / "html"
    parts = {file for file in folder.iterdir() if file.suffix in (".html", ".css", ".js")}
    assert parts
    assert parts <= {found for pattern in patterns for found in folder.glob(pattern)}
