"""Choose what a command shows of a results folder: a preset, a student, tasks, rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kdbench.core.errors import UserError, unknown
from kdbench.core.registry import ALL
from kdbench.core.spec import ModelRef
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_files import row_of
from kdbench.distill.method_registry import in_group, method_groups
from kdbench.models.display_names import display_name
from kdbench.models.reference import absolute_name
from kdbench.planning.config import check_preset, stored_studies
from kdbench.planning.make_plan import select_tasks
from kdbench.reporting.provenance import traceable_rows
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import TEACHER, StudyResults, task_order, task_title
from kdbench.results.study_part import MOST_NAMED, part_of_study


@dataclass(frozen=True)
class StudyChoice:
    """Hold what was chosen, as it was typed; None is everything.

    `networks` are the fingerprints of student and teacher by role.
    """

    preset: str | None = None
    tasks: str | None = None
    methods: str | None = None
    student: str | None = None
    networks: Mapping[str, str] | None = None


EVERYTHING = StudyChoice()


@dataclass(frozen=True)
class ChosenStudies:
    """Hold the chosen parts of studies, and the note that says what was left out; "" where nothing was."""

    studies: Sequence[StudyResults]
    note: str = ""

    @property
    def notes(self) -> list[str]:
        """Return the note as a list."""
        return [self.note] if self.note else []


def choose_studies(store: Store, choice: StudyChoice, *, all_tasks: bool = False) -> ChosenStudies:
    """Read the studies of a results folder and take the parts that can be shown; see `choose_parts`.

    A folder without results gives no studies, whatever was chosen.

    Raises:
        UserError: see `choose_parts`, or no task can be shown.
    """
    every = [s for s in stored_studies(store, choice.preset) if choice.networks in (None, s.models)]
    lost = sorted({task for study in every for task in study.gone})
    every = [study for study in every if study.tasks]
    if lost and not every:
        raise UserError(
            f"The results in {store.root} are on tasks that have changed since, or are missing: {', '.join(lost)}."
        )
    return choose_parts(every, choice, str(store.root), all_tasks=all_tasks)


def choose_runs(stores: Sequence[Store], choice: StudyChoice) -> ChosenStudies:
    """Read the studies of results folders and take the parts that were chosen, those on tasks that are gone too.

    This is for commands that name runs and print no scores.

    Raises:
        UserError: see `choose_parts`.
    """
    every = [study for store in stores for study in studies(store)]
    check_preset(choice.preset, (study.preset for study in every))
    found = [study for study in every if choice.preset in (None, study.preset)]
    return choose_parts(found, choice, " and ".join(str(store.root) for store in stores), gone=True)


def choose_parts(
    every: Sequence[StudyResults], choice: StudyChoice, where: str, *, all_tasks: bool = False, gone: bool = False
) -> ChosenStudies:
    """Take the parts of studies that were chosen, the last asked for last.

    Args:
        where: the results folders, for messages.
        all_tasks: leave the studies all of their tasks, and take names of tasks that they lack, for figures, which
            choose among tasks themselves and say which runs they need; see `find_tasks`.
        gone: take tasks that are gone, too.

    Raises:
        UserError: a name is not known, or nothing has all that was chosen.
    """
    if not every:
        return ChosenStudies([])
    found, parts = every, list[str]()
    if choice.student is not None:
        found = choose_student(every, choice.student)
        titles = [dict.fromkeys(map(student_title, some)) for some in (every, found)]
        parts.append(_left_out("student", "--student", choice.student, *titles))
    rows = tasks = None
    if choice.methods is not None:
        rows = choose_rows(found, choice.methods)
        every_row = _titles(found, lambda study: study.rows, StudyResults.title)
        kept = [title for row, title in every_row.items() if row in rows]
        parts.append(_left_out("row", "--methods", choice.methods, every_row.values(), kept))
    if choice.tasks is not None:
        tasks = set(find_tasks(found, choice.tasks)) if all_tasks else choose_tasks(found, choice.tasks, gone=gone)
        every_task = _task_titles(found, gone)
        kept = [title for task, title in every_task.items() if task in tasks]
        parts.append(_left_out("task", "--tasks", choice.tasks, every_task.values(), kept))
        tasks = None if all_tasks else tasks
    shown = found if rows is tasks is None else [p for study in found if (p := part_of_study(study, rows, tasks))]
    if not shown:
        raise UserError(f"No run in {where} is of --methods {choice.methods} on --tasks {choice.tasks}.")
    said = "; ".join(filter(None, parts))
    return ChosenStudies(shown, f"Selected from the results folder: {said}." if said else "")


def require_studies(store: Store, choice: StudyChoice) -> ChosenStudies:
    """Do as `choose_studies`, for commands that have nothing to say of a folder without results.

    Raises:
        UserError: there are no results, or see `choose_studies`.
    """
    chosen = choose_studies(store, choice)
    if not chosen.studies:
        of = f" of preset {choice.preset}" if choice.preset else ""
        raise UserError(f"There are no results{of} in {store.root}; give another folder with --results DIR.")
    return chosen


def choose_student(found: Sequence[StudyResults], name: str) -> list[StudyResults]:
    """Return the studies of a student, named as in tables or as `kdbench run --student` takes it.

    Raises:
        UserError: no study has it.
    """
    wanted = {name.casefold(), absolute_name(name).casefold()}
    kept = [study for study in found if wanted & {known.casefold() for known in _student_names(study)}]
    if not kept:
        raise unknown("student", name, {str(study.study["student"]) for study in found})
    return kept


def choose_rows(found: Sequence[StudyResults], text: str) -> set[str]:
    """Return the rows that names choose, of which the teacher's always stays; see `find_rows`.

    Raises:
        UserError: a name is not known, or there is none but the teacher.
    """
    rows = find_rows(found, text)
    if not rows - {TEACHER}:
        others = sorted({row for study in found for row in traceable_rows(study)} - rows)
        raise UserError(f"--methods {text} names no method; give some of {', '.join(others)}.")
    return rows


def find_rows(found: Sequence[StudyResults], text: str) -> set[str]:
    """Return the rows that names choose: those of tables, or what `kdbench run --methods` takes.

    Raises:
        UserError: a name is not known, or there is none.
    """
    present = _titles(found, traceable_rows, StudyResults.title)
    groups = {group: {row for row in present if row != TEACHER and in_group(row, group)} for group in method_groups()}
    return _chosen("row", text, present, groups, row_of)


def choose_row(found: Sequence[StudyResults], text: str) -> str:
    """Return the one row that a name, a title of tables, or a file that defines a method names.

    Raises:
        UserError: no study has such a row, or several rows have the title.
    """
    return one_name("row", row_of(text), _titles(found, traceable_rows, StudyResults.title))


def choose_task(text: str) -> str:
    """Return the one task that a name or a title of tables names, whether a study has it or not.

    Raises:
        UserError: there is no such task, or several tasks have the title.
    """
    return one_name("task", text, {task: task_title(task) for task in [*TASKS.all(), *TASKS.broken]})


def one_name(what: str, text: str, titles: Mapping[str, str]) -> str:
    """Return the name that is meant by a name, or by a title that no other name has.

    Args:
        titles: name -> title.
    """
    named = [text] if text in titles else [n for n, title in titles.items() if title.casefold() == text.casefold()]
    if len(named) != 1:
        raise unknown(what, text, titles)
    return named[0]


def choose_tasks(found: Sequence[StudyResults], text: str, *, gone: bool = False) -> set[str]:
    """Return the tasks of studies that names choose: those of tables, or what `kdbench run --tasks` takes.

    Args:
        gone: take tasks that are gone, too.

    Raises:
        UserError: a name is not known, or no study has the task.
    """
    present = _task_titles(found, gone)
    return _chosen("task", text, present, {**_task_groups(found), ALL: set(present)})


def find_tasks(found: Sequence[StudyResults], text: str) -> list[str]:
    """Return the tasks that names choose: of the studies where they have them, else of all tasks, in table order.

    Raises:
        UserError: a name is not known, or there is none.
    """
    groups = _task_groups(found)
    titles = {task_title(task).casefold(): {task} for task in groups[ALL]}
    items = [item for item in map(str.strip, text.split(",")) if item]
    own = [groups.get(item) or titles.get(item.casefold()) or set(select_tasks(item)) for item in items]
    return sorted(set[str]().union(*own) or select_tasks(text), key=task_order)


def _task_groups(found: Sequence[StudyResults]) -> dict[str, set[str]]:
    """Return the groups of the tasks of studies, and `all`."""
    present = {task for study in found for task in study.tasks}
    groups = {ALL: present}
    for task in present:
        groups.setdefault(TASKS.get(task).group, set()).add(task)
    return groups


def _chosen(
    what: str, text: str, present: Mapping[str, str], groups: Mapping[str, set[str]],
    resolve: Callable[[str], str] = str,
) -> set[str]:  # fmt: skip
    """Return the names that a list of names, titles and groups chooses.

    Args:
        present: name -> title.
        resolve: turns an item into a name, such as a file into the method that it defines.
    """
    titles: dict[str, set[str]] = {}
    for name, title in present.items():
        titles.setdefault(title.casefold(), set()).add(name)
    if text.strip().casefold() in titles:  # a title may hold commas
        return titles[text.strip().casefold()]
    chosen = set[str]()
    for item in filter(None, map(str.strip, text.split(","))):
        name = resolve(item)
        own = {name} & present.keys() or titles.get(item.casefold(), set()) or groups.get(item, set())
        if not own:
            raise unknown(what, item, [*present, *(group for group, some in groups.items() if some)])
        chosen |= own
    if not chosen:
        raise UserError(f"No {what} is named; give some of {', '.join(present)}.")
    return chosen


def _titles(
    found: Iterable[StudyResults], names: Callable[[StudyResults], Iterable[str]],
    title: Callable[[StudyResults, str], str],
) -> dict[str, str]:  # fmt: skip
    """Return name -> title over all studies."""
    return {name: title(study, name) for study in found for name in names(study)}


def _task_titles(found: Iterable[StudyResults], gone: bool) -> dict[str, str]:
    """Return name -> title of the tasks of all studies, with those that are gone or without."""
    names = {task for study in found for task in (*study.tasks, *(study.gone if gone else ()))}
    return {task: task_title(task) for task in sorted(names, key=task_order)}


def student_title(study: StudyResults) -> str:
    """Return the name of a study's student in tables."""
    return display_name(ModelRef(name=study.study["student"], fingerprint=study.models["student"]))


def _student_names(study: StudyResults) -> set[str]:
    """Return the names under which a student may be asked for."""
    ref = study.networks.get("student")
    own = {str(study.study["student"]), student_title(study)}
    return own | ({ref.name, ref.title, ref.unique_title} if ref else set())


def _left_out(what: str, option: str, given: str, every: Collection[str], kept: Collection[str]) -> str:
    """Say how many of all are shown and which are not; "" where all are."""
    lost = [title for title in dict.fromkeys(every) if title not in kept]
    if not lost:
        return ""
    names = f", without {', '.join(lost)}" if len(lost) <= MOST_NAMED else ""
    whole = len(dict.fromkeys(every))
    return f"{whole - len(lost)} of {whole} {what}s ({option} {given}{names})"
