"""Recognizing Textual Entailment: does the second text follow from the first?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Rte(GlueTask):
    """Text and hypothesis; class 0 is entailment."""

    title = "RTE"
    position = 2
    labels = ("entailment", "not_entailment")
    metrics = ("accuracy",)
    official_rows: ClassVar = {"train": 2490, "validation": 277}
    folder = "RTE"
    columns = ("sentence1", "sentence2", "label")
    label_words = labels
    server_files = (ServerFile("RTE", 3000, label_words, filler="entailment"),)
    hub_config = "rte"
    hub_columns = ("sentence1", "sentence2", "label")
    recipe = Recipe(writers.entailment, shares=(0.5, 0.5))
