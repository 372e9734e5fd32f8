"""Semantic Textual Similarity Benchmark: how similar are two sentences, from 0 (unrelated) to 5 (the same)?"""

from typing import ClassVar

from kdbench.data.test_server import ServerFile
from kdbench.tasks import writers
from kdbench.tasks.generated import Recipe
from kdbench.tasks.glue import GlueTask


class Stsb(GlueTask):
    """Sentence pairs, a regression on the mean judgement of several people. The paper leaves this task out."""

    title = "STS-B"
    group = "glue-rest"
    position = 9
    kind = "regression"
    labels = ("score",)
    metrics = ("pearson", "spearman")
    official_rows: ClassVar = {"train": 5749, "validation": 1500}
    folder = "STS-B"
    columns = ("sentence1", "sentence2", "score")
    limits = (0.0, 5.0)
    server_files = (ServerFile("STS-B", 1379, (), filler="2.500", limits=limits),)
    hub_config = "stsb"
    hub_columns = ("sentence1", "sentence2", "label")
    recipe = Recipe(writers.similarity, shares=(0.25, 0.25, 0.25, 0.25), values=(0.0, 1.75, 3.25, 5.0))
