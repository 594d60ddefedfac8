"""One LoRA training step in plain torch: forward, loss on the answers' tokens, backward, AdamW.

What makes it quick on a CPU: the base is frozen, so only activations get gradients; each linear layer and its
LoRA are one product, [x, x A^T] [W, scale B]^T; the tokens that a batch's prompts share are computed once, with
gradient; the output head sees the answers' tokens alone; no pads in the linear layers.
LoRA: https://arxiv.org/abs/2106.09685. AdamW: https://arxiv.org/abs/1711.05101 (weight decay 0).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from shouldtune.models.adapter import FusedLinear, fused_linears, peft_name
from shouldtune.models.llama import Llama
from shouldtune.models.prefixes import common_length

_SHORTEST_PREFIX = 16
_MOST_TOKENS = 1024
"""Tokens with kept activations, some 2 MB each for a 135M model in float32; a larger batch is computed in parts."""


@dataclass(frozen=True)
class Text:
    """One training text as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """What is learned, the end of turn included."""

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class _Slot:
    """One fused linear layer's LoRA: where it lies in the flat vector, and its copy for computing."""

    fused: FusedLinear
    down: slice
    """A of all parts, [parts * rank, inputs]."""
    ups: tuple[slice, ...]
    """B of each part, [outputs, rank]."""
    weight: Tensor
    """[outputs, inputs + parts * rank]: the base's weight, then scale * B, each part in its own columns."""
    low: Tensor
    """A in the computing type."""


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
                base: Tensor = getattr(model.blocks[layer], name)
                weight = torch.cat([base, base.new_zeros(fused.outputs, height)], dim=1)
                low = base.new_zeros(height, fused.inputs)
                self.slots[layer, name] = _Slot(fused, spans[0], tuple(spans[1:]), weight, low)
                end += sum(sizes)
        self.masters = torch.zeros(end, device=model.device)
        self.gradient, self.mean, self.square = (torch.zeros_like(self.masters) for _ in range(3))
        self.steps = 0
        draw = torch.Generator().manual_seed(seed)
        for slot in self.slots.values():
            spread = 2 * torch.rand(slot.down.stop - slot.down.start, generator=draw) - 1
            self.masters[slot.down] = (spread / math.sqrt(slot.fused.inputs)).to(model.device)
        self._anchor = torch.zeros((), device=model.device, requires_grad=True)
        self.refresh()

    def linear(self, x: Tensor, weight: Tensor, layer: int, name: str) -> Tensor:
        """The layer with its LoRA; `weight` is inside the slot already."""
        product: Tensor = _AugmentedProduct.apply(x, self._anchor, self, self.slots[layer, name])
        return product

    def refresh(self) -> None:
        """Copy the masters into the weights that compute."""
        for slot in self.slots.values():
            slot.low.copy_(self.masters[slot.down].view_as(slot.low))
            row, column = 0, slot.fused.inputs
            for part, span in zip(slot.fused.parts, slot.ups, strict=True):
                up = self.masters[span].view(part.outputs, self.rank) * self.scale
                slot.weight[row : row + part.outputs, column : column + self.rank] = up
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


class _AugmentedProduct(torch.autograd.Function):
    """[x, x A^T] [W, scale B]^T. The gradients of A and B go straight into the adapter's flat gradient.

    `anchor` has a gradient so that autograd comes here even where x has none (the first layer).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, lora: TrainableLora, slot: _Slot) -> Tensor:
        wide = torch.cat([x, x @ slot.low.T], dim=1)
        ctx.save_for_backward(wide)
        ctx.lora, ctx.slot, ctx.wants_input = lora, slot, x.requires_grad
        return wide @ slot.weight.T

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        lora, slot, inputs = ctx.lora, ctx.slot, ctx.slot.fused.inputs
        (wide,) = ctx.saved_tensors
        outer = gradients[0].contiguous()
        if ctx.wants_input:
            whole = outer @ slot.weight
            inner = whole[:, inputs:].contiguous()
            result = torch.addmm(whole[:, :inputs], inner, slot.low)
        else:
            inner, result = outer @ slot.weight[:, inputs:], None
        lora.gradient[slot.down] += (inner.T @ wide[:, :inputs]).flatten()
        row, column = 0, inputs
        for part, span in zip(slot.fused.parts, slot.ups, strict=True):
            part_outer, part_low = outer[:, row : row + part.outputs], wide[:, column : column + lora.rank]
            lora.gradient[span].add_((part_outer.T @ part_low).flatten(), alpha=lora.scale)
            row, column = row + part.outputs, column + lora.rank
        return result, None, None, None


def accumulate(lora: TrainableLora, texts: Sequence[Text]) -> float:
    """Add the batch's gradient of the mean loss (nats for an answer's token); returns that loss."""
    count = sum(len(text.answer) for text in texts)
    loss = 0.0
    for part in _parts(texts):
        total = _summed_loss(lora, part)
        (total / count).backward()  # type: ignore[no-untyped-call]
        loss += total.item() / count
    return loss


def _parts(texts: Sequence[Text]) -> list[list[Text]]:
    """The batch cut where its activations would need too much memory."""
    parts: list[list[Text]] = [[]]
    prefix = _shared(texts)
    for text in texts:
        if parts[-1] and prefix + sum(t.length - prefix for t in (*parts[-1], text)) > _MOST_TOKENS:
            parts.append([])
        parts[-1].append(text)
    return parts


def _shared(texts: Sequence[Text]) -> int:
    """How many tokens all prompts begin with; 0 where sharing them does not pay. Each keeps one of its own."""
    first = texts[0].prompt
    length = min(min(common_length(first, text.prompt), len(text.prompt) - 1) for text in texts)
    return length if length >= _SHORTEST_PREFIX and len(texts) > 1 else 0


def _summed_loss(lora: TrainableLora, texts: Sequence[Text]) -> Tensor:
    """Cross-entropy summed over the answers' tokens."""
    model = lora.model
    batch = _Batch(texts, model)
    x, rotation = model.embed(batch.ids), model.rotation(batch.positions)
    keep = len(batch.ids) <= _MOST_TOKENS
    last = model.config.layers - 1

    def block(x: Tensor, layer: int) -> Tensor:
        query, key, value = model.project(x, layer, rotation, lora)
        attended = batch.attend(query, key, value)
        if layer == last:  # from here on only the tokens that an answer's token follows matter
            x, attended = x[batch.chosen], attended[batch.chosen]
        return model.finish(x, attended, layer, lora)

    for layer in range(model.config.layers):
        # A text longer than the limit cannot be cut: its activations are computed a second time instead.
        x = block(x, layer) if keep else checkpoint(block, x, layer, use_reentrant=False)
    return F.cross_entropy(model.logits(x).float(), batch.targets, reduction="sum")


