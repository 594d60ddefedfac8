"""The answers that one process was given, each request once: what its bill says, without what was said."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from shouldtune.models.bill import Bill
from shouldtune.models.replies import MOST_TOKENS
from shouldtune.spool import Table
from shouldtune.types import Completion

WHOLE = ("key", "prompt_tokens", "completion_tokens", "cached_tokens", "marks")
REAL = ("compute_s", "cost_usd")
SORTED_TOGETHER = 1 << 17
FAILED, ESTIMATED, FORM_MISSED = 1, 2, 4


class AnswersSeen:
    """Figures of answers in a table, by a number for each request's key."""

    def __init__(self) -> None:
        self._table = Table(WHOLE, REAL)

    def add(self, key: str, completion: Completion) -> None:
        """An answer; of several to one request the last counts."""
        marks = (
            FAILED * completion.failed + ESTIMATED * completion.tokens_estimated + FORM_MISSED * completion.form_missed
        )
        counts = (completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens)
        self._table.add(
            hash(key),
            *(min(count or 0, MOST_TOKENS) for count in counts),
            marks,
            math.nan if completion.compute_s is None else completion.compute_s,
            math.nan if completion.cost_usd is None else completion.cost_usd,
        )

    def bill(self, unknown: Mapping[str, Sequence[float | None]]) -> Bill:
        """All of them together, with the `unknown` calls for the same requests: the most that each may have cost."""
        last = self._last()
        marks = self._table.column("marks")[last].astype(np.uint8)
        untold = marks & FAILED == 0
        for name in REAL:
            untold &= np.isnan(self._table.column(name)[last])
        asked = set(self._asked(np.array([hash(key) for key in unknown], dtype=np.int64)))
        total = Bill(
            calls=int(last.sum()),
            prompt_tokens=self._sum("prompt_tokens", last),
            completion_tokens=self._sum("completion_tokens", last),
            cached_tokens=self._sum("cached_tokens", last),
            estimated=int((marks & ESTIMATED > 0).sum()),
            form_missed=int((marks & FORM_MISSED > 0).sum()),
            unknown=bool(untold.any()),
            lost=[usd for key, lost in unknown.items() if hash(key) in asked for usd in lost],
        )
        for seconds in self._known("compute_s", last):
            if seconds > 0:
                total.seconds.add(seconds)
        for usd in self._known("cost_usd", last):
            total.dollars.add(usd)
        return total

    def _last(self) -> NDArray[np.bool_]:
        """Which rows are the last of their request."""
        keys = self._table.column("key")
        last = np.zeros(len(keys), dtype=bool)
        parts = 1 + len(keys) // SORTED_TOGETHER
        for part in range(parts):  # the rows of one request are in one part
            rows = np.flatnonzero(keys % parts == part)
            last[rows[len(rows) - 1 - np.unique(keys[rows][::-1], return_index=True)[1]]] = True
        return last

    def _asked(self, keys: NDArray[np.int64]) -> list[int]:
        """Those of these keys that an answer was given to."""
        if not len(keys):
            return []
        found, keys = self._table.column("key"), np.sort(keys)
        places = np.searchsorted(keys, found).clip(max=len(keys) - 1)
        return sorted({int(key) for key in found[keys[places] == found]})

    def _known(self, name: str, rows: NDArray[np.bool_]) -> Iterator[float]:
        values = self._table.column(name)[rows]
        return map(float, values[~np.isnan(values)])

    def _sum(self, name: str, rows: NDArray[np.bool_]) -> int:
        return int(self._table.column(name)[rows].sum())
