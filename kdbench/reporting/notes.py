"""The notes below a table: how its numbers were computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from kdbench.core.formatting import count, value
from kdbench.core.settings import DIVIDING, Training
from kdbench.data.splits import held_out_share
from kdbench.data.task_registry import TASKS
from kdbench.reporting import fairness
from kdbench.reporting.machines import software_notes
from kdbench.reporting.row_differences import difference_notes
from kdbench.reporting.tables import Detail
from kdbench.results.class_use import ClassUse, collapse_heading, collapsed_uses, is_collapsed
from kdbench.results.data_origin import describe_train_rows, generated_tasks, random_networks
from kdbench.results.selection import SelectedRow
from kdbench.results.study import TEACHER, CellResult, StudyResults, task_title
from kdbench.results.study_part import describe_left_out

DAGGER = "†"
COLLAPSE_SIGN = "§"
MOST_NAMED = 8  # rows of a task with classes that they never predict
ONE_SEED = " Where there is one seed, only items count."  # after the sentence on what the error counts


def describe_seeds(lines: Sequence[SelectedRow], spread: str = "mean ± sample standard deviation over seeds") -> str:
    """Say how many seeds each number shown is computed from."""
    counts = {len(cells) for line in lines for cells in line.shown.values() if cells}
    if not counts:
        return "no run is done yet"
    if counts == {1}:
        return "one seed a number"
    if len(counts) == 1:
        return f"{spread} ({max(counts)} a number)"
    single = "; no ± where one seed is done" if 1 in counts and "±" in spread else ""
    return f"{spread} ({min(counts)} to {max(counts)} a number{single})"


def describe_split(protocol: str, tasks: Sequence[str] = ()) -> str:
    """Put a protocol such as `train:0.1` or `validation`, which means other splits on other tasks, into words."""
    share = held_out_share(protocol, "selection")
    if share:
        return f"{value(100 * share)} % of train, held out"
    own = [task for task in tasks if TASKS.get(task).validation_split]
    if not own:
        return "the reported split"
    if len(own) == len(tasks):
        return "the validation split, which is not reported"
    return f"the validation split ({', '.join(map(task_title, own))}), else the reported split"


def protocol_notes(study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """Say which data selected checkpoints and gave feedback, with a warning where these are the reported data."""
    gone = describe_left_out(study)
    study = study.on({task for line in lines for task in line.asked})
    selection, feedback = study.study["selection"], study.study["feedback"]
    where = describe_split(selection, study.tasks)
    notes: list[str] = [Detail(f"Checkpoints selected on {where}{_first_of(study, selection)}.")]
    leaking = [task for task in study.tasks if not TASKS.get(task).validation_split]
    if selection == "validation" and leaking:  # a warning, and so no detail
        where = "" if leaking == study.tasks else f" on {', '.join(map(task_title, leaking))}"
        notes[0] += f" The split that selects is the one that is reported{where}, so the numbers are optimistic."
    # the split that gives feedback
    learners = [line.title for line in lines if line.feedback_from(feedback)]
    if learners and feedback == "validation" and leaking:
        alone = any(not line.feedback_from(feedback) and line.row != TEACHER and line.cells for line in lines)
        apart = " Not compared with the other rows." if alone else ""
        notes.append(f"{DAGGER} Learned from feedback on the reported split{_first_of(study, feedback)}.{apart}")
    elif learners:
        told = "; ".join(fairness.held_out_notes(study, lines))
        where = describe_split(feedback, study.tasks)
        notes.append(Detail(f"Feedback ({', '.join(learners)}) from {where}{f': {told}' if told else ''}."))
    if study.study.get("hold_out_feedback") == "all" and (share := held_out_share(feedback, "feedback")):
        words = f"{value(100 * share)} % of train held out for feedback"
        notes.append(Detail(f"No method of this table, and no teacher, was trained on the {words}."))
    notes += [Detail(said) for task in study.tasks for said in study.data_remarks.get(task, ())]
    classes = {task: TASKS.get(task).labels for task in study.tasks if "f1" in TASKS.get(task).metrics}
    notes += [Detail(f"{task_title(task)}: F1 is that of class '{labels[1]}'.") for task, labels in classes.items()]
    # how rows of train were drawn, and reported rows where no split is declared for them
    notes += [f"{task_title(task)}: {said}." for task in study.tasks if (said := TASKS.get(task).report_note)]
    notes += train_rows_notes(study)
    if study.study["split_seed"]:
        notes.append(Detail(f"Rows of train drawn and held out with split_seed={study.study['split_seed']}."))
    part = f"Left out when these results were collected: {gone}. Marks, averages and ranks are of what is here."
    return [*notes, *([part] if gone else []), *_joined_notes(study), *missing_task_notes(study)]


def train_rows_notes(study: StudyResults) -> list[str]:
    """Say how many rows of train are used where not all are."""
    drawn = describe_train_rows(study)
    return [f"Rows of train that are used: {drawn}."] if drawn else []


def _joined_notes(study: StudyResults) -> list[str]:
    """Name runs that were trained again, or in several of the joined folders, with other results."""
    titles = {cell.run.id: study.title(cell.cell.row) for cell in [*study.teachers, *study.cells]}
    again = {run.id for run in study.runs.values() if run.result and run.result.get("had_other_scores")}
    runs = [study.runs[run] for run in sorted((study.other_results & study.runs.keys()) | again)]
    here = [run for run in runs if run.spec.task in study.tasks]
    if not here:
        return []
    found = Counter(f"{titles.get(run.id, run.spec.method)} on {task_title(run.spec.task)}" for run in here)
    listed = ", ".join(f"{count(number, 'run')} of {name}" for name, number in found.items())
    return [
        f"Trained more than once, with different results: {listed}. One result is shown, and fidelity compares with "
        "that one; students may have learned from another."
    ]


def missing_task_notes(study: StudyResults) -> list[str]:
    """Name the tasks of the study that cannot be shown because no installed plugin has them as they were."""
    absent = [task for task in study.gone if task not in study.changed]
    lost = f"Left out, for no installed task has the name or it does not load: {', '.join(absent)}."
    changed = [
        f"Left out: {task}, whose {study.changed[task]} have changed since it was trained. A changed task needs a name "
        "of its own."
        for task in study.gone if task in study.changed
    ]  # fmt: skip
    return [*([lost] if absent else []), *changed]


def _first_of(study: StudyResults, protocol: str) -> str:
    """Name the split that selects or gives feedback for tasks with several reported splits; it is always the first."""
    known = [TASKS.get(name) for name in study.tasks]
    several = [task for task in known if len(task.report_splits) > 1 and not task.validation_split]
    if protocol != "validation" or not several:
        return ""
    return " (" + ", ".join(f"{task.title}: {task.report_splits[0]} only" for task in several) + ")"


def evidence_notes(study: StudyResults) -> list[str]:
    """Warn where data are synthetic, or networks start from random weights instead of pre-trained ones."""
    made, drawn, notes = generated_tasks(study), random_networks(study), list[str]()
    if made:
        which = "" if made == study.tasks else f" ({', '.join(map(task_title, made))})"
        notes.append(f"Made data{which}: these numbers say nothing about the methods.")
    if drawn and not (made and made == study.tasks):  # where all data are synthetic, that says enough
        networks = f"Networks drawn at random ({', '.join(drawn)}), without pre-training"
        notes.append(f"{networks}: how methods compare on pre-trained ones may differ.")
    return notes


def training_notes(lines: Sequence[SelectedRow]) -> list[str]:
    """List the settings that all rows share, and the seeds and settings in which rows differ without a grid."""
    # settings that all rows share
    keys = ("epochs", "batch_size", "max_length")
    known = {key: {item for line in lines for item in _values(line, key)} for key in keys}
    same = [f"{key}={min(values)}" for key, values in known.items() if len(values) == 1]
    notes: list[str] = [Detail(f"All runs shown: {', '.join(same)}.")] if same else []
    notes += [*_teacher(lines), *_cut_off(lines)]
    # settings in which rows or tasks differ although no grid varies them
    shown = [line for line in lines if line.cells]
    varied = {key for line in shown if line.row != TEACHER for key in _varied(line.asked.values())}
    free = [key for key in Training.model_fields if key not in {*varied, *DIVIDING}]  # a note of their own names these
    return [*notes, *difference_notes(shown, free), *software_notes(lines)]


def _cut_off(lines: Sequence[SelectedRow]) -> list[str]:
    """Say where texts are as long as max_length, and so probably longer."""
    found: dict[str, None] = {}
    for task, cells in ((task, cells) for line in lines for task, cells in line.shown.items()):
        for cell in cells:
            result = cell.run.result or {}
            rows, cut, length = result.get("rows", {}), result.get("cut_off", {}), cell.run.spec.training.max_length
            if parts := [
                f"{number:,} of {count(rows.get(split, number), 'row')} of {split.replace('_', '-')}"
                for split, number in cut.items()
            ]:
                said = f"{' and '.join(parts)} fill max_length={length} tokens; longer texts are cut off."
                found[f"{task_title(task)}: {said}"] = None
    return [Detail(text) for text in found]


def _teacher(lines: Sequence[SelectedRow]) -> list[str]:
    """Say how the teacher's own training differs from that of the other rows; learning rates may always differ."""
    files = {c.run.spec.student for x in lines if x.row == TEACHER for c in x.asked_cells}
    if names := sorted(ref.title for ref in files if ref.is_outputs):
        return [f"The teacher is a file of outputs, {', '.join(names)}; no network was asked here."]
    rows = {is_teacher: [x for x in lines if (x.row == TEACHER) == is_teacher] for is_teacher in (True, False)}
    texts = []
    for key in Training.model_fields if all(rows.values()) else ():
        own, others = (set[Any]().union(*(_values(line, key) for line in rows[one])) for one in (True, False))
        if own and others and own.isdisjoint(others) and key not in ("student_lr", "teacher_lr", "student_layers"):
            texts.append(f"{key}={'/'.join(map(value, sorted(own)))} (others {'/'.join(map(value, sorted(others)))})")
        if key == "epochs" and own == {0}:
            return ["The teacher was taken as it was given; it was not fine-tuned here."]
    return [f"The teacher was fine-tuned with {', '.join(texts)}."] if texts else []


