"""Finished runs of a model so small that they take a moment, to be exported."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.run import RunRecord
from shouldtune.task import load_task
from tests.conftest import Rows

PACKAGES = ("torch", "gguf", "tokenizers", "safetensors", "jinja2", "llguidance")


def code_rows(n: int = 120) -> Rows:
    """Rows whose answer is one of three codes, named in the input."""
    return [{"input": f"inn {i} the {'in ' * (i % 7)}c{i % 3}", "target": f"c{i % 3}"} for i in range(n)]


def small_run(folder: Path, model: str, rungs: str, rows: Rows | None = None, **changes: Any) -> RunRecord:
    """A run of some rungs on a model of this machine, the whole holdout asked."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows or code_rows())
    (folder / "examples.jsonl").write_text(lines, encoding="utf-8")
    file = {"name": "codes", "instruction": "Name the code.", "examples": "examples.jsonl", "scorer": "exact"}
    file |= {"model": model, "tune": model, "output": {"max_tokens": 4}, "probes": False, **changes}
    (folder / "shouldtune.yaml").write_text(json.dumps(file), encoding="utf-8")  # JSON is YAML
    how = Climb(chosen_rungs(rungs.split(",")), all_rungs=True, whole_holdout=True, forgetting=False)
    return asyncio.run(climb(load_task(folder), how))
