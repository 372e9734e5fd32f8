"""Put cost beside score."""

from __future__ import annotations

from kdbench.analysis.cost import OTHERS, SHORT, STUDENT, Cost
from kdbench.analysis.study_page.contrasts import StudyContrasts
from kdbench.analysis.study_page.scores import study_mean
from kdbench.analysis.study_page.text_table import text_table
from kdbench.reporting.tables import TableData
from kdbench.results.study import TEACHER

SCORE = "Score: mean over tasks. A row that is not done on every task is left out."
TIME = (
    "Time: one training on each task, evaluation included, mean over seeds. Needs: the trainings that it builds on, "
    "such as the teacher's."
)
PASSES = f"{SHORT}: forward, forward-mode and backward passes of rows of the method's steps / rows trained on."


class CostBesideScore:
    """The times of the table of costs, in the unit of that table.

    Args:
        reference: the row whose time is 1.
    """

    def __init__(self, contrasts: StudyContrasts, reference: str) -> None:
        self.contrasts, self.reference = contrasts, reference
        table = Cost().build(contrasts.study) or TableData("", [""])
        place = {key: i for i, key in enumerate(table.column_keys, start=1)}
        self.unit = table.head[place["time"]].split("\n")[1] if place else ""
        rows = dict(zip(table.row_keys, table.rows, strict=True))
        columns = ("time", "needs", STUDENT, OTHERS)
        self.cells = {key: [row[place[column]] for column in columns] for key, row in rows.items()}
        self.times = {key: time.numbers[0] for key, (time, *_) in self.cells.items() if time.numbers}
        self.warning = contrasts.times_warning

    def ratio(self, row: str) -> float | None:
        """Return how many times as long as the reference a row takes; None where the times do not tell."""
        usual = self.times.get(self.reference)
        return self.times[row] / usual if usual and row in self.times and not self.warning else None

    def table(self) -> str:
        """Return the Markdown table; "" where no time is known."""
        if not self.times:
            return ""
        times = [f"Time {self.unit}", f"Time, × {self.contrasts.title(self.reference)}", f"Needs {self.unit}"]
        heads = ["Score", *(times if not self.warning else []), f"Student {SHORT}", f"Other networks {SHORT}"]
        rows = []
        for row in self.times:
            mean, ratio = study_mean(self.contrasts, row), self.ratio(row)
            score, relative = (f"{number:.1f}" if number is not None else "–" for number in (mean, ratio))
            own, needs, *passes = (cell.text for cell in self.cells[row])
            spent = (own, relative, needs) if not self.warning else ()
            rows.append((self.contrasts.title(row), score, *spent, *passes))
        return text_table(heads, rows, [SCORE, *([] if self.warning else [TIME]), PASSES])

    def words(self) -> str:
        """Name the method with the longest training, or say why none is named."""
        if self.warning:
            return self.warning
        ratios = {row: ratio for row in self.times if row != TEACHER and (ratio := self.ratio(row)) is not None}
        if len(ratios) < 2:
            return "The times of the methods cannot be compared yet."
        most, title = max(ratios, key=lambda row: ratios[row]), self.contrasts.title
        return f"{title(most)} trains longest, {ratios[most]:.1f} times as long as {title(self.reference)}."
