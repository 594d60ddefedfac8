"""The examples: each loads, is large and varied enough to measure on, and its rows hold what they promise."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shouldtune.checks import Finding, constants, contradictions, count, overlap, power, targets_score_one
from shouldtune.errors import InputError
from shouldtune.task import LoadedTask, load_task
from shouldtune.task.split import near_duplicates
from shouldtune.user_code import load_code

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/shouldtune.yaml"))
SECONDS_FOR_ALL_CODE = 300
ROWS_FOR_CONSTANTS = 48
RUN_REFERENCES = """
import json, sys
for number, line in enumerate(sys.stdin, 1):
    row = json.loads(line)
    for test in row["meta"]["test_list"]:
        space = {}
        exec(row["meta"]["test_setup_code"], space)
        exec(row["target"], space)
        try:
            exec(test, space)
        except Exception as error:
            print(f"row {number}: {test}: {type(error).__name__} {error}")
"""


@cache
def loaded(name: str) -> LoadedTask:
    try:
        return load_task(EXAMPLES / name)
    except InputError as error:
        if "sandbox" not in str(error):
            raise
        pytest.skip(f"model code is run nowhere but in a sandbox: {error.hint}")


def rows_of(name: str) -> list[dict[str, Any]]:
    lines = (EXAMPLES / name / "examples.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_has_300_rows_under_the_name_of_its_folder(name: str) -> None:
    task = loaded(name)
    assert len(task.task.train) + len(task.holdout) >= 300
    assert task.task.name == name


@pytest.mark.parametrize("name", NAMES)
def test_check_finds_nothing_to_mend_in_an_example(name: str) -> None:
    findings = asyncio.run(findings_of(loaded(name)))
    assert [f"{f.title}: {f.detail}" for f in findings if f.level in ("problem", "warning")] == []
    assert findings[0].level == "ok"  # every target scores 1.0 by the task's own scorer


async def findings_of(task: LoadedTask) -> list[Finding]:
    """What `check` finds; the best constant is looked for on a few rows, for that takes most of the time."""
    counted = await count(task)
    few = replace(task, task=replace(task.task, train=task.task.train[:ROWS_FOR_CONSTANTS]), holdout=())
    rest = [await constants(few), *await power(task)]
    return [targets_score_one(counted), contradictions((*task.task.train, *task.holdout)), overlap(counted), *rest]


@pytest.mark.parametrize("name", NAMES)
def test_few_inputs_of_an_example_are_nearly_alike(name: str) -> None:
    task = loaded(name)
    inputs = [example.input for example in (*task.task.train, *task.holdout)]
    assert len(near_duplicates(inputs)) <= len(inputs) // 100


def test_every_reference_of_complete_code_passes_its_tests() -> None:
    found = subprocess.run(
        [sys.executable, "-I", "-c", RUN_REFERENCES],
        input=(EXAMPLES / "complete-code" / "examples.jsonl").read_text("utf-8"),
        capture_output=True,
        text=True,
        timeout=SECONDS_FOR_ALL_CODE,
        check=True,
    )
    assert found.stdout == ""
    assert all("assert " in test for row in rows_of("complete-code") for test in row["meta"]["test_list"])


def test_the_generator_of_redact_notes_writes_the_same_bytes_again(tmp_path: Path) -> None:
    folder = EXAMPLES / "redact-notes"
    load_code("generate.py:write", folder, "")(tmp_path, "current")
    for name in ("examples.jsonl", "documents/arvenia.md", "documents/belmora.md"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_a_changed_law_changes_what_is_removed_and_never_the_notes(tmp_path: Path) -> None:
    load_code("generate.py:write", EXAMPLES / "redact-notes", "")(tmp_path, "changed")
    changed = [json.loads(line) for line in (tmp_path / "examples.jsonl").read_text("utf-8").splitlines()]
    rows = rows_of("redact-notes")
    assert [row["input"] for row in changed] == [row["input"] for row in rows]
    for jurisdiction in ("Arvenia", "Belmora"):
        pairs = [p for p in zip(rows, changed, strict=True) if p[0]["meta"]["jurisdiction"] == jurisdiction]
        assert sum(old["target"] != new["target"] for old, new in pairs) > len(pairs) // 5
    assert load_task(tmp_path).task.name == "redact-notes"


def test_the_spans_of_redact_notes_say_what_the_target_hides() -> None:
    for row in rows_of("redact-notes"):
        text = row["input"]
        for span in reversed(row["meta"]["spans"]):
            assert text[span["start"] : span["end"]] == span["text"]
            text = f"{text[: span['start']]}[{span['label']}]{text[span['end'] :]}"
        assert text == row["target"]


def test_both_jurisdictions_of_redact_notes_treat_the_same_words_differently() -> None:
    removed = {
        jurisdiction: {
            span["label"] for row in rows_of("redact-notes") if jurisdiction in row["input"]
            for span in row["meta"]["spans"]
        }
        for jurisdiction in ("Arvenia", "Belmora")
    }  # fmt: skip
    assert "AGE" in removed["Arvenia"] - removed["Belmora"]
    assert {"WORK", "HOSPITAL"} <= removed["Belmora"] - removed["Arvenia"]


def test_every_question_of_ask_the_docs_has_its_answer_on_the_page_that_it_names() -> None:
    folder = EXAMPLES / "ask-the-docs" / "documents"
    pages = {str(path.relative_to(folder)) for path in folder.rglob("*.*")}
    named = [page for row in rows_of("ask-the-docs") for page in row["meta"]["gold_doc_ids"]]
    assert set(named) == pages
    words = {page: (folder / page).read_text("utf-8").lower().replace("\n", " ") for page in pages}
    rows = rows_of("ask-the-docs")
    literal = sum(
        any(
            answer.lower() in words[row["meta"]["gold_doc_ids"][0]]
            for answer in [row["target"], *row.get("accepted", [])]
        )
        for row in rows
    )
    assert literal >= 0.9 * len(rows)


def test_the_calls_of_function_calling_are_of_functions_at_hand_and_among_the_right_values() -> None:
    for row in rows_of("function-calling"):
        offered = {function["name"]: function["parameters"] for function in row["input"]["functions"]}
        calls, possible = row["target"]["calls"], row["meta"]["possible_answer"]
        assert [call["name"] for call in calls] == [name for right in possible for name in right]
        for call, right in zip(calls, possible, strict=True):
            values = right[call["name"]]
            assert set(offered[call["name"]]["required"]) <= set(call["arguments"])
            assert all(value in values[key] for key, value in call["arguments"].items())
            assert all("" in values[key] for key in values.keys() - call["arguments"].keys())
    empty = sum(not row["target"]["calls"] for row in rows_of("function-calling"))
    assert 0.15 <= empty / len(rows_of("function-calling")) <= 0.25
