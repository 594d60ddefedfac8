"""A re-check of answers that a model grades: another rubric or judge is counted, and accused of nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import InputError
from shouldtune.ladder import climb
from shouldtune.rechecking.why import why
from shouldtune.report.rechecks import look_to_text
from shouldtune.task import load_task
from tests.conftest import MakeTask, numbered_rows
from tests.test_rechecking import looked, measured, told

HOW = Climb(chosen_rungs(["guess", "zero_shot", "few_shot"]), allow_simulated=True, probing=None)


def judged(make_task: MakeTask, rubric: str = "The answer is right.", judge: str = "honest", **changes: Any) -> Path:
    scoring = {"judge": f"scripted:judge={judge}", "rubric": rubric, **changes}
    named = {"model": "scripted:base=0.9", "tune": None, "goal": {"quality": 0.1}}
    return make_task(numbered_rows(80), scorer="judge", scoring=scoring, **named)


@pytest.mark.parametrize("pairwise", [False, True])
def test_another_rubric_is_counted_and_the_judge_accused_of_nothing(make_task: MakeTask, pairwise: bool) -> None:
    then = asyncio.run(climb(load_task(judged(make_task, pairwise=pairwise)), HOW))
    task = judged(make_task, "The answer names the right word.", pairwise=pairwise)
    assert then.verdict.reason == "goal_met"
    found = looked(then.folder, task)
    (grades,) = found.needed  # the answers stand in the ledger: their grades do not
    assert (grades.name, grades.to_choose, grades.to_measure) == ("judge", 0, 0)
    assert grades.to_grade > len(then.measurements[-1].predictions)
    assert "the form of answers, or their scoring, has changed" in why(grades, found.changes, ())
    assert f"judge: {grades.to_grade} answers to grade;" in " ".join(look_to_text(found).split())
    outcome, bought = measured(found)
    assert bought == told(found)
    assert outcome.stands


def test_another_judge_is_counted_too(make_task: MakeTask) -> None:
    then = asyncio.run(climb(load_task(judged(make_task)), HOW))
    found = looked(then.folder, judged(make_task, judge="first"))  # which grades single answers honestly
    assert [each.name for each in found.needed] == ["judge"]
    outcome, bought = measured(found)
    assert bought == told(found)
    assert outcome.stands


def test_a_judge_that_is_refused_is_refused_at_the_tasks_own_file(make_task: MakeTask) -> None:
    then = asyncio.run(climb(load_task(judged(make_task)), HOW))
    task = judged(make_task, judge="constant")
    with pytest.raises(InputError, match="is refused"):
        measured(looked(then.folder, task))
    with pytest.raises(InputError, match="is refused") as dry:  # what it said is in the ledger now
        looked(then.folder, task)
    assert dry.value.where == str(task / "shouldtune.yaml")
