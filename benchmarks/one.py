"""The process of one contestant: `python -m benchmarks.one NAME FILE`, with the work as JSON on its input."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks.kernels import product_setting
from benchmarks.stopwatch import peak_memory
from benchmarks.suites import CONTESTANTS
from benchmarks.work import Work
from kdbench.core.atomic_files import write_json


def main(name: str, file: str) -> None:
    import torch

    work = Work(**json.load(sys.stdin))
    torch.set_num_threads(work.threads)
    contestant = CONTESTANTS[name]
    load = os.getloadavg()[0]
    setting = product_setting(contestant.how.precision)
    timing = import_module(contestant.module).measure(work, contestant.how, **contestant.options)
    write_json(Path(file), {**asdict(timing), "peak": peak_memory(), "load": load, "setting": setting})


if __name__ == "__main__":
    main(*sys.argv[1:])
