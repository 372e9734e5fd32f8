"""Merge presets, kdbench.toml and the command line into one set of values for each method.

All layers share one key space. A key is a field of `Study`, `Training`, `Recording` or `Execution`, or an option of a
method. `METHOD.key` sets it for one method (or variant), `EXECUTOR.key` is a setting of an executor. Files hold the
same keys, with a table for each method or executor. The section `teacher` sets the teacher's own fine-tuning; where it
exists, its key `network` names the teacher's network, because TOML allows one `teacher` a file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kdbench.core.errors import UserError, check_known, unknown
from kdbench.core.options import Options
from kdbench.core.settings import GROUPS, Invocation, Study, Training, shared_key, teacher_settings
from kdbench.core.toml_files import CONFIG_FILE, Layer, read_toml
from kdbench.distill.method import Method
from kdbench.distill.method_registry import METHODS, method_groups
from kdbench.planning.executor import EXECUTORS
from kdbench.results.read_studies import studies
from kdbench.results.store import Store
from kdbench.results.study import StudyResults

TEACHER, NETWORK = "teacher", "network"
SINGLE = {key for kind in (Study, Invocation) for key, item in kind.model_fields.items() if item.annotation is str}
COMMA = re.compile(r"(?<!\\),")  # of a value of --set; where one is meant, it is written with a backslash before it


@dataclass(frozen=True)
class Point:
    """One grid point of a method.

    Attributes:
        choice: the keys that have several values in the grid, with this point's values.
        teacher: settings of the teacher's own fine-tuning; see `teacher_settings`.
    """

    training: Training
    options: Options
    choice: Mapping[str, Any]
    teacher: Mapping[str, Any]


@dataclass
class Config:
    """The layers in force, weakest first in each list; the command line overrides every file.

    Attributes:
        files: the preset, kdbench.toml, and what a table or figure needs; fewer where only a preset is looked at.
    """

    files: list[Layer] = field(default_factory=list)
    command_line: list[Layer] = field(default_factory=list)

    def group(self, kind: type[Options]) -> Any:
        """Return the settings of a group that has one value for all methods (any group but `Training`).

        Raises:
            UserError: a key that takes one value has several.
        """
        values = {k: v for k, v in self._flat().items() if k in kind.model_fields}
        for key, value in values.items():
            if isinstance(value, list) and kind is not Invocation:
                raise UserError(f"{key} takes one value, not {len(value)}; a grid is for hyperparameters.")
        return kind.parse(values, "settings")

    def says(self, *keys: str) -> bool:
        """Return whether the user set all of these keys, in kdbench.toml or on the command line."""
        own = [*self.files[1:2], *self.command_line]  # without the preset and what a table needs
        return all(any(key in layer for layer in own) for key in keys)

    def section(self, name: str, kind: type[Options]) -> Any:
        """Return the settings of the executor `name`."""
        values: dict[str, Any] = {}
        for layer in [*self.files, *self.command_line]:
            values |= _section(layer, name)
        return kind.parse(values, f"executor '{name}'")

    def points(self, row: str, method: type[Method], variant: Mapping[str, Any]) -> Iterator[Point]:
        """Yield every grid point of a method.

        Args:
            row: name of the method or variant.
            variant: the options that the variant changes.

        Raises:
            UserError: a value is not valid.
        """
        # the values of each key of this method, in a list
        kinds = (Training, method.options_type)
        known = {key for kind in kinds for key in kind.model_fields}
        merged = {k: v for k, v in self._flat(method.name, row, variant).items() if k in known}
        merged |= {f"{TEACHER}.{k}": v for k, v in self.teacher_section().items()}
        grid = {k: v if isinstance(v, list) else [v] for k, v in merged.items()}
        # the product of all lists, validated point by point
        several = [k for k, v in grid.items() if len(v) > 1]
        for values in itertools.product(*grid.values()):
            chosen = dict(zip(grid, values, strict=True))
            training, options = (_parse(kind, chosen, row) for kind in kinds)
            assert isinstance(training, Training)
            if not training.epochs:
                raise UserError(f"method '{row}': epochs='0' is not valid: it should be at least 1.")
            teacher = teacher_settings({k.partition(".")[2]: v for k, v in chosen.items() if "." in k})
            own = {f"{TEACHER}.{key}": value for key, value in teacher.items()}
            choice = {k: own[k] if k in own else _plain(training, options, k) for k in several}
            yield Point(training, options, choice, teacher)

    def teacher_section(self, *, of_user: bool = False) -> dict[str, Any]:
        """Return the settings of the teacher's own fine-tuning by key; with `of_user`, without those of the preset.

        Where the user sets a key for all runs, such as `epochs`, the preset's `teacher.epochs` gives way.
        """
        values: dict[str, Any] = {}
        for layer in [*self.files, *self.command_line]:
            values |= {key: value for key, value in _section(layer, TEACHER).items() if key != NETWORK}
            if layer is self.files[0]:
                values = {key: value for key, value in values.items() if not of_user and not self.says(shared_key(key))}
        return values

    def _flat(self, method: str = "", row: str = "", variant: Layer = MappingProxyType({})) -> dict[str, Any]:
        """Merge the layers for a method and its variant `row`.

        Files come first, then the variant's options, then sections that name the row, then the command line.
        """
        out: dict[str, Any] = {}
        # files, weakest first
        for layer in self.files:
            out |= _plain_keys(layer) | _section(layer, method)
        out |= variant
        for layer in self.files if row != method else []:
            out |= _section(layer, row)
        for layer in self.command_line:
            out |= _plain_keys(layer) | _section(layer, method) | _section(layer, row)
        return out


def _plain_keys(layer: Layer) -> dict[str, Any]:
    """Return the keys outside sections; the teacher's network is one, even if it stands in the section `teacher`."""
    plain = {key: value for key, value in layer.items() if not isinstance(value, dict)}
    network = _section(layer, TEACHER).get(NETWORK)
    return plain if network is None else {**plain, TEACHER: network}


