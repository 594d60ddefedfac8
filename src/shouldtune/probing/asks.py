"""Which changes are asked of which rows, and which probes that makes possible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shouldtune.causes import Probe
from shouldtune.probing.answers import Found, Kind, Row
from shouldtune.probing.changes import (
    Asked,
    closed_book,
    held_to_form,
    on_another_model,
    placebo,
    with_nearest_shots,
    with_right_passages,
)
from shouldtune.retrieval.bm25 import Bm25
from shouldtune.retrieval.chunks import Passage
from shouldtune.rungs.choosing import Groups
from shouldtune.types import Model, Task
from shouldtune.verdict.diagnosis import wrong_targets
from shouldtune.verdict.probes import PROBES


def changed_asks(
    task: Task, rows: Sequence[Row], right: Mapping[str, Sequence[Passage]], strong: Model | None
) -> dict[tuple[str, Kind], Asked]:
    """Every row under every change that changes something about it."""
    index, groups = Bm25([example.input for example in task.train]), Groups(task.train)
    asks: dict[tuple[str, Kind], Asked] = {}
    for row in rows:
        changed: dict[Kind, Asked | None] = {
            "placebo": placebo(row.asked),
            "form": held_to_form(row.asked, task.output),
            "passage": with_right_passages(row.asked, right.get(row.example.id, ())),
            "shots": with_nearest_shots(row.asked, row.example, groups, index),
            "stronger": on_another_model(row.asked, strong) if strong is not None else None,
        }
        asks |= {(row.example.id, kind): asked for kind, asked in changed.items() if asked is not None}
    return asks


def beside_asks(random: Sequence[Row], right: Mapping[str, Sequence[Passage]]) -> dict[tuple[str, Kind], Asked]:
    """The random sample with the right passages, and without any."""
    asks: dict[tuple[str, Kind], Asked] = {}
    for row in random:
        changed: dict[Kind, Asked | None] = {
            "passage": with_right_passages(row.asked, right[row.example.id]),
            "closed_book": closed_book(row.asked),
        }
        asks |= {(row.example.id, kind): asked for kind, asked in changed.items() if asked is not None}
    return asks


def possible_probes(found: Found, labelled: bool, known: bool, strong: Model | None) -> tuple[Probe, ...]:
    """The probes that could be run; `known`: whether the right passage of any failure is."""
    judged = labelled and wrong_targets(found.doubts, 0.05).estimate is not None
    can = {
        "label": judged or bool(found.doubts.doubts) or strong is not None,
        "form": True,
        "passage": known,
        "shots": True,
        "stronger": strong is not None,
    }
    return tuple(probe for probe in PROBES if can[probe])


def length_of(asked: Asked) -> int:
    """Characters of a prompt."""
    shots = sum(len(question) + len(answer) for question, answer in asked.prompt.shots)
    return len(asked.prompt.instruction) + shots + len(asked.content)
