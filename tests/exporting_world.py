"""Finished runs of a model so small that they take a moment, to be exported."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.exporting.forms import FORMS
from shouldtune.exporting.parity import Parity, score_again
from shouldtune.exporting.source import Source
from shouldtune.ladder import climb
from shouldtune.run import RunRecord
from shouldtune.task import load_task
from tests.conftest import Rows
from tests.tiny_llama import write_tiny_gguf

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


@contextmanager
def tiny_run(place: Path, rungs: str, model: Mapping[str, Any] | None = None, **changes: Any) -> Iterator[RunRecord]:
    """A run on the tiny model, its cache inside `place` for as long as it is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOULDTUNE_CACHE", str(place / "cache"))
        gguf = write_tiny_gguf(place / "tiny.gguf", **(model or {}))
        yield small_run(place / "codes", f"gguf:{gguf}", rungs, **changes)


def again(source: Source, form: str, folder: Path, sample: int | None = None) -> Parity:
    """What the gate says of a folder as it lies there."""
    read_back = FORMS[form].read_back
    assert read_back is not None
    return asyncio.run(score_again(source, read_back(source, folder), sample))


def written(source: Source, form: str, folder: Path) -> Path:
    folder.mkdir()
    FORMS[form].write(source, folder)
    return folder
