"""Every label of a closed set scored in one pass over the prompt.

The labels' tokens form a tree that hangs on the prompt's last token; one forward pass computes its nodes, each seeing
the prompt and its own ancestors (tree attention, https://arxiv.org/abs/2305.09781). A label's log-probability is that
of the turns taken where the tree branches: what follows from the labels alone costs nothing and counts nothing, so
a long label is not punished for its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from shouldtune.models.attention import Rows, attend_prompts

if TYPE_CHECKING:
    from shouldtune.models.llama import Adapter, Llama
    from shouldtune.models.prefixes import Prefix

_TOKENS_AT_ONCE = 2048


@dataclass(frozen=True)
class LabelTrie:
    """The tree of some labels' tokens, down to its last branches.

    Place 0 is the prompt's last token, place i + 1 is node i. A turn is one child of a place that has several.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    """Each node's parent as a place; parents come first."""
    turns: tuple[tuple[int, int], ...]
    """(place, the child's token), places in order."""
    paths: tuple[tuple[int, ...], ...]
    """The turns that lead to each label."""
    label_ids: tuple[tuple[int, ...], ...]
    """Each label's tokens, the end of turn left out."""

    @classmethod
    def of(cls, labels: Sequence[Sequence[int]], end: int) -> LabelTrie:
        """labels: token ids of each, all different; `end` is the token that ends an answer."""
        ended = [(*ids, end) for ids in labels]
        children: dict[tuple[int, ...], set[int]] = {}
        for ids in ended:
            for depth, token in enumerate(ids):
                children.setdefault(ids[:depth], set()).add(token)
        branching = {path for path, tokens in children.items() if len(tokens) > 1}
        needed = sorted({path[:depth] for path in branching for depth in range(1, len(path) + 1)}, key=_by_depth)
        place = {(): 0} | {path: index for index, path in enumerate(needed, 1)}
        turns = [(path, token) for path in sorted(branching, key=place.__getitem__) for token in sorted(children[path])]
        number = {turn: index for index, turn in enumerate(turns)}
        return cls(
            tokens=tuple(path[-1] for path in needed),
            parents=tuple(place[path[:-1]] for path in needed),
            turns=tuple((place[path], token) for path, token in turns),
            paths=tuple(
                tuple(number[ids[:depth], ids[depth]] for depth in range(len(ids)) if ids[:depth] in branching)
                for ids in ended
            ),
            label_ids=tuple(map(tuple, labels)),
        )

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """How many tokens each node stands behind the prompt's last one."""
        depths = [0]
        for parent in self.parents:
            depths.append(depths[parent] + 1)
        return tuple(depths[1:])

    @cached_property
    def sees(self) -> Tensor:
        """[nodes, nodes]: whether a node sees another one: itself and its ancestors."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent:
                seen[node] |= seen[parent - 1]
        return seen

    @cached_property
    def members(self) -> Tensor:
        """[labels, turns]: 1 where a turn leads to the label."""
        members = torch.zeros(len(self.paths), len(self.turns))
        for label, path in enumerate(self.paths):
            members[label, list(path)] = 1.0
        return members


def _by_depth(path: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    return len(path), path


def score_labels(
    model: Llama, adapter: Adapter | None, prefix: Prefix, prompts: Sequence[Sequence[int]], trie: LabelTrie
) -> list[tuple[float, ...]]:
    """Log-probability (nats) of every label after every prompt; each prompt starts with the prefix and goes on."""
    if not trie.turns:
        return [(0.0,) for _ in prompts]  # a single label is certain
    scores: list[tuple[float, ...]] = []
    own = [list(ids[prefix.length :]) for ids in prompts]
    first = 0
    while first < len(own):
        last, total = first, 0
        while last < len(own) and (last == first or total + len(own[last]) + len(trie.tokens) <= _TOKENS_AT_ONCE):
            total += len(own[last]) + len(trie.tokens)
            last += 1
        scores += [tuple(row) for row in _score(model, adapter, prefix, own[first:last], trie).tolist()]
        first = last
    return scores


def _score(model: Llama, adapter: Adapter | None, prefix: Prefix, own: list[list[int]], trie: LabelTrie) -> Tensor:
    """[rows, labels]. A row's layout: its prompt's tokens from column 0, pads, then the nodes from column `width`."""
    device, nodes, width = model.device, len(trie.tokens), max(map(len, own))
    ids: list[int] = []
    places: list[int] = []
    positions: list[int] = []
    for number, row in enumerate(own):
        ids += [*row, *trie.tokens]
        first = number * (width + nodes)
        places += [*range(first, first + len(row)), *range(first + width, first + width + nodes)]
        positions += [*range(len(row)), *(len(row) - 1 + depth for depth in trie.depths)]
    place, x = torch.tensor(places, device=device), model.embed(torch.tensor(ids, device=device))
    rotation = model.rotation(torch.tensor(positions, device=device) + prefix.length)
    heads, across = (model.config.heads, model.config.kv_heads), width + nodes
    rows = Rows(place // across, place % across, heads, prefix.length, model.dtype, _mask(own, width, trie).to(device))
    for layer in range(model.config.layers):
        query, key, value = model.project(x, layer, rotation, adapter)
        past = prefix.keys[layer].contiguous(), prefix.values[layer].contiguous()
        x = model.finish(x, attend_prompts(query, key, value, past, rows), layer, adapter)
    ends = torch.tensor([len(row) - 1 for row in own]).cumsum(0) + torch.arange(len(own)) * (nodes + 1)
    speaking = (ends[:, None] + torch.arange(nodes + 1)[None]).to(device)
    states = model.normed(x)[speaking]  # [rows, places, width]
    turn_places, turn_tokens = (list(column) for column in zip(*trie.turns, strict=True))
    logits = torch.einsum("rtw,tw->rt", states[:, turn_places], model.head.weight[turn_tokens]).float()
    sizes = [turn_places.count(each) for each in dict.fromkeys(turn_places)]
    chances = torch.cat([part.log_softmax(-1) for part in torch.split(logits, sizes, dim=1)], dim=1)
    return chances @ trie.members.to(device).T


def _mask(own: list[list[int]], width: int, trie: LabelTrie) -> Tensor:
    """[rows, T, T], added to the scores: prompts are causal, nodes see the prompt and their own branch."""
    nodes = len(trie.tokens)
    sees = torch.ones(width + nodes, width + nodes, dtype=torch.bool).tril()
    sees[width:, width:] = trie.sees
    there = torch.ones(len(own), width + nodes, dtype=torch.bool)
    for number, row in enumerate(own):
        there[number, len(row) : width] = False
    allowed = sees[None] & there[:, None]
    return torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
