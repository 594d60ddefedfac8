"""Answers in a spool, and what is counted of them by the column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from shouldtune.spool.rows import Places, Rows, Spool
from shouldtune.spool.tables import Table
from shouldtune.types import Completion, Example, Prediction, Score

Array = NDArray[np.float64]
Figure = Literal["score", "prompt_tokens", "completion_tokens", "cached_tokens", "cost_usd", "compute_s", "latency_s"]
OF_COMPLETIONS: tuple[Figure, ...] = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "cost_usd",
    "compute_s",
    "latency_s",
)
_said = attrgetter(*Completion.__slots__)
_counted = attrgetter(*OF_COMPLETIONS)


class _AnswerSpool(Spool[Prediction]):
    def __init__(self) -> None:
        super().__init__(_packed, _prediction)
        self.figures = Table(("key",), ("score", *OF_COMPLETIONS))

    def add(self, item: Prediction) -> None:
        self.figures.add(*_figures(item))  # first, for it may refuse the item
        super().add(item)


class Answers(Rows[Prediction]):
    """The answers of one rung, to which more are added; a slice of them stays as it is."""

    def __init__(self, spool: Spool[Prediction] | None = None, places: Places = range(0)) -> None:
        super().__init__(_AnswerSpool() if spool is None else spool, places)

    @staticmethod
    def of(predictions: Iterable[Prediction]) -> Answers:
        """These predictions, written down."""
        found = Answers()
        for prediction in predictions:
            found.add(prediction)
        return found.all_added()

    def add(self, prediction: Prediction) -> int:
        """Write one more down, and say at which place of the file. These answers stay those that they are."""
        self._spool.add(prediction)
        return len(self._spool) - 1

    def all_added(self) -> Answers:
        """All that were written down, in the order in which they came."""
        return Answers(self._spool, range(len(self._spool)))

    def and_at(self, places: Places) -> Answers:
        """These, and after them those at these places."""
        return Answers(self._spool, np.concatenate([np.asarray(self._places, dtype=np.int64), places]))

    def column(self, name: Figure | Literal["key"]) -> NDArray[Any]:
        """One figure of each; NaN where it is not known."""
        assert isinstance(self._spool, _AnswerSpool)  # noqa: S101  it makes its own
        found = self._spool.figures.column(name)
        places = self._places
        if isinstance(places, range) and places.step > 0:
            return found[places.start : places.stop : places.step]
        return found[np.asarray(places, dtype=np.int64)]


def figure(predictions: Sequence[Prediction], name: Figure) -> Array:
    """One figure of each answer; NaN where it is not known."""
    if isinstance(predictions, Answers):
        return predictions.column(name)
    at = 1 if name == "score" else 2 + OF_COMPLETIONS.index(name)
    return np.array([_figures(prediction)[at] for prediction in predictions], dtype=np.float64)


def keys_of(predictions: Sequence[Prediction]) -> NDArray[np.int64]:
    """A number for the example of each, the same for the same example for as long as this process lives."""
    if isinstance(predictions, Answers):
        return predictions.column("key")
    return np.array([hash(prediction.example_id) for prediction in predictions], dtype=np.int64)


class AnswersTo:
    """The answers by the places of the examples that they are to."""

    def __init__(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> None:
        asked = np.fromiter((hash(example.id) for example in examples), dtype=np.int64, count=len(examples))
        self._predictions = predictions
        keys = keys_of(predictions)
        self._places = np.full(len(asked), -1, dtype=np.int64)
        if len(keys):
            order = np.argsort(keys, kind="stable")
            near = order[np.searchsorted(keys, asked, sorter=order).clip(max=len(order) - 1)]
            there = keys[near] == asked
            self._places[there] = near[there]

    def at(self, place: int) -> Prediction | None:
        """The answer to the example at this place; None where there is none."""
        found = int(self._places[place])
        return None if found < 0 else self._predictions[found]


def _figures(prediction: Prediction) -> tuple[float, ...]:
    score, counted = prediction.score, _counted(prediction.completion)
    known = (math.nan if value is None else value for value in counted)
    if score is not None and not 0 <= score.value <= 1:  # one that is no number would pass for an answer not graded
        raise ValueError(f"{prediction.example_id} has a score of {score.value}, which is not from 0 to 1")
    return (hash(prediction.example_id), math.nan if score is None else score.value, *known)


def _packed(prediction: Prediction) -> tuple[Any, ...]:
    score = prediction.score
    graded = None
    if score is not None:  # as plain floats: numbers of a scorer's library would have to be kept in memory
        graded = float(score.value), score.reason, {name: _float(value) for name, value in score.metrics.items()}
    return prediction.example_id, _said(prediction.completion), graded


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _prediction(fields: tuple[Any, ...]) -> Prediction:
    name, said, graded = fields
    return Prediction(name, Completion(*said), None if graded is None else Score(*graded))
