"""What the rung `instructions` gains on held-out examples, and what it spends: on scripted worlds, and on public data.

A world's truth is known: the writer proposes a sentence that helps, or none does. The public tasks are those of
shared_tasks.py, cut to a seeded sample, on the embedded model unless another is named; they need SHOULDTUNE_DATA.
Task folders are made under benchmarks/tasks and kept, so a second run is answered from their ledgers.

    python benchmarks/prompt_search.py [--model M] [--strong M] [extraction] [kubectl-public] ...
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from shared_tasks import HERE, TASKS, make

from shouldtune.asked import Climb
from shouldtune.judgement import Interval
from shouldtune.ladder import climb
from shouldtune.models.past_calls import past_calls
from shouldtune.run import RunRecord, ledger_path
from shouldtune.rungs.instructions import Instructions
from shouldtune.rungs.zero_shot import ZeroShot
from shouldtune.stats import paired_limits
from shouldtune.task import load_task

MOST = {"train": 200, "test": 150}
WORLDS = {
    "every fifth proposal helps": "base=0.3,told=0.8,writes=0.2",
    "every twentieth helps": "base=0.3,told=0.8,writes=0.05",
    "it helps a little": "base=0.3,told=0.4,writes=0.2",
    "none helps": "base=0.3,told=0.3,writes=0.5",
}
SEEDS = 20
SMALL = Instructions(most_calls=240, patience=6, patience_alone=6, most_tokens=200)


def world(abilities: str, seed: int) -> RunRecord:
    """One climb in a world of 600 rows."""
    folder = Path(tempfile.mkdtemp(prefix="world-"))
    rows = [{"input": f"question {i * 7919 % 10007} of {i}", "target": f"answer {i}"} for i in range(600)]
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = f"scripted:{abilities}"
    file = {"name": "world", "instruction": "Answer.", "examples": "examples.jsonl", "scorer": "exact", "seed": seed}
    (folder / "shouldtune.yaml").write_text(json.dumps({**file, "model": model, "tune": None}), encoding="utf-8")
    how = Climb((ZeroShot(), Instructions(patience_alone=20)), whole_holdout=True, allow_simulated=True, probing=None)
    try:
        return asyncio.run(climb(load_task(folder), how))
    finally:
        shutil.rmtree(folder)


def public(name: str, model: str, strong: str | None) -> RunRecord:
    """A climb on a public task, cut to a size that two cores can answer."""
    source, folder = make(name), HERE / "tasks" / f"{name}-prompt-search"
    shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("runs"))
    for half, most in MOST.items():
        lines = (source / f"{half}.jsonl").read_text(encoding="utf-8").splitlines()
        cut = random.Random(1).sample(lines, min(most, len(lines)))
        (folder / f"{half}.jsonl").write_text("\n".join(cut) + "\n", encoding="utf-8")
    path = folder / "shouldtune.yaml"
    changed = {**json.loads(path.read_text(encoding="utf-8")), "model": model, "strong": strong, "tune": None}
    path.write_text(json.dumps(changed, indent=1), encoding="utf-8")
    how = Climb((ZeroShot(), SMALL), whole_holdout=True, probing=None)
    return asyncio.run(climb(load_task(folder), replace(how, allow_simulated=model.startswith("scripted:"))))


def gain(record: RunRecord) -> Interval | None:
    """The paired difference on the holdout with its 95% interval, where both answered; None where none was found."""
    by_name = {m.rung: m for m in record.measurements}
    if "instructions" not in by_name:
        return None
    both = zip(by_name["instructions"].scores, by_name["zero_shot"].scores, strict=True)
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    return paired_limits(tuple(a for a, _ in pairs), tuple(b for _, b in pairs), 0.025, 0.025)


def row(name: str, record: RunRecord, calls: int) -> str:
    """A line of the table of public tasks."""
    lines, found = {rung.name: rung for rung in record.verdict.rungs}, gain(record)
    plain, better = lines["zero_shot"].quality, lines["instructions"]
    if found is None:
        return f"| {name} | {plain:.3f} | - | {better.skipped_because} | {calls:,} |"
    told = f"{found.estimate:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
    return f"| {name} | {plain:.3f} | {better.quality:.3f} | {told} | {calls:,} |"


def line(name: str, records: Sequence[RunRecord]) -> str:
    """A line of the table of worlds."""
    found = [each for record in records if (each := gain(record)) is not None]
    shown = sum(each.low > 0 for each in found)
    mean = f"{fmean(each.estimate or 0.0 for each in found):+.3f}" if found else "-"
    least = f"{min(each.low for each in found):+.3f}" if found else "-"
    calls = fmean(
        record.verdict.spent.calls - record.verdict.rungs[0].n * (1 + (gain(record) is not None)) for record in records
    )
    return f"| {name} | {len(found)} of {len(records)} | {shown} | {mean} | {least} | {calls:.0f} |"


def spent(folder: Path) -> int:
    """Calls that the search took, its comparison in the end included."""
    return sum(call.rung == "instructions" for call in past_calls(ledger_path(folder))) if folder.is_dir() else 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", choices=[[], *TASKS])
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--strong")
    chosen = parser.parse_args()
    if chosen.tasks:
        print("| task | own instruction | found | gain on the holdout | calls to fit |\n|---|---|---|---|---|")
    for name in chosen.tasks:
        record = public(name, chosen.model, chosen.strong)
        print(row(name, record, spent(HERE / "tasks" / f"{name}-prompt-search")), flush=True)
    if not chosen.tasks:
        print(
            "| world | found | gain shown | mean gain | lowest lower limit | calls to fit |\n|---|---|---|---|---|---|"
        )
        for name, abilities in WORLDS.items():
            print(line(name, [world(abilities, seed) for seed in range(SEEDS)]), flush=True)


if __name__ == "__main__":
    main()
