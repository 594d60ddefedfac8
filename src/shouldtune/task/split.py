"""Train and holdout: seeded, by group, near-duplicates on one side, stratified where targets are labels."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shouldtune.types import Example

NEAR = 0.8
"""Word-set Jaccard similarity from which two inputs count as near-duplicates."""


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
    """Pairs (i < j) of texts whose word sets have Jaccard similarity >= threshold.

    Prefix filtering (Bayardo, Ma & Srikant, "Scaling up all pairs similarity search", 2007): two sets that
    similar share a word among their rarest few, so only such pairs are compared.
    """
    sets = [frozenset(re.findall(r"\w+", text.lower())) for text in texts]
    frequency = Counter(word for words in sets for word in words)
    index: dict[str, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int]] = []
    for j, words in enumerate(sets):
        rare_first = sorted(words, key=lambda word: (frequency[word], word))
        prefix = rare_first[: len(words) - math.ceil(threshold * len(words)) + 1]
        for i in sorted({i for word in prefix for i in index[word]}):
            if len(words & sets[i]) >= threshold * len(words | sets[i]):
                pairs.append((i, j))
        for word in prefix:
            index[word].append(j)
    return pairs


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