def row_notes(parts: Iterable[tuple[StudyResults, Sequence[SelectedRow]]]) -> list[str]:
    """Return what holds for the rows of a table: protocol, training, options and grid points.

    Args:
        parts: each study with its rows.
    """
    own = list(parts)
    return [
        *(note for study, lines in own for note in protocol_notes(study, lines)),
        *training_notes([line for _, lines in own for line in lines]),
        *(note for study, lines in own for note in fairness.option_notes(study, lines)),
        *(note for study, lines in own for note in grid_notes(study, lines)),
    ]


def collapse_notes(lines: Sequence[SelectedRow]) -> list[str]:
    """Explain the sign of collapsed students, and list collapsed networks that no cell shows.

    Those are the student after the last step, and a teacher that was trained along.
    """
    signed, partly, at_end = list[ClassUse](), list[str](), list[ClassUse]()
    last, teachers = dict[str, list[str]](), dict[str, list[str]]()  # tasks by row
    # sort the collapsed networks: shown in a cell, last student, teacher
    for line, (task, cells) in ((one, item) for one in lines for item in one.shown.items()):
        kept = [cell for cell in cells if is_collapsed(cell.run.class_use, "best")]
        signed += [use for cell in kept for use in collapsed_uses(cell.run.class_use, "best")]
        partly += [f"{line.title} on {task_title(task)}{_share(kept, cells)}"] if 0 < len(kept) < len(cells) else []
        for network, said in (("last", last), ("teacher", teachers)):
            hit = [cell for cell in cells if is_collapsed(cell.run.class_use, network)]
            if hit := [cell for cell in hit if network == "teacher" or cell not in kept]:
                said.setdefault(line.title, []).append(f"{task_title(task)}{_share(hit, cells)}")
                at_end += [use for cell in hit for use in collapsed_uses(cell.run.class_use, network)]
    # the sign, then the networks that no cell shows
    some = f" Not in every seed: {'; '.join(partly)}." if partly else ""
    notes = [f"{COLLAPSE_SIGN} {collapse_heading(signed)}.{some}"] if signed else []
    ends = {"the last student": last, "the teacher": teachers}
    texts = [f"{who} of {', of '.join(rows_by_tasks(said))}" for who, said in ends.items() if said]
    return notes + ([f"{collapse_heading(at_end)} at the end of training: {'; '.join(texts)}."] if texts else [])


