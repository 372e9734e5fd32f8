"""Define the work of every contestant in a round: the same rows, networks, batch size and number of steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdbench.core.errors import UserError
from kdbench.core.spec import DataLocation
from kdbench.data.task import TaskData
from kdbench.data.task_registry import TASKS
from kdbench.models import build, reference

if TYPE_CHECKING:
    from kdbench.data.tokens import Tokens

TASK = "mrpc"
BATCH, MAX_LENGTH = 32, 128
RATE = 5e-5
CE_WEIGHT, KD_WEIGHT = 0.6, 0.4  # LGTM, Table 5; temperature 1
EPOCHS = 6  # of a whole training: over these a pass of the teacher that is made once is spread

Padding = Literal["fixed", "dynamic", "bucketed"]
Precision = Literal["fp32", "fp32-fast", "bf16"]
PRODUCTS: Mapping[Precision, str] = {"fp32": "plain float32", "fp32-fast": "fast float32", "bf16": "bfloat16"}


@dataclass(frozen=True)
class How:
    """In what way a contestant does it.

    Attributes:
        padding: every batch to 128 tokens, to its longest row, or that with rows of like length together.
        precision: as kdbench names it.
        attention: the kernel.
        fused: AdamW in one kernel; else whatever is the contestant's own default.
        dropout: as kdbench names it; only kdbench has another than torch's.
        last_layer: likewise.
        compile: whether kdbench compiles the passes of a step.
    """

    padding: Padding
    precision: Precision
    attention: Literal["eager", "sdpa"] = "sdpa"
    fused: bool = False
    dropout: Literal["torch", "packed"] = "torch"
    last_layer: Literal["whole", "first"] = "whole"
    compile: bool = False


@dataclass(frozen=True)
class Work:
    """One measurement.

    Attributes:
        glue_dir: where MRPC is read from; "" is kdbench's made MRPC.
        steps: how many are timed.
        warmup: how many are made before.
        seed: which rows, in which order.
        threads: of the CPU.
        data_dir: the folder of TREC, for the parts that measure short texts.
        device: where steps are made, as torch names it.
    """

    glue_dir: str
    steps: int
    warmup: int
    seed: int
    threads: int
    teacher: str = "minilm"
    student: str = "minilm:1+3+5"
    data_dir: str = ""
    device: str = "cpu"

    @property
    def location(self) -> DataLocation:
        return DataLocation("glue-dir", Path(self.glue_dir)) if self.glue_dir else DataLocation("generated")

    @property
    def source(self) -> dict[str, str]:
        """As settings of kdbench."""
        return {"source": "glue-dir", "glue_dir": self.glue_dir} if self.glue_dir else {"source": "generated"}

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Timing:
    """Hold the result of a contestant's `measure`.

    Attributes:
        seconds: of `steps` steps, without a pass of the teacher that is made once.
        once: seconds of that pass over the rows of these steps; 0 when the teacher is in every step.
        inside: of `seconds`, those spent in the method's own `step`; 0 where that is not told apart.
        passes: network -> kind -> rows that went through it in the timed steps; {} where they are not counted.
    """

    seconds: float
    steps: int
    once: float = 0.0
    inside: float = 0.0
    passes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@lru_cache(maxsize=1)
def data(location: DataLocation) -> TaskData:
    """MRPC.

    Raises:
        UserError: it is not there.
    """
    return TASKS.get(TASK)().load(location)


def training_rows(work: Work) -> int:
    return len(data(work.location).splits["train"])


def check(work: Work) -> None:
    """Refuse what cannot be measured, before anything is.

    Raises:
        UserError: no data, too few rows, or a missing package.
    """
    rows = training_rows(work)
    for name in (work.teacher, work.student):
        reference.resolve(name)
    most = rows * 9 // 10 // BATCH
    if not 1 <= work.steps <= most:
        raise UserError(f"--steps {work.steps} is not valid; {rows} rows allow 1 to {most} steps of {BATCH}.")


@lru_cache(maxsize=1)
def tokens(work: Work) -> Tokens:
    """Return the training rows as the student reads them."""
    from kdbench.data.tokens import tokenise

    found = data(work.location)
    tokenizer = build.tokenizer(reference.resolve(work.student), tuple(found.vocabulary))
    return tokenise(tokenizer, found.splits["train"], MAX_LENGTH)


def network(name: str, work: Work, attention: str) -> Any:
    """Build a BERT that classifies MRPC, its classifier drawn from the seed.

    The pre-trained teacher stands in for a fine-tuned one, which takes the same time.
    """
    from kdbench.distill.context import seed_everything

    seed_everything(work.seed, name)
    module = build.build(
        reference.resolve(name), TASKS.get(TASK).labels, attention, tuple(data(work.location).vocabulary)
    )
    return module.to(work.device)
