"""How likely it is that asking the rest would prove something: for resting a rung in time, never for a claim.

After t of n rows with mean m and standard deviation s, the mean of all n lies around m with a variance of
s^2 * (1/t - 1/n), for what is still to come is as uncertain as what was seen (a flat prior). It is proven to be above
a line where it comes out beyond the line by the normal quantile of the level times s / sqrt(n).
"""

from __future__ import annotations

import math

from shouldtune.stats.distributions import NORMAL, normal_quantile
from shouldtune.stats.values import Array


def chance_above(seen: Array, size: int, line: float, level: float, worst: float, best: float = 1.0) -> float:
    """The chance that the mean of all `size` rows will be proven to lie above `line` at a one-sided `level`.

    `seen` are the values of the first rows, failed calls filled in; values lie between `worst` and `best`, and one of
    each is added to what was seen for the spread, because a few rows that are all alike have hardly shown it. Nothing
    seen may become anything, and what all rows have not proven no more rows can.
    """
    t = seen.size
    if t == 0 or t >= size:
        return float(t == 0)
    mean = float(seen.mean())
    squares = float(seen @ seen) + worst * worst + best * best
    spread = math.sqrt(max(1e-12, squares / (t + 2) - ((t * mean + worst + best) / (t + 2)) ** 2))
    needed = line + normal_quantile(level) * spread / math.sqrt(size)
    return NORMAL.cdf((mean - needed) / (spread * math.sqrt(1 / t - 1 / size)))
