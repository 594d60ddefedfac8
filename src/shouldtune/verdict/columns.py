"""What was measured, one column a rung: its scores in the holdout's order, and its line in the verdict."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shouldtune.judgement import Interval, RungResult
from shouldtune.spool import Figure, figure, keys_of
from shouldtune.stats import ScoreArray
from shouldtune.types import Goal, Measurement, Prediction, Spent
from shouldtune.verdict.economics import Money

Array = NDArray[np.float64]
Keys = NDArray[np.int64]
"""A number for each row's example."""
Limits = Literal["within", "broken", "unknown"]

LEAST_LATENCIES = 30
"""Fewer answers than this say nothing about a latency limit."""


@dataclass(frozen=True)
class Column:
    """One rung as deciding sees it."""

    name: str
    training: bool
    uses_llm: bool
    scores: ScoreArray
    """One value per holdout example; None where the call failed or was never made."""
    limits: Limits = "within"
    """Whether the rung keeps the goal's limits on cost and latency."""
    trial: float | None = None
    """Its best score on the training half, for choosing where alpha goes before the holdout is looked at."""
    cost_per_1k: float | None = None
    """Dollars for 1,000 answers; None where one answer's price is unknown."""
    asked: int | None = None
    """On how many of the first rows it was measured, where it was stopped early or may yet go on; None: on all."""
    behind: int | None = None
    """How many rungs of the ladder come after it, whether they apply or not, those that train as one; None where not
    known."""

    @property
    def asked_scores(self) -> ScoreArray:
        return self.scores[: self.asked]

    @property
    def failed(self) -> int:
        return int(np.isnan(self.asked_scores.values).sum())

    @property
    def whole(self) -> bool:
        """Whether it was measured on the whole holdout."""
        return self.asked is None or self.asked == len(self.scores)

    def as_of(self, rows: int) -> Column:
        """It as it was when so many rows had been asked."""
        known = np.where(np.arange(len(self.scores)) < rows, self.scores.values, np.nan)
        return replace(self, scores=ScoreArray(known), asked=rows)


def columns_of(
    goal: Goal,
    measurements: Sequence[Measurement],
    money: Money,
    planned: Sequence[str] = (),
    trains: Sequence[str] = (),
) -> tuple[Column, ...]:
    """Align the measurements on one holdout, by example id: a row that a rung has not is unmeasured there.

    `money` says what their answers cost, `planned` which rungs the ladder has, in their order, `trains` which of
    them change weights.
    Raises ValueError where two measurements share a name, a measurement has an example twice, or one that was raced
    is not of the holdout's first rows.
    """
    names = [m.rung for m in measurements]
    if len(set(names)) < len(names):
        raise ValueError(f"a rung was measured twice: {', '.join(names)}")
    holdout = _each_once([m.predictions for m in measurements])
    size = max([len(holdout), *(m.raced_over or 0 for m in measurements)])
    behind = {name: sharers(planned[place:], trains) for place, name in enumerate(planned, 1)}
    made = (_column(goal, m, holdout, size, money.per_1k(m.rung)) for m in measurements)
    return tuple(replace(c, behind=behind.get(c.name)) for c in made)


def sharers(names: Sequence[str], trains: Sequence[str]) -> int:
    """Among how many a share is divided: what changes weights counts as one, however many kinds of it there are."""
    return sum(name not in trains for name in names) + any(name in trains for name in names)


def _each_once(measured: Sequence[Sequence[Prediction]]) -> Keys:
    """The keys of all the rows that were asked, in the order in which they first come."""
    longest = max(measured, key=len, default=())
    found = keys_of(longest)
    rest = (keys_of(rows) for rows in measured if rows is not longest)
    if all(np.array_equal(keys, found[: len(keys)]) for keys in rest):  # as in any climb: nothing to be sorted
        return found
    together = np.concatenate([keys_of(rows) for rows in measured])
    return together[np.sort(np.unique(together, return_index=True)[1])]


