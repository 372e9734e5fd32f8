"""Table 6: feedback from the validation set, or from a share of the training set."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.analysis.published import published_tables
from kdbench.analysis.scores import RowRequest, build_score_table, find_row, table_heading
from kdbench.reporting.tables import Published, Table, TableData
from kdbench.results.study import StudyResults
from kdbench.results.study_keys import LOOSE

ROWS = (
    RowRequest("lgtm", {"feedback": "validation"}, "Validation set"),
    RowRequest("lgtm", {"feedback": "train:0.05"}, "5 % of train"),
    RowRequest("lgtm", {"feedback": "train:0.1"}, "10 % of train"),
)
REFERENCE = ROWS[0]


class Table6(Table):
    """Rows of one method that differ in their feedback data; the row with validation feedback is that of Table 1."""

    title = "Table 6: where feedback comes from"
    requests = tuple(asked.request() for asked in ROWS)

    def sheets(self, studies: Sequence[StudyResults]) -> list[TableData]:
        # studies on the same models and data that differ in their feedback only
        groups: list[list[StudyResults]] = []
        for study in studies:
            home = next((group for group in groups if all(_alike(study, other) for other in group)), None)
            if home is None:
                groups.append(home := [])
            home.append(study)
        return [sheet for family in groups if (sheet := self._sheet(family)) is not None]

    def _sheet(self, family: Sequence[StudyResults]) -> TableData | None:
        """Build the table of studies that differ only in their feedback."""
        # each row from the study that has its feedback, if there is one
        if not family[-1].takes(REFERENCE.row):
            return None
        by_feedback = {study.study["feedback"]: study for study in reversed(family)}
        shown = [find_row(asked, by_feedback.get(asked.values["feedback"], family[-1])) for asked in ROWS]
        title = f"{table_heading(self.name, family[-1])} by {shown[0].study.title(REFERENCE.row)}"
        return build_score_table(self, title, [shown])

    def published(self) -> Published:
        """Return the paper's rows, and the method's row of Table 1 as the reference."""
        main, table = published_tables()["table1"].cells, published_tables()[self.name]
        reference = {(REFERENCE.key, column): text for (row, column), text in main.items() if row == REFERENCE.row}
        return Published(reference | table.cells, f"{table.note} {REFERENCE.title}: from Table 1.", table.preset)


def _alike(one: StudyResults, other: StudyResults) -> bool:
    loose = ("feedback", *LOOSE)
    fields, others = ({k: v for k, v in study.study.items() if k not in loose} for study in (one, other))
    same_data = all(
        mine[task] == theirs[task]
        for mine, theirs in ((one.data, other.data), (one.train_rows, other.train_rows))
        for task in mine.keys() & theirs.keys()
    )
    return one.preset == other.preset and one.models == other.models and fields == others and same_data
