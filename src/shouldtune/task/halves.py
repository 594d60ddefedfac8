"""Rows -> (train, holdout): put together, freed of repeats, and split, or as the user has split them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.stats import alpha_at_look, examples_for_goal
from shouldtune.task.contents import Earlier
from shouldtune.task.file import TaskFile
from shouldtune.task.rows import read_rows
from shouldtune.task.split import split
from shouldtune.task.steady import as_before
from shouldtune.types import Example, Goal

HOLDOUT_SHARE = 0.3
HOLDOUT_MOST = 1000


def halves(
    file: TaskFile, folder: Path, where: str, earlier: Earlier | None
) -> tuple[tuple[Example, ...], tuple[Example, ...], list[str]]:
    """(train, holdout, what was understood and done). InputError, at `where` for what no single row is to blame for."""
    notes: list[str] = []
    more = () if earlier is None else earlier.more
    if file.examples is not None:
        rows = read_rows(folder / file.examples, file.columns)
        examples, dropped = _without_repeats(_together(rows.examples, more))
        notes.append(rows.mapping)
        if dropped:
            notes.append(f"{dropped} repeated rows dropped")
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
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(train, holdout) where the user gives both; further examples are for learning."""
    assert file.train is not None and file.holdout is not None  # noqa: S101  checked when the file was read
    learn, held = read_rows(folder / file.train, file.columns), read_rows(folder / file.holdout, file.columns)
    holdout, dropped = _without_repeats(held.examples)
    inputs, ids = {_normal(example.input) for example in holdout}, {example.id for example in holdout}
    taught = _together(learn.examples, more)
    kept = [example for example in _without_repeats(taught)[0] if _normal(example.input) not in inputs]
    dropped += len(taught) - len(kept)
    kept = [replace(example, id=f"train-{example.id}") if example.id in ids else example for example in kept]
    if not kept:
        raise InputError("every training row stands in the holdout too", where=where, hint="give rows that differ")
    notes += [learn.mapping, held.mapping]
    if dropped:
        notes.append(f"{dropped} rows dropped: repeated, or in both train and holdout")
    # With nothing held back, `split` only puts each half into its seeded order with groups side by side.
    return split(kept, 0, file.seed)[0], split(holdout, 0, file.seed)[0]


def _together(own: Sequence[Example], more: Sequence[Example]) -> tuple[Example, ...]:
    """The task's own examples and those from elsewhere, no two with one id."""
    ids = {example.id for example in own}
    return (*own, *(replace(each, id=f"kept-{each.id}") if each.id in ids else each for each in more))


def _without_repeats(examples: Sequence[Example]) -> tuple[tuple[Example, ...], int]:
    """Examples without those that repeat an earlier one's input and target; rows that contradict each other stay."""
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((_normal(example.input), example.target), example)
    return tuple(seen.values()), len(examples) - len(seen)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _holdout_size(n: int, goal: Goal) -> int:
    """The larger of 30% and what could prove the goal, at most half and at most 1,000."""
    at_first = alpha_at_look(1 - goal.confidence, 1) / 10  # about what each of so many rungs has of the first look
    needed = (examples_for_goal(goal.quality, at_first) or 0) if goal.quality is not None else 0
    return min(n // 2, HOLDOUT_MOST, max(round(HOLDOUT_SHARE * n), needed))
