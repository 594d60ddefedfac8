"""One batch of prompts, from reading them to the last answer's last token; rows that are done are taken out of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import torch
from torch import Tensor

from shouldtune.models.attention import Past, Rows, attend_prompts, attend_step

if TYPE_CHECKING:
    from shouldtune.models.constraint import Constraint
    from shouldtune.models.label_trie import LabelTrie
    from shouldtune.models.llama import Adapter, Llama
    from shouldtune.models.prefixes import Prefix

_PREFILL_TOKENS = 2048  # prompts computed at once; bounds the activations
_RESERVE = 32  # columns that a batch's cache has ready for answers


class Listener(Protocol):
    """Who waits for one answer while it is made; asked and told on the engine's thread."""

    @property
    def left(self) -> bool:
        """Whether nobody waits any more: the rest of the answer is not computed."""
        ...

    def token(self, token: int) -> None:
        """One more token of the answer."""
        ...

    def ended(self, ids: Sequence[int], finish: Literal["stop", "length"]) -> None:
        """The whole answer, though others of its batch may go on."""
        ...


@dataclass(frozen=True)
class Request:
    """One prompt and how to answer it."""

    ids: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    constraint: Constraint | None = None
    labels: LabelTrie | None = None
    """A closed label set: every label is scored and the most probable one is the answer; nothing is decoded."""
    listener: Listener | None = None


@dataclass(frozen=True)
class Generated:
    """An answer's tokens, the one that ended it left out."""

    ids: tuple[int, ...]
    finish_reason: Literal["stop", "length"]
    computed: int
    """Tokens that were computed for this answer alone: its share of the work."""
    label_scores: tuple[float, ...] = ()
    """Each label's log-probability, where they were scored."""


class Stopped(Exception):
    """Generation was asked to stop."""


@dataclass
class _Row:
    """One answer on its way."""

    request: Request
    length: int
    """Prompt tokens after the prefix."""
    produced: list[int] = field(default_factory=list)
    finish: Literal["stop", "length"] | None = None
    sampler: torch.Generator | None = None


