"""A batch of texts as one packed sequence of tokens, and its attention forward and back.

The tokens that all prompts begin with stand there once; linear layers see no pad. Attention sees rows: an index puts
heads of tokens where the products want them, another one takes them back, so each is copied once either way.

Shapes: N packed tokens, R rows of at most W own tokens, P tokens of the shared prefix, H heads, K key/value heads,
G = H / K heads that share keys, F = H + 2 K, d head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from shouldtune.models.attention import softmax
from shouldtune.models.llama import Llama
from shouldtune.models.prefixes import common_length

_SHORTEST_PREFIX = 16
_COLUMNS_AT_ONCE = 128
"""Of a row's queries: the keys after the last of them are left out."""


@dataclass(frozen=True)
class Text:
    """One training text as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """What is learned, the end of turn included."""

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.answer)


def shared(texts: Sequence[Text]) -> int:
    """How many tokens all prompts begin with; 0 where sharing them does not pay. Each keeps one of its own."""
    first = texts[0].prompt
    length = min(min(common_length(first, text.prompt), len(text.prompt) - 1) for text in texts)
    return length if length >= _SHORTEST_PREFIX and len(texts) > 1 else 0


class Packed:
    """Texts packed into one sequence: the shared prefix, then each text's own tokens."""

    def __init__(self, texts: Sequence[Text], model: Llama) -> None:
        device = model.device
        prefix = shared(texts)
        # The last token of an answer predicts nothing, so it is never computed.
        own = [(*text.prompt, *text.answer)[prefix:-1] for text in texts]
        self.ids = torch.tensor([*texts[0].prompt[:prefix], *(token for ids in own for token in ids)], device=device)
        columns = [column for ids in own for column in range(len(ids))]
        self.positions = torch.tensor([*range(prefix), *(prefix + c for c in columns)], device=device)
        chosen: list[int] = []
        end = prefix
        for text, ids in zip(texts, own, strict=True):
            end += len(ids)
            chosen += range(end - len(text.answer), end)
        self.chosen = torch.tensor(chosen, device=device)
        """Where the tokens lie that an answer's token follows."""
        self.targets = torch.tensor([token for text in texts for token in text.answer], device=device)
        self.attention = Attention(model, prefix, [len(ids) for ids in own])


