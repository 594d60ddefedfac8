"""The answers that one process was given, each request once: what its bill says, without what was said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from shouldtune.models.bill import Bill
from shouldtune.models.replies import MOST_TOKENS
from shouldtune.spool import Table
from shouldtune.types import Completion

WHOLE = ("key", "prompt_tokens", "completion_tokens", "cached_tokens", "marks")
REAL = ("compute_s", "cost_usd")
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
        keys = self._table.column("key")
        last = np.zeros(len(keys), dtype=bool)
        last[len(keys) - 1 - np.unique(keys[::-1], return_index=True)[1]] = True
        whole = {name: self._table.column(name)[last] for name in WHOLE[1:]}
        seconds, dollars = (self._table.column(name)[last] for name in REAL)
        marks = whole["marks"]
        asked = set(keys[np.isin(keys, [hash(key) for key in unknown])].tolist())
        total = Bill(
            calls=int(last.sum()),
            prompt_tokens=int(whole["prompt_tokens"].sum()),
            completion_tokens=int(whole["completion_tokens"].sum()),
            cached_tokens=int(whole["cached_tokens"].sum()),
            estimated=int((marks & ESTIMATED > 0).sum()),
            form_missed=int((marks & FORM_MISSED > 0).sum()),
            unknown=bool((np.isnan(dollars) & np.isnan(seconds) & (marks & FAILED == 0)).any()),
            lost=[usd for key, lost in unknown.items() if hash(key) in asked for usd in lost],
        )
        for second in seconds[seconds > 0]:
            total.seconds.add(float(second))
        for usd in dollars[~np.isnan(dollars)]:
            total.dollars.add(float(usd))
        return total
