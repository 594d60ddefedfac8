"""Shared by all tests: nothing leaves the machine, and small tasks are quickly made."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.warm import Warm

Rows = list[dict[str, Any]]
MakeTask = Callable[..., Path]


@pytest.fixture(autouse=True)
def _nothing_leaves_the_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if isinstance(address, tuple) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    for name in ("OPENAI_API_KEY", "SHOULDTUNE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Commands in processes of their own that start in a moment."""
    parent = Warm()
    yield parent
    parent.close()


@pytest.fixture
def shared_data() -> Path:
    """The folder of public data sets, where it is at hand."""
    folder = Path(os.environ.get("SHOULDTUNE_DATA", Path(__file__).parent.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the public data sets are not at hand (SHOULDTUNE_DATA)")
    return folder


@pytest.fixture
def make_task(tmp_path: Path) -> MakeTask:
    """Write a task folder: rows as JSONL, and a task file from keywords over a small default."""

    def make(rows: Rows, name: str = "toy", **changes: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        file = {"name": name, "instruction": "Answer.", "examples": "examples.jsonl", "scorer": "exact", **changes}
        (folder / "shouldtune.yaml").write_text(json.dumps(file, indent=1), encoding="utf-8")  # JSON is YAML
        return folder

    return make


def numbered_rows(n: int) -> Rows:
    """n rows, no two alike: the answer to `question number i, word` is its own word."""
    words = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "inlet", "knoll"]
    return [
        {"input": f"{words[i % 10]} {i * 7919 % 10007} what follows {i}", "target": f"answer {i}"} for i in range(n)
    ]
