"""Targets that something speaks against: contradictions, and labels that two models without them would not give.

On a label set, each row is judged by a linear classifier that was fitted without it (cross-validation) and by its
nearest neighbours (BM25), itself and its group left out. A target is doubted where both name the same other label, and
the classifier with more confidence than it has in that label on the whole: confident learning (Northcutt, Jiang &
Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 2021), with the neighbours as a second
opinion, because a row that is only hard deceives one model more often than two.

How many targets are wrong is not the number of doubts: a weak classifier doubts hard rows, and misses wrong ones. Rows
that both are *surest* of are hardly hard, so what they disagree with there is mostly wrong (the anchor points of Menon
et al., "Learning from Corrupted Binary Labels via Class-Probability Estimation", ICML 2015): `surest` counts, in nested
sets from the surest tenth to the surest half, how many targets speak against both. `verdict/diagnosis.py` reads them:
where errors fall as the sets get surer it is difficulty, where they stay it is noise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shouldtune.causes import Doubt
from shouldtune.models.plain import Linear
from shouldtune.retrieval.bm25 import Bm25
from shouldtune.types import Example

Array = NDArray[np.float64]
FOLDS = 5
NEIGHBOURS = 8
PARTS = (0.1, 0.2, 0.33, 0.5)
FEWEST_SURE = 20
"""Rows in a set of the surest; with fewer it says nothing."""


@dataclass(frozen=True)
class Doubts:
    """What is known about the targets of some rows."""

    rows: int
    contradictory: int = 0
    """Different inputs that stand with more than one target, none of which accepts the other."""
    inputs: int = 0
    """Different inputs."""
    unreachable: float = 0.0
    """Share of the rows that no model can get right, because the same input wants other targets more often."""
    doubts: tuple[Doubt, ...] = ()
    """The surest first."""
    surest: tuple[tuple[int, int], ...] = ()
    """(rows, how many of their targets speak against both models) of nested sets; empty where it is no label set."""
    labels: int = 0
    """Different targets, where rows were judged by others; 0 where they were not."""
    ids: frozenset[str] = field(default=frozenset(), repr=False)

    def __contains__(self, example_id: str) -> bool:
        return example_id in self.ids


def doubt(examples: Sequence[Example], *, labelled: bool, seed: int = 0) -> Doubts:
    """Look for targets to doubt. `labelled`: whether targets are of a closed set, so that other rows speak about them.

    Asks no language model. Rows of one target alone, or fewer than FOLDS rows, are not judged by others.
    """
    contradicted, groups, unreachable = _contradictions(examples)
    found = contradicted
    surest: tuple[tuple[int, int], ...] = ()
    labels = len({example.target for example in examples}) if labelled and len(examples) >= FOLDS else 0
    if labels > 1:
        judged, surest = _judge(examples, seed)
        known = {each.example_id for each in contradicted}
        found = [*contradicted, *(each for each in judged if each.example_id not in known)]
    return Doubts(
        rows=len(examples),
        contradictory=sum(len(_sides(group)) > 1 for group in groups),
        inputs=len(groups),
        unreachable=unreachable,
        doubts=tuple(found),
        surest=surest,
        labels=labels,
        ids=frozenset(each.example_id for each in found),
    )


# ---------------------------------------------------------------- the same input, another target


def _contradictions(examples: Sequence[Example]) -> tuple[list[Doubt], list[list[Example]], float]:
    """(a doubt for each row that a majority of the same input speaks against, rows by input, share out of reach)."""
    by_input: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        by_input[" ".join(example.input.lower().split())].append(example)
    doubts, lost = [], 0
    for group in by_input.values():
        sides = _sides(group)
        if len(sides) < 2:
            continue
        common, most = sides.most_common(1)[0]
        lost += sum(common not in row.answers for row in group)
        for row in group:
            others = [other for other in group if other.target not in row.answers and row.target not in other.answers]
            if others and (row.target != common or most * 2 <= len(group)):
                doubts.append(Doubt(row.id, row.target, others[0].target, 1.0, tuple(o.id for o in others)))
    return doubts, list(by_input.values()), lost / len(examples) if examples else 0.0


def _sides(group: Sequence[Example]) -> Counter[str]:
    """How often each target stands, where at least two of them exclude each other; else a single side."""
    exclude = any(a.target not in b.answers and b.target not in a.answers for a in group for b in group)
    return Counter(row.target for row in group) if exclude else Counter({group[0].target: len(group)})


# ---------------------------------------------------------------- what other rows say about a label


def _judge(examples: Sequence[Example], seed: int) -> tuple[list[Doubt], tuple[tuple[int, int], ...]]:
    labels, likely = _out_of_fold(examples, seed)
    place = {label: i for i, label in enumerate(labels)}
    own = np.array([place[example.target] for example in examples])
    rows = np.arange(len(examples))
    counts = np.bincount(own, minlength=len(labels))
    usual = np.bincount(own, weights=likely[rows, own], minlength=len(labels)) / np.maximum(counts, 1)
    first = likely.argmax(axis=1)
    margin = likely[rows, first] - likely[rows, own]
    second = np.sort(likely, axis=1)[:, -2]
    index = Bm25([example.input for example in examples])
    neighbours = [_neighbours(examples, index, i) for i in range(len(examples))]
    named = [_plurality([examples[n] for n in near]) for near in neighbours]
    agree = np.array([name == labels[f] for name, f in zip(named, first, strict=True)])
    against = np.array([labels[f] not in e.answers for f, e in zip(first, examples, strict=True)])
    doubted = np.flatnonzero(agree & against & (likely[rows, first] >= usual[first]))
    doubts = [
        Doubt(
            examples[i].id,
            examples[i].target,
            labels[first[i]],
            float(margin[i]),
            tuple(examples[n].id for n in neighbours[i] if examples[n].target == labels[first[i]]),
        )
        for i in map(int, doubted[np.argsort(-margin[doubted], kind="stable")])
    ]
    sure = np.flatnonzero(agree)
    sure = sure[np.argsort(-(likely[sure, first[sure]] - second[sure]), kind="stable")]
    sizes = [round(part * len(examples)) for part in PARTS]
    return doubts, tuple((n, int(against[sure[:n]].sum())) for n in sizes if FEWEST_SURE <= n <= len(sure))


def _out_of_fold(examples: Sequence[Example], seed: int) -> tuple[tuple[str, ...], Array]:
    """(labels, how likely each is for each row by a classifier that was fitted without its fold and group)."""
    labels = tuple(sorted({example.target for example in examples}))
    place = {label: i for i, label in enumerate(labels)}
    units = {example.group or f"\x1f{example.id}" for example in examples}
    order = np.random.default_rng(seed).permutation(len(units))
    fold_of = dict(zip(sorted(units), order % FOLDS, strict=True))
    folds = np.array([fold_of[example.group or f"\x1f{example.id}"] for example in examples])
    likely = np.full((len(examples), len(labels)), 1.0 / len(labels))
    for fold in range(FOLDS):
        learn = [example for example, f in zip(examples, folds, strict=True) if f != fold]
        held = np.flatnonzero(folds == fold)
        if not len(held) or len({example.target for example in learn}) < 2:
            continue
        model = Linear(tuple((example.input, example.target) for example in learn))
        known, found = model.probabilities([examples[int(i)].input for i in held])
        likely[held] = 0.0
        likely[np.ix_(held, np.array([place[label] for label in known]))] = found
    return labels, likely


def _neighbours(examples: Sequence[Example], index: Bm25, i: int) -> list[int]:
    """The rows nearest to one, itself and its group left out."""
    me = examples[i]
    found = index.search(me.input, NEIGHBOURS + 8)
    return [n for n in found if n != i and (me.group is None or examples[n].group != me.group)][:NEIGHBOURS]


def _plurality(near: Sequence[Example]) -> str | None:
    """The commonest target among neighbours, the nearest first where several are."""
    return Counter(example.target for example in near).most_common(1)[0][0] if near else None
