"""`shouldtune init`: look at the data, and write a task file that says what was found."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.files import write_whole
from shouldtune.scorers.function_call import functions
from shouldtune.scorers.function_call_forms import read_answer
from shouldtune.scorers.redaction import redaction
from shouldtune.scorers.slots import record_of, slots
from shouldtune.task.file import FILE_NAME
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Example

LABELS_MOST = 100
LONG_WORDS = 12
DOCUMENTS = ("documents", "docs", "documents.jsonl", "docs.jsonl")
"""What documents are mostly called, beside the data."""
HELD_OUT = ("holdout", "test", "eval", "validation", "valid", "dev")
"""What the other file of a pair is called whose first is `train`, the surest first."""


@dataclass(frozen=True)
class Guessed:
    """What kind of answers these are, which scorer fits, and why."""

    kind: str
    scorer: str
    why: str
    goal: float
    labels: tuple[str, ...] = ()
    placeholders: tuple[str, ...] = ()
    """What stands in brackets for what was redacted."""


def write_task_file(data: Path, documents: Path | None = None) -> tuple[Path, Guessed]:
    """Write shouldtune.yaml next to the data. InputError when there is one already, or the data cannot be read.

    Documents beside the data are found by their usual names, and so is what `train` was held apart from.
    """
    path = data.parent / FILE_NAME
    if path.exists():
        raise InputError("there is a task file already", where=path, hint="edit it, or move it away")
    rows = read_rows(data)
    guessed = guess_output(rows.examples)
    found = documents or next((data.parent / name for name in DOCUMENTS if (data.parent / name).exists()), None)
    beside = [data.with_stem(name) for name in HELD_OUT] if data.stem == "train" else []
    holdout = next((other for other in beside if other.exists()), None)
    sources = [f"examples: {_quoted(data.name)}"]
    if holdout is not None:
        sources = [f"train: {_quoted(data.name)}", f"holdout: {_quoted(holdout.name)}"]
    if found is not None:
        sources.append(f"documents: {_quoted(_relative(found, data.parent))}")
    write_whole(path, _render(data, f"{len(rows.examples)} rows ({rows.mapping})", guessed, sources))
    return path, guessed


def guess_output(examples: Sequence[Example]) -> Guessed:
    """The kind of the targets, tried from the most particular to free text."""
    for test, guessed in KINDS:
        if sum(map(test, examples)) >= MOST * len(examples):
            return guessed
    targets = [example.target for example in examples]
    distinct = tuple(sorted(set(targets)))
    if _redacted(examples):
        labels = tuple(sorted(redaction(examples).labels))
        why = "targets are the inputs with [LABEL] for what is personal: leaks are counted"
        return Guessed("redacted texts", "redaction", why, 0.9, placeholders=labels)
    records = all(record_of(example.input) is not None for example in examples)
    if records and len(distinct) * 4 > len(targets) and _told(examples):
        return Guessed("records as text", "slots", "inputs are records: is every value said, and none invented?", 0.9)
    if len(distinct) * 4 <= len(targets) and len(distinct) <= LABELS_MOST and max(map(len, distinct)) <= 60:
        return Guessed("labels", "label", f"{len(distinct)} different targets in {len(targets)} rows", 0.85, distinct)
    if sum(map(_is_rewritten, examples)) >= len(examples) / 2:
        return Guessed("rewritten texts", "chrf", "targets say their inputs in other words: shared letters count", 0.5)
    if sum(len(target.split()) for target in targets) / len(targets) <= LONG_WORDS:
        return Guessed("short text", "qa", "short answers: shared words are counted, as for question answering", 0.7)
    return Guessed(
        "text", "chrf", "longer texts: shared letter sequences are counted; a scorer of your own may know better", 0.5
    )


def _redacted(examples: Sequence[Example]) -> bool:
    """Whether rows mark spans, or a tenth of the targets, at least two, are their inputs with [LABEL] and the others
    their inputs as they were."""
    if any(example.meta.get("spans") for example in examples):
        return True
    scorer = redaction(examples)
    if not scorer.labels:
        return False
    changed = [e for e in examples if e.target != e.input and scorer.marked(e)]
    kept = [
        e for e in changed if scorer(Completion(e.target), e).value == 1 and scorer(Completion(e.input), e).value == 0
    ]
    return len(kept) >= max(2, len(examples) / 10) and len(kept) >= 0.95 * sum(e.target != e.input for e in examples)


def _told(examples: Sequence[Example]) -> bool:
    """Whether nearly all targets say all of their records: else the best answer would count as wrong."""
    scorer = slots(examples)
    return sum(scorer(Completion(e.target), e).value == 1 for e in examples) >= 0.95 * len(examples)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_function_call(example: Example) -> bool:
    told = _json(example.target)
    if isinstance(told, dict) and any(isinstance(told.get(name), list) for name in ("calls", "tool_calls")):
        return True
    return isinstance(told, dict | list) and bool(functions(example.input) and read_answer(example.target).calls)


def _is_json(example: Example) -> bool:
    return isinstance(_json(example.target), dict | list)


def _is_number(example: Example) -> bool:
    return re.fullmatch(r"[-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?\s*%?", example.target.strip()) is not None


def _is_call(example: Example) -> bool:
    text = example.target.strip()
    try:
        return isinstance(ast.parse(text, mode="eval").body, ast.Call)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # Not quite Python, as data sets hold it: still a name, and arguments by name in brackets.
        return re.fullmatch(r"[A-Za-z_][\w.]*\([^\n]*\w+=[^\n]*\)", text) is not None


_PROGRAMS = """
kubectl k helm oc docker podman git gh aws gcloud az terraform npm npx yarn pip conda apt apt-get brew systemctl curl
wget ssh scp rsync tar ls grep awk sed chmod chown mkdir cp mv rm ps psql mysql openssl ffmpeg
"""
PROGRAMS = frozenset(_PROGRAMS.split())
"""Programs whose names begin no sentence."""


def _is_command(example: Example) -> bool:
    words = example.target.strip().removeprefix("$ ").split()
    return "\n" not in example.target.strip() and len(words) > 1 and words[0] in PROGRAMS


def _is_rewritten(example: Example) -> bool:
    """Whether a target is about as long as its input and has half of its words."""
    asked, wanted = example.input.lower().split(), example.target.lower().split()
    alike = len(set(asked) & set(wanted)) >= len(set(wanted)) / 2
    return alike and len(wanted) > 2 and len(asked) / 2 <= len(wanted) <= 2 * len(asked)


def _has_tests(example: Example) -> bool:
    return bool(example.meta.get("test_list"))


def _has_rules(example: Example) -> bool:
    return bool(example.meta.get("must") or example.meta.get("must_not"))


KINDS: tuple[tuple[Callable[[Example], bool], Guessed], ...] = (
    (_has_tests, Guessed("code", "code", "rows carry unit tests, which are run in a sandbox", 0.8)),
    (_has_rules, Guessed("texts by rules", "rules", "rows say what must be said and what must not", 0.8)),
    (
        _is_function_call,
        Guessed("function calls", "function_call", "targets name the functions to call and their arguments", 0.8),
    ),
    (_is_json, Guessed("JSON", "json", "almost every target is a JSON object: fields are compared", 0.9)),
    (_is_number, Guessed("numbers", "number", "almost every target is a number", 0.9)),
    (
        _is_call,
        Guessed("Python calls", "call", "almost every target is one call: function and arguments are compared", 0.8),
    ),
    (_is_command, Guessed("shell commands", "command", "almost every target is one command line", 0.8)),
)
"""Kinds that single rows show, the most particular first: the first that almost all rows are of is taken."""
MOST = 0.95


def _relative(documents: Path, folder: Path) -> str:
    try:
        return str(documents.resolve().relative_to(folder.resolve()))
    except ValueError:
        raise InputError(
            "the documents must lie in the data's folder, or below it", where=documents, hint=f"move them into {folder}"
        ) from None


def _render(data: Path, rows: str, guessed: Guessed, sources: Sequence[str]) -> str:
    # JSON strings are YAML strings: names with colons, quotes or other letters come out right.
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", data.parent.resolve().name or data.stem).strip("-._")[:64] or "my-task"
    lines = [
        f"# Written from {rows}. Read it, correct it, then: shouldtune check .",
        f"name: {_quoted(name)}",
        "",
        "# What the model is told. Say it as you would to a new colleague.",
        f"instruction: {_instruction(guessed)}",
        "",
        *sources,
    ]
    lines += ["", f"# {guessed.kind}: {guessed.why}.", f"scorer: {guessed.scorer}"]
    if guessed.labels:
        lines.append(f"output: {{labels: {json.dumps(list(guessed.labels), ensure_ascii=False)}}}")
    lines += [
        "",
        "# The mean score that is good enough to ship, and the smallest gain that is worth a dearer approach.",
        "# Both are suggestions: what would your users notice?",
        f"goal: {{quality: {guessed.goal:g}, worthwhile_gain: 0.03, confidence: 0.95}}",
        "",
        "# The model to prompt and the one to tune: smollm2 runs here and now; also openai:NAME,",
        "# http://host:port/v1#NAME, hf:FOLDER, gguf:FILE. `tune: null` when nothing can be tuned.",
        "model: smollm2",
        "tune: smollm2",
    ]
    return "\n".join(lines) + "\n"


def _instruction(guessed: Guessed) -> str:
    if guessed.labels:
        shown = ", ".join(guessed.labels[:20]) + (" ..." if len(guessed.labels) > 20 else "")
        return json.dumps(f"Answer with one label only: {shown}.", ensure_ascii=False)
    held = ", ".join(f"[{label}]" for label in guessed.placeholders)
    words = {
        "json": "Answer with one JSON object only.",
        "number": "Answer with one number only.",
        "call": "Answer with one Python call only.",
        "command": "Answer with one command line only.",
        "function_call": 'Answer with JSON only: {"calls": [{"name": ..., "arguments": {...}}]}; '
        "with an empty list where none of the functions fits.",
        "qa": "Answer in a few words.",
        "code": "Answer with the code only.",
        "rules": "Write what is asked for, and nothing else.",
        "redaction": f"Repeat the text with each identifier replaced by its label, one of {held}; change nothing else.",
        "slots": "Write one or two sentences that say everything in the record, and nothing else.",
        "chrf": "Answer the request.",
    }
    return json.dumps(words[guessed.scorer])


def _quoted(name: str) -> str:
    """A name in quotes, letters as they are: YAML does not read JSON's two halves of a rare letter as one."""
    return json.dumps(name, ensure_ascii=False)
