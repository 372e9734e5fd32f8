"""Gather the runs of one or several results folders for a collection, anonymised and in a fixed order."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from kdbench.core.errors import UserError, unknown
from kdbench.core.records import read_record
from kdbench.core.spec import UNKNOWN_PATH, ModelRef, RunSpec
from kdbench.data.files.source import file_names
from kdbench.data.task_registry import TASKS
from kdbench.results import series
from kdbench.results.archive.anonymize import DIR, Anonymizer
from kdbench.results.archive.choose_sweeps import RowRun, choose_sweeps
from kdbench.results.archive.compression import RunPredictions
from kdbench.results.archive.read import StoredRun
from kdbench.results.store import RunFolder, RunState, Store
from kdbench.results.submission_records import Submission, read_submissions
from kdbench.results.sweep_files import Sweep, creation_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDERS = ("glue_dir", "data_dir")  # of a study
PRIVATE = {"host": "", "pid": 0, "job": ""}  # of a state


@dataclass(frozen=True)
class FoundRun:
    """A run in one of the folders."""

    store: Store
    spec: RunSpec
    folder: RunFolder

    @cached_property
    def state(self) -> RunState | None:
        """Return the state as the engine sees it; None before the run began.

        A running run counts as interrupted, a finished one without a readable result as pending.
        """
        if not (self.folder.path / "spec.json").exists():
            return None
        state = self.folder.state()
        if state.status == "done" and not self.folder.has_result():
            return RunState()  # as the engine sees it
        return state.model_copy(update={"status": "interrupted"}) if state.status == "running" else state

    @property
    def is_done(self) -> bool:
        """Return whether the run is finished."""
        return self.state is not None and self.state.status == "done"

    def part(self, name: str) -> dict[str, Any] | None:
        """Read one of the run's JSON files; None where it does not exist."""
        path = self.folder.path / f"{name}.json"
        return read_record(path, dict[str, Any]) if self.state is not None and path.exists() else None

    @cached_property
    def answers(self) -> list[RunPredictions]:
        """Return the stored predictions of a finished run; [] where it kept none.

        Raises:
            UserError: the file is damaged.
        """
        from kdbench.results.predictions import read_predictions

        if not self.is_done or not self.folder.predictions.exists():
            return []
        found = sorted(read_predictions(self.folder).items())
        return [RunPredictions(self.folder.id, split, one.classes, one.labels) for split, one in found]

    def logits(self) -> dict[str, NDArray[Any]]:
        """Return the logits of a finished run as `predictions.read_logits` finds them again; {} where it kept none.

        Of the selection split only the temperature that fits it is kept.
        """
        from kdbench.results.predictions import logit_tensors

        known = self.is_done and self.folder.predictions.exists()
        return (
            {f"{self.folder.id}/{name}": values for name, values in logit_tensors(self.folder).items()} if known else {}
        )

    def rows(self) -> list[str]:
        """Return the lines of the run's series, without damaged ones."""
        begun = self.state is not None
        return [json.dumps(row) + "\n" for row in series.read_series(self.folder.series)] if begun else []

    def agrees(self, other: FoundRun) -> bool:
        """Return whether both runs have the same results and, where both kept predictions, the same predictions."""
        results = (json.dumps(run.part("result"), sort_keys=True) for run in (self, other))
        answers = ([(a.split, a.classes.tolist(), a.labels.tolist()) for a in run.answers] for run in (self, other))
        return len(set(results)) == 1 and (not self.answers or not other.answers or next(answers) == next(answers))


@dataclass(frozen=True)
class GatheredResults:
    """Everything that is to be written, anonymised."""

    runs: Sequence[StoredRun]
    sweeps: Sequence[dict[str, Any]]
    submissions: Sequence[dict[str, Any]]
    found: Sequence[FoundRun]  # as `runs`
    without_logits: Collection[str]  # tasks

    def series(self) -> Iterator[tuple[str, list[str]]]:
        """Yield the runs that have a series, with its lines."""
        return ((one.folder.id, rows) for one in self.found if (rows := one.rows()))

    def answers(self) -> Iterator[RunPredictions]:
        """Yield the stored predictions of all runs."""
        return (answer for one in self.found for answer in one.answers)

    def logits(self) -> dict[str, NDArray[Any]]:
        """Return the logits that are to be kept by name: `RUN/best/validation/logits`."""
        kept = (one for one in self.found if one.spec.task not in self.without_logits)
        return {name: values for one in kept for name, values in one.logits().items()}


