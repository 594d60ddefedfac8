"""Attention for answering: whole prompts, single steps, and a past that all rows share.

Written as plain matrix products and one softmax: on a CPU they take between a half and a quarter of the time of
torch's fused kernel. Heads that share keys become rows of one product, so no key is copied for them; the keys of the
shared past are multiplied by all rows' queries at once, read once and not once a row.

Shapes: B rows, S queries a row, T columns of a row's own keys, P columns of the past, H heads, K key/value heads,
d head width.
"""

from __future__ import annotations

import torch
from torch import Tensor

Past = tuple[Tensor, Tensor]
"""Keys and values [K, P, d] that every row sees before its own; P may be 0."""

_SCORES_AT_ONCE = 4 << 20
"""Scores held together, so that they stay in the CPU's cache between the products."""
_QUERIES_AT_ONCE = 128
"""Causal queries taken together: the keys after the last of them are left out."""


def attend_prompts(query: Tensor, key: Tensor, value: Tensor, past: Past, mask: Tensor | None = None) -> Tensor:
    """Attend rows that are read whole: the past, and of the row's own tokens what the mask leaves.

    query [B, S, H, d]; key, value [B, S, K, d]; mask [B, S, S], added to the scores; None for a causal one.
    Returns [B, S, H * d].
    """
    rows, length, heads, width = query.shape
    past = past[0].contiguous(), past[1].contiguous()
    query = query * width**-0.5
    output = query.new_empty(rows, length, heads * width)
    block = length if mask is not None else _QUERIES_AT_ONCE
    for first in range(0, length, block):
        last = min(length, first + block)
        seen = length if mask is not None else last
        at_once = max(1, _SCORES_AT_ONCE // (heads * (last - first) * (past[0].shape[1] + seen)))
        hidden = causal_mask(query, last - first, seen) if mask is None else mask
        for row in range(0, rows, at_once):
            some = slice(row, row + at_once)
            output[some, first:last] = _attend(
                query[some, first:last],
                key[some, :seen],
                value[some, :seen],
                past,
                hidden if mask is None else hidden[some],
            )
    return output


def causal_mask(like: Tensor, queries: int, keys: int) -> Tensor:
    """[1, queries, keys]: minus infinity where one of the last `queries` tokens would see a later one."""
    never = torch.full((queries, keys), float("-inf"), dtype=like.dtype, device=like.device)
    return never.triu(keys - queries + 1)[None]


def _attend(query: Tensor, key: Tensor, value: Tensor, past: Past, mask: Tensor) -> Tensor:
    """query [B, S, H, d], scaled; key, value [B, T, K, d]; mask [B or 1, S, T]. Returns [B, S, H * d]."""
    rows, length, heads, width = query.shape
    own, kv_heads, shared = key.shape[1], key.shape[2], past[0].shape[1]
    groups = heads // kv_heads
    # Key/value heads first, so that the rows' queries of one head lie together for the product with the past.
    folded = query.view(rows, length, kv_heads, groups, width).permute(2, 0, 3, 1, 4)
    folded = folded.reshape(kv_heads * rows, groups * length, width)
    keys, values = (x.permute(2, 0, 1, 3).reshape(kv_heads * rows, own, width) for x in (key, value))
    scores = query.new_empty(kv_heads * rows, groups * length, shared + own)
    torch.bmm(folded, keys.transpose(1, 2), out=scores[..., shared:])
    scores.view(kv_heads, rows, groups, length, -1)[..., shared:].add_(mask[:, None])
    if shared:
        all_rows = folded.view(kv_heads, -1, width)
        torch.bmm(all_rows, past[0].transpose(1, 2), out=scores.view(kv_heads, -1, shared + own)[..., :shared])
    chances = torch.softmax(scores, dim=-1)
    output = torch.bmm(chances[..., shared:], values)
    if shared:
        output = output.view(kv_heads, -1, width)
        output.baddbmm_(chances.view(kv_heads, -1, shared + own)[..., :shared], past[1])
    unfolded = output.view(kv_heads, rows, groups, length, width).permute(1, 3, 0, 2, 4)
    return unfolded.reshape(rows, length, heads * width)


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
    chances = torch.softmax(scores, dim=-1).flatten(0, 1)
    output = torch.bmm(chances[..., shared:], values.flatten(0, 1)).view(rows, kv_heads, groups, width)
    if shared:
        turned = chances[..., :shared].view(rows, kv_heads, groups, shared).transpose(0, 1)
        before = torch.bmm(turned.reshape(kv_heads, rows * groups, shared), past[1])
        output += before.view(kv_heads, rows, groups, width).transpose(0, 1)
    return output.reshape(rows, heads * width)
