"""The executor for a SLURM cluster: it submits the graph of runs and ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from kdbench.core.errors import UserError
from kdbench.core.formatting import count
from kdbench.planning.executor import EXIT_STOPPED, ExecutionRequest, Executor, Job, ShowTables
from kdbench.reporting import printing
from kdbench.results.store import Store
from kdbench.slurm import queue
from kdbench.slurm.arrays import JobArray, make_arrays
from kdbench.slurm.ledger import Ledger
from kdbench.slurm.options import SlurmOptions
from kdbench.slurm.queue import Queue, SlurmError

SOME = 3  # arrays that a preview shows in full
NOT_NOW = "Requested node configuration is not available"


class Slurm(Executor):
    """Job arrays with the graph's edges as dependencies. No process stays alive."""

    title = "a SLURM cluster"
    options_type = SlurmOptions
    options: SlurmOptions

    def check(self, request: ExecutionRequest) -> list[str]:
        """Check settings and cluster, and let sbatch test the first array."""
        from kdbench.training import preflight

        self._check_settings(request)
        known = _require_queue()
        remarks = preflight.check(request.plan, [], request.store)
        if request.devices:
            remarks.append("devices are shared out on this machine only; the jobs of a queue use what they are given.")
        self._try_out(request, known)
        return remarks

    def _check_settings(self, request: ExecutionRequest) -> None:
        """Check everything that does not need the cluster."""
        from kdbench.training import preflight

        preflight.check_device_name(request.execution.device)
        if problem := self.options.too_short():
            raise UserError(problem)
        if "%" in str(request.store.root.resolve()):
            raise UserError(f"SLURM takes % in {request.store.root} for a pattern; give another --results DIR.")

    def _try_out(self, request: ExecutionRequest, known: Queue) -> None:
        """Let sbatch test the request before anything is written."""
        from kdbench.slurm import submit

        # the first array stands for all
        for array in self._arrays(request, known)[:1]:
            script = submit.sbatch_script(submit.sbatch_parameters(self.options, array, "test", ()), 1, "kdbench")
            try:
                with submit.outside_of_jobs():
                    queue.call_slurm("sbatch", "--test-only", stdin=script)
            except SlurmError as error:
                if NOT_NOW in str(error):  # also said while nodes are down for a moment; sbatch itself will tell
                    continue
                raise UserError(
                    f"The cluster refuses the job ({error}); see [slurm] in kdbench.toml, or --set slurm.KEY=VALUE."
                ) from None

    def _arrays(self, request: ExecutionRequest, known: Queue) -> list[JobArray]:
        """Return the arrays to submit: runs that are neither finished nor in the queue."""
        plan, live = request.plan, self._live(request.store, known)
        chosen = [
            run for run, spec in plan.runs.items()
            if run not in live and not request.store.run(run).is_done(spec.snapshots)
        ]  # fmt: skip
        return make_arrays(
            plan.runs, chosen, longest=self._longest(known),
            runs_per_job=max(request.runs_per_job, self.options.side_by_side), together=self.options.max_parallel > 0,
        )  # fmt: skip

    def _longest(self, known: Queue) -> int:
        """Return how many jobs an array may have; 1000 where the cluster does not tell."""
        try:
            return self.options.max_array or (1000 if known.problem else queue.longest_array())
        except SlurmError:
            return 1000

    @staticmethod
    def _live(store: Store, known: Queue) -> dict[str, str]:
        """Return the runs that have a job in the queue, with its id."""
        return {run: job for run, job in Ledger(store).jobs(known).items() if known.job(job).is_live}

    def preview(self, request: ExecutionRequest) -> None:
        """Print the arrays that would be submitted, the first ones with their sbatch parameters."""
        from kdbench.slurm import submit

        self._check_settings(request)
        made = self._arrays(request, queue.ask_queue())
        folder = str(request.store.root.resolve() / "slurm" / request.sweep)
        request.console.print()
        for place, array in enumerate(made[:SOME]):
            runs = request.plan.runs
            pending = {run for run in array.after if not request.store.run(run).is_done(runs[run].snapshots)}
            after = [f"<job of {run}>" for run in sorted(pending)]
            script = submit.sbatch_script(
                submit.sbatch_parameters(self.options, array, request.sweep, after), len(array.tasks), folder
            )
            lines = [line for line in script.splitlines() if line.startswith("#SBATCH")]
            request.console.print(f"Array {place + 1} of {len(made)}: {self._about(array)}", markup=False)
            request.console.print("\n".join(f"  {line}" for line in lines), markup=False, soft_wrap=True)
        for place, array in enumerate(made[SOME:], SOME):
            request.console.print(f"Array {place + 1} of {len(made)}: {self._about(array)}", markup=False)

    @staticmethod
    def _about(array: JobArray) -> str:
        """Describe an array in a line."""
        first, *more = array.runs
        jobs = count(len(array.tasks), "job")
        return f"{jobs} for {count(len(array.runs), 'run')}, {first}{f' and {len(more)} more' if more else ''}"

    def execute(self, request: ExecutionRequest, show_tables: ShowTables) -> int:
        """Submit the unfinished runs, and return at once."""
        # nothing to do, or not wanted
        known = _require_queue()
        live, made = self._live(request.store, known), self._arrays(request, known)
        jobs = sum(len(array.tasks) for array in made)
        if not made:
            waiting = f"; {count(len(live), 'run')} in the queue" if live else ""
            request.console.print(f"Nothing to submit{waiting}. See: kdbench status")
            return 0
        if not self._agreed(request, jobs, made):
            request.console.print("Not submitted.")
            return EXIT_STOPPED
        ledger = Ledger(request.store)
        with ledger.submitting():
            # while we asked or waited, another command may have submitted the same runs
            known = _require_queue()
            live, made = self._live(request.store, known), self._arrays(request, known)
            jobs = sum(len(array.tasks) for array in made)
            self._submit(request, made, live)
        if not made:
            request.console.print("Nothing to submit any more: another command has submitted it. See: kdbench status")
            return 0
        request.console.print(
            f"Submitted {count(jobs, 'job')} in {count(len(made), 'array')} for "
            f"{count(sum(len(a.runs) for a in made), 'run')}. You may log out.\n"
            f"  kdbench status --watch     how they stand\n"
            f"  kdbench cancel             takes them out of the queue\n"
            f"  the same command           submits what is then missing",
            highlight=False,
        )
        return 0

    def _agreed(self, request: ExecutionRequest, jobs: int, made: list[JobArray]) -> bool:
        """Print the estimated cost; on a terminal, ask whether to submit."""
        import click

        from kdbench.planning import cost_estimate

        chosen = [run for array in made for run in array.runs]
        for line in cost_estimate.estimate_lines(cost_estimate.estimate_cost(request.plan, request.store, chosen)):
            printing.print_line(request.console, line)
        request.console.print(f"{count(jobs, 'job')} in {count(len(made), 'array')}.", highlight=False)
        return not sys.stdin.isatty() or not sys.stdout.isatty() or click.confirm("Submit?", default=True)

    def _submit(self, request: ExecutionRequest, made: list[JobArray], live: Mapping[str, str]) -> None:
        """Submit the arrays one after the other; a failed submission restores the states of its runs.

        Args:
            live: run -> id of its job in the queue.
        """
        from kdbench.slurm import submit

        ledger, jobs = Ledger(request.store), dict(live)
        for place, array in enumerate(made):
            # a job would skip a run that has failed
            folders = [request.store.run(run) for run in array.runs]
            failures = [(folder, state) for folder in folders if (state := folder.reset_failure())]
            after = {jobs[run] for run in array.after if run in jobs}
            # the next arrays wait for the jobs of this one
            try:
                record = submit.submit_array(request, self.options, ledger, array, after)
            except SlurmError as error:
                for folder, state in failures:
                    folder.restore_failure(state)
                raise UserError(
                    f"The cluster refused array {place + 1} of {len(made)} ({error}); the {place} before it are in the "
                    f"queue, and the same command submits the rest (kdbench cancel takes them out)."
                ) from None
            jobs |= record.jobs(record.job)

    @classmethod
    def jobs(cls, store: Store) -> tuple[Mapping[str, Job], str]:
        ledger = Ledger(store)
        if not any(True for _ in ledger.records()):
            return {}, ""
        known = queue.ask_queue()
        return {run: known.job(job) for run, job in ledger.jobs(known).items()}, known.problem

    @classmethod
    def cancel(cls, store: Store, runs: Iterable[str]) -> list[str]:
        """Cancel the jobs of these runs; a job that trains other runs too ends for all of them."""
        ledger, wanted = Ledger(store), set(runs)
        if not any(True for _ in ledger.records()):
            return []
        live = cls._live(store, _require_queue())
        ids = sorted({job for run, job in live.items() if run in wanted})
        others = sorted(run for run, job in live.items() if job in ids and run not in wanted)
        if not ids:
            return []
        try:
            queue.call_slurm("scancel", *ids)
        except SlurmError as error:
            raise UserError(f"The jobs {', '.join(ids)} could not be cancelled ({error}); try again.") from None
        said = f"Cancelled {count(len(ids), 'job')}; what was running has a checkpoint."
        return [said, *(f"{run} was in the same job." for run in others)]

    @classmethod
    def logs(cls, store: Store, run_id: str) -> list[Path]:
        """Return the output files of the jobs that trained a run."""
        return Ledger(store).log(run_id)


def _require_queue() -> Queue:
    """Ask the queue.

    Raises:
        UserError: the queue does not answer.
    """
    known = queue.ask_queue()
    if known.problem:
        raise UserError(
            f"The cluster does not answer: {known.problem}; go to one of its login nodes, or give --executor local."
        )
    return known
