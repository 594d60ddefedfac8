"""Measuring a learning curve: which examples it learns from, what it is scored on, and when it is not worth it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shouldtune.curves import CurvePoint
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.rungs.choosing import parted
from shouldtune.rungs.few_shot import FewShot
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.learning_curve import learning_curve, parts_of, scores_beside, why_no_curve
from shouldtune.rungs.retrieval import Retrieval
from shouldtune.scorers import load_scorer
from shouldtune.tuning.subsets import curve_parts
from shouldtune.types import Conversation, Example, Model, Models, Task, TuneSettings


def examples(n: int, group_of: int = 0) -> tuple[Example, ...]:
    groups = [f"g{i // group_of}" if group_of else None for i in range(n)]
    return tuple(Example(f"e{i}", f"question {i}", f"answer {i}", group=group) for i, group in enumerate(groups))


def ids(some: Sequence[Example]) -> set[str]:
    return {example.id for example in some}


def a_task(n: int, group_of: int = 0) -> Task:
    return Task("toy", "Answer.", examples(n, group_of), load_scorer("exact", Path(), "toy"))


@dataclass(frozen=True)
class Learner(Scripted):
    """A scripted model that gets better with every example it is tuned on, and remembers how many."""

    learnt: int = 0

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        for epoch in range(1, settings.epochs + 1):
            ability = len(conversations) / 100 * epoch / settings.epochs
            yield replace(self, abilities=Abilities(tuned=min(1.0, ability)), is_tuned=True, learnt=len(conversations))


def learner(task: Task) -> Learner:
    return Learner({example.input: example.target for example in task.train})


def measured(task: Task) -> list[CurvePoint]:
    async def collect() -> list[CurvePoint]:
        model = learner(task)
        return [point async for point in learning_curve(task, Models(model, model), FineTune(), curve_parts(task))]

    return asyncio.run(collect())


def test_a_chain_is_nested_by_prefix_and_two_chains_share_nothing() -> None:
    subsets = curve_parts(a_task(400)).subsets  # of 368 rows that a full fine-tune would learn from
    assert [(len(s.examples), s.chain) for s in subsets] == [(23, 0), (23, 1), (46, 0), (46, 1), (92, 0), (92, 1)]
    for chain in (0, 1):
        small, middle, large = (s.examples for s in subsets if s.chain == chain)
        assert large[:23] == small
        assert large[:46] == middle
    assert not ids(subsets[4].examples) & ids(subsets[5].examples)


@pytest.mark.parametrize("group_of", [0, 7, 30])
def test_no_group_stands_in_two_chains_or_in_a_chain_and_the_unseen_part(group_of: int) -> None:
    parts = curve_parts(a_task(400, group_of))
    sides = [{e.group or e.id for s in parts.subsets if s.chain == k for e in s.examples} for k in (0, 1)]
    unseen = {e.group or e.id for e in parts.unseen}
    assert parts.unseen
    assert not (sides[0] & sides[1] or sides[0] & unseen or sides[1] & unseen)


def test_the_unseen_part_is_bounded_and_the_rung_beside_is_fitted_without_it() -> None:
    task = a_task(2000)
    parts = parts_of(task)
    assert len(parts.unseen) == 256
    assert not ids(parts.rest.train) & ids(parts.unseen)
    assert len(parts.rest.train) + 256 + len(parted(task)[1]) == 2000


@pytest.mark.parametrize(("n", "subsets"), [(0, 0), (1, 0), (3, 0), (15, 4), (17, 4), (18, 6), (24, 6)])
def test_a_handful_of_examples_gives_few_subsets_or_none(n: int, subsets: int) -> None:
    parts = curve_parts(a_task(n))
    assert all(0 < len(s.examples) <= n for s in parts.subsets)
    assert len(parts.subsets) == subsets


def test_the_points_show_what_the_small_tunes_learnt_on_rows_that_none_of_them_saw() -> None:
    task = a_task(400)
    points = measured(task)
    full = len(task.halves()[0])
    assert [(p.size, p.subset) for p in points] == [(full // share, k) for share in (16, 8, 4) for k in (0, 1)]
    for point in points:
        assert point.score == pytest.approx(point.size / 100, abs=0.1), "the last epoch's score"
        assert point.rows == len(curve_parts(task).unseen)


def test_a_rung_beside_is_scored_on_the_same_rows_or_says_that_it_cannot() -> None:
    task = a_task(400)
    parts, model = curve_parts(task), Scripted.knowing(task.train, Abilities(shots={2: 0.5}))
    found = asyncio.run(scores_beside(FewShot(), Models(model), parts, task))
    assert found is not None
    assert len(found) == len(parts.unseen)
    assert sum(score or 0.0 for score in found) / len(found) == pytest.approx(0.5, abs=0.12)
    assert asyncio.run(scores_beside(Retrieval(), Models(model), parts, task)) is None


def test_a_curve_is_not_measured_where_it_would_tell_nothing_or_cost_more_than_it_saves() -> None:
    task, small = a_task(400), a_task(140)
    models = Models(learner(task), learner(task))
    assert why_no_curve(task, models) is None
    assert "128" in str(why_no_curve(small, models))
    assert "named" in str(why_no_curve(task, Models(learner(task))))
    assert "tenth" in str(why_no_curve(task, models, price=0.4, budget=5.0))
    assert why_no_curve(task, models, price=0.6, budget=5.0) is None
    with pytest.raises(ValueError, match="128"):
        measured(small)