def gather_results(
    stores: Sequence[Store],
    preset: str | None,
    without_logits: Collection[str] = (),
    cells: Collection[RowRun] | None = None,
    prefer_first: bool = False,
) -> GatheredResults:
    """Join results folders.

    Args:
        preset: gather only sweeps of this preset.
        without_logits: tasks whose logits are left out.
        cells: gather only these, by row and run; None for all.
        prefer_first: of a run that ended otherwise in two folders keep what the earlier of `stores` has; the sweeps say
            so.

    Raises:
        UserError: a folder has no results, there is no such preset or task, a file is damaged, or the same run or sweep
            is another one in another folder.
    """
    raw = choose_sweeps(stores, preset, cells)
    # of each run all copies, and the one to keep
    several: dict[str, list[FoundRun]] = {}
    for store, _, sweep in raw:
        for run, spec in Sweep.model_validate(sweep).runs.items():
            several.setdefault(run, []).append(FoundRun(store, spec, store.run(run)))
    chosen = {run: _choose(several[run], prefer_first) for run in sorted(several)}
    found, others = [one for one, _ in chosen.values()], {run: number for run, (_, number) in chosen.items() if number}
    every = {*TASKS.all(), *(one.spec.task for one in found)}
    if strange := sorted(set(without_logits) - every):
        raise unknown("task", strange[0], every)
    # anonymise sweeps, runs and submissions
    anonymizer = _make_anonymizer(stores, [sweep for _, _, sweep in raw], several)
    sweeps: dict[str, list[dict[str, Any]]] = {}
    for _, name, sweep in raw:
        here = {run: number for run, number in others.items() if run in sweep["runs"]}
        joined = {**sweep, "other_results": sweep.get("other_results", {}) | here} if here else sweep
        sweeps.setdefault(name, []).append(_sweep(name, joined, anonymizer))
    handed = _submissions(stores, {run.folder.id for run in found})
    return GatheredResults(
        [_run(one, anonymizer) for one in found],
        [_unite_copies(sweeps[name]) for name in sorted(sweeps)],
        [anonymizer.value(one) for one in handed],
        found,
        without_logits,
    )


def _choose(several: Sequence[FoundRun], prefer_first: bool) -> tuple[FoundRun, int]:
    """Return the finished copy of a run that kept most, else that updated last; and how many copies ended otherwise.

    Raises:
        UserError: some did, and the first is not to be preferred.
    """
    folders = {one.folder.path.resolve(): one for one in several}  # many sweeps may ask for a run
    done = [one for one in folders.values() if one.is_done]
    same = [one for one in done if one is done[0] or one.agrees(done[0])]
    if len(same) < len(done) and not prefer_first:
        other = next(one for one in done if one not in same)
        raise UserError(
            f"{other.folder.id} has other results in {done[0].store.root} than in {other.store.root}; leave one of the "
            "folders out, or give --prefer-first, which keeps those of the first folder and says so below tables."
        )
    if len(same) > 1:
        same.sort(key=lambda one: (not one.answers, not one.logits(), not one.part("deployment"), _moment(one)))
    return same[0] if same else max(folders.values(), key=_moment), len(done) - len(same)


def _moment(one: FoundRun) -> tuple[float, str]:
    """Return a sort key: when a run was last updated."""
    return (one.state.updated, one.state.model_dump_json()) if one.state else (-1.0, "")


def _make_anonymizer(
    stores: Iterable[Store], sweeps: Iterable[Mapping[str, Any]], runs: Mapping[str, list[FoundRun]]
) -> Anonymizer:
    """Build the anonymizer from all paths, hosts and sections that the folders mention."""
    # folders of data and models, as sweeps name them
    known: dict[str, str] = {}
    for sweep in sweeps:
        known |= {str(sweep["study"].get(key) or ""): DIR for key in FOLDERS}
        for role, fingerprint in sweep["models"].items():
            own = str(sweep["study"].get(role, ""))
            for name in [own, *_relative_paths(own, sweep["command"])]:
                _add_known(known, ModelRef(name=name, fingerprint=fingerprint))
    # the same and files of methods, as specs name them
    every = [one for some in runs.values() for one in some]
    for one in every:
        known[one.spec.data.path or ""] = DIR
        if one.spec.method_file is not None:
            known[one.spec.method_file.path] = PurePath(one.spec.method_file.path).name
        known |= {name: PurePath(name).name for name in _absolute_paths(one.spec.declaration)}
        for ref in (one.spec.student, one.spec.teacher):
            _add_known(known, ref)
    # the results folders themselves
    for store in stores:
        known |= {str(path): DIR for path in (store.root, store.root.resolve(), store.runs_folder.parent)}
    hosts = {one.state.host for one in every if one.state}
    sections = {"teacher", *(one.spec.method for one in every), *(row for sweep in sweeps for row in sweep["rows"])}
    return Anonymizer(known, hosts, sections)


