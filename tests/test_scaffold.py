"""`init`: what it sees in data, and that what it writes can be read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import InputError
from shouldtune.scaffold import write_task_file
from shouldtune.task import load_task
from shouldtune.task.file import read_task_file

EXAMPLES = Path(__file__).parent.parent / "examples"


def data(folder: Path, targets: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "rows.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"what of {i} and {i * 37}", "answer": t}) + "\n" for i, t in enumerate(targets)
        )
    )
    return path


@pytest.mark.parametrize(
    ("targets", "scorer"),
    [
        ([["a", "b: c", 'say "d"', "e's"][i % 4] for i in range(80)], "label"),
        ([{"name": f"n{i}"} for i in range(80)], "json"),
        ([i * 1.5 for i in range(80)], "number"),
        ([f"os.path.join(a{i}, b)" for i in range(80)], "call"),
        ([f"hub.load(repo='r', 'name', model='m{i}')" for i in range(80)], "call"),
        ([f"kubectl get pod web-{i}" for i in range(80)], "command"),
        ([f"$ git checkout -b b{i}" for i in range(80)], "command"),
        ([{"calls": [{"name": "f", "arguments": {"a": i}}] if i % 2 else []} for i in range(80)], "function_call"),
        ([f"the {i}th of May" for i in range(80)], "qa"),
        ([" ".join(f"word{i * j}" for j in range(30)) for i in range(80)], "chrf"),
    ],
)
def test_the_kind_of_answer_is_seen_and_the_file_can_be_read(tmp_path: Path, targets: list[Any], scorer: str) -> None:
    path, guessed = write_task_file(data(tmp_path / "My task: ünï", targets))
    assert guessed.scorer == scorer
    loaded = load_task(path)
    assert loaded.file.scorer == scorer
    assert len(loaded.task.train) + len(loaded.holdout) == 80


def written_from(folder: Path, rows: list[dict[str, Any]]) -> tuple[Path, str]:
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    path, guessed = write_task_file(folder / "rows.jsonl")
    return path, guessed.scorer


@pytest.mark.parametrize("with_spans", [True, False])
def test_redacted_texts_are_seen_by_their_spans_or_their_placeholders(tmp_path: Path, with_spans: bool) -> None:
    rows = []
    for i in range(60):
        name = f"{['Ann', 'Bob', 'Cy'][i % 3]} Lee"
        span = {"start": 5, "end": 5 + len(name), "label": "NAME"}
        row = {"input": f"Call {name} about case {i * 37}.", "target": f"Call [NAME] about case {i * 37}."}
        rows.append({**row, "meta": {"spans": [span]}} if with_spans else row)
    rows += [
        {"input": f"Nothing to hide in case {i * 91}.", "target": f"Nothing to hide in case {i * 91}."}
        for i in range(20)
    ]
    path, scorer = written_from(tmp_path / "task", rows)
    assert scorer == "redaction"
    loaded = load_task(path)
    assert "one of [NAME]" in loaded.task.instruction


def test_records_to_be_told_are_seen_and_records_to_be_labelled_are_not(tmp_path: Path) -> None:
    rows = [
        {"input": {"name": f"Inn {i}", "area": "north"}, "target": f"Inn {i} lies in the north of it all."}
        for i in range(60)
    ]
    assert written_from(tmp_path / "told", rows)[1] == "slots"
    labelled = [{**row, "target": ["good", "bad"][i % 2]} for i, row in enumerate(rows)]
    assert written_from(tmp_path / "labelled", labelled)[1] == "label"


def test_a_task_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = data(tmp_path, ["a"] * 40)
    (tmp_path / "shouldtune.yaml").write_text("mine")
    with pytest.raises(InputError, match="already"):
        write_task_file(path)
    assert (tmp_path / "shouldtune.yaml").read_text() == "mine"


def test_a_file_of_any_name_is_named_in_a_way_that_can_be_read(tmp_path: Path) -> None:
    path = data(tmp_path / "task", ["a b"] * 40)
    named = path.rename(path.with_name("größe 😀.jsonl"))
    written, _ = write_task_file(named)
    assert "größe 😀.jsonl" in written.read_text(encoding="utf-8")
    assert len(load_task(written).task.train) > 0


def test_documents_are_named_relative_to_the_data(tmp_path: Path) -> None:
    path = data(tmp_path / "task", ["a b"] * 40)
    (tmp_path / "task" / "docs").mkdir()
    (tmp_path / "task" / "docs" / "one.txt").write_text("text")
    written, _ = write_task_file(path, tmp_path / "task" / "docs")
    assert len(load_task(written).task.documents) == 1
    with pytest.raises(InputError, match="must lie in"):
        (tmp_path / "task" / "shouldtune.yaml").unlink()
        write_task_file(path, tmp_path)


def test_documents_and_the_other_half_are_found_beside_the_data(tmp_path: Path) -> None:
    for half, n in (("train", 60), ("test", 30)):
        rows = [{"input": f"question {half} {i * 7919}", "target": f"answer number {i}"} for i in range(n)]
        (tmp_path / f"{half}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "docs.jsonl").write_text(json.dumps({"id": "d", "text": "a document"}) + "\n")
    path, _ = write_task_file(tmp_path / "train.jsonl")
    loaded = load_task(path)
    assert (len(loaded.task.train), len(loaded.holdout), len(loaded.task.documents)) == (60, 30, 1)


RAW = {
    "apibench-torchhub": "call",
    "apibench-tensorhub": "call",
    "apibench-huggingface": "call",
    "chat-docs": "qa",
    "classify-alert": "label",
    "classify-intent": "label",
    "code-completion": "code",
    "custom-text": "chrf",
    "extraction": "json",
    "function-calling": "function_call",
    "kubectl": "command",
    "redaction": "redaction",
    "redaction-notes-es": "redaction",
    "tone": "chrf",
}


@pytest.mark.parametrize("name", RAW)
def test_public_data_become_a_task_without_help(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for file in ("train.jsonl", "test.jsonl", "docs.jsonl"):
        if (shared_data / name / file).exists():
            (folder / file).write_bytes((shared_data / name / file).read_bytes())
    path, guessed = write_task_file(folder / "train.jsonl")
    assert guessed.scorer == RAW[name]
    if name == "code-completion" and shutil.which("bwrap") is None:
        return  # without a sandbox such a task is not loaded
    loaded = load_task(path)
    assert bool(loaded.task.documents) == (folder / "docs.jsonl").exists()
    assert len(loaded.holdout) >= 60


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXAMPLES.glob("*/examples.jsonl")))
def test_the_rows_of_an_example_become_its_task_without_help(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("runs", "shouldtune.yaml"))
    _, guessed = write_task_file(folder / "examples.jsonl")
    meant = read_task_file(EXAMPLES / name).scorer
    own = {"tone.py:friendly": "chrf"}
    assert guessed.scorer == (own.get(meant, meant) if isinstance(meant, str) else "rules")
