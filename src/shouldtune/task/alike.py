"""Texts that are nearly the same, found without holding them: words are numbers on disk, and compared part by part."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, groupby

import numpy as np
from numpy.typing import NDArray

from shouldtune.spool import ScratchFile

NEAR = 0.8
"""Word-set Jaccard similarity from which two inputs count as near-duplicates."""
SHORT = 32
"""Different words up to which a text is found by pairs of them; of a longer one there are too many pairs."""
COUNTERS = 1 << 20
"""Words are counted by so many counters; two that share one count as more frequent than they are, which costs time."""
TEXTS = 512
"""Read back together."""
MOST_KEYS, MOST_PARTS = 1 << 18, 64
"""Keys of one part, and parts, where there are not more than both together."""
Ints = NDArray[np.int64]


def near_duplicates(texts: Iterable[str], threshold: float = NEAR) -> list[tuple[int, int]]:
    """Pairs (i < j) of texts whose word sets have Jaccard similarity >= threshold, by j, then by i.

    Prefix filtering (Bayardo, Ma & Srikant, "Scaling up all pairs similarity search", 2007): two sets that similar
    share a word among their rarest few, so only such pairs are compared. Short texts share two among one more (Wang,
    Li & Feng, "Can we beat the prefix filtering?", 2012), and few pairs of texts share two rare words: then the time
    grows with the texts rather than with their square. Any order of the words would do, so they are counted roughly.

    The texts are read once. A word is its hash of 64 bits; what a text shares with others is written to disk in parts
    by the key that is shared, and one part at a time is looked through.
    """
    words = _Words(texts)
    found: set[tuple[int, int]] = set()
    for keys, owners in _parts(words, threshold):
        for j, before in _sharing(keys, owners):
            known = words.of(j)
            found.update((i, j) for i in before if (i, j) not in found and _alike(words.of(i), known, threshold))
    return sorted(found, key=lambda pair: (pair[1], pair[0]))


class _Words:
    """The different words of every text, on disk, and about how frequent each is."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._file = ScratchFile()
        self._ends = array("q", [0])
        self._counts = np.zeros(COUNTERS, dtype=np.int32)
        block = array("q")
        for text in texts:
            block.extend(map(hash, set(re.findall(r"\w+", text.lower()))))
            self._ends.append(len(self._file) // 8 + len(block))
            if len(block) >= COUNTERS // 16:
                self._put(block)
                block = array("q")
        self._put(block)

    def _put(self, block: array[int]) -> None:
        self._file.add(block.tobytes())
        np.add.at(self._counts, np.array(block, dtype=np.int64) % COUNTERS, 1)

    def of(self, text: int) -> set[int]:
        return set(self._read(text, text + 1).tolist())

    def _read(self, start: int, stop: int) -> Ints:
        return np.frombuffer(self._file.read(8 * self._ends[start], 8 * self._ends[stop]), dtype=np.int64)

    def sizes(self) -> Ints:
        """How many words each text has."""
        ends = np.array(self._ends, dtype=np.int64)
        return ends[1:] - ends[:-1]

    def rarest_first(self) -> Iterator[list[int]]:
        """The words of each text, all texts in one order of the words."""
        sizes = self.sizes()
        for start in range(0, len(sizes), TEXTS):
            block, these = self._read(start, min(start + TEXTS, len(sizes))), sizes[start : start + TEXTS]
            order = np.lexsort((block, self._counts[block % COUNTERS], np.repeat(np.arange(len(these)), these)))
            ordered, at = block[order].tolist(), 0
            for size in these.tolist():
                yield ordered[at : at + size]
                at += size


def _parts(words: _Words, threshold: float) -> Iterator[tuple[Ints, Ints]]:
    """(keys, owners) of all texts, those of one key in one part; owners go up within it."""
    sizes, times = np.unique(words.sizes(), return_counts=True)
    total = sum(len(_keys(range(size), threshold)) * n for size, n in zip(sizes.tolist(), times.tolist(), strict=True))
    files = [ScratchFile() for _ in range(min(MOST_PARTS, 1 + total // MOST_KEYS))]
    keys, owners = array("q"), array("q")
    for owner, ordered in enumerate(words.rarest_first()):
        found = _keys(ordered, threshold)
        keys.extend(found)
        owners.extend([owner] * len(found))
        if len(keys) >= MOST_KEYS // 4:
            _write(files, keys, owners)
            keys, owners = array("q"), array("q")
    _write(files, keys, owners)
    while files:
        file = files.pop()
        part = np.frombuffer(file.read(0, len(file)), dtype=np.int64).reshape(-1, 2)
        yield np.ascontiguousarray(part[:, 0]), np.ascontiguousarray(part[:, 1])


def _write(files: Sequence[ScratchFile], keys: array[int], owners: array[int]) -> None:
    rows = np.stack([np.array(keys, dtype=np.int64), np.array(owners, dtype=np.int64)], axis=1)
    part = rows[:, 0] % len(files)
    for number, file in enumerate(files):
        file.add(rows[part == number].tobytes())


def _keys(words: Sequence[int], threshold: float) -> list[int]:
    """What a text has in common with every text that is so similar: words, and pairs of words where it is short."""
    size = len(words)
    shared = math.ceil(threshold * size - 1e-9)  # with any text that is so similar
    found: list[int] = []
    # Of two that similar, one may be short and the other not: those near the border have both kinds of keys.
    if size >= threshold * SHORT or size <= 1 / threshold**2:
        found += words[: size - shared + 1]
    if size <= SHORT and shared > 1:
        found += [hash(pair) for pair in combinations(words[: size - shared + 2], 2)]
    return found


def _sharing(keys: Ints, owners: Ints) -> Iterator[tuple[int, list[int]]]:
    """Each owner in turn with those before it that share a key with it; none that share with nobody.

    `owners` go up. One owner's at a time, for where all texts are alike all pairs would not fit into memory.
    """
    order = np.argsort(keys, kind="stable")  # so the owners of one key still go up
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_key, ordered = keys[order], owners[order]
    first = np.searchsorted(by_key, by_key)  # where the owners of the same key begin
    met = np.flatnonzero(first[place] < place)
    for owner, of_owner in groupby(met.tolist(), key=owners.__getitem__):
        before = [ordered[first[place[index]] : place[index]] for index in of_owner]
        yield int(owner), np.unique(np.concatenate(before)).tolist()


def _alike(a: set[int], b: set[int], threshold: float) -> bool:
    together = len(a & b)
    return together >= threshold * (len(a) + len(b) - together)
