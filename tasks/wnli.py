"""Winograd Natural Language Inference: does a sentence follow when a pronoun is replaced by what it may stand for?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Wnli(GlueTask):
    """Text and hypothesis; class 1 is entailment. The paper leaves it out: its development set is adversarial."""

    title = "WNLI"
    group = "glue-rest"
    position = 8
    labels = ("not_entailment", "entailment")
    metrics = ("accuracy",)
    official_rows: ClassVar = {"train": 635, "validation": 71}
    folder = "WNLI"
    columns = ("sentence1", "sentence2", "label")
    label_words = ("0", "1")
    server_files = (ServerFile("WNLI", 146, label_words, filler="0"),)
    hub_config = "wnli"
    hub_columns = ("sentence1", "sentence2", "label")
    recipe = Recipe(writers.reference, shares=(0.5, 0.5))