class Batch:
    """Prompts that are answered together.

    Every row's prompt starts at column 0 of the cache and every row's first answer token stands at the same
    column, right of the longest prompt: a step then writes one column, and a mask hides the gap between. The caches
    have some columns in reserve, hidden too, and grow when they are full.
    """

    def __init__(
        self,
        model: Llama,
        decode: Callable[[Sequence[int]], str],
        requests: list[Request],
        prefix: Prefix,
        adapter: Adapter | None,
    ) -> None:
        self.model, self.prefix, self.adapter = model, prefix, adapter
        self._decode = decode
        self.rows = [_Row(request, len(request.ids) - prefix.length) for request in requests]
        for row in self.rows:
            if row.request.temperature > 0:
                row.sampler = torch.Generator(self.model.device).manual_seed(row.request.seed)
        config, device = self.model.config, self.model.device
        self.past: list[Past] = [
            (k.contiguous(), v.contiguous()) for k, v in zip(prefix.keys, prefix.values, strict=True)
        ]
        self.start = max(row.length for row in self.rows)
        self.end = self.start + max(row.request.max_tokens for row in self.rows)
        shape = (len(self.rows), config.kv_heads, min(self.end, self.start + _RESERVE), config.head_width)
        self.keys, self.values = ([self._zeros(shape) for _ in range(config.layers)] for _ in range(2))
        self.lengths = torch.tensor([row.length for row in self.rows], device=device)
        hidden = torch.arange(shape[2], device=device)[None] >= self.lengths[:, None]
        self.mask = self._zeros(hidden.shape).masked_fill_(hidden, float("-inf"))

    def _zeros(self, shape: Sequence[int]) -> Tensor:
        return torch.zeros(*shape, dtype=self.model.dtype, device=self.model.device)

    def run(self, should_stop: Callable[[], bool]) -> list[Generated]:
        """Prefill, then step until every row is done; answers in the rows' order."""
        alive = list(self.rows)
        tokens = self._choose(self._prefill(should_stop), alive)
        for step in range(max(row.request.max_tokens for row in self.rows)):
            for row in alive:
                if row.request.listener is not None and row.request.listener.left:
                    row.finish = row.finish or "stop"
            going = [index for index, row in enumerate(alive) if row.finish is None]
            if not going:
                break
            if should_stop():
                raise Stopped
            if len(going) <= 0.9 * len(alive):
                order = self._keep(going, self.start + step)
                alive, tokens = [alive[index] for index in order], [tokens[index] for index in order]
            tokens = self._choose(self._step(tokens, step), alive)
        return [
            Generated(tuple(row.produced), row.finish or "length", row.length + len(row.produced)) for row in self.rows
        ]

    def _prefill(self, should_stop: Callable[[], bool]) -> Tensor:
        """Compute the prompts, some rows at a time; logits [B, vocabulary] of each row's next token."""
        logits, first = [], 0
        while first < len(self.rows):
            last, total = first, 0
            while last < len(self.rows) and (last == first or total + self.rows[last].length <= _PREFILL_TOKENS):
                total += self.rows[last].length
                last += 1
            logits.append(self._prefill_rows(slice(first, last), should_stop))
            first = last
        return torch.cat(logits)

    def _prefill_rows(self, chosen: slice, should_stop: Callable[[], bool]) -> Tensor:
        model, config, device = self.model, self.model.config, self.model.device
        rows, lengths = self.rows[chosen], self.lengths[chosen]
        row_of = torch.repeat_interleave(torch.arange(len(rows), device=device), lengths)
        ends = lengths.cumsum(0)
        column_of = torch.arange(len(row_of), device=device) - (ends - lengths)[row_of]
        ids = [token for row in rows for token in row.request.ids[self.prefix.length :]]
        x = model.embed(torch.tensor(ids, device=device))
        rotation = model.rotation(column_of + self.prefix.length)

        layout = Rows(row_of, column_of, (config.heads, config.kv_heads), self.prefix.length, model.dtype)
        for layer in range(config.layers):
            if should_stop():
                raise Stopped
            query, key, value = model.project(x, layer, rotation, self.adapter)
            self.keys[layer][chosen][row_of, :, column_of] = key
            self.values[layer][chosen][row_of, :, column_of] = value
            attended = attend_prompts(query, key, value, self.past[layer], layout)
            if layer == config.layers - 1:  # only the last tokens speak from here on
                x, attended = x[ends - 1], attended[ends - 1]
            x = model.finish(x, attended, layer, self.adapter)
        return model.logits(x)

    def _step(self, tokens: list[int], step: int) -> Tensor:
        """Write one more column: logits [B, vocabulary] after the rows' newest tokens."""
        model, column = self.model, self.start + step
        if column == self.mask.shape[1]:
            self._grow(min(self.end, column + _RESERVE) - column)
        self.mask[:, column] = 0
        x = model.embed(torch.tensor(tokens, device=model.device))
        rotation = model.rotation(self.lengths + (self.prefix.length + step))
        for layer in range(model.config.layers):
            query, key, value = model.project(x, layer, rotation, self.adapter)
            keys, values = self.keys[layer], self.values[layer]
            keys[:, :, column], values[:, :, column] = key, value
            x = model.finish(x, attend_step(query, keys, values, self.past[layer], self.mask), layer, self.adapter)
        return model.logits(x)

    def _grow(self, columns: int) -> None:
        """Room for more columns, hidden until they are written."""
        for caches in (self.keys, self.values):
            for layer, cache in enumerate(caches):
                rows, kv_heads, _, width = cache.shape
                caches[layer] = torch.cat([cache, self._zeros((rows, kv_heads, columns, width))], dim=2)
        more = torch.full((len(self.mask), columns), float("-inf"), dtype=self.mask.dtype, device=self.mask.device)
        self.mask = torch.cat([self.mask, more], dim=1)

    def _keep(self, going: list[int], used: int) -> list[int]:
        """Take finished rows out of the cache, of which `used` columns hold something; returns the rows' new order.

        The last rows move into the places of finished ones: most of the cache is not touched.
        """
        count = len(going)
        holes = sorted(set(range(count)) - set(going))
        movers = [index for index in going if index >= count]
        order = list(range(count))
        for hole, mover in zip(holes, movers, strict=True):
            order[hole] = mover
        for caches in (self.keys, self.values):
            for layer, cache in enumerate(caches):
                if holes:
                    cache[holes, :, :used] = cache[movers, :, :used]
                caches[layer] = cache[:count]
        self.lengths, self.mask = self.lengths[order], self.mask[order]
        return order

    def _choose(self, logits: Tensor, alive: list[_Row]) -> list[int]:
        """Each row's next token, noted in the row; a row that is done says anything."""
        for index, row in enumerate(alive):
            if row.finish is None and row.request.constraint is not None:
                row.request.constraint.restrict(logits[index])
        tokens: list[int] = logits.max(-1).indices.tolist()  # argmax takes four times as long
        for index, row in enumerate(alive):
            if row.finish is None:
                if row.sampler is not None:
                    chances = torch.softmax(logits[index].float() / row.request.temperature, -1)
                    tokens[index] = int(torch.multinomial(chances, 1, generator=row.sampler))
                self._note(row, tokens[index])
        return tokens

    def _note(self, row: _Row, token: int) -> None:
        self._take_in(row, token)
        listener = row.request.listener
        if listener is not None and row.finish is not None:
            listener.ended(row.produced, row.finish)

    def _take_in(self, row: _Row, token: int) -> None:
        request = row.request
        if token in self.model.config.eos:
            row.finish = "stop"
            return
        row.produced.append(token)
        if request.listener is not None:
            request.listener.token(token)
        if request.constraint is not None:
            request.constraint.accept(token)
            if request.constraint.finished:
                row.finish = "stop"
                return
        if request.stop:
            # A token is at least one byte, so a stop string of n bytes lies within the last n tokens.
            reach = max(len(stop.encode()) for stop in request.stop) + 1
            tail = self._decode(row.produced[-reach:])
            if any(stop in tail for stop in request.stop):
                row.finish = "stop"
                return
        if len(row.produced) >= request.max_tokens:
            row.finish = "length"