def class_use_notes(lines: Sequence[SelectedRow]) -> list[str]:
    """Name the rows with networks that have collapsed, and those with a student that never predicts some class."""
    return [*collapse_notes(lines), *missed_class_notes(lines)]


def missed_class_notes(lines: Sequence[SelectedRow]) -> list[str]:
    """Name the rows with a student that never predicts some class of the reported split, which accuracy hardly shows.

    Of several seeds and splits the fewest classes stand. Where many rows of a task do so, their number stands for their
    names. Collapsed students are named by `collapse_notes`.
    """
    missed = dict[str, dict[str, tuple[ClassUse, str]]]()  # task -> row -> the fewest classes, in words too
    for line, (task, cells) in ((one, item) for one in lines for item in one.shown.items()):
        uses = [[u for u in cell.run.class_use.get("best", {}).values() if u.misses_classes] for cell in cells]
        if hit := [cell for cell, found in zip(cells, uses, strict=True) if found]:
            seeds = "" if len(hit) == len(cells) else f", {len(hit)} of {count(len(cells), 'seed')}"
            fewest = min(chain(*uses), key=lambda use: use.predicted)
            words = f"{task_title(task)} ({fewest.predicted} of {fewest.true} predicted{seeds})"
            missed.setdefault(task, {})[line.title] = fewest, words
    # few rows of a task by name, in the order of the table, and many by their number
    few = [rows for rows in missed.values() if len(rows) <= MOST_NAMED]
    named = {line.title: [rows[line.title][1] for rows in few if line.title in rows] for line in lines}
    many = list[str]()
    for task, rows in ((task, rows) for task, rows in missed.items() if len(rows) > MOST_NAMED):
        predicted, classes = zip(*((use.predicted, use.true) for use, _ in rows.values()), strict=True)
        extent = f"{min(predicted)} to {max(predicted)} of {max(classes)} predicted"
        whole = sum(bool(line.shown.get(task)) for line in lines)
        many.append(f"{len(rows)} of {whole} rows on {task_title(task)} ({extent})")
    parts = [*rows_by_tasks({title: tasks for title, tasks in named.items() if tasks}), *many]
    return [f"Some classes are never predicted: {'; '.join(parts)}."] if parts else []


