"""Attention for answering: whole prompts, single steps, and a past that all rows share.

Written as plain matrix products and one softmax: on a CPU they take between a half and a quarter of the time of
torch's fused kernel. Heads that share keys become rows of one product, so no key is copied for them; the keys of the
shared past are multiplied by all rows' queries at once, read once and not once a row.

Shapes: N tokens packed one after another, B rows, S queries a row, T columns of a row's own keys, P columns of the
past, H heads, K key/value heads, d head width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Past = tuple[Tensor, Tensor]
"""Keys and values [K, P, d] that every row sees before its own; P may be 0."""

_SCORES_AT_ONCE = 1 << 20
"""Scores held together, so that they stay in the CPU's cache between the products."""
_QUERIES_AT_ONCE = 128
"""Causal queries taken together: the keys after the last of them are left out."""


@dataclass(frozen=True)
class _Piece:
    """Some rows' queries that are attended together, and the keys that they may see."""

    queries: Tensor
    """Where each lies among the packed tokens' heads, ordered by key/value head, row, column, head of the group."""
    keys: Tensor
    """The same of the keys, ordered by key/value head, row, column."""
    mask: Tensor
    """[rows or 1, queries * groups, the last keys], added to the scores: to those before them nothing is."""
    rows: int


class Rows:
    """How packed tokens lie in rows: made once for all layers, so that a layer copies its tokens once each way."""

    def __init__(
        self,
        row_of: Tensor,
        column_of: Tensor,
        heads: tuple[int, int],
        shared: int,
        dtype: torch.dtype,
        mask: Tensor | None = None,
    ) -> None:
        """row_of, column_of [N]; heads (H, K); `shared` is the past's length, `dtype` that of the scores.

        mask [B, S, S] is added to the scores of a row's own tokens; None lets each see the ones before it. Without a
        mask a row's tokens fill its first columns.
        """
        (all_heads, kv_heads), device = heads, row_of.device
        self.heads, groups = heads, all_heads // kv_heads
        rows, width = int(row_of.max()) + 1, int(column_of.max()) + 1
        there = torch.zeros(rows, width, dtype=torch.bool, device=device)
        there[row_of, column_of] = True
        token = torch.zeros(rows, width, dtype=torch.long, device=device)  # where no token is, the first one stands in
        token[row_of, column_of] = torch.arange(len(row_of), device=device)
        head, group = torch.arange(kv_heads, device=device), torch.arange(groups, device=device)
        self.pieces: list[_Piece] = []
        sources, real = [], []
        block = width if mask is not None else _QUERIES_AT_ONCE
        for first in range(0, width, block):
            last = min(width, first + block)
            seen = width if mask is not None else last
            at_once = max(1, _SCORES_AT_ONCE // (all_heads * (last - first) * (shared + seen)))
            for row in range(0, rows, at_once):
                some = slice(row, row + at_once)
                asked = token[some, first:last, None] * all_heads
                queries = (asked + head[:, None, None, None] * groups + group).flatten()
                keys = (token[some, :seen] * kv_heads + head[:, None, None]).flatten()
                hidden = _causal(last - first, device) if mask is None else mask[some]
                # Spread over the heads of a group now: adding it with one more axis takes five times as long.
                hidden = hidden.to(dtype).repeat_interleave(groups, 1)
                self.pieces.append(_Piece(queries, keys, hidden, len(asked)))
                sources.append(queries)
                real.append(there[some, first:last, None].expand(kv_heads, -1, -1, groups).flatten())
        source, kept = torch.cat(sources), torch.cat(real).nonzero()[:, 0]
        self.back = torch.empty(len(row_of) * all_heads, dtype=torch.long, device=device)
        self.back[source[kept]] = kept


def _causal(queries: int, device: torch.device) -> Tensor:
    """[1, queries, queries]: minus infinity where a token would see a later one."""
    return torch.full((queries, queries), float("-inf"), device=device).triu(1)[None]


def softmax(scores: Tensor) -> Tensor:
    """What a query heeds of each key, [..., keys] of the scores' type.

    torch's own for bfloat16 takes up to four times as long on a CPU where the keys are no multiple of 32; by way of
    float32 it takes the same time for any number of them.
    """
    if scores.dtype == torch.bfloat16 and scores.device.type == "cpu" and scores.shape[-1] % 32:
        return torch.softmax(scores, dim=-1, dtype=torch.float32).to(scores.dtype)
    return torch.softmax(scores, dim=-1)


def attend_prompts(query: Tensor, key: Tensor, value: Tensor, past: Past, rows: Rows) -> Tensor:
    """Attend rows that are read whole: the past, and of the row's own tokens those before and itself (or the mask's).

    query [N, H, d]; key, value [N, K, d]. Returns [N, H * d].
    """
    width, kv_heads, shared = query.shape[-1], rows.heads[1], past[0].shape[1]
    query, key, value = ((query * width**-0.5).flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1))
    outputs = []
    for piece in rows.pieces:
        batch = kv_heads * piece.rows
        own = len(piece.keys) // batch
        queries = query.index_select(0, piece.queries).view(batch, -1, width)
        keys, values = (x.index_select(0, piece.keys).view(batch, own, width) for x in (key, value))
        scores = query.new_empty(batch, queries.shape[1], shared + own)
        torch.bmm(queries, keys.transpose(1, 2), out=scores[..., shared:])
        by_row = scores.view(kv_heads, piece.rows, queries.shape[1], shared + own)
        by_row[..., -piece.mask.shape[-1] :].add_(piece.mask)
        if shared:
            before = scores.view(kv_heads, -1, shared + own)[..., :shared]
            torch.bmm(queries.view(kv_heads, -1, width), past[0].transpose(1, 2), out=before)
        chances = softmax(scores)
        output = torch.bmm(chances[..., shared:], values)
        if shared:
            output = output.view(kv_heads, -1, width)
            output.baddbmm_(chances.view(kv_heads, -1, shared + own)[..., :shared], past[1])
        outputs.append(output.reshape(-1, width))
    whole = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    return whole.index_select(0, rows.back).view(-1, rows.heads[0] * width)


