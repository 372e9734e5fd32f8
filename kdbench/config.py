"""From presets, kdbench.toml and the command line to one set of values a method.

There is one key space. A key is a field of `Study`, `Training`, `Recording` or `Execution`, or an option of a method;
`METHOD.key` narrows it to one method (or variant), `EXECUTOR.key` is a setting of an executor. Files hold the same
keys, with a table a method or executor.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from kdbench.errors import UserError, unknown
from kdbench.method import Method
from kdbench.options import Options, option
from kdbench.plugins import EXECUTORS, METHODS
from kdbench.settings import Execution, Recording, Training

CONFIG_FILE = "kdbench.toml"


class Study(Options):
    """What is compared on what."""

    student: str = option("tiny-2x64", "the student's starting network")
    teacher: str = option("tiny-4x64", "the teacher's starting network")
    source: Literal["generated", "glue-dir", "hub"] = option("generated", "where the examples come from")
    glue_dir: str = option("", "a folder in the classic GLUE layout")
    feedback: str = option("train:0.1", "what methods with feedback learn from: train:F or validation")
    selection: str = option("train:0.1", "what picks checkpoints and grid points: train:F or validation")


class Invocation(Options):
    """What to do, as far as a file may say it."""

    preset: str = option("tiny", "the preset to start from")
    methods: str | list[str] = option("all", "methods to run")
    tasks: str | list[str] = option("glue", "tasks to run")
    seeds: str | int | list[int] = option("0", "seeds to run")
    results: str = option("results", "the results folder")
    executor: str = option("local", "where runs are trained: local, or a cluster's queue such as slurm")
    devices: str | list[str] = option("", "devices to share out among the jobs, such as cuda:0,cuda:1")
    runs_per_job: int = option(1, "runs that one job of a queue carries", ge=1)


GROUPS: tuple[type[Options], ...] = (Study, Training, Recording, Execution, Invocation)
Layer = Mapping[str, Any]


@dataclass(frozen=True)
class Point:
    """One setting of one method: `choice` holds the keys that have several values in the grid."""

    training: Training
    options: Options
    choice: Mapping[str, Any]


@dataclass
class Config:
    """The layers in force, weakest first in each list; the command line is stronger than every file."""

    files: list[Layer] = field(default_factory=list)
    command_line: list[Layer] = field(default_factory=list)

    def group(self, kind: type[Options]) -> Any:
        """The settings of a group that has one value for everything (not `Training`)."""
        values = {k: v for k, v in self._flat().items() if k in kind.model_fields}
        for key, value in values.items():
            listable = kind is Invocation
            if isinstance(value, list) and not listable:
                raise UserError(f"{key} takes one value, not {len(value)}; a grid is for hyperparameters.")
        return kind.parse(values, "settings")

    def section(self, name: str, kind: type[Options]) -> Any:
        """The settings of the executor `name`."""
        values: dict[str, Any] = {}
        for layer in [*self.files, *self.command_line]:
            values |= _section(layer, name)
        return kind.parse(values, f"executor '{name}'")

    def points(self, row: str, method: type[Method], variant: Mapping[str, Any]) -> Iterator[Point]:
        """Every grid point of a method (or of its variant `row`)."""
        kinds = (Training, method.options_type)
        known = {key for kind in kinds for key in kind.model_fields}
        merged = {k: v for k, v in self._flat(method.name, row, variant).items() if k in known}
        grid = {k: v if isinstance(v, list) else [v] for k, v in merged.items()}
        several = [k for k, v in grid.items() if len(v) > 1]
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            training, options = (_parse(kind, chosen, row) for kind in kinds)
            assert isinstance(training, Training)
            yield Point(training, options, {k: _plain(training, options, k) for k in several})

    def _flat(self, method: str = "", row: str = "", variant: Layer = MappingProxyType({})) -> dict[str, Any]:
        """Keys for a method and its variant `row`: files, then what the variant is, then what is said of it by name."""
        out: dict[str, Any] = {}
        for layer in self.files:
            out |= _plain_keys(layer) | _section(layer, method)
        out |= variant
        for layer in self.files if row != method else []:
            out |= _section(layer, row)
        for layer in self.command_line:
            out |= _plain_keys(layer) | _section(layer, method) | _section(layer, row)
        return out

    def check(self, rows: Mapping[str, type[Method]]) -> None:
        """Refuse keys that nothing would read.

        Args:
            rows: the selected methods and variants by name.

        Raises:
            UserError: an unknown key, or one that no selected method has.
        """
        for layer in [*self.files, *self.command_line]:
            for key, value in layer.items():
                if isinstance(value, dict):
                    _check_section(key, value)
                elif value == []:
                    raise UserError(f"{key} has no value; give one, or several for a grid.")
                elif key != "description" or layer in self.command_line:
                    _check_key(key, rows)


def _plain_keys(layer: Layer) -> dict[str, Any]:
    return {key: value for key, value in layer.items() if not isinstance(value, dict)}


def _section(layer: Layer, name: str) -> dict[str, Any]:
    found = layer.get(name, {})
    return found if isinstance(found, dict) else {}


def _parse(kind: type[Options], values: Layer, row: str) -> Options:
    return kind.parse({k: v for k, v in values.items() if k in kind.model_fields}, f"method '{row}'")


def _plain(training: Training, options: Options, key: str) -> Any:
    return getattr(training if key in Training.model_fields else options, key)


def _engine_keys() -> list[str]:
    return [key for group in GROUPS for key in group.model_fields]


def _check_key(key: str, rows: Mapping[str, type[Method]]) -> None:
    own = {k for method in rows.values() for k in method.options_type.model_fields}
    if key not in _engine_keys() and key not in own:
        raise unknown("key", key, [*_engine_keys(), *own])


def _check_section(name: str, values: Mapping[str, Any]) -> None:
    if name in EXECUTORS.all() or name in EXECUTORS.broken:
        return  # `Config.section` looks at it
    method = owner(name)
    for key in values:
        if key not in Training.model_fields and key not in method.options_type.model_fields:
            raise unknown(f"key of method '{name}'", key, [*method.options_type.keys(), *Training.keys()])


def owner(name: str) -> type[Method]:
    """The method called `name`, or the one that has a variant called so."""
    methods = METHODS.all()
    if found := METHODS.owner(name):
        return METHODS.get(found)
    raise unknown("method", name, [*methods, *(v for m in methods.values() for v in m.variants)])


def usual(preset: str, row: str, method: type[Method]) -> dict[str, Any]:
    """The hyperparameters that a preset alone gives a method (or its variant `row`), without those of its grid."""
    config, (_, variant) = Config(files=[read_toml(presets()[preset])]), method.variants.get(row, ("", {}))
    first = next(config.points(row, method, variant))
    values = {**first.training.model_dump(mode="json"), **first.options.model_dump(mode="json")}
    return {key: value for key, value in values.items() if key not in first.choice}


def parse_sets(pairs: Iterable[str]) -> Layer:
    """`["student_lr=1e-4,3e-5", "lgtm.influence=fda"]` as a layer.

    Raises:
        UserError: a pair that is not KEY=VALUE.
    """
    layer: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals and text):
            raise UserError(f"--set {pair} is not KEY=VALUE; for example --set student_lr=1e-4,3e-5.")
        section, dot, name = key.strip().partition(".")
        is_grid = "," in text and not (dot and section in EXECUTORS.all())  # commas of an executor's are its own
        value: Any = [part.strip() for part in text.split(",")] if is_grid else text.strip()
        if dot:
            inner = layer.setdefault(section, {})
            if not isinstance(inner, dict):
                raise UserError(f"--set {section} has a value and --set {pair} makes it a method; choose one.")
            inner[name] = value
        else:
            layer[section] = value
    return layer


def presets() -> dict[str, Path]:
    """The presets by name."""
    folder = Path(str(files("kdbench"))) / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def check_preset(preset: str | None, stored: Iterable[str]) -> None:
    """Raises UserError: there is no such preset, neither in kdbench nor among those of stored results."""
    known = {*presets(), *stored}
    if preset is not None and preset not in known:
        raise unknown("preset", preset, known)


def read_toml(path: Path) -> Layer:
    """A settings file.

    Raises:
        UserError: it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}.") from None


def request_layer(methods: str, varies: Layer) -> Layer:
    """Settings as they are, options in a section for each of the methods."""
    shared = {key: value for key, value in varies.items() if key in _engine_keys()}
    options = {key: value for key, value in varies.items() if key not in shared}
    return {**shared, **({name.strip(): options for name in methods.split(",")} if options else {})}


def assemble(command_line: Layer, folder: Path, request: Layer | None = None) -> Config:
    """The layers in force in `folder`: preset, kdbench.toml, what a table or figure needs, command line.

    Raises:
        UserError: an unknown preset.
    """
    path = folder / CONFIG_FILE
    own = read_toml(path) if path.is_file() else {}
    needed = dict(request or {})
    name = str(command_line.get("preset") or needed.get("preset") or own.get("preset") or Invocation().preset)
    if name not in presets():
        raise unknown("preset", name, presets())
    preset = dict(read_toml(presets()[name])) | {"preset": name}
    given = {k: v for k, v in command_line.items() if v is not None}
    layers = [{"source": "glue-dir", **layer} if layer.get("glue_dir") else layer for layer in (own, given)]
    return Config(files=[preset, layers[0], needed | {"preset": name}], command_line=[layers[1]])
