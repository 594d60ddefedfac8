"""One point of a learning curve: what training measures and the forecast reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CurvePoint:
    """What was scored after learning from so many examples, or with so many shots in the prompt."""

    size: int
    """Training examples, or shots; at least 1."""
    score: float | None
    """Mean over the answered rows, 0 to 1; None without any."""
    rows: int
    """How many rows were answered."""
    subset: int = 0
    """Which of the disjoint subsets it learnt from. Points of one subset are nested: the smaller is in the larger."""
    scores: tuple[float | None, ...] = ()
    """The rows' scores in one order that all points of a curve share, None where the call failed; empty where only
    the mean is known."""

    def __post_init__(self) -> None:
        if self.size < 1 or self.rows < 0 or (self.score is None) != (self.rows == 0):
            raise ValueError(f"no point of a curve: {self.size} examples, {self.rows} rows, score {self.score}")
        for value in (self.score, *self.scores):
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"a score of {value} is not from 0 to 1")

    @staticmethod
    def scored(size: int, scores: tuple[float | None, ...], subset: int = 0) -> CurvePoint:
        """The point of these rows."""
        answered = [score for score in scores if score is not None]
        mean = sum(answered) / len(answered) if answered else None
        return CurvePoint(size, mean, len(answered), subset, scores)

    def filled(self, value: float) -> CurvePoint:
        """The point with every failed call set to `value`."""
        return CurvePoint.scored(self.size, tuple(value if s is None else s for s in self.scores), self.subset)
