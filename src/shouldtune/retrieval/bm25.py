"""BM25 over texts: exact, deterministic, ties in the order given."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shouldtune.retrieval.vectors import Array

K1, B = 1.5, 0.75


class Bm25:
    """BM25 (Lucene's variant, k1 1.5, b 0.75) by bm25s; built on the first search."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = tuple(texts)
        self._index: Any = None
        self._scarce: dict[str, float] | None = None
        self._mean_length = 1.0

    def search(self, query: str, k: int) -> list[int]:
        """Indices of the k best texts for a query, best first; fewer when there are fewer texts."""
        import numpy as np

        words = [word for word in tokens(query) if word in self._vocabulary()]
        if not words:
            return list(range(min(k, len(self._texts))))
        scores = self._index.get_scores(words)
        k = min(k, len(scores))
        least = np.partition(scores, len(scores) - k)[len(scores) - k] if k else np.inf
        among = np.flatnonzero(scores >= least)  # in order, so that ties fall the same way on every machine
        order: list[int] = among[np.argsort(-scores[among], kind="stable")][:k].tolist()
        return order

    def scores(self, query: str) -> Array:
        """(texts,): the score of every text for a query, 0 where they share no word."""
        import numpy as np

        words = [word for word in tokens(query) if word in self._vocabulary()]
        found: Array = self._index.get_scores(words) if words else np.zeros(len(self._texts), np.float32)
        return found

    def score_of(self, query: str, text: str) -> float:
        """The score that another text would have here, with this index's frequencies and mean length."""
        words, scarcity = tokens(text) or ["_"], self._scarcity()
        counts, length = Counter(words), len(words)
        usual = K1 * (1 - B + B * length / self._mean_length)
        asked = [word for word in tokens(query) if word in counts and word in scarcity]
        return sum(scarcity[word] * counts[word] / (counts[word] + usual) for word in asked)

    def _scarcity(self) -> dict[str, float]:
        """Lucene's inverse document frequency of every word."""
        if self._scarce is None:
            corpus = [tokens(text) or ["_"] for text in self._texts]
            holding = Counter(word for words in corpus for word in set(words))
            self._mean_length = sum(map(len, corpus)) / len(corpus)
            self._scarce = {
                word: math.log(1 + (len(corpus) - held + 0.5) / (held + 0.5)) for word, held in holding.items()
            }
        return self._scarce

    def _vocabulary(self) -> dict[str, int]:
        if self._index is None:
            import bm25s

            index = bm25s.BM25(k1=K1, b=B)
            corpus = [tokens(text) or ["_"] for text in self._texts]
            index.index(corpus, show_progress=False)
            self._index = index  # not before it is whole: another thread may be asking for it
        vocabulary: dict[str, int] = self._index.vocab_dict
        return vocabulary


_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "do",
        "for",
        "from",
        "has",
        "have",
        "how",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "so",
        "such",
        "that",
        "the",
        "their",
        "then",
        "there",
        "these",
        "they",
        "this",
        "to",
        "was",
        "we",
        "what",
        "when",
        "which",
        "will",
        "with",
        "you",
        "your",
    ]
)


def tokens(text: str) -> list[str]:
    """Lower-case words without stop words; names like `os.path` and `copy_tree` also give their parts."""
    words = _WORD.findall(text.lower())
    if "_" in text:
        words += [part for word in words if "_" in word for part in word.split("_") if part]
    return [_stem(word) for word in words if word not in _STOP_WORDS]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    """Plural and -ing / -ed endings off: crude, the same on both sides of a search, and without a dependency."""
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word


@lru_cache(maxsize=4)
def index_of(texts: tuple[str, ...]) -> Bm25:
    """One index for the same texts, however many sizes are tried and whichever rung asks."""
    return Bm25(texts)
