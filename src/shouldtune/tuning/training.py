"""One batch of LoRA training in plain torch: forward, loss on the answers' tokens, backward.

What makes it quick on a CPU: the tokens that a batch's prompts share are computed once, with gradient; the linear
layers see no pads; the output head sees the answers' tokens alone; the base is frozen and gets no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as nn
from torch.utils.checkpoint import checkpoint

from shouldtune.models.derivatives import gather, spread
from shouldtune.models.llama import Llama
from shouldtune.models.prefixes import common_length
from shouldtune.tuning.trainable import TrainableLora

_SHORTEST_PREFIX = 16
_ACTIVATION_BYTES = 448 << 20
"""What a batch's activations, kept for the backward pass, may take; a larger batch is computed in parts."""


@dataclass(frozen=True)
class Text:
    """One training text as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    """What is learned, the end of turn included."""

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.answer)


def accumulate(lora: TrainableLora, texts: Sequence[Text]) -> float:
    """Add the batch's gradient of the mean loss (nats for an answer's token); returns that loss."""
    count = sum(len(text.answer) for text in texts)
    loss = 0.0
    for part in _parts(texts, tokens_at_once(lora.model)):
        total = _summed_loss(lora, part)
        (total / count).backward()  # type: ignore[no-untyped-call]
        loss += total.item() / count
    return loss


def tokens_at_once(model: Llama) -> int:
    """Tokens whose kept activations fit the memory allowed: a token keeps some ten vectors of the model's width a layer
    and four of its inner one (for a 135M model 1.4 MB in float32)."""
    config = model.config
    each = config.layers * (10 * config.width + 4 * config.mlp_width) * model.norm.element_size()
    return max(1, _ACTIVATION_BYTES // each)


def _parts(texts: Sequence[Text], most_tokens: int) -> list[list[Text]]:
    """The batch cut where its activations would need too much memory."""
    parts: list[list[Text]] = [[]]
    prefix = _shared(texts)
    for text in texts:
        if parts[-1] and prefix + sum(t.length - prefix for t in (*parts[-1], text)) > most_tokens:
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
    keep = len(batch.ids) <= tokens_at_once(model)
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
    return nn.cross_entropy(model.logits(x).float(), batch.targets, reduction="sum")


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
        self.positions = torch.tensor([*range(self.prefix), *(self.prefix + c for c in columns)], device=device)
        rows = [row for row, ids in enumerate(own) for _ in ids]
        self.places = torch.tensor([r * self.width + c for r, c in zip(rows, columns, strict=True)], device=device)
        chosen: list[int] = []
        end = self.prefix
        for text, ids in zip(texts, own, strict=True):
            end += len(ids)
            chosen += range(end - len(text.answer), end)
        self.chosen = torch.tensor(chosen, device=device)
        self.targets = torch.tensor([token for text in texts for token in text.answer], device=device)
        self._groups = model.config.heads // model.config.kv_heads
        later = torch.full((self.width, self.width), float("-inf"), device=device, dtype=model.dtype).triu(1)
        self._mask = nn.pad(later, (self.prefix, 0)).repeat(self._groups, 1)
        first = torch.full((self.prefix, self.prefix), float("-inf"), device=device, dtype=model.dtype).triu(1)
        self._prefix_mask = first.repeat(self._groups, 1)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Causal attention of each text: query [N, H, d], key and value [N, K, d] -> [N, H * d]."""
        width = query.shape[-1]
        kv_heads, groups, start = key.shape[1], self._groups, self.prefix
        padded = [spread(x[start:], self.places, self.rows * self.width) for x in (query, key, value)]
        # Heads that share keys become rows of one product: [rows * K, G * width, d].
        queries = padded[0].view(self.rows, self.width, kv_heads, groups, width).permute(0, 2, 3, 1, 4)
        keys, values = (x.view(self.rows, self.width, kv_heads, width).transpose(1, 2) for x in padded[1:])
        if start:
            keys, values = (
                torch.cat([x[:start].transpose(0, 1).expand(self.rows, -1, -1, -1), own], dim=2)
                for x, own in ((key, keys), (value, values))
            )
        output = _softmax_attention(
            queries.reshape(-1, groups * self.width, width), keys.flatten(0, 1), values.flatten(0, 1), self._mask
        )
        output = output.view(self.rows, kv_heads, groups, self.width, width).permute(0, 3, 1, 2, 4)
        packed = gather(output.reshape(self.rows * self.width, -1), self.places)
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
