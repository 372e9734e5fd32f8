"""A run of a study as a plain script makes it, from imports to the saved network: `python -m ...plain_script FILE`.

Methods with a frozen teacher are a subclass of Hugging Face's Trainer with the method's loss in `compute_loss`, the
teacher in every step, batches padded to their longest row, and the library's defaults otherwise. LGTM is the released
algorithm in a loop by hand, padded to 128 as released.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.batches import padded
from benchmarks.contestants.bare import objective
from benchmarks.kernels import adamw, linear
from benchmarks.suites import FIXED
from benchmarks.work import BATCH, MAX_LENGTH
from kdbench.core.spec import DataLocation
from kdbench.data.batches import Batch, collate
from kdbench.data.task import Examples
from kdbench.data.task_registry import TASKS
from kdbench.data.tokens import Tokens, tokenise

TASK = "trec"
RATE, WARMUP = 3e-4, 0.1  # as in preset minilm
PKD_BETA, DIST_WEIGHT, SMALLEST = 100.0, 2.0, 1e-8
METHODS = ("finetune", "kd", "pkd", "skd", "dist", "takd", "lgtm")


@dataclass(frozen=True)
class Script:
    """A run to make.

    Attributes:
        teacher: the folder of a trained network; of LGTM, of one fresh from pre-training; "" for fine-tuning.
        student: likewise, fresh from pre-training.
        evaluations: how often the student is evaluated on the test set, evenly spread.
        out: the folder where the student is saved.
    """

    method: str
    student: str
    teacher: str
    data_dir: str
    steps: int
    evaluations: int
    out: str

    def write(self, file: Path) -> None:
        """Write the run for its process."""
        file.write_text(json.dumps(asdict(self)), encoding="utf-8")


def main(file: str) -> None:
    """Make the run that a file names."""
    script = Script(**json.loads(Path(file).read_text(encoding="utf-8")))
    start = time.perf_counter()
    (_lgtm if script.method == "lgtm" else _trainer)(script)
    print(f"{time.perf_counter() - start:.2f} s without imports")


def _splits(script: Script) -> dict[str, Examples]:
    return dict(TASKS.get(TASK)().load(DataLocation("files", Path(script.data_dir))).splits)


def _network(folder: str) -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(TASKS.get(TASK).labels))


def _loss(method: str, labels: Tensor, s: Any, t: Any) -> Tensor:
    """Compute a method's loss from both networks' outputs; `t` is None for fine-tuning."""
    hard = functional.cross_entropy(s.logits, labels)
    if method == "finetune":
        return hard
    if method == "pkd":
        ratio = (len(t.hidden_states) - 1) // (len(s.hidden_states) - 1)
        own = torch.stack([state[:, 0] for state in s.hidden_states[1:-1]])
        theirs = torch.stack([state[:, 0] for state in t.hidden_states[ratio:-1:ratio]])
        apart = functional.mse_loss(functional.normalize(own, dim=-1), functional.normalize(theirs, dim=-1))
        return objective(labels, t.logits, s.logits) + PKD_BETA * apart
    if method == "skd":
        radius = t.logits.norm(dim=1).mean()
        return objective(labels, *(radius * functional.normalize(z, dim=1) for z in (t.logits, s.logits)))
    if method == "dist":
        p, q = s.logits.softmax(1), t.logits.softmax(1)
        return hard + DIST_WEIGHT * (_apart(p, q) + _apart(p.T, q.T))
    return objective(labels, t.logits, s.logits)  # kd, takd


def _apart(p: Tensor, q: Tensor) -> Tensor:
    """Compute 1 - Pearson's correlation of rows, averaged."""
    p, q = (z - z.mean(1, keepdim=True) for z in (p, q))
    return 1 - functional.cosine_similarity(p, q, dim=1, eps=SMALLEST).mean()


def _trainer(script: Script) -> None:
    """Train with a Trainer, evaluate and save."""
    from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments

    tokenizer, splits = AutoTokenizer.from_pretrained(script.student), _splits(script)
    train, test = (
        [
            {**tokenizer(text, truncation=True, max_length=MAX_LENGTH), "labels": label}
            for text, label in zip(splits[name].text_a, splits[name].labels, strict=True)
        ]
        for name in ("train", "test")
    )
    teacher = _network(script.teacher).eval() if script.teacher else None
    with_states = {"output_hidden_states": True} if script.method == "pkd" else {}

    class Distillation(Trainer):  # type: ignore[misc]  # the library has no types
        def compute_loss(
            self, model: nn.Module, inputs: dict[str, Tensor], return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:  # fmt: skip
            labels = inputs.pop("labels")
            s, t = model(**inputs, **with_states), None
            if teacher is not None:
                with torch.no_grad():
                    t = teacher(**inputs, **with_states)
            loss = _loss(script.method, labels, s, t)
            return (loss, {"logits": s.logits}) if return_outputs else loss

    arguments = TrainingArguments(
        script.out, per_device_train_batch_size=BATCH, per_device_eval_batch_size=2 * BATCH, max_steps=script.steps,
        learning_rate=RATE, warmup_steps=round(WARMUP * script.steps), eval_strategy="steps",
        eval_steps=-(-script.steps // script.evaluations), save_strategy="no", report_to="none", disable_tqdm=True,
        use_cpu=True,
    )  # fmt: skip
    student = _network(script.student)
    made = Distillation(
        student, arguments, train_dataset=train, eval_dataset=test, data_collator=DataCollatorWithPadding(tokenizer)
    )
    made.train()
    student.save_pretrained(script.out)
    tokenizer.save_pretrained(script.out)


def _lgtm(script: Script) -> None:
    """Train student and teacher by the released algorithm, evaluate both and save the student."""
    from transformers import AutoTokenizer

    from benchmarks.contestants.lgtm_released import Released
    from kdbench.distill.trainable import zero_head

    splits, tokenizer = _splits(script), AutoTokenizer.from_pretrained(script.student)
    tokens = {name: tokenise(tokenizer, splits[name], MAX_LENGTH) for name in ("train", "test")}
    student, teacher = _network(script.student), _network(script.teacher)
    zero_head(student)
    optimizers = adamw(student.parameters(), FIXED), adamw(teacher.parameters(), FIXED)
    schedules = [linear(optimizer, script.steps) for optimizer in optimizers]
    method, order = Released(student, teacher, optimizers), torch.randperm(len(tokens["train"])).numpy()
    for step in range(script.steps):
        start = (step * BATCH) % (len(order) - 2 * BATCH)
        rows = order[start : start + BATCH], order[-BATCH:]
        method.step(*(_batch(tokens["train"], r) for r in rows))
        for schedule in schedules:
            schedule.step()
        if (step + 1) % -(-script.steps // script.evaluations) == 0:
            for network in (student, teacher):
                _evaluate(network.eval(), tokens["test"])
    student.save_pretrained(script.out)
    tokenizer.save_pretrained(script.out)


@torch.no_grad()
def _evaluate(network: nn.Module, tokens: Tokens) -> float:
    """Compute the accuracy on rows that are padded to 128."""
    right, rows = 0.0, torch.arange(len(tokens)).numpy()
    for start in range(0, len(rows), 2 * BATCH):
        batch = _batch(tokens, rows[start : start + 2 * BATCH])
        right += float((network(**batch.inputs).logits.argmax(1) == batch.labels).sum())
    return right / len(rows)


def _batch(tokens: Tokens, rows: NDArray[np.int64]) -> Batch:
    """Collate rows, each padded to 128 tokens."""
    return padded(collate(tokens, rows, torch.device("cpu")))


if __name__ == "__main__":
    main(*sys.argv[1:])
