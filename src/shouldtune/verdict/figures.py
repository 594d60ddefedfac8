"""How the sentences write a score, a gain, a line to clear and a list of names."""

from __future__ import annotations

from collections.abc import Sequence

from shouldtune.judgement import Interval
from shouldtune.verdict.bounds import Evidence


def scores(e: Evidence, name: str, line: float | None = None) -> str:
    """`few_shot scores 0.85 (0.79 to 0.90) on 200 held-out examples`; closer where a limit lies near `line`."""
    quality = e.quality[name]
    if quality.estimate is None:
        return f"{name} has no score"
    return f"{name} scores {_span(quality, line)} on {quality.n} held-out examples"


def gains(gain: Interval, line: float | None = None) -> str:
    """`gains 0.05 (0.01 to 0.09)`; closer where a limit lies near `line`."""
    if gain.estimate is None:
        return "has no example in common"
    return f"gains {_span(gain, line)}"


def _span(interval: Interval, line: float | None) -> str:
    places = 3 if line is not None and min(abs(interval.low - line), abs(interval.high - line)) < 0.01 else 2
    return f"{interval.estimate:.{places}f} ({interval.low:.{places}f} to {interval.high:.{places}f})"


def figure(value: float, line: float) -> str:
    """Two places, or three near `line`."""
    return f"{value:.3f}" if abs(value - line) < 0.01 else f"{value:.2f}"


def against_goal(quality: Interval, goal: float) -> str:
    """Where a better rung stands beside the goal."""
    if quality.low >= goal:
        return f"above the goal of {goal:g}"
    if quality.high < goal:
        return f"better, and still below the goal of {goal:g}"
    return f"whether it reaches the goal of {goal:g} is open"


def listed(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
