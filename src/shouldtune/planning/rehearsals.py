"""The race rehearsed in made-up worlds: how much of it is to be expected where nothing is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shouldtune.stats import ScoreArray
from shouldtune.types import Goal, Rung
from shouldtune.verdict.columns import Column
from shouldtune.verdict.questions import ENDS_THE_CLIMB
from shouldtune.verdict.race import rehearse

WORLDS = 16
FREE, PROMPTED, TRAINED = (0.0, 0.6), (0.2, 0.98), (0.3, 0.98)
"""From where to where a rung's true score is drawn: without a language model, with one as it comes, and trained."""
AGREEMENT = 0.6
"""The share of examples that are hard or easy for all rungs alike."""
ASSUMED = (
    f"{WORLDS} rehearsals of the race, each rung's true score drawn between {PROMPTED[0]:g} and {PROMPTED[1]:g} "
    f"({FREE[0]:g} and {FREE[1]:g} without a language model)"
)


@dataclass(frozen=True)
class Rehearsed:
    """What became of a rung, as a mean over the worlds."""

    opened: float
    """How often it was fitted at all."""
    rows: float
    """How many held-out examples it was asked."""


def rehearsals(
    goal: Goal, rungs: Sequence[Rung], n: int, *, all_rungs: bool, stop_early: bool, seed: int = 0
) -> tuple[Mapping[str, Rehearsed], float]:
    """(by name, what is to be expected of rungs that apply, on a holdout of n examples, in ladder order; in which share
    of the worlds no rung without training settles the answer).
    """
    unsettled = 0
    opened: defaultdict[str, int] = defaultdict(int)
    rows: defaultdict[str, int] = defaultdict(int)
    for world in range(WORLDS if rungs else 0):
        whole = _world(rungs, n, np.random.default_rng([seed, world]))
        found, columns = rehearse(goal, whole, all_rungs=all_rungs, stop_early=stop_early)
        unsettled += all_rungs or found is None or found.reason not in ENDS_THE_CLIMB
        for column in columns:
            opened[column.name] += 1
            rows[column.name] += len(column.asked_scores)
    found_of = {rung.name: Rehearsed(opened[rung.name] / WORLDS, rows[rung.name] / WORLDS) for rung in rungs}
    return found_of, unsettled / WORLDS


def _world(rungs: Sequence[Rung], n: int, rng: np.random.Generator) -> list[Column]:
    """Right or wrong, for each rung and example."""
    shared, alike = rng.random(n), rng.random(n) < AGREEMENT
    made = []
    for rung in rungs:
        skill = rng.uniform(*(TRAINED if rung.training else PROMPTED if rung.uses_llm else FREE))
        right = ScoreArray((np.where(alike, shared, rng.random(n)) < skill).astype(np.float64))
        made.append(Column(rung.name, rung.training, rung.uses_llm, right, trial=float(skill)))
    return made
