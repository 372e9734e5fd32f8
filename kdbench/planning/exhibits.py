"""What a table or figure needs to be trained, as settings; and how those become plans."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from kdbench.core.errors import UserError, unknown
from kdbench.core.registry import Registry
from kdbench.core.settings import Recording, Study
from kdbench.planning.config import Config, Layer, assemble_config, request_layer
from kdbench.planning.plan import Plan, make_plan

ALL = "all"


@dataclass(frozen=True)
class Request:
    """Some runs that a table or figure needs. It is weaker than the command line and stronger than every file.

    Attributes:
        methods: as `--methods` takes them.
        varies: what makes these runs differ, on purpose, from those of the main comparison: options of the methods,
            or settings such as `feedback`. Other tables leave such runs out.
        settings: further keys, such as `preset` or `tasks`.
    """

    methods: str = "all"
    varies: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def layer(self) -> dict[str, Any]:
        """The keys, as a settings file would hold them."""
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
    """Tables and figures, `table1,figure3` or `all`, with what they need.

    Raises:
        UserError: there is no such table or figure, or it needs no runs.
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
    """A request and the user's own settings, merged, for each request.

    Raises:
        UserError: the command line says which methods to train.
    """
    if command_line.get("methods") is not None:
        raise UserError("--for says which methods are trained; leave out --methods, or leave out --for.")
    once: list[Request] = []
    once += (request for request in requests if request not in once)
    return [(request, assemble_config(command_line, folder, request.layer)) for request in once]


def merge_plans(merged: Iterable[tuple[Request, Config]]) -> list[tuple[Plan, Config]]:
    """One plan for all requests on the same data and splits, so that they are carried out together."""
    found: dict[str, tuple[Plan, Config]] = {}
    for request, config in merged:
        plan = make_plan(config, request.varies)
        recording: Recording = config.group(Recording)
        study: Study = config.group(Study)
        key = "\n".join([plan.preset, study.model_dump_json(), recording.model_dump_json()])
        first = found.setdefault(key, (Plan(plan.preset, study), config))[0]
        first.absorb(plan)
    return list(found.values())
