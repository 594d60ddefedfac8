"""Data files to examples: JSONL, CSV or Parquet, in any of the forms that people keep such rows in."""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from shouldtune.errors import InputError
from shouldtune.spool import ExampleSpool, Rows
from shouldtune.task.file import ColumnsPart
from shouldtune.task.yaml_lines import text_lines, whole
from shouldtune.types import Example

MAX_DATA_BYTES = 500_000_000
MAX_ROW_CHARACTERS = 400_000

# In the order in which they are tried: the first form whose columns are all there is taken.
FORMS: tuple[tuple[str, str], ...] = (
    ("input", "target"),
    ("instruction", "output"),  # Alpaca, with or without `input`
    ("input", "output"),
    ("prompt", "completion"),
    ("question", "answer"),
    ("text", "label"),
)
PARQUET_ROWS = 10_000
"""Read at once."""
Row = tuple[int, Mapping[str, Any]]


@dataclass(frozen=True)
class DataFile:
    """The examples of one file and how its columns were understood."""

    examples: Rows[Example]
    mapping: str


def read_rows(path: Path, columns: ColumnsPart | None = None) -> DataFile:
    """Read every row of a data file as an Example; the first bad row is an InputError with `file:line`."""
    rows = _raw_rows(path)
    first = next(rows, None)
    if first is None:
        raise InputError("there are no rows in this file", where=path, hint="put one JSON object on each line")
    form = columns if columns is not None else _find_form(path, first)
    examples, lines, ids = ExampleSpool(), array("q"), array("q")
    try:
        for line, row in chain((first,), rows):
            example = _example(path, line, row, form)
            examples.add(example)
            lines.append(line)
            ids.append(hash(example.id))
    finally:  # of two bad rows the first is told
        _must_differ(path, examples.rows(), lines, ids)
    return DataFile(examples.rows(), _describe(path, form, first[1]))


def _must_differ(path: Path, examples: Sequence[Example], lines: Sequence[int], ids: Sequence[int]) -> None:
    """InputError for the first row whose id is that of an earlier one. `ids` are their hashes, in a row each."""
    hashes = np.array(ids, dtype=np.int64)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    for again in np.sort(order[1:][ordered[1:] == ordered[:-1]]):
        first = int(order[np.searchsorted(ordered, hashes[again])])
        if examples[int(again)].id == examples[first].id:
            raise InputError(
                f"the id {examples[first].id!r} stands twice, first in row {lines[first]}",
                where=f"{path}:{lines[int(again)]}",
                hint="make ids unique, or drop the column: rows are numbered then",
            )


def _raw_rows(path: Path) -> Iterator[Row]:
    """(line, columns) for each row; for Parquet the line is the row's number."""
    kind = path.suffix.lower()
    if not path.exists():
        raise InputError("there is no such data file", where=path, hint="the path is relative to the task file")
    if kind in (".jsonl", ".ndjson"):
        yield from _jsonl(path)
    elif kind in (".csv", ".tsv"):
        yield from _csv(path, "\t" if kind == ".tsv" else ",")
    elif kind == ".parquet":
        yield from _parquet(path)
    else:
        raise InputError(
            f"cannot read {kind or 'a file without an ending'}", where=path, hint="use .jsonl, .csv or .parquet"
        )


def _jsonl(path: Path) -> Iterator[Row]:
    for number, line in enumerate(text_lines(path, MAX_DATA_BYTES), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.rstrip("\n"), parse_constant=lambda name: None)
        except (ValueError, RecursionError) as error:
            detail = error.msg if isinstance(error, json.JSONDecodeError) else "not readable"
            raise InputError(
                f"not valid JSON: {detail}", where=f"{path}:{number}", hint="each line is one JSON object"
            ) from None
        if not isinstance(row, dict):
            raise InputError(
                "this line is not a JSON object", where=f"{path}:{number}", hint='write {"input": ..., "target": ...}'
            )
        yield number, row


