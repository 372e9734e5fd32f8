"""Compare pairs of rows of a study over its tasks, and say which runs a comparison lacks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from kdbench.analysis.significance_marks import Comparisons
from kdbench.core.errors import UserError
from kdbench.core.formatting import interval_end, p_value, signed
from kdbench.data.task_registry import TASKS
from kdbench.distill.method_registry import METHODS, has_enough_classes
from kdbench.planning import reproduce
from kdbench.reporting import machines
from kdbench.reporting.learning_notes import is_still_learned
from kdbench.reporting.provenance import traceable_rows
from kdbench.results.comparison import SeedScores, score_seeds
from kdbench.results.selection import select_row
from kdbench.results.significance import ALPHA, Difference, average_difference, holm_correction
from kdbench.results.study import TEACHER, CellResult, StudyResults, task_title

LEAST_SEEDS = 2  # one seed says nothing about other seeds
UNIT = "points"  # of the tasks' mean metric, in per cent


@dataclass(frozen=True)
class Contrast:
    """The first row minus the second, averaged over the tasks on which they share two seeds or more.

    Attributes:
        tasks: these tasks.
        difference: None where there is no such task.
    """

    titles: tuple[str, str]
    tasks: tuple[str, ...]
    difference: Difference | None

    @property
    def words(self) -> str:
        """Return `+0.4 points (95 % interval -0.5 to +1.3)`."""
        assert self.difference is not None
        low, high = self.difference.interval()
        return f"{signed(self.difference.value)} {UNIT} (95 % interval {interval_end(low)} to {interval_end(high)})"


@dataclass(frozen=True)
class JudgedContrasts:
    """Contrasts that answer one question together, with p-values that are Holm-corrected for their number.

    Attributes:
        known: row -> contrast.
        p: row -> corrected p-value.
    """

    known: Mapping[str, Contrast]
    p: Mapping[str, float]

    def separable(self, sign: int) -> list[str]:
        """Return the rows whose contrast is separable from 0 and has this sign, the largest first."""
        found = [row for row in self.known if self.p[row] < ALPHA and sign * self.value(row) > 0]
        return sorted(found, key=lambda row: -sign * self.value(row))

    def value(self, row: str) -> float:
        """Return the difference."""
        found = self.known[row].difference
        assert found is not None
        return found.value

    def verdict(self, row: str) -> int:
        """Return 1 or -1 where the contrast is separable from 0, else 0."""
        return (self.value(row) > 0) - (self.value(row) < 0) if self.p[row] < ALPHA else 0

    def columns(self, row: str) -> tuple[str, str, str]:
        """Return difference, interval and p-value as a table has them."""
        one = self.known[row].difference
        assert one is not None
        low, high = one.interval()
        return signed(one.value), f"{interval_end(low)} to {interval_end(high)}", p_value(self.p[row])

    def words(self, row: str) -> str:
        """Return `DIST +0.4 points (95 % interval -0.5 to +1.3; p = 0.200)`."""
        one = self.known[row]
        return f"{one.titles[0]} {one.words.removesuffix(')')}; {p_words(self.p[row])})"


def p_words(p: float) -> str:
    """Return `p = 0.200` or `p < 0.001`."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"


def judge_contrasts(contrasts: Mapping[str, Contrast]) -> JudgedContrasts:
    """Correct the p-values of the contrasts that are known."""
    known = {row: one for row, one in contrasts.items() if one.difference is not None}
    p = holm_correction([one.difference.p for one in known.values() if one.difference is not None])
    return JudgedContrasts(known, dict(zip(known, p, strict=True)))


