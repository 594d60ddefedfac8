"""One batch of LoRA training: forward, loss on the answers' tokens, backward.

What makes it quick on a CPU: the tokens that a batch's prompts share are computed once, with gradient; the linear
layers see no pads; the output head sees the answers' tokens alone; the base is frozen and gets no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from shouldtune.models.llama import Llama
from shouldtune.tuning.blocks import Blocks, kept_width
from shouldtune.tuning.packing import Packed, Text, shared
from shouldtune.tuning.trainable import TrainableLora

_ACTIVATION_BYTES = 448 << 20
"""What a batch's activations, kept for the backward pass, may take; a larger batch is computed in parts."""
_ROWS_AT_ONCE = 16
"""Of logits, whose cross-entropy is taken."""


def accumulate(lora: TrainableLora, texts: Sequence[Text]) -> float:
    """Add the batch's gradient of the mean loss (nats for an answer's token); returns that loss."""
    count = sum(len(text.answer) for text in texts)
    return sum(_add(lora, part, count) for part in _parts(texts, tokens_at_once(lora.model)))


def tokens_at_once(model: Llama) -> int:
    """Tokens whose kept activations fit the memory allowed: for a 135M model a token takes 0.8 MB in float32."""
    each = model.config.layers * kept_width(model) * model.norm.element_size()
    return max(1, _ACTIVATION_BYTES // each)


def _parts(texts: Sequence[Text], most_tokens: int) -> list[list[Text]]:
    """The batch cut where its activations would need too much memory."""
    parts: list[list[Text]] = [[]]
    prefix = shared(texts)
    for text in texts:
        if parts[-1] and prefix + sum(t.length - prefix for t in (*parts[-1], text)) > most_tokens:
            parts.append([])
        parts[-1].append(text)
    return parts


def _add(lora: TrainableLora, texts: Sequence[Text], count: int) -> float:
    """Add the gradient of the part's share of the mean loss over `count` tokens; returns that share."""
    model = lora.model
    packed = Packed(texts, model)
    # A text longer than the limit cannot be cut: its activations are computed a second time instead.
    blocks = Blocks(lora, packed, keep=len(packed.ids) <= tokens_at_once(model))
    with torch.no_grad():
        last = blocks.forward().requires_grad_()
    with torch.enable_grad():
        normed = model.normed(last)
    with torch.no_grad():
        logits = model.head(normed)
        loss = _to_slopes(logits, packed.targets, count)
        outer = logits @ model.head.weight
    (gradient,) = torch.autograd.grad(normed, last, outer)
    with torch.no_grad():
        blocks.backward(gradient)
    return loss


def _to_slopes(logits: Tensor, targets: Tensor, count: int) -> float:
    """The cross-entropy summed over tokens and divided by `count`; logits [M, vocabulary] become its gradient.

    In float32, some rows at a time: all at once it is tens of megabytes that every step would have to be given anew.
    """
    loss = torch.zeros((), device=logits.device)
    for some, right in zip(*(torch.split(x, _ROWS_AT_ONCE) for x in (logits, targets)), strict=True):
        place = torch.arange(len(right), device=right.device), right
        chances = torch.log_softmax(some, dim=-1, dtype=torch.float32)
        loss -= chances[place].sum()
        chances.exp_()[place] -= 1.0
        torch.div(chances, count, out=some)
    return loss.item() / count


__all__ = ["Text", "accumulate", "tokens_at_once"]
