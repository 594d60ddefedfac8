"""Generate answers for many prompts at once.

What makes it quick: the tokens that all prompts begin with are computed once and kept between calls;
prompts run in batches sorted by length (decoding.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from shouldtune.models.attention import Rows, attend_prompts
from shouldtune.models.decoding import Batch, Generated, Listener, Request, Stopped
from shouldtune.models.label_trie import LabelTrie, score_labels
from shouldtune.models.prefixes import Prefix, PrefixCache, split_by_prefix

if TYPE_CHECKING:
    from shouldtune.models.llama import Adapter, Llama

_CACHE_BYTES = 512 << 20  # a batch's keys and values


class Generator:
    """A model's generation loop, with the prefixes it remembers."""

    def __init__(self, model: Llama, decode: Callable[[Sequence[int]], str]) -> None:
        self.model = model
        self._decode = decode
        config = model.config
        none = torch.empty(config.layers, config.kv_heads, 0, config.head_width, dtype=model.dtype, device=model.device)
        self._prefixes = PrefixCache(Prefix((), none, none))

    @torch.inference_mode()
    def generate(
        self,
        requests: Sequence[Request],
        adapter: Adapter | None = None,
        adapter_key: str = "",
        should_stop: Callable[[], bool] = lambda: False,
    ) -> list[Generated]:
        """Answer every request, in order. Each prompt must fit the window and hold at least one token.

        `adapter_key` keeps the prefixes of different adapters apart. Raises Stopped once `should_stop()`.
        """
        answers: dict[int, Generated] = {}
        for group in split_by_prefix([request.ids for request in requests]):
            prompts = [requests[index].ids for index in group]
            prefix = self._prefix(prompts, adapter, adapter_key, should_stop)
            order = sorted(group, key=lambda index: -len(requests[index].ids))
            for trie, indices in _by_labels(order, requests).items():
                if should_stop():
                    raise Stopped
                answers.update(self._scored(trie, indices, requests, prefix, adapter))
            order = [index for index in order if requests[index].labels is None]
            for batch_of in self._batches(order, requests, prefix.length):
                indices = [index for index in batch_of if not _has_left(requests[index].listener)]
                answers.update((index, Generated((), "stop", 0)) for index in batch_of if index not in indices)
                if not indices:
                    continue
                batch = Batch(self.model, self._decode, [requests[index] for index in indices], prefix, adapter)
                answers.update(zip(indices, batch.run(should_stop), strict=True))
        return [answers[index] for index in range(len(requests))]

    def _scored(
        self,
        trie: LabelTrie,
        indices: list[int],
        requests: Sequence[Request],
        prefix: Prefix,
        adapter: Adapter | None,
    ) -> dict[int, Generated]:
        """The answers of requests that choose among the same labels."""
        rows = score_labels(self.model, adapter, prefix, [requests[index].ids for index in indices], trie)
        answers = {}
        for index, scores in zip(indices, rows, strict=True):
            computed = len(requests[index].ids) - prefix.length + len(trie.tokens)
            best = max(range(len(scores)), key=scores.__getitem__)
            answers[index] = Generated(trie.label_ids[best], "stop", computed, scores)
        return answers

    def _prefix(
        self,
        prompts: list[Sequence[int]],
        adapter: Adapter | None,
        adapter_key: str,
        should_stop: Callable[[], bool],
    ) -> Prefix:
        """Keys and values of what the prompts begin with, from memory as far as possible."""
        wanted = self._prefixes.worth_sharing(prompts, adapter_key)
        known = self._prefixes.find(wanted, adapter_key)
        if known.length < len(wanted):
            known = self._extend(known, wanted, adapter, should_stop)
            self._prefixes.keep(known, adapter_key)
        return known

    def _extend(
        self, known: Prefix, ids: Sequence[int], adapter: Adapter | None, should_stop: Callable[[], bool]
    ) -> Prefix:
        """Compute the prefix `ids` from the part of it that is known."""
        model, device = self.model, self.model.device
        fresh = torch.tensor(ids[known.length :], device=device)
        x = model.embed(fresh)
        rotation = model.rotation(torch.arange(known.length, len(ids), device=device))
        keys, values = [], []
        column, heads = torch.arange(len(fresh), device=device), (model.config.heads, model.config.kv_heads)
        rows = Rows(torch.zeros_like(column), column, heads, known.length, model.dtype)
        for layer in range(model.config.layers):
            if should_stop():
                raise Stopped
            query, key, value = model.project(x, layer, rotation, adapter)
            past_key, past_value = known.keys[layer], known.values[layer]
            keys.append(torch.cat([past_key, key.transpose(0, 1)], dim=1))
            values.append(torch.cat([past_value, value.transpose(0, 1)], dim=1))
            if layer == model.config.layers - 1:
                break  # a prefix is wanted for its keys and values alone
            past = past_key.contiguous(), past_value.contiguous()
            attended = attend_prompts(query, key, value, past, rows)
            x = model.finish(x, attended, layer, adapter)
        return Prefix(tuple(ids), torch.stack(keys), torch.stack(values))

    def _batches(self, order: list[int], requests: Sequence[Request], shared: int) -> list[list[int]]:
        """Cut the sorted requests into batches whose keys and values fit the memory allowed."""
        config = self.model.config
        column = 2 * config.layers * config.kv_heads * config.head_width * self.model.norm.element_size()
        batches: list[list[int]] = []
        longest = answer = 0
        for index in order:
            own = len(requests[index].ids) - shared
            longest, answer = max(longest, own), max(answer, requests[index].max_tokens)
            if batches and (len(batches[-1]) + 1) * (longest + answer) * column <= _CACHE_BYTES:
                batches[-1].append(index)
            else:
                batches.append([index])
                longest, answer = own, requests[index].max_tokens
        return batches


def _has_left(listener: Listener | None) -> bool:
    """Whether nobody waits for the answer any more."""
    return listener is not None and listener.left


def _by_labels(order: list[int], requests: Sequence[Request]) -> dict[LabelTrie, list[int]]:
    """The requests that choose among labels, by their trie."""
    groups: dict[LabelTrie, list[int]] = {}
    for index in order:
        trie = requests[index].labels
        if trie is not None:
            groups.setdefault(trie, []).append(index)
    return groups