def attend_step(query: Tensor, keys: Tensor, values: Tensor, past: Past, mask: Tensor) -> Tensor:
    """Attend one new token a row: the past, and of the row's cache what the mask leaves.

    query [B, H, d]; keys, values [B, K, T, d], contiguous: a product with a part of a cache's columns copies them;
    mask [B, T], added to the scores. Returns [B, H * d].
    """
    rows, heads, width = query.shape
    kv_heads, own = keys.shape[1:3]
    groups, shared = heads // kv_heads, past[0].shape[1]
    folded = (query * width**-0.5).view(rows * kv_heads, groups, width)
    scores = torch.bmm(folded, keys.flatten(0, 1).transpose(1, 2)).view(rows, kv_heads, groups, own)
    scores += mask[:, None, None]
    if shared:
        turned = folded.view(rows, kv_heads, groups, width).transpose(0, 1).reshape(kv_heads, rows * groups, width)
        before = torch.bmm(turned, past[0].transpose(1, 2)).view(kv_heads, rows, groups, shared).transpose(0, 1)
        scores = torch.cat([before, scores], dim=-1)
    chances = softmax(scores).flatten(0, 1)
    output = torch.bmm(chances[..., shared:], values.flatten(0, 1)).view(rows, kv_heads, groups, width)
    if shared:
        turned = chances[..., :shared].view(rows, kv_heads, groups, shared).transpose(0, 1)
        before = torch.bmm(turned.reshape(kv_heads, rows * groups, shared), past[1])
        output += before.view(kv_heads, rows, groups, width).transpose(0, 1)
    return output.reshape(rows, heads * width)
