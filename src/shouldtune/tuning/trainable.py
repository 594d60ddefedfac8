"""The weights that LoRA trains, and how they are changed.

LoRA: https://arxiv.org/abs/2106.09685. AdamW: https://arxiv.org/abs/1711.05101 (weight decay 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from shouldtune.models.adapter import FusedLinear, fused_linears, peft_name
from shouldtune.models.linear import Linear
from shouldtune.models.llama import Llama


@dataclass(frozen=True)
class _Slot:
    """One fused linear layer's LoRA: where it lies in the flat vector, and its copy for computing."""

    fused: FusedLinear
    down: slice
    """A of all parts, [parts * rank, inputs]."""
    ups: tuple[slice, ...]
    """B of each part, [outputs, rank]."""
    back: Linear
    """The base's weight turned, [inputs, outputs]: what the way back multiplies by."""
    low: Tensor
    """A in the computing type."""
    high: Tensor
    """[outputs, parts * rank]: scale * B in the computing type, each part in its own columns."""


class TrainableLora:
    """LoRA on every linear layer: float32 masters and AdamW's moments, each one flat vector."""

    def __init__(self, model: Llama, rank: int, alpha: int, seed: int) -> None:
        """Start as peft does: A uniform within 1 / sqrt(inputs), B zero."""
        self.model, self.rank, self.scale = model, rank, alpha / rank
        self.slots: dict[tuple[int, str], _Slot] = {}
        end = 0
        for layer in range(model.config.layers):
            for name, fused in fused_linears(model.config).items():
                height = rank * len(fused.parts)
                sizes = [height * fused.inputs, *(part.outputs * rank for part in fused.parts)]
                starts = [end + sum(sizes[:index]) for index in range(len(sizes))]
                spans = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
                base: Tensor = getattr(model.blocks[layer], name).weight
                low, high = base.new_zeros(height, fused.inputs), base.new_zeros(fused.outputs, height)
                back = Linear(base.T.contiguous())
                with torch.no_grad():
                    back.reordered()  # at once: waiting for its first use, all would stand in memory twice
                self.slots[layer, name] = _Slot(fused, spans[0], tuple(spans[1:]), back, low, high)
                end += sum(sizes)
        self.masters = torch.zeros(end, device=model.device)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.masters) for _ in range(3))
        self.steps = 0
        draw = torch.Generator().manual_seed(seed)
        for slot in self.slots.values():
            spread = 2 * torch.rand(slot.down.stop - slot.down.start, generator=draw) - 1
            self.masters[slot.down] = (spread / math.sqrt(slot.fused.inputs)).to(model.device)
        self.refresh()

    def lowered(self, x: Tensor, layer: int, name: str) -> Tensor:
        """x A^T [N, parts * rank] of x [N, inputs]: what the products and the way back read beside x."""
        return x @ self.slots[layer, name].low.T

    def product(self, x: Tensor, low: Tensor, layer: int, name: str) -> Tensor:
        """The layer with its LoRA, [N, outputs]; low is `lowered` x."""
        base: Linear = getattr(self.model.blocks[layer], name)
        return base(x).addmm_(low, self.slots[layer, name].high.T)

    def gate_up(self, x: Tensor, low: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The same of both halves of `gate_up`, each [N, mlp width]."""
        base, high = self.model.blocks[layer].gate_up, self.slots[layer, "gate_up"].high
        gate, up = high.chunk(2)
        return base.gate(x).addmm_(low, gate.T), base.up(x).addmm_(low, up.T)

    def learn(self, outer: Tensor, x: Tensor, low: Tensor, layer: int, name: str) -> Tensor:
        """Add the gradients of A and B, from that of the product [N, outputs]; returns that of low."""
        slot = self.slots[layer, name]
        inner = outer @ slot.high
        self.gradient[slot.down].view_as(slot.low).add_(inner.T @ x)
        row = column = 0
        for part, span in zip(slot.fused.parts, slot.ups, strict=True):
            part_outer, part_low = outer[:, row : row + part.outputs], low[:, column : column + self.rank]
            # The narrow matrix first: the other way round the same product takes twice as long.
            up = self.gradient[span].view(part.outputs, self.rank)
            up.add_((part_low.T @ part_outer).T, alpha=self.scale)
            row, column = row + part.outputs, column + self.rank
        return inner

    def back(self, outer: Tensor, x: Tensor, low: Tensor, layer: int, name: str) -> Tensor:
        """`learn`, and the gradient of x [N, inputs]."""
        slot = self.slots[layer, name]
        return slot.back(outer).addmm_(self.learn(outer, x, low, layer, name), slot.low)

    def refresh(self) -> None:
        """Copy the masters into the weights that compute."""
        for slot in self.slots.values():
            slot.low.copy_(self.masters[slot.down].view_as(slot.low))
            row = column = 0
            for part, span in zip(slot.fused.parts, slot.ups, strict=True):
                up = self.masters[span].view(part.outputs, self.rank) * self.scale
                slot.high[row : row + part.outputs, column : column + self.rank] = up
                row, column = row + part.outputs, column + self.rank

    def step(self, rate: float) -> None:
        """One AdamW step on the gradient, its norm clipped to 1; then the gradient is zero."""
        self.steps += 1
        gradient = self.gradient.mul_((1.0 / (self.gradient.norm() + 1e-6)).clamp(max=1.0))
        self.mean.lerp_(gradient, 0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        spread = (self.square / (1 - 0.999**self.steps)).sqrt_().add_(1e-8)
        self.masters.addcdiv_(self.mean, spread, value=-rate / (1 - 0.9**self.steps))
        gradient.zero_()
        self.refresh()

    def tensors(self) -> dict[str, Tensor]:
        """Views of the masters by peft's names."""
        named: dict[str, Tensor] = {}
        for (layer, _), slot in self.slots.items():
            downs = self.masters[slot.down].view(len(slot.fused.parts), self.rank, -1)
            for part, down, span in zip(slot.fused.parts, downs, slot.ups, strict=True):
                named[peft_name(layer, part.module, "A")] = down
                named[peft_name(layer, part.module, "B")] = self.masters[span].view(part.outputs, self.rank)
        return named
