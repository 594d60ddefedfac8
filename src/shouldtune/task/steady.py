"""The split of an earlier run, kept although rows have come, gone or changed since.

A new draw would move half the rows to the other side: all of them would have to be asked again, and what had been
learnt from would be measured on. So whoever was held out stays held out, in its place, and a changed row stays where
the old one was. A new row is drawn to a side by a hash of its own, so that it falls to the same side whatever comes
beside it. Into the holdout it goes at a place drawn among all: a random order with rows put in at random places is a
random order, and so the limits that hold on its beginnings still do. Into the training half it goes in before the part
that settings are chosen on, where it disturbs least. A row that is nearly one of the other half is left out.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

from shouldtune.task.contents import Contents, hash_of
from shouldtune.types import Example

Halves = tuple[Sequence[Example], Sequence[Example], list[str]]
Unit = list[Example]
"""Rows that stand together: one, or those of a group."""
TRAIN, HELD = "train", "holdout"
TAIL, TAIL_SHARE = 96, 4
"""The largest part of the training half that settings are chosen on."""


def as_before(train: Sequence[Example], holdout: Sequence[Example], before: Contents, *, sides_given: bool) -> Halves:
    """(train, holdout, notes) from today's split of all rows, which knows their groups.

    With `sides_given` the user says which rows are held out, and only the order is that of before.
    """
    today = [*((example, TRAIN) for example in train), *((example, HELD) for example in holdout)]
    placed, same = _matched([example for example, _ in today], before)
    units: defaultdict[tuple[str, str], Unit] = defaultdict(list)
    for example, side in today:
        name = f"group {example.group}" if example.group is not None else f"row {example.id}"
        units[side if sides_given else "", name].append(example)
    share = len(before.holdout) / max(1, len(before.holdout) + len(before.train or train))
    halves: dict[str, list[Unit]] = {TRAIN: [], HELD: []}
    new: dict[str, list[Unit]] = {TRAIN: [], HELD: []}
    left_out = 0
    for (given, _), unit in units.items():
        stood = {placed[e.id][0] for e in unit if e.id in same} or {placed[e.id][0] for e in unit if e.id in placed}
        if len(stood) == 2 and not given:  # what stood apart before is linked by what is new: that is left out
            for side in (TRAIN, HELD):
                kept = [e for e in unit if e.id in same and placed[e.id][0] == side]
                halves[side] += [kept] if kept else []
                left_out -= len(kept)
            left_out += len(unit)
            continue
        drawn = HELD if before.train is not None and _drawn(unit, "side") < share else TRAIN
        side = given or (stood.pop() if stood else drawn)
        here = any(e.id in placed and placed[e.id][0] == side for e in unit)
        is_new = not here and (side == HELD or before.train is not None)
        (new if is_new else halves)[side].append(unit)
    ordered_train = _ordered(halves[TRAIN], TRAIN, placed) if before.train is not None else halves[TRAIN]
    found_train = _learnt(ordered_train, new[TRAIN])
    found_held = _mixed(_ordered(halves[HELD], HELD, placed), new[HELD])
    notes = [f"{left_out} rows left out: they are nearly rows of the other half"] if left_out else []
    return found_train, found_held, notes


def _matched(examples: Sequence[Example], before: Contents) -> tuple[dict[str, tuple[str, int]], set[str]]:
    """(by id, side and place before; ids of the rows that say what they said): by content first, then by id."""
    halves = ((TRAIN, before.train or ()), (HELD, before.holdout))
    rows = [(name, found, (side, place)) for side, half in halves for place, (name, found) in enumerate(half)]
    by_content = {found: (name, where) for name, found, where in rows}
    placed, taken = {}, set()
    for example in examples:
        known = by_content.get(hash_of(example))
        if known is not None:
            placed[example.id] = known[1]
            taken.add(known[0])
    same = set(placed)
    by_id = {name: where for name, _, where in rows if name not in taken}
    placed |= {e.id: by_id[e.id] for e in examples if e.id not in placed and e.id in by_id}
    return placed, same


def _ordered(units: Sequence[Unit], side: str, placed: dict[str, tuple[str, int]]) -> list[Unit]:
    """By the places that they had on that side; a place on the other one says nothing here."""

    def place(example: Example) -> int:
        stood, index = placed.get(example.id, ("", 0))
        return index if stood == side else 1 << 60

    return sorted((sorted(unit, key=place) for unit in units), key=lambda unit: place(unit[0]))


def _learnt(old: list[Unit], new: list[Unit]) -> tuple[Example, ...]:
    size = sum(map(len, old))
    tail, cut = min(TAIL, size // TAIL_SHARE), len(old)
    while cut and tail > 0:
        cut -= 1
        tail -= len(old[cut])
    by_hash = sorted(new, key=lambda unit: _drawn(unit, "order"))
    return tuple(example for unit in (*old[:cut], *by_hash, *old[cut:]) for example in unit)


def _mixed(old: list[Unit], new: list[Unit]) -> tuple[Example, ...]:
    mixed = list(old)
    for unit in sorted(new, key=lambda unit: _drawn(unit, "order")):
        mixed.insert(int(_drawn(unit, "place") * (len(mixed) + 1)), unit)
    return tuple(example for unit in mixed for example in unit)


def _drawn(unit: Unit, what: str) -> float:
    """A number in [0, 1) that hangs on what the rows say alone."""
    text = "\x1f".join((what, *sorted(map(hash_of, unit))))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2**64
