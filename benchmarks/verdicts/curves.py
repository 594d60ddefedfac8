"""Real learning curves: the embedded model, fine-tuned on ever larger parts of public data, scored on unseen rows.

Writes one point after another into curves.json beside this file, numbers alone, so that forecasts.py can replay them
and a run that was cut off goes on (its adapters lie in benchmarks/tasks/curves). The small sizes have two disjoint
subsets, as in a forecast. Training is the rung's own: its first setting, its epochs, the last of which is scored.

    python benchmarks/verdicts/curves.py                            all of them (hours)
    python benchmarks/verdicts/curves.py kubectl --most 16 --scored 16 --shares 1 --into /tmp/one.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shouldtune.files import write_whole
from shouldtune.measure import measure
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.learning_curve import fine_tuned, point_of
from shouldtune.scorers import load_scorer
from shouldtune.tuning import open_tunable
from shouldtune.types import Example, Output, Task, Tunable

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SHOULDTUNE_DATA", HERE.parent.parent.parent / "shared" / "data"))
STORE = HERE.parent / "tasks" / "curves"
CURVES = HERE / "curves.json"
SHARES = (16, 8, 4, 2, 1)
TWICE = 4
"""Shares of one part in so many, or smaller, have two subsets."""
DIGITS = 4


@dataclass(frozen=True)
class Asked:
    """One task of the public data."""

    instruction: str
    scorer: str
    has_labels: bool = False


TASKS = {
    "classify-intent": Asked("Name the intent of this message from a bank's customer.", "label", has_labels=True),
    "apibench-tensorhub": Asked("Answer with the one Python call that loads the right TensorFlow Hub model.", "call"),
    "kubectl": Asked("Answer with the one kubectl command that does this.", "chrf"),
    "extraction": Asked("Answer with a JSON object of the intent and its slots.", "json"),
}


def read(name: str, half: str, most: int) -> tuple[Example, ...]:
    """A seeded sample of a half's rows, in seeded order; a structured answer becomes JSON."""
    lines = (DATA / name / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()
    order = np.random.default_rng(0).permutation(len(lines))[:most]
    rows = [json.loads(lines[int(index)]) for index in order]
    return tuple(
        Example(row["id"], row["input"], out if isinstance(out := row["output"], str) else json.dumps(out))
        for row in rows
    )


def task_of(name: str, train: tuple[Example, ...]) -> Task:
    """The task, its answers held to the label set where it has one."""
    asked = TASKS[name]
    longest = max(len(example.target.encode()) for example in train)
    labels: tuple[str, ...] = ()
    if asked.has_labels:
        listed = json.loads((DATA / name / "docs.jsonl").read_text(encoding="utf-8").splitlines()[0])
        labels = tuple(listed["text"].split("\n"))
    output = Output(labels=labels, max_tokens=max(24, min(256, longest // 2 + 8)))
    return Task(name, asked.instruction, train, load_scorer(asked.scorer, DATA / name, name, (), output), output=output)


def wanted(n: int, shares: list[int]) -> list[tuple[int, int]]:
    """(size, subset) of every point, the cheapest first."""
    subsets = {share: 2 if share >= TWICE else 1 for share in shares}
    return sorted((n // share, subset) for share in shares for subset in range(subsets[share]))


async def point(task: Task, model: Tunable, unseen: tuple[Example, ...], size: int, subset: int) -> dict[str, Any]:
    """Train and score one point; the second subset starts where the largest of the first ends."""
    first, how, start = subset * (len(task.train) // TWICE), FineTune(), time.monotonic()
    tuned = await fine_tuned(task.train[first : first + size], task, model, how)
    trained = time.monotonic()
    found = point_of(await measure(tuned, unseen, task.scorer), size, subset)
    assert all(score is not None for score in found.scores), "a local call does not fail"
    return {
        "size": size,
        "subset": subset,
        "scores": [round(score, DIGITS) for score in found.scores if score is not None],
        "seconds_to_train": round(trained - start, 1),
        "seconds_to_score": round(time.monotonic() - trained, 1),
    }


def saved(path: Path) -> dict[str, Any]:
    """What was measured so far."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


async def curve(name: str, most: int, scored: int, shares: list[int], into: Path) -> None:
    """Measure the points of one task that are not in the file yet."""
    train, unseen = read(name, "train", most), read(name, "test", scored)
    task, model = task_of(name, train), open_tunable("smollm2", STORE)
    assert model is not None
    for size, subset in wanted(len(train), shares):
        kept = saved(into)
        about = {"n": len(train), "rows": len(unseen), "scorer": TASKS[name].scorer, "model": "smollm2"}
        points = kept.get(name, {"points": []})["points"]
        if name in kept and {key: kept[name][key] for key in about} != about:
            sys.exit(f"{into} holds {name} measured otherwise: name another file")
        if any((p["size"], p["subset"]) == (size, subset) for p in points):
            continue
        new = await point(task, model, unseen, size, subset)
        kept[name] = {**about, "points": [*points, new]}
        write_whole(into, json.dumps(kept, indent=None, separators=(",", ":")).replace('{"size"', '\n{"size"') + "\n")
        mean = sum(new["scores"]) / len(new["scores"])
        print(f"{name}: {size} examples, subset {subset}: {mean:.3f}, {new['seconds_to_train']} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*")
    parser.add_argument("--most", type=int, default=400, help="training rows at most")
    parser.add_argument("--scored", type=int, default=200, help="rows scored at most")
    parser.add_argument("--shares", type=int, nargs="+", default=list(SHARES))
    parser.add_argument("--into", type=Path, default=CURVES)
    asked = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}: set SHOULDTUNE_DATA")
    for name in asked.tasks or list(TASKS):
        asyncio.run(curve(name, asked.most, asked.scored, asked.shares, asked.into))


if __name__ == "__main__":
    main()
