"""What more examples in the prompt would bring: the forecast of a fine-tune, read with shots for training examples.

The points are what a rung scored on the training half while it chose its number of shots, so they cost nothing. The
prior of curves was made for fine-tunes; a prompt in which the model loses its way falls instead, and then nothing is
foretold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from shouldtune.causes import MoreShots, Seen
from shouldtune.curves import CurvePoint
from shouldtune.types import Goal, Measurement
from shouldtune.verdict.forecast import forecast

TIMES = 4
"""So many times the most shots that were tried."""


def more_shots(measurements: Sequence[Measurement], goal: Goal) -> tuple[MoreShots, ...]:
    """For every rung that tried two numbers of shots or more; levels as the goal's confidence."""
    return tuple(_more_shots(measurements, 1 - goal.confidence, goal.quality))


def _more_shots(measurements: Sequence[Measurement], alpha: float, quality: float | None) -> Iterator[MoreShots]:
    for measurement in measurements:
        points = [
            CurvePoint(trial.shots, trial.score, trial.n)
            for trial in measurement.trials
            if trial.shots and trial.score is not None
        ]
        if len({point.size for point in points}) < 2:
            continue
        seen = tuple(Seen(point.size, point.score or 0.0, point.rows) for point in points)
        best, last = max(seen, key=lambda each: (each.score, -each.size)), seen[-1]
        known = forecast(points) if last.score > 0 and best.size == last.size else None
        if known is None:
            yield MoreShots(measurement.rung, seen, best.size)
            continue
        size = TIMES * last.size
        until = None if quality is None else known.examples_until(quality, alpha)
        yield MoreShots(measurement.rung, seen, best.size, size, known.score(size, alpha), until)
