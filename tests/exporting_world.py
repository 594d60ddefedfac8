"""Finished runs of a model so small that they take a moment, to be exported."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.run import RunRecord
from shouldtune.task import load_task
from tests.conftest import MakeTask, Rows

PACKAGES = ("torch", "gguf", "tokenizers", "safetensors", "jinja2", "llguidance")


def parrot_rows(n: int = 60) -> Rows:
    """Rows that a tiny model can learn: the answer is one of three codes."""
    return [{"input": f"inn {n} the {'in ' * (n % 7)}{n * 7919 % 101}", "target": f"c{n % 3}"} for n in range(n)]


def tiny_run(make_task: MakeTask, gguf: Path, rungs: str, rows: Rows | None = None, **changes: Any) -> RunRecord:
    """A run of some rungs on the tiny model, the whole holdout asked."""
    named = f"gguf:{gguf}"
    folder = make_task(
        rows or parrot_rows(), model=named, tune=named, output={"max_tokens": 4}, probes=False, **changes
    )
    how = Climb(chosen_rungs(rungs.split(",")), all_rungs=True, whole_holdout=True, forgetting=False)
    return asyncio.run(climb(load_task(folder), how))
