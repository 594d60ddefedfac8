"""Verdicts on public data: TensorFlow Hub's part of APIBench, Banking77, and rude text made polite.

The data stay where they are (SHOULDTUNE_DATA, or ../shared/data); task folders are made under benchmarks/tasks and
kept, so a second run is answered from their ledgers. Prints one Markdown table a task.

    python benchmarks/shared_tasks.py [--rungs zero_shot,fine_tune] [apibench-tensorhub] [classify-intent] [tone]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
DATA = Path(os.environ.get("SHOULDTUNE_DATA", HERE.parent.parent / "shared" / "data"))
TASKS: dict[str, dict[str, Any]] = {
    "apibench-tensorhub": {
        "instruction": "Answer with the one Python call that loads the right TensorFlow Hub model, and nothing else.",
        "scorer": "call",
        "documents": "docs.jsonl",
    },
    "classify-intent": {
        "instruction": "Name the intent of this message from a bank's customer. Answer with the intent's label only.",
        "scorer": "label",
        "most_train": 300,
        "most_holdout": 462,
    },
    "tone": {
        "instruction": "Say the same in a polite tone. Answer with the polite sentence only.",
        "scorer": "chrf",
        "most_train": 300,
        "most_holdout": 200,
    },
}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def make(name: str) -> Path:
    """Write the task folder; the rows are the data set's, cut to a seeded sample where the task says so."""
    source, target, task = DATA / name, HERE / "tasks" / name, TASKS[name]
    target.mkdir(parents=True, exist_ok=True)
    for half, most in (("train", task.get("most_train")), ("test", task.get("most_holdout"))):
        found = rows(source / f"{half}.jsonl")
        if most is not None and most < len(found):
            found = random.Random(0).sample(found, most)
        lines = [json.dumps({"id": row["id"], "input": row["input"], "target": row["output"]}) for row in found]
        (target / f"{half}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    file = {
        "name": name,
        "instruction": task["instruction"],
        "train": "train.jsonl",
        "holdout": "test.jsonl",
        "scorer": task["scorer"],
        "goal": {"quality": 0.8},
    }
    if "documents" in task:
        (target / "docs.jsonl").write_text((source / task["documents"]).read_text(encoding="utf-8"), encoding="utf-8")
        file["documents"] = "docs.jsonl"
    if task["scorer"] == "label":
        labels = (source / "docs.jsonl").read_text(encoding="utf-8")
        file["output"] = {"labels": json.loads(labels.splitlines()[0])["text"].split("\n")}
    (target / "shouldtune.yaml").write_text(json.dumps(file, indent=1), encoding="utf-8")
    return target


def table(verdict: dict[str, Any]) -> str:
    lines = ["| rung | quality | low | high | n | s per 1k | fit s |", "|---|---|---|---|---|---|---|"]
    for rung in verdict["rungs"]:
        if not rung["applied"]:
            lines.append(f"| {rung['name']} | skipped: {rung['skipped_because']} | | | | | |")
            continue
        numbers = [rung[key] for key in ("quality", "low", "high", "n", "seconds_per_1k", "fit_seconds")]
        shown = ["-" if n is None else f"{n:.3f}" if key < 3 else f"{n:.0f}" for key, n in enumerate(numbers)]
        lines.append(f"| {rung['name']} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--rungs", help="only these, of every task")
    chosen = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"the public data sets are not at {DATA}: set SHOULDTUNE_DATA")
    for name in chosen.tasks:
        command = [sys.executable, "-m", "shouldtune.cli", "run", str(make(name)), "--all-rungs", "--whole-holdout"]
        command += ["--json", *(["--rungs", chosen.rungs] if chosen.rungs else [])]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        verdict = json.loads(done.stdout)
        print(f"\n## {name}: {verdict['answer']} / {verdict['reason']} / {verdict['rung']}\n")
        print("\n".join(verdict["because"]) + "\n")
        print(table(verdict), flush=True)


if __name__ == "__main__":
    main()