def _csv(path: Path, delimiter: str) -> Iterator[Row]:
    csv.field_size_limit(MAX_ROW_CHARACTERS)
    reader = csv.DictReader(text_lines(path, MAX_DATA_BYTES, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if None in row:
                raise InputError(
                    "more cells than the header has columns",
                    where=f"{path}:{reader.line_num}",
                    hint="quote cells that hold commas",
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise InputError(f"not valid CSV: {error}", where=f"{path}:{reader.line_num}") from None


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow", where=path, hint='pip install "shouldtune[parquet]"') from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            batches = (batch.to_pylist() for batch in file.iter_batches(PARQUET_ROWS))
            yield from enumerate(chain.from_iterable(batches), 1)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"not a readable Parquet file: {str(error).splitlines()[0]}", where=path) from None


def _find_form(path: Path, first: Row) -> tuple[str, str]:
    line, row = first
    if "messages" in row:
        return ("messages", "messages")
    for form in FORMS:
        if all(name in row for name in form):
            return form
    names = ", ".join(str(name) for name in list(row)[:12])
    raise InputError(
        f"cannot tell the input from the target among the columns: {names}",
        where=f"{path}:{line}",
        hint="name them `input` and `target`, or say `columns: {input: ..., target: ...}` in the task file",
    )


def _example(path: Path, line: int, row: Mapping[str, Any], form: ColumnsPart | tuple[str, str]) -> Example:
    where = f"{path}:{line}"
    id_name, group_name = "id", "group"
    if isinstance(form, ColumnsPart):
        asked, wanted = _text(row.get(form.input)), _text(row.get(form.target))
        id_name, group_name = form.id or "id", form.group or "group"
        target_name, input_name = form.target, form.input
    elif form[0] == "messages":
        asked, wanted = _from_messages(row.get("messages"), where)
        input_name, target_name = "a user message in `messages`", "a last assistant message in `messages`"
    else:
        input_name, target_name = form
        asked, wanted = _text(row.get(input_name)), _text(row.get(target_name))
        if form == ("instruction", "output") and _text(row.get("input")):
            asked = f"{asked}\n\n{_text(row.get('input'))}"
    if not wanted:
        raise InputError(
            f"this row has no target (`{target_name}`)", where=where, hint="every row needs the answer you wish for"
        )
    if not asked:
        raise InputError(
            f"this row has no input (`{input_name}`)", where=where, hint="every row needs what the model is asked"
        )
    if len(asked) + len(wanted) > MAX_ROW_CHARACTERS:
        raise InputError(f"this row is longer than {MAX_ROW_CHARACTERS:,} characters", where=where)
    meta, group = row.get("meta") or {}, row.get(group_name)
    if not isinstance(meta, Mapping):
        raise InputError("`meta` must be an object", where=where)
    return Example(
        id=_text(row.get(id_name)) or f"row-{line}",
        input=asked,
        target=wanted,
        accepted=_accepted(row, meta, wanted, where),
        group=_text(group) or None,
        meta=dict(meta),
    )


OTHER_ANSWERS = ("answers", "references", "other_answers")
"""Where data sets keep other right answers, beside our own `accepted`: a column, or a key of `meta`."""


def _accepted(row: Mapping[str, Any], meta: Mapping[str, Any], target: str, where: str) -> tuple[str, ...]:
    """Every right answer beside the target, each once."""
    found = row.get("accepted") or ()
    if not isinstance(found, list | tuple):
        raise InputError("`accepted` must be a list of answers", where=where, hint='write "accepted": ["...", "..."]')
    for part in (row, meta):
        for name in OTHER_ANSWERS:
            found = found or (part[name] if isinstance(part.get(name), list) else ())
    return tuple(dict.fromkeys(answer for answer in map(_text, found) if answer and answer != target))


def _text(value: Any) -> str:
    """A cell as text; objects and lists as JSON, so that a structured target keeps its structure."""
    if value is None:
        return ""
    if isinstance(value, str):
        return whole(value.strip())
    if isinstance(value, bool | dict | list):
        return whole(json.dumps(value, ensure_ascii=False))
    return str(value)


def _from_messages(messages: Any, where: str) -> tuple[str, str]:
    """(input, target) of a chat: the last assistant turn is the target; several turns before it become a transcript."""
    if not isinstance(messages, list) or not all(isinstance(m, Mapping) and "role" in m for m in messages):
        raise InputError("`messages` must be a list of {role, content}", where=where)
    turns = [(str(m["role"]), _text(m.get("content"))) for m in messages if m["role"] != "system"]
    if not turns or turns[-1][0] != "assistant":
        return (turns[-1][1] if turns else ""), ""
    return transcript(turns[:-1]), turns[-1][1]


def transcript(turns: Sequence[tuple[str, str]]) -> str:
    """(role, words) of the turns of a chat as one input: the words alone where there is one turn."""
    if len(turns) == 1:
        return _text(turns[0][1])
    return "\n".join(f"{role.capitalize()}: {_text(content)}" for role, content in turns)


def _describe(path: Path, form: ColumnsPart | tuple[str, str], row: Mapping[str, Any]) -> str:
    if isinstance(form, ColumnsPart):
        words = f"input <- {form.input}, target <- {form.target}"
    elif form[0] == "messages":
        words = "input <- messages before the last, target <- the last assistant message"
    else:
        also = " + input" if form == ("instruction", "output") and "input" in row else ""
        words = f"input <- {form[0]}{also}, target <- {form[1]}"
    return f"{path.name}: {words}"