def _share(some: Sequence[CellResult], cells: Sequence[CellResult]) -> str:
    """Return ` (2 of 3 seeds)`, or "" where all seeds are concerned."""
    return "" if len(some) == len(cells) else f" ({len(some)} of {count(len(cells), 'seed')})"


def rows_by_tasks(found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return rows with their tasks, `KD, DKD on MRPC`; rows with the same tasks stand together."""
    alike: dict[str, list[str]] = {}
    for title, tasks in found.items():
        alike.setdefault(", ".join(tasks), []).append(title)
    return [f"{', '.join(titles)} on {tasks}" for tasks, titles in alike.items()]


def _values(line: SelectedRow, key: str) -> set[Any]:
    """Return the distinct values of a setting in the runs shown."""
    return {c.settings[key] for c in line.cells if c.settings[key] is not None}


def _varied(groups: Iterable[Sequence[CellResult]]) -> list[str]:
    """Return the keys in which the grid points of a task differ.

    Keys that only some points have follow from other keys and are left out.
    """
    keys: dict[str, None] = {}
    for cells in groups:
        points = [c.settings for c in {c.point: c for c in cells}.values()]
        names = dict.fromkeys(key for settings in points for key in settings)
        keys |= {k: None for k in names if len({str(settings[k]) for settings in points if k in settings}) > 1}
    return list(keys)


def grid_notes(study: StudyResults, lines: Sequence[SelectedRow]) -> list[str]:
    """Say which grid point each row shows, and by which rule it was selected."""
    notes = [Detail(f"{line.title}: {text}.") for line in lines if (text := _points(line))]
    if not notes:
        return []
    where = describe_split(study.study["selection"], study.tasks)
    rule = Detail(f"Grid points have the most finished seeds, then the best mean first metric on {where}.")
    return [rule, *notes]


def _points(line: SelectedRow) -> str:
    """Describe the selected grid points of a row by task."""
    keys = _varied(line.asked.values())
    by_text: dict[str, list[str]] = {}
    for task, cells in line.shown.items():
        if cells and _varied([line.asked[task]]):
            known = cells[0].settings
            text = ", ".join(f"{k}={value(known[k])}" for k in keys if k in known and not _repeats(k, line))
            by_text.setdefault(text, []).append(task_title(task))
    everywhere = len(by_text) == 1 and sum(map(len, by_text.values())) > 1
    return "; ".join(t if everywhere else f"{t} on {', '.join(tasks)}" for t, tasks in by_text.items())


def _repeats(key: str, line: SelectedRow) -> bool:
    """Return whether a key such as `teacher's epochs` always has the value of `epochs`, and need not be printed."""
    _, of_role, own = key.rpartition("'s ")
    return bool(of_role) and all(own in c.settings and c.settings[own] == c.settings.get(key) for c in line.asked_cells)
