"""Vectors kept on disk by what their texts say: a changed document costs its own vectors, and no other's.

    <cache>/vectors/<encoder>/0.npz ... f.npz     digests (n, 32) uint8 and vectors (n, width) float32, no pickle

A text's file is told by the first digit of its hash. A file is written whole or not at all; one that cannot be read is
made anew; two processes that write at once may lose each other's vectors, never mix them.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from shouldtune.errors import CannotMeasure
from shouldtune.files import cache_root, write_whole

if TYPE_CHECKING:
    from shouldtune.retrieval.vectors import Array

MOST_KEPT = 20_000
"""Vectors in one of the sixteen files, about 30 MB; what would make it longer takes the place of what was there."""

Rows = dict[bytes, "Array"]


def kept_vectors(encoder: str, texts: Sequence[str], encode: Callable[[Sequence[str]], Array]) -> Array:
    """(texts, width): found on disk, or encoded and kept. Where nothing can be written they are encoded each time."""
    import numpy as np

    keys = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    folder = cache_root() / "vectors" / encoder
    files = {digit: _read(_path(folder, digit)) for digit in {key[0] >> 4 for key in keys}}
    known = {key: vector for rows in files.values() for key, vector in rows.items()}
    lacking = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
    if lacking:
        made = dict(zip(lacking, encode(list(lacking.values())), strict=True))
        known |= made
        for digit in {key[0] >> 4 for key in made}:
            fresh = {key: vector for key, vector in made.items() if key[0] >> 4 == digit}
            before = files[digit] if len(files[digit]) + len(fresh) <= MOST_KEPT else {}
            _write(_path(folder, digit), {**before, **fresh})
    return np.stack([known[key] for key in keys]) if keys else np.zeros((0, 0), np.float32)


def _path(folder: Path, digit: int) -> Path:
    return folder / f"{digit:x}.npz"


def _read(path: Path) -> Rows:
    """What a file holds; nothing where there is none, or where it is broken."""
    import numpy as np

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            digests, vectors = held["digests"], held["vectors"]
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return {}
    if digests.dtype != np.uint8 or digests.shape != (len(vectors), 32) or vectors.ndim != 2:
        return {}
    return {digest.tobytes(): vector for digest, vector in zip(digests, vectors, strict=True)}


def _write(path: Path, rows: Rows) -> None:
    import numpy as np

    digests = np.frombuffer(b"".join(rows), np.uint8).reshape(-1, 32)
    packed = io.BytesIO()
    np.savez(packed, digests=digests, vectors=np.stack(list(rows.values())).astype(np.float32))
    try:
        write_whole(path, packed.getvalue())
    except CannotMeasure:
        return  # a cache that cannot be kept is no reason to stop
