"""Rows -> (train, holdout): put together, freed of repeats, and split, or as the user has split them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from shouldtune.errors import InputError
from shouldtune.spool import ExampleSpool, Rows
from shouldtune.stats import alpha_at_look, examples_for_goal
from shouldtune.task.contents import Earlier
from shouldtune.task.file import TaskFile
from shouldtune.task.rows import read_rows
from shouldtune.task.split import hashes, split
from shouldtune.task.steady import as_before
from shouldtune.types import Example, Goal

HOLDOUT_SHARE = 0.3
HOLDOUT_MOST = 1000


def halves(
    file: TaskFile, folder: Path, where: str, earlier: Earlier | None
) -> tuple[Sequence[Example], Sequence[Example], list[str]]:
    """(train, holdout, what was understood and done). InputError, at `where` for what no single row is to blame for."""
    notes: list[str] = []
    more = () if earlier is None else earlier.more
    if file.examples is not None:
        rows = read_rows(folder / file.examples, file.columns)
        examples, dropped = _without_repeats(_together(rows.examples, more))
        notes.append(rows.mapping)
        if dropped:
            notes.append(f"{dropped} repeated rows dropped")
        train: Sequence[Example]
        holdout: Sequence[Example]
        train, holdout = split(examples, _holdout_size(len(examples), Goal(**file.goal.model_dump())), file.seed)
    else:
        train, holdout = _given_halves(file, folder, where, more, notes)
    if earlier is not None:
        train, holdout, said = as_before(train, holdout, earlier.contents, sides_given=file.examples is None)
        notes += said
    notes.append(f"{len(train)} examples to learn from, {len(holdout)} held out")
    return train, holdout, notes


def _given_halves(
    file: TaskFile, folder: Path, where: str, more: Sequence[Example], notes: list[str]
) -> tuple[Rows[Example], Rows[Example]]:
    """(train, holdout) where the user gives both; further examples are for learning."""
    assert file.train is not None and file.holdout is not None  # noqa: S101  checked when the file was read
    learn, held = read_rows(folder / file.train, file.columns), read_rows(folder / file.holdout, file.columns)
    holdout, dropped = _without_repeats(held.examples)
    taught = _without_repeats(_together(learn.examples, more))[0]
    inputs = hashes(_normal(example.input) for example in holdout)
    apart = np.flatnonzero(~np.isin(hashes(_normal(example.input) for example in taught), inputs))
    kept = _renamed("train", taught.at(apart), holdout)
    dropped += len(learn.examples) + len(more) - len(kept)
    if not kept:
        raise InputError("every training row stands in the holdout too", where=where, hint="give rows that differ")
    notes += [learn.mapping, held.mapping]
    if dropped:
        notes.append(f"{dropped} rows dropped: repeated, or in both train and holdout")
    # With nothing held back, `split` only puts each half into its seeded order with groups side by side.
    return split(kept, 0, file.seed)[0], split(holdout, 0, file.seed)[0]


def _together(own: Rows[Example], more: Sequence[Example]) -> Rows[Example]:
    """The task's own examples and those from elsewhere, no two with one id."""
    return ExampleSpool(chain(own, _renamed("kept", more, own))).rows() if more else own


def _renamed(before: str, examples: Sequence[Example], others: Sequence[Example]) -> Rows[Example]:
    """The examples; those with an id that one of the others has too have a word before it."""
    taken = np.isin(hashes(each.id for each in examples), hashes(each.id for each in others))
    both = zip(examples, taken, strict=True)
    return ExampleSpool(replace(each, id=f"{before}-{each.id}") if known else each for each, known in both).rows()


def _without_repeats(examples: Rows[Example]) -> tuple[Rows[Example], int]:
    """Examples without those that repeat an earlier one's input and target; rows that contradict each other stay."""
    said = hashes((_normal(example.input), example.target) for example in examples)
    first = np.sort(np.unique(said, return_index=True)[1])
    return examples.at(first), len(examples) - len(first)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _holdout_size(n: int, goal: Goal) -> int:
    """The larger of 30% and what could prove the goal, at most half and at most 1,000."""
    at_first = alpha_at_look(1 - goal.confidence, 1) / 10  # about what each of so many rungs has of the first look
    needed = (examples_for_goal(goal.quality, at_first) or 0) if goal.quality is not None else 0
    return min(n // 2, HOLDOUT_MOST, max(round(HOLDOUT_SHARE * n), needed))
