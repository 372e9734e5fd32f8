"""Turn the runs that tables and figures need into plans."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from kdbench.core.errors import UserError, unknown
from kdbench.core.registry import ALL, Registry
from kdbench.core.settings import Recording, Study
from kdbench.core.toml_files import Layer
from kdbench.planning.config import Config, assemble_config, request_layer
from kdbench.planning.make_plan import make_plan
from kdbench.planning.plan import Plan


@dataclass(frozen=True)
class Request:
    """Runs that a table or figure needs. Its settings override every file, and the command line overrides them.

    Attributes:
        methods: as `--methods` takes them.
        varies: the settings in which these runs differ on purpose from the main comparison: options of the methods, or
            settings such as `feedback`. Other tables leave such runs out.
        settings: further keys, such as `preset` or `tasks`.
    """

    methods: str = "all"
    varies: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layer(self) -> dict[str, Any]:
        """Return the settings as a layer, like those of a settings file."""
        return {"methods": self.methods, **self.settings, **request_layer(self.methods, self.varies)}


class Exhibit(ABC):
    """A table or a figure.

    Class attributes:
        title: its heading; "" for a base of others.
        requests: the runs that it shows.
    """

    name: ClassVar[str] = ""  # set by the registry: the file's (or the entry point's) name
    title: ClassVar[str]
    requests: ClassVar[Sequence[Request]] = ()


def requests_by_name(names: str, registries: Iterable[Registry[Any]]) -> dict[str, Sequence[Request]]:
    """Return the requests of the named tables and figures: `table1,figure3`, or `all`.

    Raises:
        UserError: a table or figure does not exist, or needs no runs.
    """
    known: dict[str, Registry[Any]] = {name: registry for registry in registries for name in registry.all()}
    asking = {name: registry.get(name).requests for name, registry in known.items() if registry.get(name).requests}
    parts = dict.fromkeys(part.strip() for part in names.split(","))
    wanted = asking if ALL in parts else parts
    for name in wanted:
        if name not in known:
            raise unknown("table or figure", name, [*asking, ALL])
        if name not in asking:
            raise UserError(f"{name} needs no runs; those that do are {', '.join(asking)}.")
    return {name: asking[name] for name in wanted}


def request_configs(requests: Iterable[Request], command_line: Layer, folder: Path) -> list[tuple[Request, Config]]:
    """Merge each request with the user's own settings.

    Raises:
        UserError: the command line names methods, which the request does already.
    """
    if command_line.get("methods") is not None:
        raise UserError("--for says which methods are trained; leave out --methods, or leave out --for.")
    once: list[Request] = []
    once += (request for request in requests if request not in once)
    return [(request, assemble_config(command_line, folder, request.layer)) for request in once]


def merge_plans(merged: Iterable[tuple[Request, Config]]) -> list[tuple[Plan, Config]]:
    """Make one plan for all requests on the same data and splits, so that they are executed together."""
    found: dict[str, tuple[Plan, Config]] = {}
    for request, config in merged:
        plan = make_plan(config, request.varies)
        recording: Recording = config.group(Recording)
        study: Study = config.group(Study)
        key = "\n".join([plan.preset, study.model_dump_json(), recording.model_dump_json()])
        first = found.setdefault(key, (Plan(plan.preset, study), config))[0]
        first.absorb(plan)
    return list(found.values())