def _section(layer: Layer, name: str) -> dict[str, Any]:
    """Return the section of a method, variant, executor or the teacher; {} where there is none."""
    found = layer.get(name, {})
    return found if isinstance(found, dict) else {}


def _parse(kind: type[Options], values: Layer, row: str) -> Options:
    """Validate the values of one class of options."""
    return kind.parse({k: v for k, v in values.items() if k in kind.model_fields}, f"method '{row}'")


def _plain(training: Training, options: Options, key: str) -> Any:
    """Look up a key in the training settings or the method's options."""
    return getattr(training if key in Training.model_fields else options, key)


def engine_keys() -> list[str]:
    """Return the keys that belong to no method."""
    return [key for group in GROUPS.values() for key in group.model_fields]


def method_of_row(name: str) -> type[Method]:
    """Return the method called `name`, or the method that has a variant called `name`.

    Raises:
        UserError: there is none.
    """
    methods = METHODS.all()
    if found := METHODS.owner(name):
        return METHODS.get(found)
    raise METHODS.unknown(name, [*methods, *(v for m in methods.values() for v in m.variants), *method_groups()])


def preset_values(preset: str, row: str, method: type[Method]) -> dict[str, Any]:
    """Return a row's hyperparameters under a preset alone, without the keys of a grid; `row` may be a variant."""
    config, (_, variant) = Config(files=[read_toml(preset_files()[preset])]), method.variants.get(row, ("", {}))
    first = next(config.points(row, method, variant))
    values = {**first.training.model_dump(mode="json"), **first.options.model_dump(mode="json")}
    return {key: value for key, value in values.items() if key not in first.choice}


def default_options(row: str, method: type[Method]) -> dict[str, Any]:
    """Return the options of a method (or of its variant `row`) that nobody sets."""
    _, variant = method.variants.get(row, ("", {}))
    return method.options_type.parse(variant, f"method '{row}'").model_dump(mode="json")


def installed_options(row: str) -> dict[str, Any]:
    """Return the default options of the installed method that a row is of; {} where none is installed."""
    try:
        return default_options(row, method_of_row(row))
    except UserError:
        return {}


