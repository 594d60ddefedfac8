"""Models without an LLM: a constant, an echo, the nearest training example's answer, a linear classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

from shouldtune.models.prompted import Shot
from shouldtune.retrieval.bm25 import Bm25, index_of
from shouldtune.types import Completion, Message, ModelSpec, Options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def _answer(text: str) -> Completion:
    return Completion(
        text=text, prompt_tokens=0, completion_tokens=0, latency_s=0.0, compute_s=0.0, cost_usd=0.0, engine="none"
    )


@dataclass(frozen=True)
class Constant:
    """The same answer whatever is asked."""

    text: str

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return _answer(self.text)

    def spec(self) -> ModelSpec:
        return {"kind": "constant", "text": self.text}


@dataclass(frozen=True)
class Echo:
    """The input itself."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return _answer(messages[-1].content)

    def spec(self) -> ModelSpec:
        return {"kind": "echo"}


@dataclass(frozen=True)
class Nearest:
    """The target of the training example whose input is nearest by BM25, copied."""

    shots: tuple[Shot, ...]

    @cached_property
    def _index(self) -> Bm25:
        return index_of(tuple(text for text, _ in self.shots))

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return _answer(self.shots[self._index.search(messages[-1].content, 1)[0]][1])

    def spec(self) -> ModelSpec:
        return {"kind": "nearest", "shots": [list(shot) for shot in self.shots]}


@dataclass(frozen=True)
class Linear:
    """TF-IDF of words and of character n-grams into logistic regression; fitted again from its examples when opened.

    So there is nothing to pickle, and the saved form is the training data itself.
    """

    shots: tuple[Shot, ...]
    strength: float = 10.0
    """Inverse of the regularisation (scikit-learn's C)."""

    @cached_property
    def _pipeline(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline, make_union

        features = make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
        )
        table = features.fit_transform([text for text, _ in self.shots])
        classifier = LogisticRegression(C=self.strength, max_iter=1000)
        return make_pipeline(features, _fitted(classifier, table, [target for _, target in self.shots]))

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        pipeline = self._pipeline
        start = perf_counter()
        text = str(pipeline.predict([messages[-1].content])[0])
        return computed(text, start, "scikit-learn")

    def probabilities(self, texts: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
        """(the labels, how likely each is for each text: shape (texts, labels))."""
        return tuple(map(str, self._pipeline.classes_)), self._pipeline.predict_proba(list(texts))

    def spec(self) -> ModelSpec:
        return {"kind": "linear", "shots": [list(shot) for shot in self.shots], "strength": self.strength}


def _fitted(classifier: Any, table: Any, targets: Sequence[str]) -> Any:
    """The classifier fitted to a sparse table (rows, features), in as many dimensions as there are rows.

    A penalty on the squared weights keeps them within the span of the rows (the representer theorem), so the rows'
    coordinates in an orthonormal basis of that span give the same weights from a hundredth of the numbers.
    """
    import numpy as np
    from threadpoolctl import threadpool_limits

    if table.shape[0] >= table.shape[1]:
        return classifier.fit(table, targets)
    squares, basis = np.linalg.eigh((table @ table.T).toarray())
    kept = squares > 1e-9 * squares.max(initial=0.0)
    lengths, basis = np.sqrt(squares[kept]), basis[:, kept]
    with threadpool_limits(1):  # the steps are too small to share: threads would wait for one another
        classifier.fit(basis * lengths, targets)
    classifier.coef_ = np.asarray((classifier.coef_ / lengths) @ basis.T @ table)
    classifier.n_features_in_ = table.shape[1]
    return classifier


def computed(text: str, start: float, engine: str) -> Completion:
    """An answer that took this machine's time since `start` (perf_counter) and read and wrote no tokens."""
    seconds = perf_counter() - start
    return Completion(text, 0, 0, latency_s=seconds, compute_s=seconds, cost_usd=0.0, engine=engine)
