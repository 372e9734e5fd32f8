"""Stanford Sentiment Treebank: does a film critic's phrase praise or blame?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Sst2(GlueTask):
    """Single phrases; class 1 is praise."""

    title = "SST-2"
    position = 3
    labels = ("negative", "positive")
    metrics = ("accuracy",)
    official_rows: ClassVar = {"train": 67349, "validation": 872}
    folder = "SST-2"
    columns = ("sentence", None, "label")
    label_words = ("0", "1")
    server_files = (ServerFile("SST-2", 1821, label_words, filler="1"),)
    hub_config = "sst2"
    hub_columns = ("sentence", None, "label")
    recipe = Recipe(writers.sentiment, shares=(0.45, 0.55), train_rows=800)
