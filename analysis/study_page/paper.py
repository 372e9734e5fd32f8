"""Hold the study's order of methods, and the paper's claims about its own method, against the paper's Table 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.analysis.metric_labels import AVERAGE
from kdbench.analysis.published import PAPER_METHOD, published_tables
from kdbench.analysis.study_page.contrasts import LEAST_SEEDS, Judged, StudyContrasts, judge, p_words
from kdbench.analysis.study_page.scores import study_mean
from kdbench.analysis.study_page.text_table import text_table
from kdbench.core.formatting import count, signed
from kdbench.data.splits import held_out_share
from kdbench.results.significance import ALPHA, Floats
from kdbench.results.study import TEACHER, task_title

PAPER_TABLE = "table1"
LEAST_ROWS = 4  # of fewer, the order says little
RESAMPLES = 999
PERMUTATIONS = 9999
PAPER_NOTE = (
    "The paper's number is the mean of six GLUE tasks on the test server, with BERT networks. Open: not separable here."
)
VERDICTS = {1: "holds here", -1: "is contradicted here", 0: "is open here"}


@dataclass(frozen=True)
class RankCorrelation:
    """Kendall's tau-b of two orders of rows, its 95 % interval over resampled rows, and the p-value of no relation."""

    tau: float
    low: float
    high: float
    p: float


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> RankCorrelation:
    """Return Kendall's tau-b between two lists of scores [N]; scipy's paired bootstrap gives the interval."""
    from scipy.stats import bootstrap, kendalltau, permutation_test

    def tau(first: Floats, second: Floats) -> float:
        # one row drawn N times has no order
        return float(np.nan_to_num(kendalltau(first, second, method="asymptotic").statistic))

    # all orders of up to seven rows, drawn ones of more: scipy's exact p-value knows no ties
    related = permutation_test(
        (one,), lambda first: tau(first, np.asarray(other)), permutation_type="pairings", n_resamples=PERMUTATIONS,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    interval = bootstrap(
        (one, other), tau, paired=True, vectorized=False, n_resamples=RESAMPLES, method="percentile",
        confidence_level=1 - ALPHA, random_state=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return RankCorrelation(float(related.statistic), float(interval.low), float(interval.high), float(related.pvalue))


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
    own = [mean for row in rows if (mean := study_mean(contrasts, row)) is not None]
    found = rank_correlation([paper[row] for row in rows], own)
    over = f"{count(len(rows), 'method')}; {', '.join(map(task_title, contrasts.tasks))}"
    return (
        f"Kendall's tau between the paper's average and the mean score here ({over}) is {found.tau:+.2f}, 95 % "
        f"interval {found.low:+.2f} to {found.high:+.2f} over resampled methods ({p_words(found.p)} for no relation). "
        "1 is the same order, -1 the opposite. The mean scores count as known here, without their errors."
    )


def _whole(contrasts: StudyContrasts, row: str) -> bool:
    """Return whether a row has two seeds on every task."""
    return all(len(contrasts.seeds(row, task)) >= LEAST_SEEDS for task in contrasts.tasks)


def claims(contrasts: StudyContrasts) -> Judged:
    """Return the paper's method minus each other method of its table."""
    rows = [row for row in paper_means() if row in contrasts.rows and row != PAPER_METHOD]
    return judge({row: contrasts.contrast(PAPER_METHOD, row) for row in rows})


def claim_words(contrasts: StudyContrasts) -> str:
    """Count the claims that the paper's method is better than another one, by what the study says of them."""
    others = [row for row in paper_means() if row != PAPER_METHOD]
    found = claims(contrasts)
    title, missing = contrasts.title(PAPER_METHOD), contrasts.missing([PAPER_METHOD, *others])
    said = f"The paper claims that {title} is better than each of {len(others)} other methods."
    if not found.known:
        return f"{said} Nothing is known of that here yet. {missing}"
    parts = []
    for sign, word in VERDICTS.items():
        titles = [contrasts.title(row) for row in found.known if found.verdict(row) == sign]
        listed = f" ({', '.join(titles)})" if titles else ""
        parts.append(f"{word} for {len(titles)}{listed}")
    return f"{said} Of the {len(found.known)} that can be compared, the claim {', '.join(parts)}. {missing}".rstrip()


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
