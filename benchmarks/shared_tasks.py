"""Verdicts on public data: TensorFlow Hub's part of APIBench, Banking77, questions about documents, polite rewriting.

The data stay where they are (SHOULDTUNE_DATA, or ../shared/data); task folders are made under benchmarks/tasks and
kept, so a second run is answered from their ledgers. Prints one Markdown table a task, and what probes and the forecast
found. The money is made up, so that there is some: 100,000 requests a month for a year.

    python benchmarks/shared_tasks.py [--rungs R,R] [apibench-tensorhub] [classify-intent] [chat-docs] [tone]
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
MONEY = {"per_month": 100_000, "months": 12, "value_per_correct": 0.01, "machine_usd_per_hour": 0.10}
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
    "chat-docs": {
        "instruction": "Answer the question with a few words copied from the passages, and nothing else.",
        "scorer": "f1",
        "documents": "docs.jsonl",
        "most_train": 400,
        "most_holdout": 200,
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
        lines = [json.dumps(as_row(row)) for row in found]
        (target / f"{half}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    file = {
        "name": name,
        "instruction": task["instruction"],
        "train": "train.jsonl",
        "holdout": "test.jsonl",
        "scorer": task["scorer"],
        "goal": {"quality": 0.8},
        "economics": MONEY,
        "forecast": True,
    }
    if "documents" in task:
        (target / "docs.jsonl").write_text((source / task["documents"]).read_text(encoding="utf-8"), encoding="utf-8")
        file["documents"] = "docs.jsonl"
    if task["scorer"] == "label":
        labels = (source / "docs.jsonl").read_text(encoding="utf-8")
        file["output"] = {"labels": json.loads(labels.splitlines()[0])["text"].split("\n")}
    (target / "shouldtune.yaml").write_text(json.dumps(file, indent=1), encoding="utf-8")
    return target


def as_row(row: dict[str, Any]) -> dict[str, Any]:
    """The data set's row as a task's: other right answers and the passages that are known to hold one come along."""
    meta = row.get("meta") or {}
    gold = {"gold_doc_ids": meta["gold_doc_ids"]} if "gold_doc_ids" in meta else {}
    others = [answer for answer in meta.get("answers", ()) if answer != row["output"]]
    return {"id": row["id"], "input": row["input"], "target": row["output"], "accepted": others, "meta": gold}


def found_beside(verdict: dict[str, Any]) -> str:
    """The segments of the failures and the forecast, a line each."""
    lines = []
    why, ahead = verdict["diagnosis"], verdict["forecast"]
    if why and why["rung"]:
        lines.append(f"Of the failures of {why['rung']} ({why['failing']} of {why['asked']} training rows):")
        lines += [f"- {share['segment']}: {span(share['share'])}" for share in why["shares"]]
        lines += [f"- ({name}: {span(reading)})" for name, reading in why["readings"].items()]
    if ahead:
        lines.append(f"By forecast, over {ahead['rung']} ({ahead['beside']:.2f}):")
        lines += [f"- {a['size']} examples: {span(a['score'])}, gain {span(a['gain'])}" for a in ahead["ahead"]]
    return "\n".join(lines)


def span(interval: dict[str, Any]) -> str:
    estimate = "-" if interval["estimate"] is None else f"{interval['estimate']:.2f}"
    return f"{estimate} ({interval['low']:.2f} to {interval['high']:.2f})"


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
        print(f"{table(verdict)}\n\n{found_beside(verdict)}", flush=True)


if __name__ == "__main__":
    main()
