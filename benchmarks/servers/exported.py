"""Whether an exported model scores on another's server as it did in its run: pair by pair, on held-out examples.

    shouldtune export RUN --to vllm --out FOLDER
    sh FOLDER/serve.sh --host 127.0.0.1 --port 8765        # in vLLM's own environment
    python benchmarks/servers/exported.py RUN FOLDER http://127.0.0.1:8765/v1#tuned [--most 64]

The prompts are those that FOLDER/prompt.py makes. Prints the share of answers that are the run's, word for word, and
both mean scores with the paired interval of their difference.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import runpy
import time
from pathlib import Path

from agreement import answers, equal

from shouldtune.exporting.prompt_files import read_options
from shouldtune.models.remote import open_remote
from shouldtune.run import load_run, rung_to_ship
from shouldtune.scorers import grade
from shouldtune.stats import mean_limits, paired_limits
from shouldtune.task import load_task
from shouldtune.types import Message


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--rung")
    parser.add_argument("--most", type=int, default=64)
    asked = parser.parse_args()
    record = load_run(asked.run)
    rung = rung_to_ship(record, asked.rung)
    then = next(m for m in record.measurements if m.rung == rung).predictions[: asked.most]
    task = load_task(asked.run.parent.parent).task
    rows = [next(row for row in record.holdout if row.id == prediction.example_id) for prediction in then]
    exported = runpy.run_path(str(asked.folder / "prompt.py"))
    prompts = [[Message(m["role"], m["content"]) for m in exported["messages"](row.input)] for row in rows]
    options = read_options(asked.folder)  # all of them: a form that is not asked for is another question
    start = time.monotonic()
    now = asyncio.run(answers(open_remote(asked.model), prompts, options, 16))
    seconds = time.monotonic() - start

    async def graded() -> list[float | None]:
        return [
            score and score.value for score in [await grade(task.scorer, c, r) for c, r in zip(now, rows, strict=True)]
        ]

    there, here = asyncio.run(graded()), [p.score and p.score.value for p in then]
    change = paired_limits(there, here, 0.025, 0.025)
    found = {
        "model": asked.model,
        "examples": len(rows),
        "failed": sum(completion.failed for completion in now),
        "answers equal": round(equal([c.text for c in now], [p.completion.text for p in then]), 3),
        "score in the run": mean_limits(here, 0.025, 0.025).estimate,
        "score there": mean_limits(there, 0.025, 0.025).estimate,
        "difference": (change.estimate, change.low, change.high),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
