"""Passages found for a question, in one of several ways; training questions may teach it.

What they teach: they are added to the words of the passages that answer them (Nogueira et al. add questions made up
by a model, 2019, arXiv:1904.08375; these are real); a passage's vector moves towards theirs; and the nearest of them
vote for their passages. Several rankings become one by reciprocal rank (Cormack et al., SIGIR 2009).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, Protocol

from shouldtune.retrieval.bm25 import index_of
from shouldtune.retrieval.minilm import minilm, minilm_folder
from shouldtune.retrieval.prose import prose
from shouldtune.retrieval.vectors import Encoder, Latent, unit

if TYPE_CHECKING:
    from shouldtune.retrieval.vectors import Array

Mode = Literal["bm25", "static", "dense", "bm25+static", "bm25+dense"]
"""By words; by latent vectors learnt from these passages; by MiniLM's vectors; or by words and vectors fused."""
MODES: tuple[Mode, ...] = ("bm25", "static", "dense", "bm25+static", "bm25+dense")
"""Cheapest first."""
TAUGHT_WEIGHT = 2.0
"""What the mean vector of a passage's questions weighs beside its own."""
VOTERS = 10
"""Nearest questions that vote."""
VOTE_POWER = 4
"""A vote weighs the similarity to this power."""
RRF_K = 60

Questions = tuple[tuple[str, ...], ...]
"""The questions that each passage is known to answer, passage by passage."""


Teaching = Literal["none", "expanded", "voted"]
"""What training questions do: nothing; they are added to their passages; and they vote as well."""


@dataclass(frozen=True)
class Way:
    """How to search."""

    mode: Mode = "bm25"
    teaching: Teaching = "none"

    def __str__(self) -> str:
        said = {"none": "", "expanded": ", expanded by training questions", "voted": ", and these vote"}
        taught = said["expanded"] + said["voted"] if self.teaching == "voted" else said[self.teaching]
        return self.mode + taught


def ways_at_hand(*, taught: bool) -> tuple[Way, ...]:
    """Every way whose packages are installed, cheapest first; those that examples teach only where there are some."""
    dense = minilm_folder() is not None
    modes = [mode for mode in MODES if dense or "dense" not in mode]
    teachings: tuple[Teaching, ...] = ("none", "expanded", "voted") if taught else ("none",)
    return tuple(Way(mode, each) for each in teachings for mode in modes if (mode, each) != ("bm25", "voted"))


class Ranker(Protocol):
    """One way to score all passages for a question."""

    def scores(self, question: str, hidden: Collection[str]) -> Array:
        """(passages,), higher is better; no question in `hidden` has any part in it."""
        ...


class Search:
    """Passages ranked for a question. Built once for the same texts, questions and way: see `search_of`."""

    def __init__(self, texts: tuple[str, ...], questions: Questions, way: Way) -> None:
        self._size = len(texts)
        self._rankers = _rankers(texts, questions, way)

    def search(self, question: str, k: int, hidden: Collection[str] = ()) -> list[int]:
        """The places of the k best passages, best first, ties in the order given; fewer where there are fewer.

        `hidden` are questions that taught it and must not this once: those of the row that is asked.
        """
        import numpy as np

        found = [ranker.scores(question, hidden) for ranker in self._rankers]
        scores = found[0] if len(found) == 1 else fused(found)
        best: list[int] = np.argsort(-scores, kind="stable")[: min(k, self._size)].tolist()
        return best


@lru_cache(maxsize=16)
def search_of(texts: tuple[str, ...], questions: Questions, way: Way) -> Search:
    """One search for the same passages, however many sizes are tried and whichever rung asks. ModelUnavailable."""
    return Search(texts, questions, way)


def fused(scores: Sequence[Array]) -> Array:
    """(passages,): the sum over rankings of 1 / (RRF_K + rank). Equal scores share a rank; the lowest say nothing."""
    import numpy as np

    total = np.zeros_like(scores[0], dtype=np.float64)
    for each in scores:
        ordered = np.sort(-each)
        ranks = np.searchsorted(ordered, -each, side="left") + 1
        total += np.where(each > each.min(), 1.0 / (RRF_K + ranks), 0.0)
    summed: Array = total.astype(np.float32)
    return summed


