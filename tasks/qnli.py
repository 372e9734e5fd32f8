"""Question Natural Language Inference: does a sentence answer the question?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Qnli(GlueTask):
    """Question and sentence; class 0 is an answer."""

    title = "QNLI"
    position = 5
    labels = ("entailment", "not_entailment")
    metrics = ("accuracy",)
    official_rows: ClassVar = {"train": 104743, "validation": 5463}
    folder = "QNLI"
    columns = ("question", "sentence", "label")
    label_words = labels
    server_files = (ServerFile("QNLI", 5463, label_words, filler="not_entailment"),)
    hub_config = "qnli"
    hub_columns = ("question", "sentence", "label")
    recipe = Recipe(writers.answer, shares=(0.5, 0.5), train_rows=800)
