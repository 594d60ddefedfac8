"""Numbers of rows, kept in a scratch file and read by the column."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shouldtune.spool.files import ScratchFile

READ = 1 << 20
"""Bytes, about, that are read together while one column is picked out."""


class Table:
    """Rows of fixed-width numbers: whole ones of 64 bits in the columns `whole`, floats in the columns `real`."""

    def __init__(self, whole: tuple[str, ...], real: tuple[str, ...]) -> None:
        self._row = struct.Struct(f"={len(whole)}q{len(real)}d")
        self._kinds = {**dict.fromkeys(whole, np.dtype(np.int64)), **dict.fromkeys(real, np.dtype(np.float64))}
        self._rows = np.dtype(list(self._kinds.items()))
        self._file = ScratchFile()

    def __len__(self) -> int:
        return len(self._file) // self._row.size

    def add(self, *values: float) -> None:
        """One more row. ValueError for what is no number of that kind, CannotMeasure where the disk is full."""
        try:
            row = self._row.pack(*values)
        except (struct.error, OverflowError) as error:
            raise ValueError(f"{values} are no numbers for a table: {error}") from None
        self._file.add(row)

    def column(self, name: str) -> NDArray[Any]:
        """All values of one column, 8 bytes each."""
        found = np.empty(len(self), dtype=self._kinds[name])
        at_once = READ // self._row.size
        for start in range(0, len(self), at_once):
            stop = min(start + at_once, len(self))
            block = self._file.read(start * self._row.size, stop * self._row.size)
            found[start:stop] = np.frombuffer(block, dtype=self._rows)[name]
        return found