def _rankers(texts: tuple[str, ...], questions: Questions, way: Way) -> list[Ranker]:
    if way.teaching == "none":
        questions = ((),) * len(texts)
    rankers: list[Ranker] = []
    if way.mode.startswith("bm25"):
        rankers.append(ByWords(texts, questions))
    if way.mode != "bm25":
        read = tuple(map(prose, texts))
        encoder = minilm() if "dense" in way.mode else _latent((*read, *_each(questions)))
        rankers.append(near := ByVectors(read, questions, encoder))
        if way.teaching == "voted":
            rankers.append(Votes(near))
    return rankers


@lru_cache(maxsize=8)
def _latent(texts: tuple[str, ...]) -> Latent:
    return Latent(texts)


def _each(questions: Questions) -> tuple[str, ...]:
    """Every question once, in order."""
    return tuple(dict.fromkeys(question for asked in questions for question in asked))


class ByWords:
    """BM25 over the passages, each with its questions behind it."""

    def __init__(self, texts: Sequence[str], questions: Questions) -> None:
        self._texts = texts
        self._questions = questions
        self._index = index_of(tuple("\n".join((text, *asked)) for text, asked in zip(texts, questions, strict=True)))

    def scores(self, question: str, hidden: Collection[str]) -> Array:
        found = self._index.scores(question)
        for place, asked in enumerate(self._questions) if hidden else ():
            if not set(asked).isdisjoint(hidden):
                kept = [each for each in asked if each not in hidden]
                found[place] = self._index.score_of(question, "\n".join((self._texts[place], *kept)))
        return found


class ByVectors:
    """Cosine between a question and each passage, the passage moved towards the questions that it answers."""

    def __init__(self, texts: Sequence[str], questions: Questions, encoder: Encoder) -> None:
        self.encoder = encoder
        self.questions = questions
        self.asked = _each(questions)
        self.question_vectors = encoder.encode(self.asked) if self.asked else None
        self._row = {question: row for row, question in enumerate(self.asked)}
        self._own = encoder.encode(texts)
        self._moved = self._own.copy()
        for place, taught in enumerate(questions):
            self._moved[place] = self._towards(place, taught)

    def scores(self, question: str, hidden: Collection[str]) -> Array:
        vector = self.encoder.encode_one(question)
        found: Array = self._moved @ vector
        for place, asked in enumerate(self.questions) if hidden else ():
            if not set(asked).isdisjoint(hidden):
                kept = [each for each in asked if each not in hidden]
                found[place] = self._towards(place, kept) @ vector
        return found

    def _towards(self, place: int, taught: Sequence[str]) -> Array:
        own: Array = self._own[place]
        if not taught or self.question_vectors is None:
            return own
        return unit(own + TAUGHT_WEIGHT * self.question_vectors[[self._row[each] for each in taught]].mean(0))


class Votes:
    """The nearest questions vote for the passages that answer them."""

    def __init__(self, near: ByVectors) -> None:
        self._near = near
        self._places: dict[str, list[int]] = {}
        for place, asked in enumerate(near.questions):
            for each in asked:
                self._places.setdefault(each, []).append(place)

    def scores(self, question: str, hidden: Collection[str]) -> Array:
        import numpy as np

        found = np.zeros(len(self._near.questions), np.float32)
        if self._near.question_vectors is None:
            return found
        alike = self._near.question_vectors @ self._near.encoder.encode_one(question)
        order = np.argsort(-alike, kind="stable")[: VOTERS + len(hidden)]
        voters = [row for row in order if self._near.asked[row] not in hidden and alike[row] > 0][:VOTERS]
        for row in voters:
            found[self._places[self._near.asked[row]]] += alike[row] ** VOTE_POWER
        return found
