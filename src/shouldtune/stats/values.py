"""What the statistics are made from: lists of scores in one order, some of them unknown because the call failed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[float] | Array
MaybeScores = Sequence[float | None]
"""Scores with None where the call failed."""


def checked(values: Scores, least: float = 0.0) -> Array:
    """The values as an array of shape (n,); ValueError for NaN, values outside `least` to 1, or another shape."""
    x: Array = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not bool(np.all((x >= least) & (x <= 1))):
        raise ValueError(f"expected a list of numbers from {least:g} to 1")
    return x


def filled(scores: MaybeScores, value: float) -> list[float]:
    """The scores with every failed call set to `value`."""
    return [value if score is None else score for score in scores]


def differences(a: MaybeScores, b: MaybeScores, missing: float) -> Array:
    """a - b on the same examples, `missing` where either call failed. ValueError where the lengths differ."""
    failed = np.array([x is None or y is None for x, y in zip(a, b, strict=True)], dtype=bool)
    return np.where(failed, missing, checked(filled(a, 0.0)) - checked(filled(b, 0.0)))


def answered_pairs(a: MaybeScores, b: MaybeScores) -> tuple[Array, Array]:
    """The scores of the examples that both answered: two arrays of one length."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    table = np.array(both, dtype=np.float64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def check_level(level: float) -> None:
    """ValueError unless a level or an alpha lies between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"a level of {level}")
