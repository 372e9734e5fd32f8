"""Multi-Genre Natural Language Inference: does the hypothesis follow from the premise, contradict it, or neither?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import Elsewhere, GlueTask


class Mnli(GlueTask):
    """Premise and hypothesis; `matched` rows come from the genres of the training rows, `mismatched` from others."""

    title = "MNLI"
    position = 4
    labels = ("entailment", "neutral", "contradiction")
    metrics = ("accuracy",)
    report_splits = ("validation_matched", "validation_mismatched")
    official_rows: ClassVar = {"train": 392702, "validation_matched": 9815, "validation_mismatched": 9832}
    folder = "MNLI"
    files: ClassVar = {
        "train": "train.tsv",
        "validation_matched": "dev_matched.tsv",
        "validation_mismatched": "dev_mismatched.tsv",
        "test_matched": "test_matched.tsv",
        "test_mismatched": "test_mismatched.tsv",
    }
    columns = ("sentence1", "sentence2", "gold_label")
    label_words = labels
    server_files = (
        ServerFile("MNLI-m", 9796, label_words, filler="contradiction", split="test_matched"),
        ServerFile("MNLI-mm", 9847, label_words, filler="contradiction", split="test_mismatched"),
    )
    diagnostic_files = (
        ServerFile("AX", 1104, label_words, filler="contradiction", split="diagnostic", metrics=("matthews",)),
    )
    elsewhere: ClassVar = {
        "diagnostic": Elsewhere(("diagnostic/diagnostic.tsv", "AX/AX.tsv", "AX/test.tsv", "AX.tsv"), "ax"),
    }  # fmt: skip
    hub_config = "mnli"
    hub_columns = ("premise", "hypothesis", "label")
    recipe = Recipe(writers.inference, shares=(0.34, 0.33, 0.33), train_rows=880)
