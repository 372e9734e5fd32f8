"""Which files a plugin's file imports, and which of them are the user's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kdbench.core.plugin_files import code_hash, whole_code_hash
from kdbench.core.plugin_imports import imported_files
from kdbench.methods import kd, lskd

FILES = {
    "project/lab/__init__.py": "",
    "project/lab/losses.py": "from lab.more.deep import W\nimport numpy\n",
    "project/lab/more/__init__.py": "import json\n",
    "project/lab/more/deep.py": "W = 1\n",
    "project/lab/unused.py": "",
    "methods/helper.py": "from helper2 import f\n",
    "methods/helper2.py": "import helper\n\ndef f():\n    pass\n",
    "methods/unused.py": "",
}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import torch, kdbench\nfrom kdbench.distill.losses import kl\nimport json.decoder", []),
        ("import helper", ["methods/helper.py", "methods/helper2.py"]),
        ("def late():\n    from helper2 import f", ["methods/helper.py", "methods/helper2.py"]),
        (
            "import lab.losses as l",
            ["project/lab/__init__.py", "project/lab/losses.py", "project/lab/more/__init__.py",
             "project/lab/more/deep.py"],
        ),
        ("from lab import more", ["project/lab/__init__.py", "project/lab/more/__init__.py"]),
        ("from nowhere import f", []),
    ],
)  # fmt: skip
def test_the_users_modules_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, found: list[str]
) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "project")])
    assert imported_files(tmp_path / "methods" / "mine.py", source.encode()) == [tmp_path / name for name in found]


def test_relative_imports_are_of_the_files_package(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "pack"
    for name, text in {"__init__.py": "", "losses.py": "", "sub/__init__.py": "", "sub/near.py": ""}.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    source = b"from . import near\nfrom ..losses import f"
    found = imported_files(package / "sub" / "mine.py", source)
    assert found == [package / "losses.py", package / "sub" / "near.py"]


def test_kdbenchs_own_methods_are_known_by_their_versions() -> None:
    """A file beside them without a version is not: a checkout may hold helpers of somebody's method."""
    for module in (kd, lskd):
        file = Path(str(module.__file__)).resolve()
        assert whole_code_hash(file, file.read_bytes()) == code_hash(file.read_bytes())
        assert imported_files(file, file.read_bytes()) == []