def _column(goal: Goal, measurement: Measurement, holdout: Keys, size: int, cost_per_1k: float | None) -> Column:
    keys = keys_of(measurement.predictions)
    ordered = np.sort(keys)
    if bool((ordered[1:] == ordered[:-1]).any()):
        raise ValueError(f"{measurement.rung} has an example twice")
    asked = None if measurement.raced_over is None else len(keys)
    if asked is not None and not np.array_equal(keys, holdout[:asked]):
        raise ValueError(f"{measurement.rung} was not measured on the first rows of the holdout")
    tried = [trial.score for trial in measurement.trials if trial.score is not None]
    return Column(
        name=measurement.rung,
        training=measurement.training,
        uses_llm=measurement.uses_llm,
        scores=_aligned(figure(measurement.predictions, "score"), keys, holdout, size),
        limits=limits_of(goal, measurement, cost_per_1k),
        trial=max(tried, default=None),
        cost_per_1k=cost_per_1k,
        asked=asked,
    )


def _aligned(scores: Array, keys: Keys, holdout: Keys, size: int) -> ScoreArray:
    """The scores in the holdout's order, None where there is none."""
    found = np.full(size, np.nan)
    if np.array_equal(keys, holdout[: len(keys)]):
        found[: len(keys)] = scores
    else:
        order = np.argsort(holdout)
        found[order[np.searchsorted(holdout, keys, sorter=order)]] = scores
    return ScoreArray(found)


def limits_of(goal: Goal, measurement: Measurement, cost_per_1k: float | None) -> Limits:
    """Whether a rung keeps the goal's limits: the cost of 1,000 answers, and 19 of 20 answers in time.

    A cost that is not known is not within its limit. Nor is a latency above its limit known to break it: many calls
    at once wait for one another, and what one call alone would take was not seen.
    """
    state: Limits = "within"
    if goal.max_latency_s is not None:
        late = _latency(measurement, 95)
        if late is None or late > goal.max_latency_s or len(_latencies(measurement)) < LEAST_LATENCIES:
            state = "unknown"
    if goal.max_cost_per_1k is not None:
        if cost_per_1k is not None and cost_per_1k > goal.max_cost_per_1k:
            return "broken"
        if cost_per_1k is None:
            state = "unknown"
    return state


def line_of(measurement: Measurement, column: Column, quality: Interval, meets_goal: bool | None) -> RungResult:
    """A measured rung's line in the verdict."""
    machine, prompts = _of_answered(measurement, "compute_s"), _of_answered(measurement, "prompt_tokens")
    machine_known = len(machine) > 0 and not np.isnan(machine).any()
    return RungResult(
        name=measurement.rung,
        applied=True,
        training=measurement.training,
        uses_llm=measurement.uses_llm,
        quality=quality.estimate,
        low=quality.low,
        high=quality.high,
        n=quality.n,
        unmeasured=column.failed,
        stopped_because=measurement.stopped_because,
        meets_goal=meets_goal,
        cost_per_1k=column.cost_per_1k,
        seconds_per_1k=1000 * float(np.mean(machine)) if machine_known else None,
        latency_p50=_latency(measurement, 50),
        latency_p95=_latency(measurement, 95),
        prompt_tokens_mean=_mean(prompts),
        fit_seconds=_machine_seconds(measurement.fit),
        fit_cost=measurement.fit.usd,
        fit_calls=measurement.fit.calls,
        settings_tried=len(measurement.trials),
        metrics={**_metrics(measurement.predictions), **measurement.overall},
        notes=measurement.notes,
        search=measurement.search,
    )


def _of_answered(measurement: Measurement, name: Figure) -> Array:
    """A figure of every answer that was graded; NaN where it is not known."""
    return figure(measurement.predictions, name)[~np.isnan(figure(measurement.predictions, "score"))]


def _mean(values: Array) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.mean(known)) if len(known) else None


def _latencies(measurement: Measurement) -> Array:
    found = _of_answered(measurement, "latency_s")
    return found[~np.isnan(found)]


def _machine_seconds(spent: Spent) -> float | None:
    """None where all that was done was done by somebody's server, which does not tell its time."""
    return None if spent.calls and not spent.seconds else spent.seconds


def _latency(measurement: Measurement, percent: float) -> float | None:
    seen = _latencies(measurement)
    return float(np.percentile(seen, percent)) if len(seen) else None


def _metrics(predictions: Sequence[Prediction]) -> dict[str, float]:
    found: dict[str, array[float]] = {}
    for prediction in predictions:
        for name, value in prediction.score.metrics.items() if prediction.score is not None else ():
            found.setdefault(name, array("d")).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}
