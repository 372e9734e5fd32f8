"""Microsoft Research Paraphrase Corpus: do two news sentences say the same?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Mrpc(GlueTask):
    """Sentence pairs; class 1 is a paraphrase."""

    title = "MRPC"
    position = 1
    labels = ("not_equivalent", "equivalent")
    metrics = ("f1", "accuracy")
    official_rows: ClassVar = {"train": 3668, "validation": 408}
    folder = "MRPC"
    columns = ("#1 String", "#2 String", "Quality")
    label_words = ("0", "1")
    server_files = (ServerFile("MRPC", 1725, label_words, filler="1"),)
    hub_config = "mrpc"
    hub_columns = ("sentence1", "sentence2", "label")
    recipe = Recipe(writers.paraphrase, shares=(0.32, 0.68))
