"""Which keys a ledger may hold, in 8 bytes each: a million of them as strings in a set take 170 MB."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

NEW = 1 << 14
"""Keys are taken in singly, and sorted in among the others when there are so many, or a 64th of those."""


class KeySet:
    """A key that was taken in is in it; so, once in a long while, is one that was not. One thread may add to it while
    others look."""

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._sorted = np.zeros(0, dtype=np.int64)
        self._new: set[int] = set()
        self.update(keys)

    def __contains__(self, key: str) -> bool:
        number = hash(key)
        if number in self._new:  # before the others: a key is there before it is gone from here
            return True
        known = self._sorted
        place = int(known.searchsorted(number))
        return place < len(known) and bool(known[place] == number)

    def update(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._new.add(hash(key))
            if len(self._new) >= max(NEW, len(self._sorted) // 64):
                self._sort_in()

    def _sort_in(self) -> None:
        together = np.concatenate([self._sorted, np.fromiter(self._new, dtype=np.int64, count=len(self._new))])
        together.sort()
        self._sorted = together
        self._new = set()
