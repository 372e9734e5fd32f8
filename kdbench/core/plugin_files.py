"""Tell versions of plugins' files apart by their code."""

from __future__ import annotations

import hashlib
import io
import tokenize
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

_NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING, tokenize.ENDMARKER)
_BLOCKS = {tokenize.INDENT: "{", tokenize.DEDENT: "}"}


class PluginFile(BaseModel):
    """A plugin's file whose code identifies the version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    sha256: str
    code: str = Field(default="", exclude_if=lambda value: not value)  # see `code_hash`; "" of runs before it was kept

    @classmethod
    def of(cls, path: Path, source: bytes) -> PluginFile:
        """Describe a file with this content."""
        return cls(path=str(path), sha256=hashlib.sha256(source).hexdigest(), code=code_hash(source))

    @property
    def version(self) -> str:
        """Return what identifies the code."""
        return self.code or self.sha256

    def is_same(self, other: PluginFile | None) -> bool:
        """Return whether another file has the same code."""
        return other is not None and (self.sha256 == other.sha256 or (bool(self.code) and self.code == other.code))


def code_hash(source: bytes) -> str:
    """Return the first 16 digits of a sha256 over a file's code, without comments, docstrings and spaces."""
    words: list[str] = []
    begins = True  # no word of the statement was read yet, so that a string would be a docstring
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type in _BLOCKS:
            words.append(_BLOCKS[token.type])
        elif token.type == tokenize.NEWLINE:
            words += [] if begins else [";"]
            begins = True
        elif token.type not in _NO_CODE and not (begins and token.type == tokenize.STRING):
            words.append(token.string)
            begins = False
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:16]
