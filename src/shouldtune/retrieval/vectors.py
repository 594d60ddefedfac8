"""Vectors of texts, and which texts are near to which.

Two encoders make them: all-MiniLM-L6-v2 (minilm.py), and `Latent` here, which needs no weights: it is learnt from the
documents at hand.
"""

from __future__ import annotations

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

        return np.stack([self.encode_one(text) for text in texts])

    def encode_one(self, text: str) -> Array:
        import numpy as np

        found = Counter(word for word in tokens(text) if word in self._row)
        if not found:
            return np.zeros(self._words.shape[1], np.float32)
        often = 1 + np.log(np.array(list(found.values()), np.float32))
        return unit(often @ self._words[[self._row[word] for word in found]])


def unit(rows: Any) -> Array:
    """Each row at length 1, float32; a row of zeros stays."""
    import numpy as np

    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    scaled: Array = (rows / np.maximum(length, 1e-12)).astype(np.float32)
    return scaled
