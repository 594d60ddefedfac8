"""Looks at a holdout: which one a run is, and what it may err. `TASK/runs/looks.jsonl` holds them, one a line.

Whoever may look again and again at the same held-out examples, under changed settings, finds what he likes in the
end. So each look has its share of the task's alpha, `alpha * 6 / (pi^2 k^2)` for look k: however many there are, all
together err no more than alpha. A run that was cut off and goes on, or is repeated, sees nothing new: it is the same
look. So is one in which only prices or volumes changed: they are weighed with the same answers at the same levels.
Holdouts that share rows count together, directly or by way of others; one of fresh rows begins anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import numpy as np

from shouldtune.errors import InputError
from shouldtune.files import RUNS, write_whole
from shouldtune.spool import distinct
from shouldtune.stats import alpha_at_look
from shouldtune.types import Example, Goal

FILE = "looks.jsonl"
ROWS = '"rows": ['
HASH = re.compile(r'"([0-9a-f]{16})"')
HASHES = re.compile(r'\s*(?:"[0-9a-f]{16}"\s*(?:,\s*|$))*+')


class AskedRows:
    """Short hashes of what examples ask, 8 bytes each."""

    def __init__(self, numbers: Iterable[int]) -> None:
        self.numbers = distinct(np.array(array("Q", numbers), dtype=np.uint64))

    def __len__(self) -> int:
        return len(self.numbers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AskedRows) and np.array_equal(self.numbers, other.numbers)

    __hash__ = None  # type: ignore[assignment]

    def shares(self, other: AskedRows) -> bool:
        """Whether any row is among the other's too."""
        return bool(np.isin(self.numbers, other.numbers).any())

    def with_those(self, other: AskedRows) -> AskedRows:
        found = AskedRows(())
        found.numbers = distinct(np.concatenate([self.numbers, other.numbers]))
        return found


@dataclass(frozen=True)
class Look:
    """One look that was taken, or is to be."""

    number: int
    asked: str
    """Digest of what was asked; the same again is the same look."""
    rows: AskedRows
    """Of the held-out examples, by what they ask: a row with a mended target is the same row."""
    run: str = ""
    """The folder of the run that took it first, for people to read."""


def looks_path(task_folder: Path) -> Path:
    return task_folder / RUNS / FILE


def rows_of(holdout: Iterable[Example]) -> AskedRows:
    """A short hash of each example's input, spaces and case aside."""
    texts = (" ".join(example.input.lower().split()) for example in holdout)
    hashes = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8] for text in texts)
    return AskedRows(int.from_bytes(found, "big") for found in hashes)


def look_at(path: Path, holdout: Sequence[Example], asked: str = "", run: str = "") -> Look:
    """The look that asking this of this holdout is; nothing is written. InputError where the file cannot be read."""
    taken, rows = _read(path), rows_of(holdout)
    for look in taken:
        if look.asked == asked:
            return look
    return Look(1 + len(_family(rows, taken)), asked, rows, run)


def write_down(path: Path, look: Look) -> None:
    """Add a look to the file, where it does not stand there yet. Errors as `look_at`, and CannotMeasure."""
    taken = _read(path)
    if all(each.asked != look.asked for each in taken):
        write_whole(path, (part for each in (*taken, look) for part in _as_json(each)))


def goal_at_look(goal: Goal, number: int | None) -> Goal:
    """The goal at the confidence that look `number` has; as it is for a run from before looks were counted (None)."""
    if number is None:
        return goal
    return replace(goal, confidence=1 - alpha_at_look(round(1 - goal.confidence, 12), number))


def _family(rows: AskedRows, taken: Sequence[Look]) -> list[Look]:
    """The looks at holdouts that share rows with these, or with one of the family."""
    family: list[Look] = []
    others = list(taken)
    while joined := [look for look in others if look.rows.shares(rows)]:
        family += joined
        rows = reduce(AskedRows.with_those, (look.rows for look in joined), rows)
        others = [look for look in others if look not in joined]
    return family


def _read(path: Path) -> list[Look]:
    if not path.exists():
        return []
    found = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line, text in enumerate(file, 1):
            try:
                found.append(_look(text))
            except (ValueError, KeyError, TypeError) as error:
                hint = "without it earlier looks are not counted, and what is proven is proven less surely"
                raise InputError(f"this is no look: {error!r}", where=f"{path}:{line}", hint=hint) from None
    return found


def _look(text: str) -> Look:
    """A look from its line; its rows are read one by one, for together they are large. ValueError or KeyError."""
    start = text.find(ROWS) + len(ROWS)
    if start < len(ROWS):
        raise KeyError("rows")
    end = text.index("]", start)
    row = json.loads(text[:start] + text[end:])
    if row["rows"] != [] or not HASHES.fullmatch(text, start, end):
        raise ValueError("rows are hashes of 16 digits")
    rows = AskedRows(int(match[1], 16) for match in HASH.finditer(text, start, end))
    return Look(int(row["look"]), str(row["asked"]), rows, str(row["run"]))


def _as_json(look: Look) -> Iterator[str]:
    told = json.dumps({"look": look.number, "run": look.run, "asked": look.asked, "rows": []}, sort_keys=True)
    before, key, after = told.partition(ROWS)
    yield before + key
    for index, number in enumerate(look.rows.numbers):
        yield f'{", " if index else ""}"{number:016x}"'
    yield after + "\n"
