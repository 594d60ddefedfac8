"""The weights that LoRA trains, and how they are changed.

LoRA: https://arxiv.org/abs/2106.09685. Adam: https://arxiv.org/abs/1412.6980 (AdamW's steps are the same: there is no
weight decay). Its look ahead: Dozat, Incorporating Nesterov Momentum into Adam, 2016; its momentum is constant here.
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
    """One fused linear layer's LoRA: views of the flat vectors, and its copy for computing."""

    fused: FusedLinear
    down: Tensor
    """A of all parts among the masters, [parts * rank, inputs]."""
    ups: tuple[Tensor, ...]
    """B of each part turned, [rank, outputs]."""
    found_down: Tensor
    """The gradient of A from the batch's last part, in the computing type."""
    found_ups: tuple[Tensor, ...]
    """That of each B, without the scale."""
    back: Linear
    """The base's weight turned, [inputs, outputs]: what the way back multiplies by."""
    low: Tensor
    """A in the computing type."""
    high: Tensor
    """[parts * rank, outputs]: scale * B turned, in the computing type, each part in its own rows and columns."""


@dataclass(frozen=True)
class Adam:
    """How Adam averages what it saw. As it stands, what peft's users have by default."""

    beta1: float = 0.9
    """Of the mean of gradients."""
    beta2: float = 0.999
    """Of the mean of their squares."""
    nesterov: bool = False
    """Whether a step looks ahead along its momentum."""


