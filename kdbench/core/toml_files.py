"""Read TOML files: settings, presets and declarations of tasks."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdbench.core.errors import UserError

CONFIG_FILE = "kdbench.toml"  # in the working folder
Layer = Mapping[str, Any]  # settings by key, with a table for each section


def read_toml(path: Path) -> Layer:
    """Read a TOML file.

    Raises:
        UserError: the file is not valid TOML, or cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin with a mark
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); mend or move it.") from None
    except RecursionError:
        raise UserError(f"{path} is not valid TOML: its values are nested too deeply.") from None
    except ValueError as error:  # of TOML, UTF-8, or a number of thousands of digits
        raise UserError(f"{path} is not valid TOML: {error}.") from None
