"""A case: what one run was asked and what it found. `dataclasses.replace` makes a what-if of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from shouldtune.judgement import Economics
from shouldtune.types import Goal, Measurement
from shouldtune.verdict.columns import Column, columns_of
from shouldtune.verdict.economics import Money, price
from shouldtune.verdict.inquiry import Inquiry

NOT_REACHED = "not reached"
"""Why a rung that was planned has no measurement, where the climb ended before it."""


@dataclass(frozen=True)
class Case:
    """All that judging needs."""

    goal: Goal
    measurements: Sequence[Measurement]
    """In ladder order, cheapest first, and aligned by example id. Those that were raced may cover the first rows of the
    holdout only."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """The rungs that cannot apply, with the reason, known before the holdout was looked at."""
    planned: Sequence[str] = ()
    """Every rung of the ladder in order: the goal's alpha is shared over all that may still be measured, so that
    deciding after each rung and stopping early costs nothing in honesty."""
    trains: Sequence[str] = ()
    """Those of them that change weights, as far as that is known of rungs that were not measured."""
    economics: Economics = Economics()
    """What the user knows about money."""
    inquiry: Inquiry = Inquiry()
    """What was looked into beside the rungs."""
    seed: int = 0
    """Of the permutations and the bands of the break-evens."""
    budget_ended: bool = False
    """Whether the money ended before the climb did: then nothing may be said of all rungs while some were not reached.
    """

    @cached_property
    def money(self) -> Money:
        """What every measured rung costs."""
        return price(self.economics, self.measurements)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The measurements side by side. Raises ValueError as `columns_of`."""
        return columns_of(self.goal, self.measurements, self.money, self.planned, self.trains)

    @property
    def untried(self) -> dict[str, str]:
        """Why each rung without a measurement has none."""
        measured = {m.rung for m in self.measurements}
        waiting = dict.fromkeys(self.planned, NOT_REACHED)
        return {name: why for name, why in {**waiting, **self.skipped}.items() if name not in measured}
