"""Corpus of Linguistic Acceptability: is a sentence one that a speaker of English would say?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Cola(GlueTask):
    """Single sentences; class 1 is acceptable. The paper leaves this task out."""

    title = "CoLA"
    group = "glue-rest"
    position = 7
    labels = ("unacceptable", "acceptable")
    metrics = ("matthews",)
    official_rows: ClassVar = {"train": 8551, "validation": 1043}
    folder = "CoLA"
    header = ("source", "label", "mark", "sentence")
    columns = ("sentence", None, "label")
    label_words = ("0", "1")
    server_files = (ServerFile("CoLA", 1063, label_words, filler="1"),)
    hub_config = "cola"
    hub_columns = ("sentence", None, "label")
    recipe = Recipe(writers.acceptability, shares=(0.3, 0.7))
