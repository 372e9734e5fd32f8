"""The student's start as a factor: layers kept, in a grid and in the rows of a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdbench.analysis.scores import RowRequest, ScoreTable
from kdbench.analysis.table1 import Table1
from kdbench.core.errors import UserError
from kdbench.core.spec import ModelRef
from kdbench.models.reference import keep_layers
from kdbench.planning.config import assemble_config, parse_sets
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan
from kdbench.planning.reproduce import cell_command
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import StudyResults
from tests.analysis.made import Made, spec, teacher
from tests.models.made import config, save


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("networks") / "bert", config())


def planned(folder: Path, *sets: str, methods: str = "kd", **varies: str) -> Plan:
    usual = ["epochs=1", "train_rows=48", "batch_size=16", f"student={folder}", f"teacher={folder}"]
    layer = {**parse_sets([*usual, *sets]), "tasks": "rte", "methods": methods}
    return make_plan(assemble_config(layer, folder.parent), varies)


def test_layers_are_a_grid_key(folder: Path) -> None:
    plan = planned(folder, "student_layers=0+1,1+3")
    assert [cell.choice for cell in plan.cells] == [{"student_layers": "0+1"}, {"student_layers": "1+3"}]
    assert [plan.runs[cell.run].student.name for cell in plan.cells] == [f"{folder}:0+1", f"{folder}:1+3"]
    assert len(plan.runs) == 3, "both students have one teacher"
    # the teacher is that of a plan without layers, and no run of such a plan changes
    whole = planned(folder)
    assert len(plan.runs.keys() & whole.runs.keys()) == 1
    (teacher,) = plan.runs.keys() & whole.runs.keys()
    assert plan.runs[teacher].training.student_layers == ""


def test_one_method_alone_may_select_layers(folder: Path) -> None:
    plan = planned(folder, "kd.student_layers=0+1", methods="kd,finetune")
    names = {cell.row: plan.runs[cell.run].student.name for cell in plan.cells}
    assert names == {"finetune": str(folder), "kd": f"{folder}:0+1"}


@pytest.mark.parametrize(
    ("student", "layers", "said"),
    [
        ("tiny-2x32", "0", "a tiny model has no layers to choose from"),
        ("minilm:0+1", "0", "without layers in its name"),
    ],
)
def test_networks_without_a_choice(student: str, layers: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        make_plan(assemble_config({"student": student, "student_layers": layers, "tasks": "rte"}, tmp_path))
    assert keep_layers(student, "") == student


def test_a_file_of_outputs_has_no_layers() -> None:
    with pytest.raises(UserError, match="needs a network as student"):
        keep_layers("outputs.csv", "0")


def test_only_numbers_of_layers_are_valid(folder: Path) -> None:
    with pytest.raises(UserError, match="student_layers='first' is not valid"):
        planned(folder, "student_layers=first")
    with pytest.raises(UserError, match="key of section 'teacher'"):
        planned(folder, "teacher.student_layers=0")


class ByLayers(ScoreTable):
    """A table of a plugin."""

    title = "By layers"
    name = "table0"
    rows = tuple(RowRequest("kd", {"student_layers": layers}, f"KD, layers {layers}") for layers in ("0+1", "1+3"))

    def groups(self, study: StudyResults) -> list[list[RowRequest]]:
        return [list(self.rows)]


def test_a_table_varies_layers_like_any_other_key(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    for score, row in zip((0.7, 0.6), ByLayers.rows, strict=True):
        layers = row.values["student_layers"]
        student = ModelRef(name=f"s-net:{layers}", fingerprint=f"fp/s:{layers}")
        made.done(made.ask(spec("kd", "rte", 0, student_layers=layers, student=student), varies=row.values), score)
    made.done(made.ask(spec("kd", "rte", 0)), 0.8)
    (study,) = studies(made.write())
    found = {name: table.build(study) for name, table in (("by layers", ByLayers()), ("1", Table1()))}
    texts = {name: {row[0].text: row[1].text for row in t.rows} for name, t in found.items() if t is not None}
    assert texts == {"by layers": {"KD, layers 0+1": "70.0", "KD, layers 1+3": "60.0"}, "1": {"KD": "80.0"}}
    upper = next(cell for cell in study.cells if cell.settings["student_layers"] == "1+3")
    words = cell_command([upper], study)
    assert "student_layers=1+3" in words


def test_notes_tell_of_starts_and_do_not_take_the_teacher_s_for_one(tmp_path: Path) -> None:
    made = Made(Store(tmp_path))
    parent = made.done(made.need(teacher("rte", 0)), 0.9)
    student = ModelRef(name="s-net:0+1", fingerprint="fp/s:0+1")
    made.done(made.ask(spec("kd", "rte", 0, student_layers="0+1", student=student, needs={"teacher": parent})), 0.7)
    table = Table1().build(studies(made.write())[0])
    assert table is not None
    assert table.title.endswith(": t-net teaches s-net (layers 0, 1)")
    assert not [note for note in table.notes if "student_layers" in note]
    made.done(made.ask(spec("finetune", "rte", 0)), 0.6)
    table = Table1().build(studies(made.write())[0])
    assert table is not None
    assert table.title.endswith(": t-net teaches s-net")
    assert "Rows differ in student_layers: Fine-tuning none, KD 0+1." in table.notes
