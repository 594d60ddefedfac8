"""Train and holdout: seeded, by group, near-duplicates on one side, stratified where targets are labels."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shouldtune.spool import ExampleSpool, Rows, distinct
from shouldtune.task.alike import near_duplicates
from shouldtune.types import Example

Ints = NDArray[np.int64]


def split(examples: Sequence[Example], holdout_size: int, seed: int) -> tuple[Rows[Example], Rows[Example]]:
    """Draw about `holdout_size` examples to measure on; the rest may be learnt from.

    Returns (train, holdout), each in seeded random order. Examples of one group, and near-duplicates, are one
    unit: they stand together on one side and next to each other. Where targets repeat like labels, each label
    gives its share to the holdout. Of all examples a few numbers are held, and
    each different target once.
    """
    units = _units(examples)
    order = np.random.default_rng(seed).permutation(len(units.first))
    held = np.zeros(len(order), dtype=bool)
    share = holdout_size / len(examples)
    wanted = taken = 0.0
    for stratum in _strata(examples, units, order):  # the running total keeps small strata from all rounding alike
        for unit in stratum:
            size = int(units.size[unit])
            wanted += share * size
            if wanted - taken >= size / 2:
                held[unit] = True
                taken += size
    turn = np.empty_like(order)
    turn[order] = np.arange(len(order))
    flat = np.argsort(turn[units.of_row], kind="stable")
    train, holdout = ExampleSpool(), ExampleSpool()
    for row in flat:
        (holdout if held[units.of_row[row]] else train).add(_grouped(examples, int(row), units))
    return train.rows(), holdout.rows()


def looks_labelled(examples: Sequence[Example]) -> bool:
    """Whether targets repeat enough to be treated as labels: at least three rows for each on average."""
    return len(distinct(hashes(example.target for example in examples))) * 3 <= len(examples)


def hashes(values: Iterator[object]) -> Ints:
    """A number for each value, the same for the same one: enough to tell them apart in one process."""
    return np.array(array("q", map(hash, values)), dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Units:
    """Connected components of "same group or near-duplicate input", numbered by their first rows."""

    of_row: Ints
    first: Ints
    """Row."""
    size: Ints


def _units(examples: Sequence[Example]) -> _Units:
    parent = np.arange(len(examples))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    def link(i: int, j: int) -> None:
        parent[find(j)] = find(i)

    for i, j in near_duplicates(example.input for example in examples):
        link(i, j)
    rows = np.array(
        array("q", (row for row, example in enumerate(examples) if example.group is not None)), dtype=np.int64
    )
    groups = hashes(example.group for example in examples if example.group is not None)
    firsts, of_row = np.unique(groups, return_index=True, return_inverse=True)[1:]
    for row, first in zip(rows, rows[firsts[of_row]], strict=True):
        if first != row:
            link(int(first), int(row))
    roots = np.fromiter(map(find, range(len(examples))), dtype=np.int64, count=len(examples))
    first = np.full(len(examples), len(examples))
    np.minimum.at(first, roots, np.arange(len(examples)))
    lead = first[roots]  # the first row of each row's unit
    leads = lead == np.arange(len(examples))
    of_row = (np.cumsum(leads) - 1)[lead]
    return _Units(of_row, np.flatnonzero(leads), np.bincount(of_row))


def _strata(examples: Sequence[Example], units: _Units, order: Ints) -> Iterator[Ints]:
    """The units of each target in turn, where targets are labels; else all at once. In the order given."""
    if not looks_labelled(examples):
        yield order
        return
    codes: dict[str, int] = {}
    of_row = np.array(array("q", (codes.setdefault(e.target, len(codes)) for e in examples)), dtype=np.int64)
    of_ordered = of_row[units.first[order]]
    by_code = np.argsort(of_ordered, kind="stable")
    starts = np.searchsorted(of_ordered[by_code], np.arange(len(codes) + 1))
    for target in sorted(codes):
        code = codes[target]
        yield order[by_code[starts[code] : starts[code + 1]]]


def _grouped(examples: Sequence[Example], row: int, units: _Units) -> Example:
    """The example; one of a unit with several has its unit's name as its group."""
    example, unit = examples[row], units.of_row[row]
    if units.size[unit] == 1:
        return example
    first = int(units.first[unit])
    lead = example if first == row else examples[first]
    return replace(example, group=lead.group or f"near:{lead.id}")
