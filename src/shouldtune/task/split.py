"""Train and holdout: seeded, by group, near-duplicates on one side, stratified where targets are labels."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, groupby

import numpy as np
from numpy.typing import NDArray

from shouldtune.types import Example

NEAR = 0.8
"""Word-set Jaccard similarity from which two inputs count as near-duplicates."""
SHORT = 32
"""Different words up to which a text is found by pairs of them; of a longer one there are too many pairs."""


def split(examples: Sequence[Example], holdout_size: int, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Draw about `holdout_size` examples to measure on; the rest may be learnt from.

    Returns (train, holdout), each in seeded random order. Examples of one group, and near-duplicates, are one
    unit: they stand together on one side and next to each other. Where targets repeat like labels, each label
    gives its share to the holdout.
    """
    units = _units(examples)
    order = np.random.default_rng(seed).permutation(len(units))
    shuffled = [units[index] for index in order]
    strata: dict[str, list[list[Example]]] = defaultdict(list)
    labelled = looks_labelled(examples)
    for unit in shuffled:
        strata[unit[0].target if labelled else ""].append(unit)
    share = holdout_size / len(examples)
    held: set[str] = set()
    wanted = taken = 0.0
    for stratum in sorted(strata):  # the running total keeps small strata from all rounding to the same side
        for unit in strata[stratum]:
            wanted += share * len(unit)
            if wanted - taken >= len(unit) / 2:
                held.update(example.id for example in unit)
                taken += len(unit)
    flat = [example for unit in shuffled for example in unit]
    return tuple(e for e in flat if e.id not in held), tuple(e for e in flat if e.id in held)


def looks_labelled(examples: Sequence[Example]) -> bool:
    """Whether targets repeat enough to be treated as labels: at least three rows for each on average."""
    return len({example.target for example in examples}) * 3 <= len(examples)


def near_duplicates(texts: Sequence[str], threshold: float = NEAR) -> list[tuple[int, int]]:
    """Pairs (i < j) of texts whose word sets have Jaccard similarity >= threshold, by j, then by i.

    Prefix filtering (Bayardo, Ma & Srikant, "Scaling up all pairs similarity search", 2007): two sets that similar
    share a word among their rarest few, so only such pairs are compared. Short texts share two among one more (Wang,
    Li & Feng, "Can we beat the prefix filtering?", 2012), and few pairs of texts share two rare words: then the time
    grows with the texts rather than with their square.
    """
    frequency = Counter(word for text in texts for word in _words(text))
    ranks = {word: rank for rank, word in enumerate(sorted(frequency, key=lambda word: (frequency[word], word)))}
    rarest_first = [array("l", sorted(ranks[word] for word in _words(text))) for text in texts]
    keys, owners = array("q"), array("q")
    for owner, words in enumerate(rarest_first):
        found = _keys(words, threshold, len(ranks))
        keys.extend(found)
        owners.extend([owner] * len(found))
    return [
        (i, j)
        for j, before in _sharing(np.array(keys), np.array(owners))
        for i in before
        if _alike(rarest_first[i], rarest_first[j], threshold)
    ]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _keys(words: Sequence[int], threshold: float, vocabulary: int) -> list[int]:
    """What a text has in common with every text that is so similar: words, and pairs of words where it is short."""
    size = len(words)
    shared = math.ceil(threshold * size - 1e-9)  # with any text that is so similar
    found: list[int] = []
    # Of two that similar, one may be short and the other not: those near the border have both kinds of keys.
    if size >= threshold * SHORT or size <= 1 / threshold**2:
        found += words[: size - shared + 1]
    if size <= SHORT and shared > 1:
        found += [vocabulary * (a + 1) + b for a, b in combinations(words[: size - shared + 2], 2)]
    return found


def _sharing(keys: NDArray[np.int64], owners: NDArray[np.int64]) -> Iterator[tuple[int, list[int]]]:
    """Each owner in turn with those before it that share a key with it; none that share with nobody.

    `owners` go up. One owner's at a time, for where all texts are alike all pairs would not fit into memory.
    """
    order = np.argsort(keys, kind="stable")  # so the owners of one key still go up
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_key, ordered = keys[order], owners[order]
    first = np.searchsorted(by_key, by_key)  # where the owners of the same key begin
    met = np.flatnonzero(first[place] < place)
    for owner, of_owner in groupby(met.tolist(), key=owners.__getitem__):
        before = [ordered[first[place[index]] : place[index]] for index in of_owner]
        yield int(owner), np.unique(np.concatenate(before)).tolist()


def _alike(a: Sequence[int], b: Sequence[int], threshold: float) -> bool:
    together = len(set(a).intersection(b))
    return together >= threshold * (len(a) + len(b) - together)


def _units(examples: Sequence[Example]) -> list[list[Example]]:
    """Connected components of "same group or near-duplicate input"; members of one with several get its group name."""
    parent = list(range(len(examples)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    links = near_duplicates([example.input for example in examples])
    first_of_group: dict[str, int] = {}
    for index, example in enumerate(examples):
        if example.group is not None:
            links.append((first_of_group.setdefault(example.group, index), index))
    for i, j in links:
        parent[find(j)] = find(i)
    components: dict[int, list[int]] = defaultdict(list)
    for index in range(len(examples)):
        components[find(index)].append(index)
    units = []
    for members in components.values():
        unit = [examples[index] for index in members]
        if len(unit) > 1:
            name = unit[0].group or f"near:{unit[0].id}"
            unit = [replace(example, group=name) for example in unit]
        units.append(unit)
    return units