class _Batch:
    """Texts packed into one sequence of tokens: the shared prefix once, then each text's own tokens."""

    def __init__(self, texts: Sequence[Text], model: Llama) -> None:
        device = model.device
        self.prefix = _shared(texts)
        # The last token of an answer predicts nothing, so it is never computed.
        own = [(*text.prompt, *text.answer)[self.prefix : -1] for text in texts]
        self.rows, self.width = len(own), max(map(len, own))
        shared = texts[0].prompt[: self.prefix]
        self.ids = torch.tensor([*shared, *(token for ids in own for token in ids)], device=device)
        columns = [index for ids in own for index in range(len(ids))]
        self.positions = torch.tensor([*range(self.prefix), *(self.prefix + column for column in columns)], device=device)
        rows = [row for row, ids in enumerate(own) for _ in ids]
        self.places = torch.tensor([r * self.width + c for r, c in zip(rows, columns, strict=True)], device=device)
        chosen, end = [], self.prefix
        for text, ids in zip(texts, own, strict=True):
            end += len(ids)
            chosen += range(end - len(text.answer), end)
        self.chosen = torch.tensor(chosen, device=device)
        self.targets = torch.tensor([token for text in texts for token in text.answer], device=device)
        self._groups = model.config.heads // model.config.kv_heads
        later = torch.full((self.width, self.width), float("-inf"), device=device, dtype=model.dtype).triu(1)
        self._mask = F.pad(later, (self.prefix, 0)).repeat(self._groups, 1)
        first = torch.full((self.prefix, self.prefix), float("-inf"), device=device, dtype=model.dtype).triu(1)
        self._prefix_mask = first.repeat(self._groups, 1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Causal attention of each text: query [N, H, d], key and value [N, K, d] -> [N, H * d]."""
        count, _, width = query.shape
        kv_heads, groups, start = key.shape[1], self._groups, self.prefix
        spread = [_Spread.apply(x[start:], self.places, self.rows * self.width) for x in (query, key, value)]
        # Heads that share keys become rows of one product: [rows * K, G * width, d].
        queries = spread[0].view(self.rows, self.width, kv_heads, groups, width).permute(0, 2, 3, 1, 4)
        keys, values = (x.view(self.rows, self.width, kv_heads, width).transpose(1, 2) for x in spread[1:])
        if start:
            keys, values = (
                torch.cat([x[:start].transpose(0, 1).expand(self.rows, -1, -1, -1), own], dim=2)
                for x, own in ((key, keys), (value, values))
            )
        output = _softmax_attention(
            queries.reshape(-1, groups * self.width, width), keys.flatten(0, 1), values.flatten(0, 1), self._mask
        )
        output = output.view(self.rows, kv_heads, groups, self.width, width).permute(0, 3, 1, 2, 4)
        packed = _Gather.apply(output.reshape(self.rows * self.width, -1), self.places)
        if not start:
            return packed
        queries = query[:start].view(start, kv_heads, groups, width).permute(1, 2, 0, 3).reshape(kv_heads, -1, width)
        first = _softmax_attention(
            queries, key[:start].transpose(0, 1), value[:start].transpose(0, 1), self._prefix_mask
        )
        first = first.view(kv_heads, groups, start, width).permute(2, 0, 1, 3).reshape(start, -1)
        return torch.cat([first, packed])


def _softmax_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """query [R, S, d], key and value [R, T, d], mask [S, T] -> [R, S, d].

    Written out, because the backward pass of torch's fused CPU kernel takes several times longer.
    """
    scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=query.shape[-1] ** -0.5)
    return torch.softmax(scores, dim=-1) @ value


class _Spread(torch.autograd.Function):
    """Packed tokens [N, ...] to their places in a padded [size, ...], zeros elsewhere.

    Places differ, so the gradient is a plain gather; autograd's own rule would be a slow accumulating scatter.
    """

    @staticmethod
    def forward(ctx: Any, packed: Tensor, places: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(places)
        return packed.new_zeros(size, *packed.shape[1:]).index_copy_(0, places, packed)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (places,) = ctx.saved_tensors
        return gradients[0].index_select(0, places), None, None


class _Gather(torch.autograd.Function):
    """The tokens at `places` of a padded [size, ...]: the reverse of `_Spread`, and its gradient."""

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
