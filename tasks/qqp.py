"""Quora Question Pairs: do two questions ask for the same?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Qqp(GlueTask):
    """Question pairs; class 1 is a duplicate."""

    title = "QQP"
    position = 6
    labels = ("not_duplicate", "duplicate")
    metrics = ("f1", "accuracy")
    official_rows: ClassVar = {"train": 363846, "validation": 40430}
    folder = "QQP"
    index = "id"
    columns = ("question1", "question2", "is_duplicate")
    label_words = ("0", "1")
    broken_rows = 50  # the published file breaks some records at a line feed inside a question
    server_files = (ServerFile("QQP", 390965, label_words, filler="0"),)
    hub_config = "qqp"
    hub_columns = ("question1", "question2", "label")
    recipe = Recipe(writers.question_pair, shares=(0.63, 0.37))