class StudyContrasts:
    """The rows of a study, each as tables show it, and their comparisons, each computed once.

    Attributes:
        tasks: on which something is done.
        asked: the rows without the teacher.
        rows: those of which something is done.
    """

    def __init__(self, study: StudyResults) -> None:
        self.study = study
        self.lines = {row: select_row(study, row) for row in traceable_rows(study)}
        self.tasks = [task for task in study.tasks if any(line.shown[task] for line in self.lines.values())]
        self.asked = [row for row in self.lines if row != TEACHER]
        self.rows = [row for row in self.asked if any(self.lines[row].shown.values())]
        self._pairs = Comparisons(list(self.lines.values()), [TASKS.get(task) for task in self.tasks])
        self._place = {row: place for place, row in enumerate(self.lines)}

    def title(self, row: str) -> str:
        """Return the name of a row in tables, also of one that the study does not have."""
        if row in self.lines:
            return self.lines[row].title
        if row == TEACHER:
            return self.study.title(row)
        method = METHODS.get(METHODS.owner(row) or row)
        return method.variants[row][0] if row in method.variants else method.title

    @cached_property
    def times_warning(self) -> str:
        """Return why the times cannot be compared: other machines, or other work; "" where they can."""
        return machines.times_warning([cell for line in self.lines.values() for cell in line.cells])

    @cached_property
    def load_note(self) -> str:
        """Return the warning that the machine had other work than the runs shown; "" where their times show none."""
        return machines.load_note(cell for line in self.lines.values() for cell in line.cells)

    @cached_property
    def settled_tasks(self) -> list[str]:
        """Return the tasks that are not still learned at the end of training."""
        return [task for task in self.tasks if not is_still_learned(list(self.lines.values()), task)]

    def cells(self, row: str, task: str) -> list[CellResult]:
        """Return the cells of a row that tables show on a task; none of a row that the study does not have."""
        return self.lines[row].shown[task] if row in self.lines else []

    def seeds(self, row: str, task: str) -> list[int]:
        """Return the finished seeds of a row on a task."""
        return [cell.cell.seed for cell in self.cells(row, task)]

    def on(self, first: str, second: str, task: str) -> Difference | None:
        """Return the first row minus the second on a task; None where they share fewer than two seeds."""
        shared = set(self.seeds(first, task)) & set(self.seeds(second, task))
        if len(shared) < LEAST_SEEDS:
            return None
        return self._pairs.column(self._place[first], self._place[second], self.tasks.index(task))

    def contrast(self, first: str, second: str, tasks: Sequence[str] | None = None) -> Contrast:
        """Return the first row minus the second over the tasks (all, without `tasks`) on which that is known."""
        known = self.tasks if tasks is None else tasks
        found = {task: one for task in known if (one := self.on(first, second, task)) is not None}
        average = average_difference(list(found.values())) if found else None
        return Contrast((self.title(first), self.title(second)), tuple(found), average)

    def against(self, reference: str, rows: Iterable[str], tasks: Sequence[str] | None = None) -> JudgedContrasts:
        """Return each row minus the reference; see `contrast`."""
        return judge_contrasts({row: self.contrast(row, reference, tasks) for row in rows})

    def pairs_apart(self, task: str | None) -> tuple[list[tuple[str, str]], int, int]:
        """Return the separable pairs of rows, the higher first; how many are before correction; and of how many pairs.

        Args:
            task: None is the average over all tasks; pairs that lack one do not count.
        """
        names = self.tasks if task is None else [task]
        known: dict[tuple[str, str], list[Difference]] = {}
        for name in names:
            for pair, one in self._all_pairs(name).items():
                known.setdefault(pair, []).append(one)
        found = {pair: average_difference(parts) for pair, parts in known.items() if len(parts) == len(names)}
        corrected = holm_correction([one.p for one in found.values()])
        apart = [
            pair if one.value > 0 else pair[::-1]
            for (pair, one), p in zip(found.items(), corrected, strict=True) if p < ALPHA
        ]  # fmt: skip
        return apart, sum(one.p < ALPHA for one in found.values()), len(found)

    def _all_pairs(self, task: str) -> dict[tuple[str, str], Difference]:
        """Return the differences of all pairs of rows that share two seeds or more on a task."""
        found = {pair: self.on(*pair, task) for pair in combinations(self.rows, 2)}
        return {pair: one for pair, one in found.items() if one is not None}

    def scores(self, rows: Sequence[str], task: str) -> SeedScores | None:
        """Score rows on the seeds that all have; None where those are fewer than two, or predictions are lost."""
        shared = set.intersection(*(set(self.seeds(row, task)) for row in rows))
        if len(shared) < LEAST_SEEDS:
            return None
        together = self._pairs.scores([self._place[row] for row in rows], TASKS.get(task))
        sides = [[cell for cell in self.cells(row, task) if cell.cell.seed in shared] for row in rows]
        return together or _try_scores(task, sides)

    def minus_teacher(self, cells: Sequence[CellResult], task: str) -> Difference | None:
        """Return runs that no row shows minus the teacher on a task; None where they share fewer than two seeds."""
        seeds = {cell.cell.seed for cell in cells} & set(self.seeds(TEACHER, task))
        sides = [[cell for cell in some if cell.cell.seed in seeds] for some in (cells, self.cells(TEACHER, task))]
        found = _try_scores(task, sides) if len(seeds) >= LEAST_SEEDS else None
        return found.combined((1, -1)) if found else None

    def lacking(self, rows: Sequence[str]) -> dict[str, list[str]]:
        """Return task -> the rows with fewer than two finished seeds, of those with enough classes there."""
        found = {
            task: [
                row for row in rows
                if len(self.seeds(row, task)) < LEAST_SEEDS and has_enough_classes(row, len(TASKS.get(task).labels))
            ] for task in self.tasks or self.study.tasks
        }  # fmt: skip
        return {task: some for task, some in found.items() if some}

    def missing(self, rows: Sequence[str]) -> str:
        """Say which of the rows lack seeds, and which commands train them; "" where none does."""
        lacking = self.lacking(rows)
        if not lacking:
            return ""
        alike: dict[tuple[str, ...], list[str]] = {}
        for task, some in lacking.items():
            alike.setdefault(tuple(map(self.title, some)), []).append(task_title(task))
        told = "; ".join(f"{', '.join(titles)} on {', '.join(tasks)}" for titles, tasks in alike.items())
        commands = ", ".join(f"`{shlex.join(command)}`" for command in self._commands(lacking))
        return f"Fewer than two seeds are done of {told}. To train them: {commands}."

    def unknown(self, rows: Sequence[str]) -> str:
        """Say why the rows are not compared."""
        return f"Not known yet. {self.missing(rows) or 'The runs kept no predictions that can be compared.'}"

    def _commands(self, lacking: Mapping[str, Sequence[str]]) -> list[list[str]]:
        """Return one command for all tasks that lack the same rows and have the same settings."""
        tasks: dict[tuple[str, ...], list[str]] = {}
        for task, rows in lacking.items():
            words = reproduce.rows_command(self.study, rows, task, least_seeds=LEAST_SEEDS)
            place = words.index("--tasks") + 1
            tasks.setdefault((*words[:place], "", *words[place + 1 :]), []).append(task)
        return [[",".join(names) if word == "" else word for word in words] for words, names in tasks.items()]


def _try_scores(task: str, sides: Sequence[Sequence[CellResult]]) -> SeedScores | None:
    """Score cells; None where no predictions were kept, or the items differ."""
    try:
        return score_seeds(TASKS.get(task)(), sides)
    except UserError:
        return None
