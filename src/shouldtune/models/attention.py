"""Attention for generation: whole prompts, single steps, and a prefix that all rows share.

A prefix is attended by all rows in one product and joined with each row's own part through the
log-sum-exp of both (https://arxiv.org/abs/2402.05099, "Hydragen"), so its keys are read once, not once a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

_NEVER = float("-inf")


def attend_own(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Attend each row's own tokens: causal over S columns when `mask` is None, else what the mask leaves.

    queries [B, S, H, d]; keys, values [B, K, T, d]; mask [B, T], added to the scores (then S is 1).
    Returns the output [B, S, H, d] and the log-sum-exp of the scores [B, S, H].
    """
    rows, _, heads, width = queries.shape
    groups = heads // keys.shape[1]
    if mask is None:
        keys, values = (x.repeat_interleave(groups, dim=1) for x in (keys, values))
        output, total = _attend(queries.transpose(1, 2), keys, values, None, causal=True)
        return output.transpose(1, 2), total.transpose(1, 2)
    # A step has one query a head: the heads that share keys become its rows, and no key is copied.
    folded = queries.reshape(rows, -1, groups, width)
    output, total = _attend(folded, keys, values, mask[:, None, None], causal=False)
    return output.reshape(rows, 1, heads, width), total.reshape(rows, 1, heads)


def attend_masked(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same for S queries a row that see what a mask [B, 1, S, T], added to the scores, leaves them."""
    groups = queries.shape[2] // keys.shape[1]
    keys, values = (x.repeat_interleave(groups, dim=1) for x in (keys, values))
    output, total = _attend(queries.transpose(1, 2), keys, values, mask, causal=False)
    return output.transpose(1, 2), total.transpose(1, 2)


def join_prefix(own: tuple[Tensor, Tensor], queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention's output with the shared prefix joined in.

    own: output [N, H, d] and log-sum-exp [N, H] of the rows' own parts; queries [N, H, d];
    keys, values [K, P, d]. Returns [N, H, d].
    """
    tokens, heads, width = queries.shape
    kv_heads = len(keys)
    groups = heads // kv_heads
    folded = queries.view(tokens, kv_heads, groups, width).transpose(0, 1).reshape(1, kv_heads, -1, width)
    output, total = _attend(folded, keys[None], values[None], None, causal=False)
    output = output.view(kv_heads, tokens, groups, width).transpose(0, 1).reshape(tokens, heads, width)
    total = total.view(kv_heads, tokens, groups).transpose(0, 1).reshape(tokens, heads)
    return torch.lerp(own[0], output, torch.sigmoid(total - own[1]).unsqueeze(-1).to(output.dtype))


def _attend(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, causal: bool
) -> tuple[Tensor, Tensor]:
    """queries [B, H, S, d], keys and values [B, H, T, d] -> output [B, H, S, d], log-sum-exp [B, H, S]."""
    if queries.device.type != "cpu":
        return written_out(queries, keys, values, mask, causal=causal)
    if mask is not None:
        mask = mask.expand(-1, -1, queries.shape[2], -1)
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, total = flash(queries, keys, values, 0.0, causal, attn_mask=mask)
    return output, total


def written_out(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, *, causal: bool
) -> tuple[Tensor, Tensor]:
    """The same without torch's CPU kernel, which alone hands out the log-sum-exp."""
    scores = (queries @ keys.transpose(2, 3)).float() * queries.shape[-1] ** -0.5
    if mask is not None:
        scores = scores + mask
    if causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, _NEVER)
    total = scores.logsumexp(-1)
    return (scores - total.unsqueeze(-1)).exp().to(values.dtype) @ values, total
