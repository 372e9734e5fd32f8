"""Hold the study's order of methods, and the paper's claims about its own method, against the paper's Table 1."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np

from kdbench.analysis.metric_labels import AVERAGE
from kdbench.analysis.published import PAPER_METHOD, published_tables
from kdbench.analysis.study_page.contrasts import LEAST_SEEDS, JudgedContrasts, StudyContrasts, judge_contrasts
from kdbench.analysis.study_page.text_table import text_table, with_details
from kdbench.core.formatting import count, signed
from kdbench.data.splits import held_out_share
from kdbench.reporting.provenance import mean_run_score
from kdbench.results.study import TEACHER, task_title

PAPER_TABLE = "table1"
LEAST_ROWS = 4  # of fewer, the order says little
PAPER_NOTE = (
    "The paper's number is the mean of six GLUE tasks on the test server, with BERT networks. Open: not separable here."
)
FORM = "Here it is kdbench's default form, neither as printed nor as released ([LGTM](lgtm.md))."
VERDICTS = {1: "holds here", -1: "is contradicted here", 0: "is open here"}


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Kendall's tau-b between two lists of scores [N]; 0 where one of them has no order."""
    from scipy.stats import kendalltau

    return float(np.nan_to_num(kendalltau(one, other).statistic))


def paper_means() -> dict[str, float]:
    """Return the averages that the paper's Table 1 prints, by row."""
    cells = published_tables()[PAPER_TABLE].cells
    return {row: float(text) for (row, column), text in cells.items() if column == AVERAGE and row != TEACHER}


def order_words(contrasts: StudyContrasts) -> str:
    """Compare the order of the paper's average with the order of the study's mean scores."""
    paper = paper_means()
    rows = [row for row in contrasts.rows if row in paper and _whole(contrasts, row)]
    if len(rows) < LEAST_ROWS:
        have = f"{len(rows)} of {len(paper)} methods have two seeds on every task"
        return f"The order of the methods is not compared yet: {have}, {LEAST_ROWS} are needed."
    printed = [paper[row] for row in rows]

    def tau(tasks: Sequence[str], seeds: Collection[int]) -> str:
        """Correlate with the mean scores on some tasks of some seeds."""
        cells = {row: [[cell for cell in contrasts.cells(row, task) if cell.cell.seed in seeds] for task in tasks]
                 for row in rows}  # fmt: skip
        means = [statistics.fmean(statistics.fmean(map(mean_run_score, some)) for some in cells[row]) for row in rows]
        return f"{rank_correlation(printed, means):+.2f}"

    every = {cell.cell.seed for row in rows for task in contrasts.tasks for cell in contrasts.cells(row, task)}
    shared = [seed for seed in sorted(every)
              if all(seed in contrasts.seeds(row, task) for row in rows for task in contrasts.tasks)]  # fmt: skip
    by_task = ", ".join(f"{tau([task], every)} on {task_title(task)}" for task in contrasts.tasks)
    by_seed = ", ".join(f"{tau(contrasts.tasks, [seed])} with seed {seed}" for seed in shared)
    pairs = {frozenset(pair) for pair in contrasts.pairs_apart(None)[0]}
    apart = sum(frozenset(pair) in pairs for pair in combinations(rows, 2))
    count_of_pairs = len(rows) * (len(rows) - 1) // 2
    pairs_words = count(count_of_pairs, "pair")
    told = (
        f"Kendall's tau between the paper's average and the mean score here ({count(len(rows), 'method')}) is "
        f"{tau(contrasts.tasks, every)}; 1 is the same order, -1 the opposite."
    )
    known = (
        f"On average over the tasks, {apart} of {pairs_words} of these methods {'is' if apart == 1 else 'are'} "
        f"separable{', so that their order here is hardly known' if 2 * apart < count_of_pairs else ''}."
    )
    return with_details(told, f"Task by task: {by_task}.", f"Over all tasks: {by_seed}." if by_seed else "", known)


def _whole(contrasts: StudyContrasts, row: str) -> bool:
    """Return whether a row has two seeds on every task."""
    return all(len(contrasts.seeds(row, task)) >= LEAST_SEEDS for task in contrasts.tasks)


def claims(contrasts: StudyContrasts) -> JudgedContrasts:
    """Return the paper's method minus each other method of its table."""
    rows = [row for row in paper_means() if row in contrasts.rows and row != PAPER_METHOD]
    return judge_contrasts({row: contrasts.contrast(PAPER_METHOD, row) for row in rows})


def claim_words(contrasts: StudyContrasts) -> str:
    """Count the claims that the paper's method is better than another one, by what the study says of them."""
    others = [row for row in paper_means() if row != PAPER_METHOD]
    found = claims(contrasts)
    title, missing = contrasts.title(PAPER_METHOD), contrasts.missing([PAPER_METHOD, *others])
    said = f"The paper claims that {title} is better than each of {len(others)} other methods. {FORM}"
    if not found.known:
        return f"{said} Nothing is known of that here yet. {missing}"
    parts = []
    for sign, word in VERDICTS.items():
        titles = [contrasts.title(row) for row in found.known if found.verdict(row) == sign]
        listed = f": {', '.join(titles)}" if titles else ""
        parts.append(f"The claim {word} for {len(titles)}{listed}.")
    told = f"{said} {count(len(found.known), 'method')} can be compared:"
    return with_details(told, *parts, _sizes_seen(found), missing)


def _sizes_seen(found: JudgedContrasts) -> str:
    """Count the differences of the paper that lie outside the intervals here."""
    paper, outside = paper_means(), []
    for row, one in found.known.items():
        low, high = one.difference.interval() if one.difference is not None else (-math.inf, math.inf)
        outside += [row] if not low <= paper[PAPER_METHOD] - paper[row] <= high else []
    return (
        f"The paper's own difference lies outside the 95 % interval here for {len(outside)} of {len(found.known)}: "
        "there, a gain as large as the paper's is not seen with these tasks and networks."
    )


def claim_table(contrasts: StudyContrasts) -> str:
    """Return the paper's method minus each other method, in the paper and here, as a Markdown table; "" for none."""
    paper, found = paper_means(), claims(contrasts)
    if not found.known:
        return ""
    rows = []
    for row, one in found.known.items():
        claimed = signed(paper[PAPER_METHOD] - paper[row])
        rows.append((one.titles[1], claimed, *found.columns(row), VERDICTS[found.verdict(row)]))
    heads = ["Paper", "Here", "95 % interval", "p, Holm", "Claim"]
    title, share = contrasts.title(PAPER_METHOD), held_out_share(contrasts.study.study["feedback"], "feedback")
    own = f" Here {title} takes feedback from {100 * share:g} % of train, the paper from the validation set."
    return text_table(heads, rows, [f"{title} minus the method. {PAPER_NOTE}{own if share else ''}"])
