"""Verdicts on public data: calls, commands and code, questions about documents, labels, extraction, tone, redaction.

The data stay where they are (SHOULDTUNE_DATA, or ../shared/data); task folders are made under benchmarks/tasks and
kept, so a second run is answered from their ledgers. Prints one Markdown table a task, and what probes and the forecast
found. The money is made up, so that there is some: 100,000 requests a month for a year.

    python benchmarks/shared_tasks.py [--rungs R,R] [apibench-tensorhub] [classify-intent] [chat-docs] ...
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
MEASURED = ("apibench-tensorhub", "classify-intent", "chat-docs", "tone")
"""What is run where no task is named: those with figures in benchmarks/README.md."""
CALL = "Answer with the one Python call that loads the right {} model, and nothing else."
TASKS: dict[str, dict[str, Any]] = {
    "apibench-tensorhub": {
        "instruction": CALL.format("TensorFlow Hub"),
        "scorer": "call",
        "documents": "docs.jsonl",
    },
    "apibench-torchhub": {
        "instruction": CALL.format("PyTorch Hub"),
        "scorer": "call",
        "documents": "docs.jsonl",
        "most_train": 400,
    },
    "apibench-huggingface": {
        "instruction": CALL.format("Hugging Face"),
        "scorer": "call",
        "documents": "docs.jsonl",
        "most_train": 400,
    },
    "classify-intent": {
        "instruction": "Name the intent of this message from a bank's customer. Answer with the intent's label only.",
        "scorer": "label",
        "labels": True,
        "most_train": 300,
        "most_holdout": 462,
    },
    "classify-alert": {
        "instruction": "Is this security alert a true positive or a false positive? Answer with one of the two.",
        "scorer": "label",
    },
    "chat-docs": {
        "instruction": "Answer the question with a few words copied from the passages, and nothing else.",
        "scorer": "qa",
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
    "extraction": {
        "instruction": "Answer with one JSON object: the intent of the sentence, and its slots with their words.",
        "scorer": "json",
        "documents": "docs.jsonl",
        "most_train": 350,
        "most_holdout": 200,
    },
    "custom-text": {
        "instruction": "Say all that the record says about the restaurant in one or two sentences, and nothing else.",
        "scorer": {"slots": 0.5, "chrf": 0.5},
        "most_train": 350,
        "most_holdout": 200,
    },
    "redaction": {
        "instruction": (
            "Copy the text, with every name, place, date, number or address that could identify a patient replaced by "
            "its label in brackets, as in [NAME], [DATE] or [GEOGRAPHIC_LOCATION]. Change nothing else."
        ),
        "scorer": "redaction",
        "documents": "docs.jsonl",
        "most_train": 350,
    },
    "redaction-notes-es": {
        "instruction": (
            "Copia el texto y sustituye cada dato personal por su etiqueta entre corchetes, como [TERRITORIO] o "
            "[FECHAS]. No cambies nada m\u00e1s."
        ),
        "scorer": "redaction",
        "most_train": 350,
        "most_holdout": 200,
    },
    "kubectl-public": {
        "data": "kubectl",
        "instruction": "Answer with the one kubectl command that does this, and nothing else.",
        "scorer": "command",
        "documents": "docs.jsonl",
    },
    "code-completion": {
        "instruction": "Write the Python function that is asked for. Answer with its code only.",
        "scorer": "code",
        "most_train": 350,
        "most_holdout": 200,
    },
    "function-calling-public": {
        "data": "function-calling",
        "instruction": (
            'Answer with one JSON object, {"calls": [{"name": ..., "arguments": {...}}]}: the calls that do what the '
            'user asks. Where no function fits, answer {"calls": []}.'
        ),
        "scorer": "function_call",
        "most_train": 350,
        "most_holdout": 200,
    },
}
LEFT_OUT = ("full_answer", "published_top1")
"""Keys of a row's `meta` that would give the answer away or weigh a lot, and that no scorer reads."""


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def make(name: str, most_train: int | None = None) -> Path:
    """Write the task folder; the rows are the data set's, cut to a seeded sample where it (or `most_train`) says."""
    target, task = HERE / "tasks" / name, TASKS[name]
    source = DATA / task.get("data", name)
    target.mkdir(parents=True, exist_ok=True)
    for half, most in (("train", most_train or task.get("most_train")), ("test", task.get("most_holdout"))):
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
    if "labels" in task:
        labels = (source / "docs.jsonl").read_text(encoding="utf-8")
        file["output"] = {"labels": json.loads(labels.splitlines()[0])["text"].split("\n")}
    (target / "shouldtune.yaml").write_text(json.dumps(file, indent=1), encoding="utf-8")
    return target


def as_row(row: dict[str, Any]) -> dict[str, Any]:
    """The data set's row as a task's, with what its `meta` says of right answers, passages, spans and tests."""
    meta = {key: value for key, value in (row.get("meta") or {}).items() if key not in LEFT_OUT}
    return {"id": row["id"], "input": row["input"], "target": row["output"], "meta": meta}


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
    parser.add_argument("tasks", nargs="*", default=list(MEASURED))
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
