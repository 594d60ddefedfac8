"""What the statistics are made from: lists of scores in one order, some of them unknown because the call failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, overload

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Scores = Sequence[float] | Array
MaybeScores = Sequence[float | None] | Array
"""Scores with None where the call failed; in numpy's arrays there is none that failed."""


def checked(values: Scores, least: float = 0.0) -> Array:
    """The values as an array of shape (n,); ValueError for NaN, values outside `least` to 1, or another shape."""
    x: Array = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not bool(np.all((x >= least) & (x <= 1))):
        raise ValueError(f"expected a list of numbers from {least:g} to 1")
    return x


class ScoreArray(Sequence[float | None]):
    """Scores with None where the call failed, in 8 bytes each; a slice is a view."""

    def __init__(self, values: Array) -> None:
        """From an array of shape (n,) with NaN where the call failed, which is kept, not copied."""
        self.values = values

    @classmethod
    def of(cls, scores: MaybeScores) -> Self:
        """ValueError where a score is NaN or not from 0 to 1; one that is a ScoreArray is taken as it is."""
        if isinstance(scores, ScoreArray):
            return cls(scores.values)
        if isinstance(scores, np.ndarray):
            return cls(checked(scores))
        failed = np.fromiter((score is None for score in scores), dtype=bool, count=len(scores))
        known = np.fromiter((0.0 if score is None else score for score in scores), dtype=np.float64, count=len(scores))
        return cls(np.where(failed, np.nan, checked(known)))

    @property
    def answered(self) -> Array:
        """Those that are known."""
        return self.values[~np.isnan(self.values)]

    def filled(self, value: float) -> Array:
        """`value` where the call failed."""
        return np.where(np.isnan(self.values), value, self.values)

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> float | None: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> float | Self | None:
        found = self.values[index]
        if isinstance(index, slice):
            return type(self)(found)
        return None if np.isnan(found) else float(found)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ScoreArray):
            return NotImplemented
        return np.array_equal(self.values, other.values, equal_nan=True)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.values!r})"


def filled(scores: MaybeScores, value: float) -> Array:
    """The scores with every failed call set to `value`. ValueError where one is not from 0 to 1."""
    return ScoreArray.of(scores).filled(value)


def differences(a: MaybeScores, b: MaybeScores, missing: float) -> Array:
    """a - b on the same examples, `missing` where either call failed. ValueError where the lengths differ."""
    x, y = _pair(a, b)
    apart = x - y
    return np.where(np.isnan(apart), missing, apart)


def answered_pairs(a: MaybeScores, b: MaybeScores) -> tuple[Array, Array]:
    """The scores of the examples that both answered: two arrays of one length."""
    x, y = _pair(a, b)
    both = ~(np.isnan(x) | np.isnan(y))
    return x[both], y[both]


def _pair(a: MaybeScores, b: MaybeScores) -> tuple[Array, Array]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} scores beside {len(b)}")
    return ScoreArray.of(a).values, ScoreArray.of(b).values


def check_level(level: float) -> None:
    """ValueError unless a level or an alpha lies between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"a level of {level}")