def parse_sets(pairs: Iterable[str], options: Layer = MappingProxyType({})) -> Layer:
    """Parse the arguments of --set: `["student_lr=1e-4,3e-5", "lgtm.influence=fda"]` becomes a layer.

    Args:
        pairs: KEY=VALUE; several values are separated by commas.
        options: values of keys that have an option of their own on the command line; they override the pairs, and a
            later pair an earlier one.

    Raises:
        UserError: a pair is not KEY=VALUE.
    """
    layer: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (key and equals and text):
            raise UserError(f"--set {pair} is not KEY=VALUE; for example --set student_lr=1e-4,3e-5.")
        section, dot, name = key.strip().partition(".")
        if not dot:
            _set(layer, section, _grid(section, text))
            continue
        inner = layer.setdefault(section, {})
        if section == TEACHER and isinstance(inner, str):
            layer[section] = inner = {NETWORK: inner}
        if not isinstance(inner, dict):
            raise UserError(f"--set {section} has a value and --set {pair} makes it a method; choose one.")
        # commas of an executor's values are its own
        inner[name] = text.strip() if section in EXECUTORS.all() else _grid(name, text)
    for key, text in options.items():
        _set(layer, key, _grid(key, text) if key in Training.model_fields else text)
    return layer


def _set(layer: dict[str, Any], key: str, value: Any) -> None:
    """Set a key without a dot; the teacher's network goes into the section `teacher`, if there is one."""
    if key == TEACHER and isinstance(layer.get(key), dict):
        layer[key][NETWORK] = value
    else:
        layer[key] = value


def _grid(key: str, text: str) -> Any:
    """Split the text of a value at its commas; keys that take one text, such as a folder, are not split."""
    parts = [text] if key in {*SINGLE, NETWORK} else COMMA.split(text)
    values = [part.strip().replace("\\,", ",") for part in parts]
    return values if len(values) > 1 else values[0]


def preset_files() -> dict[str, Path]:
    """Return the files of the presets by name."""
    folder = Path(str(files("kdbench.planning"))) / "presets"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def check_preset(preset: str | None, stored: Iterable[str]) -> None:
    """Check that a preset exists in kdbench or among the presets of stored results.

    Raises:
        UserError: it does not.
    """
    known = {*preset_files(), *stored}
    if preset is not None and preset not in known:
        raise unknown("preset", preset, known)


def stored_studies(store: Store, preset: str | None) -> list[StudyResults]:
    """Return the studies of a results folder (of one preset, if given), the last asked for last.

    Raises:
        UserError: neither kdbench nor the folder has such a preset.
    """
    every = studies(store)
    check_preset(preset, (study.preset for study in every))
    return [study for study in every if preset in (None, study.preset)]


def request_layer(methods: str, varies: Layer) -> Layer:
    """Return the settings of a request as a layer: engine keys as they are, options in a section for each method."""
    shared = {key: value for key, value in varies.items() if key in engine_keys()}
    options = {key: value for key, value in varies.items() if key not in shared}
    return {**shared, **({name.strip(): options for name in methods.split(",")} if options else {})}


def assemble_config(command_line: Layer, folder: Path, request: Layer | None = None) -> Config:
    """Merge the layers in force in `folder`: preset, kdbench.toml, needs of a table or figure, command line.

    Raises:
        UserError: the preset is not known.
    """
    path = folder / CONFIG_FILE
    own = read_toml(path) if path.is_file() else {}
    needed = dict(request or {})
    name = str(command_line.get("preset") or needed.get("preset") or own.get("preset") or Invocation().preset)
    check_known("preset", [name], preset_files())
    preset = dict(read_toml(preset_files()[name])) | {"preset": name}
    given = {k: v for k, v in command_line.items() if v is not None}
    layers = [{"source": "glue-dir", **layer} if layer.get("glue_dir") else layer for layer in (own, given)]
    return Config(files=[preset, layers[0], needed | {"preset": name}], command_line=[layers[1]])
