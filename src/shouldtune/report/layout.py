"""Where things stand in a chart: an axis that can hold 0.01 and 3,000, and names that do not cover each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

LETTER, LINE = 7.2, 15
"""Mean width of a letter and height of a line, in pixels, at the size the names are drawn."""

WIDE_SPREAD = 20
"""Values further apart than this factor are put on a logarithmic axis."""

Box = tuple[float, float, float, float]


def axis(values: Sequence[float], apart: Sequence[float], most: int) -> tuple[Callable[[float], float], list[float]]:
    """A place from 0 to 1 for each value, and at most about `most` ticks.

    `apart` are the values that must be told apart; the others may crowd together near zero. Zero has a place on both
    axes: the straight one, and the inverse hyperbolic sine, which is a logarithm that starts at zero.
    """
    high = max(values) or 1.0
    smallest = min((value for value in apart if value > 0), default=high)
    if high / smallest <= WIDE_SPREAD:
        ticks = _even_ticks(high, most)
        top = max(high, ticks[-1])
        return (lambda value: value / top), ticks
    full = math.asinh(high / smallest)
    powers = [10.0**power for power in range(math.ceil(math.log10(smallest)), math.floor(math.log10(high)) + 1)]
    step = max(1, math.ceil(len(powers) / max(1, most - 1)))
    return (lambda value: math.asinh(value / smallest) / full), [0.0, *reversed(powers[::-1][::step])]


def _even_ticks(high: float, most: int) -> list[float]:
    rough = high / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    return [step * number for number in range(math.ceil(high / step - 1e-9) + 1)]


def label_places(
    points: Sequence[tuple[float, float]], names: Sequence[str], width: float, taken_by: Sequence[Box] = ()
) -> list[tuple[float, float]]:
    """The left end and middle height of each name: beside its point, where it covers the least of the others.

    `taken_by` are boxes (left, top, right, bottom) that are full already. Heights grow downwards.
    """
    taken: list[Box] = [*taken_by, *((x - 7, y - 7, x + 7, y + 7) for x, y in points)]
    placed: dict[int, tuple[float, float]] = {}
    for at in sorted(range(len(points)), key=lambda at: points[at][1]):
        x, y = points[at]
        long = LETTER * len(names[at])
        beside = [(x + 12, y), (x - 12 - long, y), (x + 9, y - 14), (x + 9, y + 14), (x - 9 - long, y - 14)]
        around = [*beside, (x - 9 - long, y + 14), (x - long / 2, y - 18), (x - long / 2, y + 18)]
        best = min(around, key=lambda place: _cost(_box(place, long), taken, width))
        placed[at] = best
        taken.append(_box(best, long))
    return [placed[at] for at in range(len(points))]


def _box(place: tuple[float, float], long: float) -> Box:
    x, y = place
    return (x, y - LINE / 2, x + long, y + LINE / 2)


def _cost(box: Box, taken: Sequence[Box], width: float) -> float:
    """Pixels of other things covered, and pixels that hang out of the chart."""
    outside = max(0.0, -box[0]) + max(0.0, box[2] - width)
    return sum(_covered(box, other) for other in taken) + LINE * outside


def _covered(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
