"""Choosing between settings on the training half: what every rung with a dial needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shouldtune.measure import mean_score, measure
from shouldtune.spool import Answers, figure
from shouldtune.types import Example, Model, Options, Prediction, Scorer, Task, Trial

FALLEN = 0.1
"""On the few examples that settings are first tried on, a smaller difference says nothing."""
FIRST, UNSEEN = 32, 96
"""Examples that every setting is tried on, and after each as many more those that may still be the best one, up to all
these: 32 alone leave a choice between settings that score alike to luck."""

Candidate = tuple[str, Model]
"""(the setting in words, the model with it)"""


class Groups:
    """Which rows belong together, found by their group and not by looking through all rows each time."""

    def __init__(self, rows: Sequence[Example]) -> None:
        self.rows = rows
        self._places: dict[str, list[int]] = {}
        for place, row in enumerate(rows):
            if row.group is not None:
                self._places.setdefault(row.group, []).append(place)

    def relatives(self, example: Example) -> list[Example]:
        """The row itself and the rows of its group, near-duplicates among them."""
        others = () if example.group is None else self._places.get(example.group, ())
        return [example, *(self.rows[place] for place in others)]


def parted(task: Task) -> tuple[Sequence[Example], Sequence[Example]]:
    """(pool to take shots from, unseen part to choose settings on) for a rung without training.

    The unseen part is larger than where weights are trained: a prompt shows a few examples of the pool, so it loses
    nothing by a smaller one.
    """
    return task.halves(UNSEEN, 4)


async def best_of(
    candidates: Sequence[Candidate], unseen: Sequence[Example], scorer: Scorer, *, rising: bool = False
) -> tuple[int, tuple[Trial, ...]]:
    """Measure candidates on the unseen part of the training half, `FIRST` rows at a time, as long as they may be best.

    After each round those are left out that fell behind the best one by more than a standard error of their difference,
    row by row: a race (Maron and Moore, Hoeffding Races, NIPS 1993) with a laxer bound. Returns (index of the best, the
    trials made). Ties go to the earlier one: candidates are listed cheapest first. A candidate whose every call failed
    has no score and cannot win unless all failed. With `rising`, for sizes that grow dearer, the last that is tried is
    the first that falls behind the best by more than `FALLEN`, or the second in a row that gets nothing right.
    """
    if len(candidates) == 1:
        return 0, ()  # there is nothing to choose
    seen: list[Answers] = []
    trials: list[Trial] = []
    for setting, model in candidates:
        seen.append(await measure(model, unseen[:FIRST], scorer))
        trials.append(_trial(setting, seen[-1]))
        if rising and (_fell(trials) or _hopeless(trials)):
            break
    racing = _still_racing(seen, range(len(seen)))
    for start in range(FIRST, len(unseen), FIRST):
        if len(racing) == 1:
            break
        for index in racing:
            setting, model = candidates[index]
            seen[index] = await measure(model, unseen[start : start + FIRST], scorer, before=seen[index])
            trials[index] = _trial(setting, seen[index])
        racing = _still_racing(seen, racing)
    return racing[0], tuple(trials)


def with_shots(chosen: tuple[int, tuple[Trial, ...]], sizes: Sequence[int]) -> tuple[int, tuple[Trial, ...]]:
    """What `best_of` returned, each trial with its number of shots; `sizes` in the order in which they were tried."""
    best, trials = chosen
    return best, tuple(replace(trial, shots=size) for trial, size in zip(trials, sizes, strict=False))


def _trial(setting: str, predictions: Sequence[Prediction]) -> Trial:
    return Trial(setting, mean_score(predictions), sum(prediction.score is not None for prediction in predictions))


def _still_racing(seen: Sequence[Answers], racing: Sequence[int]) -> list[int]:
    """The best of those that race, first, and the ones that may be as good; the best alone where nothing is right."""
    order = sorted(racing, key=lambda index: (-rank(mean_score(seen[index])), index))
    best = figure(seen[order[0]], "score")
    if not np.nansum(best) > 0:
        return order[:1]
    return [order[0], *(index for index in order[1:] if not is_behind(figure(seen[index], "score"), best))]


def is_behind(scores: NDArray[np.float64], best: NDArray[np.float64], errors: float = 1.0) -> bool:
    """Whether the scores of the same rows, NaN where a call failed, are lower by more than so many standard errors.

    A row more that differs each way keeps a single row from being taken for certain (Agresti and Min, Simple improved
    confidence intervals for comparing matched proportions, 2005).
    """
    behind = best - scores
    behind = np.append(behind[~np.isnan(behind)], (1.0, -1.0))
    return len(behind) == 2 or bool(behind.mean() > errors * behind.std() / math.sqrt(len(behind)))


def _fell(trials: Sequence[Trial]) -> bool:
    return rank(trials[-1].score) < max(rank(trial.score) for trial in trials) - FALLEN


def _hopeless(trials: Sequence[Trial]) -> bool:
    """Whether two sizes in a row got nothing right."""
    return len(trials) > 1 and not trials[-1].score and not trials[-2].score


def rank(score: float | None) -> float:
    """To order scores by: what was never answered comes last."""
    return -1.0 if score is None else score


def free_options(task: Task) -> Options:
    """How answers are made for this task: as long as its targets are, with some room."""
    return Options(max_tokens=task.output.max_tokens)


def answer_options(task: Task) -> Options:
    """The same, and held to their form where they have one: the rungs above `structured` build on it."""
    labels, schema = task.output.labels, task.output.schema
    return replace(free_options(task), choices=labels, schema=schema, choice_logprobs=bool(labels))


def shots(examples: Sequence[Example]) -> tuple[tuple[str, str], ...]:
    """Examples as (input, target) pairs for a prompt."""
    return tuple((example.input, example.target) for example in examples)


def varied(pool: Sequence[Example], size: int, draw: int) -> list[Example]:
    """`size` examples in a seeded order, with as many different targets as can be had."""
    order = np.random.default_rng(draw).permutation(len(pool))
    targets = np.fromiter((hash(example.target) for example in pool), dtype=np.int64, count=len(pool))[order]
    by_target = np.argsort(targets, kind="stable")
    starts = np.searchsorted(targets[by_target], targets[by_target])
    turn = np.empty_like(order)
    turn[by_target] = np.arange(len(order)) - starts  # how many of its target come before it
    return [pool[int(order[position])] for position in np.argsort(turn, kind="stable")[:size]]
