"""What the hash of a method's code depends on."""

from __future__ import annotations

import pytest

from kdbench.core.plugin_files import code_hash


@pytest.mark.parametrize(
    ("text", "is_same"),
    [("def f(x):\n    return x + 1\n", True), ("def f( x ):  # adds\n\n        return (x +\n 1)\n", True),
     ('"""About."""\n\ndef f( x ):\n    """Add."""\n    # one\n    return x  + 1\n', True),
     ("def f(x):\n    return x + 2\n", False), ("def f(x):\n    'no' + str(x)\n    return x + 1\n", False),
     ("def f(x):\n    return x + 1.0\n", False), ("def f(x, y=None):\n    return x + 1\n", False)],
)  # fmt: skip
def test_the_hash_of_code_leaves_out_what_does_nothing(text: str, is_same: bool) -> None:
    assert (code_hash(text.encode()) == code_hash(b"def f(x):\n    return x + 1\n")) == is_same


def test_blocks_count_in_the_hash_of_code() -> None:
    inside, after = (f"if x:\n    a()\n{space}b()\n".encode() for space in ("    ", ""))
    assert code_hash(inside) != code_hash(after)
