"""Measure how many runs at once, each with how many threads, train the most rows a second on one machine."""

from __future__ import annotations

import multiprocessing
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.contestants.planned import one_step, planned, prepared
from benchmarks.embedding import planned_trec
from benchmarks.made_rows import made_words, write_trec
from benchmarks.work import BATCH, How, Work
from kdbench.training.setup import Setup

METHOD = "kd"
Share = tuple[int, int]  # runs at once, threads of each


def shares(cores: int) -> list[Share]:
    """Return one run on one core and on all cores, and as many runs as cores share evenly."""
    return [(1, 1), *((jobs, cores // jobs) for jobs in range(1, cores + 1) if cores % jobs == 0 and cores > 1)]


def play(work: Work, rounds: int, candidates: Sequence[Share], how: How | None = None) -> Iterator[dict[str, Any]]:
    """Let all processes live throughout; in each round, measure every share once, in an order of its own.

    Args:
        how: the settings of the runs on MRPC; None measures runs of preset `minilm` on TREC.

    Yields:
        round, jobs, threads, steps of each run, seconds until the last run was ready, rows a second of all, and rows
        for each second of a processor, which tell more where others use the machine too.
    """
    with _trainers(work, how, max(jobs for jobs, _ in candidates)) as pipes:
        for number in range(-1, rounds):  # the first round warms up
            for jobs, threads in random.Random(number).sample(candidates, len(candidates)):
                start = time.perf_counter()
                for pipe in pipes[:jobs]:
                    pipe.send((threads, work.steps))
                processor = sum(pipe.recv() for pipe in pipes[:jobs])
                seconds = time.perf_counter() - start
                if number >= 0:
                    yield {
                        "round": number, "jobs": jobs, "threads": threads, "steps": work.steps,
                        "seconds": round(seconds, 4), "rows_per_second": jobs * work.steps * BATCH / seconds,
                        "rows_per_cpu_second": jobs * work.steps * BATCH / processor,
                    }  # fmt: skip


@contextmanager
def _trainers(work: Work, how: How | None, count: int) -> Iterator[list[Connection]]:
    """Start processes that are ready to make steps of a run each."""
    context = multiprocessing.get_context("spawn")
    pairs = [context.Pipe() for _ in range(count)]
    processes = [context.Process(target=_train, args=(theirs, work, how), daemon=True) for _, theirs in pairs]
    try:
        for process, (_, theirs) in zip(processes, pairs, strict=True):
            process.start()
            theirs.close()
        for pipe, _ in pairs:
            pipe.recv()
        yield [pipe for pipe, _ in pairs]
    finally:
        for process in processes:
            process.kill()
            process.join()


def _train(pipe: Connection, work: Work, how: How | None) -> None:
    """Make as many steps as are asked for, with so many threads; the main function of a process."""
    with TemporaryDirectory() as folder, _setup(work, how, Path(folder)) as setup:
        step = 0
        pipe.send("ready")
        while True:
            threads, steps = pipe.recv()
            torch.set_num_threads(threads)
            start = time.process_time()
            for _ in range(steps):
                one_step(setup, step % setup.total_steps)
                step += 1
            if setup.device.type == "cuda":
                torch.cuda.synchronize(setup.device)
            pipe.send(time.process_time() - start)


@contextmanager
def _setup(work: Work, how: How | None, folder: Path) -> Iterator[Setup]:
    if how is None:
        work = replace(work, data_dir=work.data_dir or str(write_trec(folder / "data", made_words(work))))
        with prepared(*planned_trec(work, METHOD, folder), work) as setup:
            yield setup
    else:
        with planned(work, how, METHOD, {}) as made, prepared(*made, work) as setup:
            yield setup


def best_gain(measured: Sequence[Mapping[str, Any]]) -> tuple[float, int]:
    """Return how many times the rows a second of one run the best number of runs has, by medians, and that number."""
    middle = {share: median(found.values()) for share, found in _rates(measured, "rows_per_second").items()}
    best = max(middle, key=lambda share: middle[share])
    return middle[best] / middle[min(middle)], best[0]


def _rates(measured: Sequence[Mapping[str, Any]], key: str) -> dict[Share, dict[int, float]]:
    """Return share -> round -> rows a second."""
    rates: dict[Share, dict[int, float]] = {}
    for found in measured:
        rates.setdefault((found["jobs"], found["threads"]), {})[found["round"]] = found[key]
    return rates


def table(measured: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the lines of a table: medians over the rounds, and ratios to one run with one thread in the same round."""
    heads = [
        "runs at once",
        "threads of each",
        "rows/s of all",
        "times as many",
        "rows/s of a processor",
        "times as many",
    ]
    lines = ["|".join(["", *heads, ""]), f"|{'---|' * len(heads)}"]
    both = [_rates(measured, key) for key in ("rows_per_second", "rows_per_cpu_second")]
    for share in sorted(both[0]):
        cells = [str(number) for number in share]
        for rates in both:
            first, found = rates[min(rates)], rates[share]
            ratios = sorted(rate / first[number] for number, rate in found.items() if number in first)
            cells += [f"{median(found.values()):.0f}", f"{median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"]
        lines.append("|".join(["", *cells, ""]))
    return lines
