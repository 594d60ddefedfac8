"""Steps of the forward pass with their derivatives written out.

Autograd's own rules for slices, concatenations and indexing fill and add whole tensors; these write each
gradient once, and keep less for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as nn


def gated(gate_up: Tensor) -> Tensor:
    """silu(gate) * up of [N, 2 * width], gate first -> [N, width]"""
    result: Tensor = _Gated.apply(gate_up)  # type: ignore[no-untyped-call]
    return result


def rotated(fused: Tensor, cosine: Tensor, sine: Tensor, heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split [N, H + 2 K, d] into queries, keys and values, the first two turned by their positions.

    Rotary position embedding with a head's two halves as pairs (https://arxiv.org/abs/2104.09864, in
    Hugging Face's layout). cosine and sine are [N, 1, d]; the sine's first half is negative.
    """
    query, key, value = _Rotated.apply(fused, cosine, sine, heads, kv_heads)  # type: ignore[no-untyped-call]
    return query, key, value


def spread(packed: Tensor, places: Tensor, size: int) -> Tensor:
    """Packed tokens [N, ...] at their places (all different) in a padded [size, ...], zeros elsewhere."""
    result: Tensor = _Spread.apply(packed, places, size)  # type: ignore[no-untyped-call]
    return result


def gather(padded: Tensor, places: Tensor) -> Tensor:
    """The tokens at `places` (all different) of a padded [size, ...]: the reverse of `spread`."""
    result: Tensor = _Gather.apply(padded, places)  # type: ignore[no-untyped-call]
    return result


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return nn.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        result = torch.empty_like(gate_up)
        gate_gradient, up_gradient = result.chunk(2, dim=-1)
        chance = torch.sigmoid(gate)
        silu = gate * chance
        torch.mul(gradients[0], silu, out=up_gradient)
        # silu' = chance + silu (1 - chance)
        slope = torch.addcmul(chance + silu, silu, chance, value=-1.0)
        torch.mul(slope.mul_(up), gradients[0], out=gate_gradient)
        return result


class _Rotated(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, fused: Tensor, cosine: Tensor, sine: Tensor, heads: int, kv_heads: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(cosine, sine)
        turned = _turn(fused[:, : heads + kv_heads], cosine, sine)
        # The values are copied: what autograd hands out must not be a view of what it keeps.
        return turned[:, :heads].contiguous(), turned[:, heads:].contiguous(), fused[:, heads + kv_heads :].contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        cosine, sine = ctx.saved_tensors
        query, key, value = gradients
        back = -sine  # the transpose of a turn is the turn back
        return torch.cat([_turn(query, cosine, back), _turn(key, cosine, back), value], dim=1), None, None, None, None


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([second, first], dim=-1).mul_(sine).addcmul_(x, cosine)


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        return packed.new_zeros(size, *packed.shape[1:]).index_copy_(0, places, packed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradients[0].index_select(0, places), None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, padded: Tensor, places: Tensor) -> Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(padded)
        return padded.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (places,) = ctx.saved_tensors
        gradient = gradients[0]
        return gradient.new_zeros(ctx.size, *gradient.shape[1:]).index_copy_(0, places, gradient), None
