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
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.files import RUNS, write_whole
from shouldtune.stats import alpha_at_look
from shouldtune.types import Example, Goal

FILE = "looks.jsonl"


@dataclass(frozen=True)
class Look:
    """One look that was taken, or is to be."""

    number: int
    asked: str
    """Digest of what was asked; the same again is the same look."""
    rows: frozenset[str]
    """Of the held-out examples, by what they ask: a row with a mended target is the same row."""
    run: str = ""
    """The folder of the run that took it first, for people to read."""


def looks_path(task_folder: Path) -> Path:
    return task_folder / RUNS / FILE


def rows_of(holdout: Sequence[Example]) -> frozenset[str]:
    """A short hash of each example's input, spaces and case aside."""
    texts = (" ".join(example.input.lower().split()) for example in holdout)
    return frozenset(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in texts)


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
        rows = (
            {"look": each.number, "run": each.run, "asked": each.asked, "rows": sorted(each.rows)}
            for each in (*taken, look)
        )
        write_whole(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))


def goal_at_look(goal: Goal, number: int | None) -> Goal:
    """The goal at the confidence that look `number` has; as it is for a run from before looks were counted (None)."""
    if number is None:
        return goal
    return replace(goal, confidence=1 - alpha_at_look(round(1 - goal.confidence, 12), number))


def _family(rows: frozenset[str], taken: Sequence[Look]) -> list[Look]:
    """The looks at holdouts that share rows with these, or with one of the family."""
    family: list[Look] = []
    others = list(taken)
    while joined := [look for look in others if look.rows & rows]:
        family += joined
        rows = rows.union(*(look.rows for look in joined))
        others = [look for look in others if look not in joined]
    return family


def _read(path: Path) -> list[Look]:
    if not path.exists():
        return []
    found = []
    for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            row = json.loads(text)
            found.append(Look(int(row["look"]), str(row["asked"]), frozenset(row["rows"]), str(row["run"])))
        except (ValueError, KeyError, TypeError) as error:
            hint = "without it earlier looks are not counted, and what is proven is proven less surely"
            raise InputError(f"this is no look: {error!r}", where=f"{path}:{line}", hint=hint) from None
    return found