class TrainableLora:
    """LoRA on every linear layer: float32 masters and Adam's moments, each one flat vector.

    All A come first, then all B. B is turned, as its gradient comes: to turn every gradient would take as long as the
    product that makes it.
    """

    def __init__(self, model: Llama, rank: int, alpha: int, seed: int, adam: Adam = Adam()) -> None:
        """Start as peft does: A uniform within 1 / sqrt(inputs), B zero."""
        self.model, self.rank, self.scale, self.adam = model, rank, alpha / rank, adam
        layers = [(i, name, fused) for i in range(model.config.layers) for name, fused in _fused(model)]
        downs = [rank * len(fused.parts) * fused.inputs for _, _, fused in layers]
        ups = [rank * part.outputs for _, _, fused in layers for part in fused.parts]
        self._of_downs = sum(downs)
        self.masters = torch.zeros(sum(downs) + sum(ups), device=model.device)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.masters) for _ in range(3))
        self._found = torch.zeros_like(self.masters, dtype=model.dtype)
        self.steps = 0
        self.slots: dict[tuple[int, str], _Slot] = {}
        down, down_found, up, up_found = (
            iter(torch.split(flat, sizes))
            for sizes, start in ((downs, 0), (ups, self._of_downs))
            for flat in (self.masters[start : start + sum(sizes)], self._found[start : start + sum(sizes)])
        )
        draw = torch.Generator().manual_seed(seed)
        for layer, name, fused in layers:
            base: Tensor = getattr(model.blocks[layer], name).weight
            back = Linear(base.T.contiguous())
            with torch.no_grad():
                back.reordered()  # at once: waiting for its first use, all would stand in memory twice
            height = rank * len(fused.parts)
            slot = _Slot(
                fused,
                next(down).view(height, -1),
                tuple(next(up).view(rank, -1) for _ in fused.parts),
                next(down_found).view(height, -1),
                tuple(next(up_found).view(rank, -1) for _ in fused.parts),
                back,
                base.new_zeros(height, fused.inputs),
                base.new_zeros(height, fused.outputs),
            )
            spread = 2 * torch.rand(slot.down.numel(), generator=draw).view_as(slot.down) - 1
            slot.down.copy_(spread / math.sqrt(fused.inputs))
            self.slots[layer, name] = slot
        self.refresh()

    def lowered(self, x: Tensor, layer: int, name: str) -> Tensor:
        """x A^T [N, parts * rank] of x [N, inputs]: what the products and the way back read beside x."""
        return x @ self.slots[layer, name].low.T

    def product(self, x: Tensor, low: Tensor, layer: int, name: str) -> Tensor:
        """The layer with its LoRA, [N, outputs]; low is `lowered` x."""
        base: Linear = getattr(self.model.blocks[layer], name)
        return base(x).addmm_(low, self.slots[layer, name].high)

    def gate_up(self, x: Tensor, low: Tensor, layer: int) -> tuple[Tensor, Tensor]:
        """The same of both halves of `gate_up`, each [N, mlp width]."""
        base, high = self.model.blocks[layer].gate_up, self.slots[layer, "gate_up"].high
        gate, up = high.chunk(2, dim=1)
        return base.gate(x).addmm_(low, gate), base.up(x).addmm_(low, up)

    def learn(self, outer: Tensor, x: Tensor, low: Tensor, layer: int, name: str) -> Tensor:
        """Find the gradients of A and B, from that of the product [N, outputs]; returns that of low."""
        slot = self.slots[layer, name]
        inner = outer @ slot.high.T
        torch.mm(inner.T, x, out=slot.found_down)
        row = column = 0
        for part, found in zip(slot.fused.parts, slot.found_ups, strict=True):
            torch.mm(low[:, row : row + self.rank].T, outer[:, column : column + part.outputs], out=found)
            row, column = row + self.rank, column + part.outputs
        return inner

    def back(self, outer: Tensor, x: Tensor, low: Tensor, layer: int, name: str) -> Tensor:
        """`learn`, and the gradient of x [N, inputs]."""
        slot = self.slots[layer, name]
        return slot.back(outer).addmm_(self.learn(outer, x, low, layer, name), slot.low)

    def add_what_was_found(self) -> None:
        """Add to the gradient what every layer has learnt."""
        downs = self._of_downs
        self.gradient[:downs].add_(self._found[:downs])
        self.gradient[downs:].add_(self._found[downs:], alpha=self.scale)

    def refresh(self) -> None:
        """Copy the masters into the weights that compute."""
        for slot in self.slots.values():
            slot.low.copy_(slot.down)
            row = column = 0
            for part, up in zip(slot.fused.parts, slot.ups, strict=True):
                torch.mul(up, self.scale, out=slot.high[row : row + self.rank, column : column + part.outputs])
                row, column = row + self.rank, column + part.outputs

    def step(self, rate: float) -> None:
        """One step of Adam on the gradient, its norm clipped to 1; then the gradient is zero."""
        self.steps += 1
        done, beta1, beta2 = self.steps, self.adam.beta1, self.adam.beta2
        gradient = self.gradient.mul_((1.0 / (self.gradient.norm() + 1e-6)).clamp(max=1.0))
        self.mean.lerp_(gradient, 1 - beta1)
        self.square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        spread = (self.square / (1 - beta2**done)).sqrt_().add_(1e-8)
        if self.adam.nesterov:
            self.masters.addcdiv_(self.mean, spread, value=-rate * beta1 / (1 - beta1 ** (done + 1)))
            self.masters.addcdiv_(gradient, spread, value=-rate * (1 - beta1) / (1 - beta1**done))
        else:
            self.masters.addcdiv_(self.mean, spread, value=-rate / (1 - beta1**done))
        gradient.zero_()
        self.refresh()

    def tensors(self) -> dict[str, Tensor]:
        """Views of the masters by peft's names and in its shapes."""
        named: dict[str, Tensor] = {}
        for (layer, _), slot in self.slots.items():
            for part, down, up in zip(slot.fused.parts, torch.split(slot.down, self.rank), slot.ups, strict=True):
                named[peft_name(layer, part.module, "A")] = down
                named[peft_name(layer, part.module, "B")] = up.T
        return named


def _fused(model: Llama) -> list[tuple[str, FusedLinear]]:
    return list(fused_linears(model.config).items())