class _Piece:
    """Rows that are attended in the same products: queries [B, G, S, d], keys and values [B, P + S, d].

    Every query sees the first P keys, and of its own row's the ones up to its own place. Long rows are taken some
    columns at a time, so that most of what is not seen is not computed either.
    """

    def __init__(self, queries: Tensor, keys: Tensor, values: Tensor, dtype: torch.dtype) -> None:
        """Where each head lies among the packed tokens' heads: queries [B, G, S], keys and values [B, P + S]."""
        self.queries, self.keys, self.values = queries.flatten(), keys.flatten(), values.flatten()
        self._shape, self._seen = queries.shape, keys.shape[1]
        columns = queries.shape[2]
        self._before = self._seen - columns
        self._blocks = [
            slice(first, min(columns, first + _COLUMNS_AT_ONCE)) for first in range(0, columns, _COLUMNS_AT_ONCE)
        ]
        self._masks = [self._mask(block, dtype) for block in self._blocks]

    def _mask(self, block: slice, dtype: torch.dtype) -> Tensor:
        """[G * s, T]: minus infinity where one of the block's s queries would see a later one of T keys."""
        size, seen = block.stop - block.start, self._before + block.stop
        hidden = torch.full((size, seen), float("-inf"), device=self.queries.device, dtype=dtype)
        return hidden.triu(seen - size + 1).repeat(self._shape[1], 1)

    def _heads(self, fused: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of fused [N * F, d]."""
        batch = self._shape[0]
        query = fused.index_select(0, self.queries).view(*self._shape, -1)
        key, value = (fused.index_select(0, x).view(batch, self._seen, -1) for x in (self.keys, self.values))
        return query, key, value

    def _chances(self, query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
        """What each query heeds of each key: [B, G * s, T]."""
        scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
        return softmax(scores)

    def forward(self, fused: Tensor) -> Tensor:
        """[B * G * S, d]"""
        query, key, value = self._heads(fused)
        if len(self._blocks) == 1:
            return torch.bmm(self._chances(query.flatten(1, 2), key, self._masks[0]), value).flatten(0, 1)
        found = torch.empty_like(query)
        for block, mask in zip(self._blocks, self._masks, strict=True):
            seen = self._before + block.stop
            chances = self._chances(query[:, :, block].flatten(1, 2), key[:, :seen], mask)
            found[:, :, block] = torch.bmm(chances, value[:, :seen]).view_as(found[:, :, block])
        return found.flatten(0, 2)

    def backward(self, fused: Tensor, outer: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradients of queries, keys and values, each [..., d], from that of the output [B * G * S, d].

        What was heeded is computed a second time: kept for every layer, it would take more memory than all else where
        texts are long.
        """
        query, key, value = self._heads(fused)
        outer = outer.view(query.shape)
        if len(self._blocks) == 1:
            found = self._block_back(query.flatten(1, 2), key, value, outer.flatten(1, 2), self._masks[0])
            return found[0].view(query.shape), *found[1:]
        of_query, of_key, of_value = (torch.zeros_like(x) for x in (query, key, value))
        for block, mask in zip(self._blocks, self._masks, strict=True):
            seen = self._before + block.stop
            asked, heeded = query[:, :, block].flatten(1, 2), outer[:, :, block].flatten(1, 2)
            found = self._block_back(asked, key[:, :seen], value[:, :seen], heeded, mask)
            of_query[:, :, block] = found[0].view_as(of_query[:, :, block])
            of_key[:, :seen] += found[1]
            of_value[:, :seen] += found[2]
        return of_query, of_key, of_value

    def _block_back(
        self, query: Tensor, key: Tensor, value: Tensor, outer: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same for queries [B, G * s, d] of one block and the T keys that they may see."""
        chances = self._chances(query, key, mask)
        slope = torch.bmm(outer, value.transpose(1, 2))
        slope = torch.ops.aten._softmax_backward_data(slope, chances, -1, chances.dtype)
        slope.mul_(query.shape[-1] ** -0.5)
        return (
            torch.bmm(slope, key),
            torch.bmm(slope.transpose(1, 2), query),
            torch.bmm(chances.transpose(1, 2), outer),
        )


class Attention:
    """Causal attention of every text, the shared prefix's keys seen by all."""

    def __init__(self, model: Llama, prefix: int, lengths: Sequence[int]) -> None:
        """`lengths` of the texts' own tokens, in the order in which they are packed after the prefix."""
        config, device = model.config, model.device
        heads, kv_heads = config.heads, config.kv_heads
        groups, fused = heads // kv_heads, heads + 2 * kv_heads
        rows, width = len(lengths), max(lengths)
        ends = torch.tensor(lengths, device=device).cumsum(0)
        column = torch.arange(width, device=device)
        real = column < torch.tensor(lengths, device=device)[:, None]
        token = torch.where(real, prefix + (ends - torch.tensor(lengths, device=device))[:, None] + column, 0)
        before = torch.arange(prefix, device=device)
        kv, group = torch.arange(kv_heads, device=device), torch.arange(groups, device=device)
        query_head = (kv[:, None] * groups + group)[:, :, None]  # [K, G, 1]
        key_head, value_head = heads + kv[:, None], heads + kv_heads + kv[:, None]  # [K, 1]
        seen = torch.cat([before.expand(rows, -1), token], dim=1)[:, None]  # [R, 1, P + W]
        queries = token[:, None, None] * fused + query_head  # [R, K, G, W]
        keys, values = seen * fused + key_head, seen * fused + value_head  # [R, K, P + W]
        self._pieces = [_Piece(queries.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1), model.dtype)]
        if prefix:
            queries = before * fused + query_head
            self._pieces.append(_Piece(queries, before * fused + key_head, before * fused + value_head, model.dtype))
        self._own, self._prefix, self._rows = (rows, kv_heads, prefix + width), prefix, int(ends[-1]) + prefix
        self._index(real.expand(kv_heads, groups, -1, -1).permute(2, 0, 1, 3), heads, fused)

    def _index(self, real: Tensor, heads: int, fused: int) -> None:
        """Where every head of a token is found again. real [R, K, G, W]"""
        main, device = self._pieces[0], real.device
        own = torch.zeros(self._own, dtype=torch.bool, device=device)
        own[:, :, self._prefix :] = real[:, :, 0]
        back = torch.zeros(self._rows * fused, dtype=torch.long, device=device)
        start = 0
        for places, there in ((main.queries, real), (main.keys, own), (main.values, own)):
            kept = there.flatten().nonzero()[:, 0]
            back[places[kept]] = start + kept
            start += len(places)
        outputs = back.view(-1, fused)[:, :heads].clone()
        for first in self._pieces[1:]:
            outputs[: self._prefix] = len(main.queries) + self._places(first.queries, heads, fused)
            for places in (first.queries, first.keys, first.values):
                back[places] = start + torch.arange(len(places), device=device)
                start += len(places)
        self._back, self._outputs = back, outputs.flatten()

    def _places(self, queries: Tensor, heads: int, fused: int) -> Tensor:
        """Where each head of the prefix's tokens stands among its own piece's queries: [P, H]."""
        found = torch.zeros(self._prefix * fused, dtype=torch.long, device=queries.device)
        found[queries] = torch.arange(len(queries), device=queries.device)
        return found.view(-1, fused)[:, :heads]

    def forward(self, fused: Tensor) -> Tensor:
        """fused [N, F, d], queries and keys turned -> [N, H * d]"""
        flat = fused.flatten(0, 1)
        found = [piece.forward(flat) for piece in self._pieces]
        whole = found[0] if len(found) == 1 else torch.cat(found)
        return whole.index_select(0, self._outputs).view(self._rows, -1)

    def backward(self, fused: Tensor, outer: Tensor) -> Tensor:
        """The gradient of fused [N, F, d] from that of the output [N, H * d]."""
        flat, width = fused.flatten(0, 1), fused.shape[-1]
        sizes = [len(piece.queries) for piece in self._pieces]
        # Pads get none: nothing that is computed for them reaches a loss.
        spread = outer.new_zeros(sum(sizes), width).index_copy_(0, self._outputs, outer.view(-1, width))
        found = [
            piece.backward(flat, part) for piece, part in zip(self._pieces, torch.split(spread, sizes), strict=True)
        ]
        if self._prefix:  # its keys and values were seen by every row
            for own, alone in zip(found[0][1:], found[1][1:], strict=True):
                alone.add_(own.view(*self._own, width)[:, :, : self._prefix].sum(0))
        whole = torch.cat([x.view(-1, width) for piece in found for x in piece])
        return whole.index_select(0, self._back).view(fused.shape)
