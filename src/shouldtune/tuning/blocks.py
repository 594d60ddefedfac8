"""The model's blocks with LoRA, forward and back, written out.

Autograd would do the same with six times as many steps and nearly twice the memory: on a CPU small steps and memory's
traffic take as long as the products. What is kept of a block for the way back is what is dearest to compute again.

Shapes: N packed tokens, M of them that go on from the last block, r the adapter's columns of a layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nn

from shouldtune.models.llama import Llama, Rotation
from shouldtune.tuning.packing import Packed
from shouldtune.tuning.trainable import TrainableLora


@dataclass(frozen=True)
class _Kept:
    """What a block's way back reads."""

    x: Tensor
    """[N, width]"""
    normed: tuple[Tensor, Tensor]
    """[N, width], [N, r]: what qkv reads."""
    turned: Tensor
    """[N, F, d]: queries and keys turned by their positions, and values."""
    attended: tuple[Tensor, Tensor]
    """[M, H * d], [M, r]: what o reads."""
    middle: Tensor
    """[M, width]: between attention and the MLP."""
    middle_normed: tuple[Tensor, Tensor]
    """[M, width], [M, r]: what gate_up reads."""
    gate: Tensor
    """[M, mlp width]"""
    up: Tensor
    """[M, mlp width]"""
    low: Tensor
    """[M, r] of down, whose input is computed again."""


def kept_width(model: Llama) -> int:
    """About how many numbers are kept of a token in a block, the adapter's few left out."""
    config = model.config
    heads = config.heads + 2 * config.kv_heads
    return 4 * config.width + (heads + config.heads) * config.head_width + 2 * config.mlp_width


class Blocks:
    """One part of a batch on its way through all blocks and back."""

    def __init__(self, lora: TrainableLora, packed: Packed, *, keep: bool) -> None:
        """Without `keep` only what goes into a block is kept, and the rest computed a second time."""
        self.lora, self.packed, self.keep = lora, packed, keep
        self.model = lora.model
        self._cosine, self._sine = self.model.rotation(packed.positions)
        self._kept: list[_Kept | Tensor] = []

    def forward(self) -> Tensor:
        """[M, width] after the last block: the tokens that an answer's token follows."""
        x = self.model.embed(self.packed.ids)
        for layer in range(self.model.config.layers):
            after, kept = self._block(x, layer)
            self._kept.append(kept if self.keep else x)
            x = after
        return x

    def backward(self, outer: Tensor) -> None:
        """Add the adapter's gradients, from that of what `forward` returned."""
        for layer in reversed(range(self.model.config.layers)):
            kept = self._kept.pop()
            outer = self._back(outer, layer, kept if isinstance(kept, _Kept) else self._block(kept, layer)[1])
        self.lora.add_what_was_found()

    def _block(self, x: Tensor, layer: int) -> tuple[Tensor, _Kept]:
        model, lora, config = self.model, self.lora, self.model.config
        block = model.blocks[layer]
        normed = self._normed(x, block.attention_norm, layer, "qkv")
        turned = lora.product(*normed, layer, "qkv").view(len(x), -1, config.head_width)
        self._turn(turned, (self._cosine, self._sine))
        found, middle = self.packed.attention.forward(turned), x
        if self._is_last(layer):
            found, middle = found[self.packed.chosen], x[self.packed.chosen]
        attended = found, lora.lowered(found, layer, "o")
        middle = lora.product(*attended, layer, "o").add_(middle)
        middle_normed = self._normed(middle, block.mlp_norm, layer, "gate_up")
        gate, up = lora.gate_up(*middle_normed, layer)
        inner = nn.silu(gate).mul_(up)
        low = lora.lowered(inner, layer, "down")
        after = lora.product(inner, low, layer, "down").add_(middle)
        return after, _Kept(x, normed, turned, attended, middle, middle_normed, gate, up, low)

    def _back(self, outer: Tensor, layer: int, kept: _Kept) -> Tensor:
        """The gradient of what came in [N, width] from that of what went out [M, width]."""
        lora, block = self.lora, self.model.blocks[layer]
        silu = nn.silu(kept.gate)
        inner = lora.back(outer, silu * kept.up, kept.low, layer, "down")
        gate_up = inner.new_empty(len(inner), 2 * inner.shape[1])
        gate_outer, up_outer = gate_up.chunk(2, dim=-1)
        torch.mul(inner, silu, out=up_outer)
        torch.ops.aten.silu_backward.grad_input(inner.mul_(kept.up), kept.gate, grad_input=gate_outer)
        reading = lora.back(gate_up, *kept.middle_normed, layer, "gate_up")
        outer = self._normed_back(outer, reading, kept.middle, block.mlp_norm)
        found = lora.back(outer, *kept.attended, layer, "o")
        if self._is_last(layer):
            outer, found = (self._spread(x) for x in (outer, found))
        turned = self.packed.attention.backward(kept.turned, found)
        self._turn(turned, (self._cosine, -self._sine))  # the transpose of a turn is the turn back
        turned = turned.flatten(1)
        if layer == 0:  # nothing below it learns
            lora.learn(turned, *kept.normed, layer, "qkv")
            return outer
        reading = lora.back(turned, *kept.normed, layer, "qkv")
        return self._normed_back(outer, reading, kept.x, block.attention_norm)

    def _is_last(self, layer: int) -> bool:
        """From its attention on only the tokens that an answer's token follows matter."""
        return layer == self.model.config.layers - 1

    def _spread(self, x: Tensor) -> Tensor:
        """[M, ...] of the chosen tokens among zeros [N, ...]."""
        return x.new_zeros(len(self.packed.ids), *x.shape[1:]).index_copy_(0, self.packed.chosen, x)

    def _normed(self, x: Tensor, weight: Tensor, layer: int, name: str) -> tuple[Tensor, Tensor]:
        config = self.model.config
        normed = nn.rms_norm(x, (config.width,), weight, config.norm_epsilon)
        return normed, self.lora.lowered(normed, layer, name)

    def _normed_back(self, outer: Tensor, reading: Tensor, x: Tensor, weight: Tensor) -> Tensor:
        """outer + the gradient of x from `reading`, that of its norm times weight; sums in float32."""
        config, x = self.model.config, x.float()
        inverse = x.square().mean(-1, keepdim=True).add_(config.norm_epsilon).rsqrt_()
        inner = (reading * weight).float()
        along = torch.linalg.vecdot(inner, x).unsqueeze(1).mul_(inverse**3).div_(-config.width)
        return torch.add(outer, inner.mul_(inverse).addcmul_(x, along)).to(outer.dtype)

    def _turn(self, fused: Tensor, rotation: Rotation) -> None:
        """Turn queries and keys of [N, F, d] in their place."""
        cosine, sine = rotation
        turned = fused[:, : self.model.config.heads + self.model.config.kv_heads]
        first, second = turned.chunk(2, dim=-1)
        other = torch.cat([second, first], dim=-1)
        turned.mul_(cosine).addcmul_(other, sine)
