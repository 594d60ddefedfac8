"""A task of many examples on a scripted model: processor seconds and the peak of memory, part by part.

python benchmarks/scale/many_examples.py [--sizes 10000,30000,100000] [--data learnt|held-out] [--rungs guess,zero_shot]

`learnt`: one file, of which at most 1,000 rows are held out; `held-out`: all but 1,000 rows are held out, and every
rung is asked all of them. `--climb-only` leaves out what comes after the climb. Each size runs in a process of its own.
Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from time import process_time
from typing import Any

LEARNT = 1_000
MODEL = "scripted:base=0.7,shots@4=0.8"


def write_task(folder: Path, n: int, data: str) -> None:
    """n rows of 8 to 20 words, which are as common as words are: the k-th as often as 1/k."""
    draw = random.Random(n)
    words = [f"word{k}" for k in range(20_000)]
    often = list(accumulate(1 / (k + 1) for k in range(len(words))))

    def rows(start: int, stop: int) -> Iterator[str]:
        for i in range(start, stop):
            asked = " ".join(draw.choices(words, cum_weights=often, k=draw.randint(8, 20)))
            yield json.dumps({"input": f"{asked} {i}", "target": f"answer {i * 104_729 % 1_000_003}"}) + "\n"

    def write(name: str, start: int, stop: int) -> None:
        with (folder / name).open("w") as out:
            out.writelines(rows(start, stop))

    file: dict[str, Any] = {"name": "many", "instruction": "Answer.", "scorer": "exact", "model": MODEL}
    if data == "learnt":
        write("examples.jsonl", 0, n)
        file["examples"] = "examples.jsonl"
    else:
        write("train.jsonl", 0, LEARNT)
        write("holdout.jsonl", LEARNT, n)
        file |= {"train": "train.jsonl", "holdout": "holdout.jsonl"}
    (folder / "shouldtune.yaml").write_text(json.dumps({**file, "tune": None, "probes": False}))


def measure(n: int, data: str, rungs: str, *, climb_only: bool = False) -> dict[str, float]:
    """Processor seconds of each part, which other work on the machine hardly changes; megabytes at most after it."""
    from shouldtune.asked import Climb, chosen_rungs
    from shouldtune.ladder import climb
    from shouldtune.report.page import to_html
    from shouldtune.run import load_run
    from shouldtune.task import load_task

    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_task(folder, n, data)

        def timed(name: str, work: Any) -> Any:
            start = process_time()
            made = work()
            found[f"{name} s"] = process_time() - start
            found[f"{name} MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            return made

        loaded = timed("read", lambda: load_task(folder))
        how = Climb(chosen_rungs(rungs.split(",")), allow_simulated=True, whole_holdout=True, forgetting=False)
        record = timed("climb", lambda: asyncio.run(climb(loaded, how)))
        if climb_only:
            return found
        timed("again", lambda: asyncio.run(climb(loaded, how)))
        timed("read run", lambda: load_run(record.folder))
        page = timed("page", lambda: to_html(record))
        found["page's MB"] = len(page) / 1e6
        found["ledger's MB"] = (folder / "runs" / "ledger.sqlite").stat().st_size / 1e6
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="10000,30000,100000")
    parser.add_argument("--data", choices=("learnt", "held-out"), default="held-out")
    parser.add_argument("--rungs", default="guess,zero_shot,few_shot")
    parser.add_argument("--one", type=int)
    parser.add_argument("--climb-only", action="store_true", help="read and climb; no second climb, no report")
    chosen = parser.parse_args()
    if chosen.one is not None:
        print(json.dumps(measure(chosen.one, chosen.data, chosen.rungs, climb_only=chosen.climb_only)))
        return
    header = ""
    for size in chosen.sizes.split(","):
        command = [sys.executable, __file__, "--one", size, "--data", chosen.data, "--rungs", chosen.rungs]
        command += ["--climb-only"] if chosen.climb_only else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout)
        if not header:
            header = "| examples | " + " | ".join(found) + " |"
            print(header + "\n|" + "---|" * (len(found) + 1), flush=True)
        print(f"| {int(size):,} | " + " | ".join(f"{value:,.1f}" for value in found.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
