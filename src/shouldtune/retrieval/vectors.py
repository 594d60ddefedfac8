"""Vectors of texts, and which texts are near to which.

Two encoders make them: all-MiniLM-L6-v2 (minilm.py), and `Latent` here, which needs no weights: it is learnt from the
documents at hand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from shouldtune.retrieval.bm25 import tokens

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

WIDTH = 200
"""Of latent vectors."""


class Encoder(Protocol):
    """Texts to vectors of unit length."""

    def encode(self, texts: Sequence[str]) -> Array:
        """(texts, width), float32."""
        ...

    def encode_one(self, text: str) -> Array:
        """(width,), float32."""
        ...


class Latent:
    """TF-IDF brought to at most WIDTH directions by a truncated SVD: latent semantic indexing.

    Deerwester et al., Indexing by latent semantic analysis (1990). Words that stand in the same documents come near to
    each other, as far as these documents tell. Of a few texts it knows little, of other people's words nothing.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        weigh = TfidfVectorizer(analyzer=tokens, sublinear_tf=True)
        weighed = weigh.fit_transform([text if tokens(text) else "_" for text in texts])
        width = max(1, min(WIDTH, min(weighed.shape) - 1))
        turn = TruncatedSVD(width, random_state=0).fit(weighed)
        self._row: dict[str, int] = weigh.vocabulary_
        self._words: Array = (turn.components_.T * weigh.idf_[:, None]).astype("float32")
        """(words, width): what a word adds to a text's vector."""

    def encode(self, texts: Sequence[str]) -> Array:
        import numpy as np
        from scipy.sparse import csr_array

        weighed = [self._weighed(text) for text in texts]
        places = np.array([place for found in weighed for place in found], np.int64)
        weights = np.array([weight for found in weighed for weight in found.values()], np.float32)
        ends = np.cumsum([0, *map(len, weighed)])
        return unit(csr_array((weights, places, ends), shape=(len(texts), len(self._words))) @ self._words)

    def encode_one(self, text: str) -> Array:
        import numpy as np

        found = self._weighed(text)
        if not found:
            return np.zeros(self._words.shape[1], np.float32)
        return unit(np.array(list(found.values()), np.float32) @ self._words[list(found)])

    def _weighed(self, text: str) -> dict[int, float]:
        """How much each word that is known counts, by its row."""
        often = Counter(word for word in tokens(text) if word in self._row)
        return {self._row[word]: 1 + math.log(times) for word, times in often.items()}


def unit(rows: Any) -> Array:
    """Each row at length 1, float32; a row of zeros stays."""
    import numpy as np

    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: Array = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled
