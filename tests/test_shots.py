"""What more shots would bring, from the sizes that a rung tried on the training half."""

from __future__ import annotations

import asyncio

from shouldtune.ladder import climb
from shouldtune.report.why import shots_in_words
from shouldtune.task import load_task
from shouldtune.types import Goal, Measurement, Trial
from shouldtune.verdict.shots import more_shots
from tests.conftest import MakeTask, numbered_rows
from tests.test_ladder import GOAL, SIMULATED


def tried(*scores: tuple[int, float | None]) -> Measurement:
    """A rung that tried these numbers of shots, and one other setting."""
    trials = tuple(Trial(f"{shots} shots", score, 96, shots) for shots, score in scores)
    return Measurement("few_shot", (), trials=(*trials, Trial("8 shots, draw 2", 0.9, 32)))


def test_a_rising_score_is_carried_on_to_more_shots_with_its_doubt() -> None:
    (more,) = more_shots([tried((2, 0.2), (4, 0.3), (8, 0.4))], Goal(0.8))
    assert (more.best, more.size) == (8, 32)
    assert more.score is not None
    assert more.score.estimate is not None
    assert 0.4 < more.score.estimate < 0.75
    assert more.score.low < 0.4
    assert more.score.high > 0.6
    assert more.until is not None
    assert more.until.estimate is None or more.until.estimate > 32
    assert "32 would score" in shots_in_words(more)


def test_where_more_did_worse_nothing_is_foretold() -> None:
    (more,) = more_shots([tried((2, 0.5), (4, 0.4), (8, 0.3))], Goal(0.8))
    assert (more.best, more.size, more.score, more.until) == (2, None, None, None)
    assert "more did no better" in shots_in_words(more)


def test_one_size_or_no_answer_tells_nothing() -> None:
    assert more_shots([tried((2, 0.5))], Goal(0.8)) == ()
    assert more_shots([tried((2, 0.5), (4, None))], Goal(0.8)) == ()
    (none_right,) = more_shots([tried((2, 0.0), (4, 0.0))], Goal(0.8))
    assert none_right.size is None


def test_without_a_goal_it_says_no_number() -> None:
    (more,) = more_shots([tried((2, 0.2), (4, 0.3))], Goal())
    assert more.score is not None
    assert more.until is None


def test_a_climb_tells_it_of_the_sizes_that_it_tried(make_task: MakeTask) -> None:
    scripted = "scripted:base=0.2,shots@2=0.3,shots@4=0.4,shots@8=0.5,shots@16=0.6,tuned=0.95"
    folder = make_task(numbered_rows(400), model=scripted, tune=scripted, goal=GOAL)
    verdict = asyncio.run(climb(load_task(folder), SIMULATED)).verdict
    more = {each.rung: each for each in verdict.shots}
    assert more["few_shot"].size == 64
    assert more["nearest_shots"].size == 32
    assert [point.size for point in more["few_shot"].points] == [2, 4, 8, 16]
