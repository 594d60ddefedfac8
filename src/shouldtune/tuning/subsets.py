"""Smaller parts of the training half, for a learning curve: nested, disjoint, and apart from what scores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shouldtune.types import Example, Task

SHARES = (16, 8, 4)
"""A subset holds one part in so many of the examples that a full fine-tune learns from."""
CHAINS = 2
MOST_UNSEEN = 256
"""Rows that score the points; more would cost more than they tell."""


@dataclass(frozen=True)
class Subset:
    """Some examples to learn from."""

    examples: tuple[Example, ...]
    chain: int
    """Subsets of one chain are nested by prefix, those of two chains share nothing."""


@dataclass(frozen=True)
class CurveParts:
    """What a learning curve is measured with."""

    subsets: tuple[Subset, ...]
    """The smallest first, so that what is cheap is known first."""
    unseen: Sequence[Example]
    """What every point is scored on; settings and rungs are chosen on the rows behind it, never on these."""
    rest: Task
    """The task without these rows, on which a rung without training is fitted that is to be compared."""


def curve_parts(task: Task, chosen_on: int = 0) -> CurveParts:
    """Cut the training half; no group stands in two chains, or in a chain and in the unseen part.

    Sizes are shares of what a full fine-tune would learn from, `task.halves()[0]`. The last `chosen_on` rows, on which
    the rungs beside it were chosen, score nothing.
    """
    train, full = task.train, len(task.halves()[0])
    starts, sizes = _places(train, full)
    learnt = starts[-1] + max(sizes, default=0)
    end = min(full, len(train) - chosen_on)
    start = _after_group(train, max(learnt, end - MOST_UNSEEN))
    return CurveParts(_cut(train, starts, sizes), train[start:end], replace(task, train=train[:start]))


def _places(examples: Sequence[Example], full: int) -> tuple[list[int], list[int]]:
    """(where each chain starts, the sizes): a chain starts past a group that the one before it has begun."""
    sizes = sorted({full // share for share in SHARES} - {0})
    starts = [0]
    for _ in range(CHAINS - 1):
        starts.append(_after_group(examples, starts[-1] + max(sizes, default=0)))
    return starts, sizes


def _cut(examples: Sequence[Example], starts: Sequence[int], sizes: Sequence[int]) -> tuple[Subset, ...]:
    return tuple(
        Subset(tuple(examples[start : start + size]), chain)
        for size in sizes
        for chain, start in enumerate(starts)
        if start + size <= len(examples)
    )


def _after_group(examples: Sequence[Example], at: int) -> int:
    """The first place from `at` on that does not part a group."""
    while 0 < at < len(examples) and examples[at].group is not None and examples[at].group == examples[at - 1].group:
        at += 1
    return at
