"""Items by their number, kept in a scratch file."""

from __future__ import annotations

import marshal  # exact where JSON is not (tuples, whole floats), and only ever of what this process has written
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from shouldtune.spool.files import ScratchFile

Item = TypeVar("Item")
Places = range | NDArray[np.int64]
AT_ONCE = 64
"""Items that an iteration reads together."""


class Spool(Generic[Item]):
    """Takes items one after another. `rows` is what was taken so far.

    `packed` makes an item a tuple of plain values, `unpacked` the item of it. A value that does not come back equal (a
    date of a Parquet file, a number of another library) is kept in memory instead.
    """

    def __init__(
        self,
        packed: Callable[[Item], tuple[Any, ...]],
        unpacked: Callable[[tuple[Any, ...]], Item],
        items: Iterable[Item] = (),
    ) -> None:
        self._packed, self._unpacked = packed, unpacked
        self._file = ScratchFile()
        self._starts = array("q", [0])
        self._aside: dict[int, Item] = {}
        for item in items:
            self.add(item)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def add(self, item: Item) -> None:
        """One more item. CannotMeasure where the disk is full."""
        packed = _dumped(self._packed(item))
        if packed is None:
            self._aside[len(self)] = item
        self._file.add(packed or b"")
        self._starts.append(len(self._file))

    def rows(self) -> Rows[Item]:
        return Rows(self, range(len(self)))

    def read(self, places: Places) -> Iterator[Item]:
        """The items at these places, one block of the file: give few that stand near one another."""
        if not len(places):
            return
        first, last = int(min(places)), int(max(places)) + 1
        if last - first > 2 * len(places):  # far apart: no use reading what lies between
            for place in places:
                yield from self.read(range(int(place), int(place) + 1))
            return
        start = self._starts[first]
        block = memoryview(self._file.read(start, self._starts[last]))
        for place in map(int, places):
            if self._aside and place in self._aside:
                yield self._aside[place]
            else:
                packed = block[self._starts[place] - start : self._starts[place + 1] - start]
                yield self._unpacked(marshal.loads(packed))  # noqa: S302


class Rows(Sequence[Item]):
    """Some of a spool's items in some order: slicing one costs nothing, each item is made anew when it is asked for."""

    def __init__(self, spool: Spool[Item], places: Places) -> None:
        self._spool = spool
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Item | Self:
        if isinstance(index, slice):
            return type(self)(self._spool, self._places[index])
        place = int(self._places[index])
        return next(self._spool.read(range(place, place + 1)))

    def __iter__(self) -> Iterator[Item]:
        for start in range(0, len(self), AT_ONCE):
            yield from self._spool.read(self._places[start : start + AT_ONCE])

    def at(self, order: NDArray[np.int64]) -> Self:
        """Those at these places among these, in this order."""
        return type(self)(self._spool, np.asarray(self._places, dtype=np.int64)[order])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} rows on disk>"


class _Together(Sequence[Item]):
    def __init__(self, first: Sequence[Item], then: Sequence[Item]) -> None:
        self._parts = first, then

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        first, then = self._parts
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise ValueError("only rows that follow one another")
            cut = len(first)
            return _Together(first[start:stop], then[max(0, start - cut) : max(0, stop - cut)])
        place = range(len(self))[index]
        return first[place] if place < len(first) else then[place - len(first)]

    def __iter__(self) -> Iterator[Item]:
        for part in self._parts:
            yield from part


def together(first: Sequence[Item], then: Sequence[Item]) -> Sequence[Item]:
    """One sequence after the other, none of which is copied."""
    return _Together(first, then)


def _dumped(fields: tuple[Any, ...]) -> bytes | None:
    """The bytes that these very values come back from; None where there are none."""
    try:
        packed = marshal.dumps(fields)
        same = bool(marshal.loads(packed) == fields)  # noqa: S302
    except (ValueError, TypeError):
        return None
    return packed if same else None
