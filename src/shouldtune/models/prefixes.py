"""Prompts that begin alike: what they share, and the keys and values remembered for it."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_SHORTEST = 16
"""Tokens below which sharing costs more than it saves."""
_MOST_TOKENS = 6144
"""Tokens remembered in all: some 280 MB for a 135M model in float32."""


@dataclass(frozen=True)
class Prefix:
    """The beginning of a prompt, computed."""

    ids: tuple[int, ...]
    keys: Tensor
    """[layers, K, P, d]"""
    values: Tensor

    @property
    def length(self) -> int:
        return len(self.ids)

    def cut(self, length: int) -> Prefix:
        """Its first tokens: what came later never changed them."""
        return Prefix(self.ids[:length], self.keys[:, :, :length], self.values[:, :, :length])


class PrefixCache:
    """The prefixes of recent calls, the oldest forgotten first."""

    def __init__(self, nothing: Prefix) -> None:
        """`nothing` is the prefix of no tokens."""
        self._nothing = nothing
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], Prefix] = OrderedDict()
        self._recent: deque[tuple[str, tuple[int, ...]]] = deque(maxlen=4)

    def worth_sharing(self, prompts: Sequence[Sequence[int]], key: str) -> tuple[int, ...]:
        """The ids that the prompts begin with and that are worth computing once; at least one id is left over.

        A single prompt is held against the last ones, for callers that ask one question at a time.
        """
        first = tuple(prompts[0])
        shared = min((common_length(first, prompt) for prompt in prompts[1:]), default=0)
        if len(prompts) == 1:
            others = [ids for owner, ids in self._recent if owner == key]
            shared = max((common_length(first, ids) for ids in others), default=0)
            self._recent.append((key, first))
        shared = min(shared, min(map(len, prompts)) - 1)
        return first[:shared] if shared >= _SHORTEST else ()

    def find(self, ids: tuple[int, ...], key: str) -> Prefix:
        """The longest remembered beginning of `ids`; an empty one where nothing is remembered."""
        best, length = None, 0
        for name, prefix in self._kept.items():
            if name[0] == key and (common := common_length(ids, prefix.ids)) > length:
                best, length = name, common
        if best is None:
            return self._nothing
        self._kept.move_to_end(best)
        return self._kept[best].cut(length)

    def keep(self, prefix: Prefix, key: str) -> None:
        """Remember a prefix; shorter ones that it begins with are forgotten."""
        for name in [n for n, old in self._kept.items() if n[0] == key and prefix.ids[: old.length] == old.ids]:
            del self._kept[name]
        self._kept[key, prefix.ids] = prefix
        while len(self._kept) > 1 and sum(old.length for old in self._kept.values()) > _MOST_TOKENS:
            self._kept.popitem(last=False)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """How many ids two sequences have in common from the start."""
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))


def split_by_prefix(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """Group prompts (by index) so that each group shares a long beginning.

    A batch may hold several system prompts at once. It is cut where neighbours in sorted order share least,
    as long as that saves at least half of what would be computed.
    """
    order = sorted(range(len(prompts)), key=lambda index: tuple(prompts[index]))
    between = [common_length(prompts[a], prompts[b]) for a, b in pairwise(order)]
    groups: list[list[int]] = []
    todo = [(0, len(order))] if order else []
    while todo:
        start, end = todo.pop()
        least = min(between[start : end - 1], default=0)
        cuts = [start, *(i + 1 for i in range(start, end - 1) if between[i] == least), end]
        parts = list(pairwise(cuts))
        saved = sum((min(between[a : b - 1], default=0) - least) * (b - a - 1) for a, b in parts if b - a > 1)
        total = sum(len(prompts[index]) - least for index in order[start:end])
        if len(parts) > 1 and saved > total / 2:
            todo += reversed(parts)
        else:
            groups.append(order[start:end])
    return groups