def _absolute_paths(declaration: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sources of a declared task that are absolute paths."""
    for split in ("train", "validation", "test"):
        for source in declaration.get(split, ()):
            yield from (name for name in file_names(source) if name[:1] == "/")


def _relative_paths(name: str, command: Iterable[str]) -> Iterator[str]:
    """Yield the relative paths in a command that lead to the folder `name`."""
    values = (word.rpartition("=")[2] for word in command)
    return (value for value in values if "/" in value and name.endswith("/" + value.lstrip("./")))


def _add_known(known: dict[str, str], ref: ModelRef | None) -> None:
    if ref is not None and ref.title != ref.name:
        known[ref.name] = f"{UNKNOWN_PATH}{ref.title}"  # in commands and options, where its own name may be another's


def _run(one: FoundRun, anonymizer: Anonymizer) -> StoredRun:
    """Return a run without host, process and job."""
    # folders in the spec are replaced by names; the run keeps its stored id
    data = one.spec.data.model_copy(update={"path": DIR if one.spec.data.path else None})
    refs = {role: getattr(one.spec, role) for role in ("student", "teacher")}
    models = {role: ref and ref.model_copy(update={"name": ref.title}) for role, ref in refs.items()}
    spec, state = anonymizer.value(one.spec.model_copy(update={"data": data, **models}).model_dump(mode="json")), None
    if one.state is not None:
        state = one.state.model_dump(mode="json") | PRIVATE | {"message": anonymizer.message(one.state.message)}
    parts = {name: anonymizer.value(one.part(name)) for name in ("environment", "result", "cost", "deployment")}
    return StoredRun(id=one.folder.id, spec=spec, state=state, **parts)


def _sweep(name: str, raw: Mapping[str, Any], anonymizer: Anonymizer) -> dict[str, Any]:
    """Return the fields of a sweep that are read again; runs are named, because their specs are stored."""
    kept = {key: raw[key] for key in Sweep.model_fields if key in raw}
    study = dict(kept["study"])
    study |= {key: DIR if study[key] else "" for key in FOLDERS if key in study}
    for role, fingerprint in kept["models"].items():
        if role in study:
            study[role] = ModelRef(name=study[role], fingerprint=fingerprint).title
    command, runs = anonymizer.command(kept["command"]), list(kept["runs"])
    kept |= {"study": study, "command": command, "runs": runs}
    return {"id": name, **anonymizer.value(kept)}


def _unite_copies(several: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Join the copies of one sweep: each folder may keep another part of its cells.

    Command, titles and order are those of the copy that was asked for last, whatever the order of the folders.

    Raises:
        UserError: the copies are of different studies.
    """
    copies = sorted(
        several, key=lambda one: (creation_time(one["created"]), len(one["cells"]), json.dumps(one)), reverse=True
    )
    united = dict(copies[0])
    for other in copies[1:]:
        if any(other[key] != united[key] for key in ("preset", "study", "models")):
            raise UserError(
                f"Sweep {united['id']} has another preset, other models or other data in one of the folders than in "
                "another; leave one of them out."
            )
        united["cells"] = _union(united["cells"], other["cells"])
        united["runs"] = _union(united["runs"], other["runs"])
        for key in ("rows", "tasks", "data_remarks", "other_results"):
            if key in other:
                united[key] = other[key] | united.get(key, {})
        united["left_out"] = _union(united.get("left_out", ()), other.get("left_out", ()))
    # what one copy lacks may be in another
    here = [[cell["row"], cell["task"]] for cell in united["cells"]]
    if gone := [place for place in united.pop("left_out", ()) if place not in here]:
        united["left_out"] = sorted(gone)
    return united


def _union(first: Sequence[Any], second: Iterable[Any]) -> list[Any]:
    """Return the first list, and what the second has beyond it."""
    return list({json.dumps(item, sort_keys=True): item for item in (*first, *second)}.values())


def _submissions(stores: Iterable[Store], runs: set[str]) -> list[dict[str, Any]]:
    """Return the submissions of these runs by name; of equal exports the one with scores."""
    found: dict[str, Submission] = {}
    for one in (one for store in stores for one in read_submissions(store)):
        if any(part.run in runs for part in one.parts.values()):
            found[one.id] = max(found.get(one.id, one), one, key=lambda s: (str(s.scored or ""), s.model_dump_json()))
    return [{"id": name, **found[name].model_dump(mode="json")} for name in sorted(found)]
