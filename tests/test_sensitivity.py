"""What is said to flip the answer does flip it, and nothing nearer does."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from shouldtune.judgement import Economics, Flip, Price
from shouldtune.types import Goal
from shouldtune.verdict.case import Case
from shouldtune.verdict.decide import decide
from shouldtune.verdict.plain import verdict_from_json, verdict_to_json
from shouldtune.verdict.sensitivity import flips
from tests.test_decide import RESERVED, ladder, priced, world


def changed(case: Case, flip: Flip, value: float) -> Case:
    """The case with one number changed, by its name in the task file."""
    part, _, name = flip.key.partition(".")
    if part == "goal":
        return replace(case, goal=replace(case.goal, **{name: value}))
    if part == "economics":
        return replace(case, economics=replace(case.economics, **{name: value}))
    price = getattr(case.economics, f"{name}_price")
    scaled = Price(value * price.read, value * price.written, price.source)
    return replace(case, economics=replace(case.economics, **{f"{name}_price": scaled}))


@pytest.mark.parametrize("economics", [Economics(), RESERVED, replace(RESERVED, value_per_correct=1e-4)])
@pytest.mark.parametrize("goal", [Goal(), Goal(quality=0.7)])
def test_each_flip_flips_the_answer_and_nothing_much_nearer_does(goal: Goal, economics: Economics) -> None:
    for counts in ({"few_shot": 800, "fine_tune": 800}, {"zero_shot": 300, "few_shot": 600, "fine_tune": 800}):
        case = Case(goal, priced(**counts), economics=economics)
        present, found = decide(case).answer, flips(case)
        assert len(found) <= 3
        for flip in found:
            assert decide(changed(case, flip, flip.at)).answer == flip.answer != present, flip
            nearer = flip.at / 1.013 if flip.at > flip.now else flip.at * 1.013  # three figures and the bisection's end
            assert decide(changed(case, flip, nearer)).answer == present, flip


def test_the_worked_example_flips_at_a_volume_that_makes_tuning_save() -> None:
    found = flips(Case(Goal(), priced(few_shot=800, fine_tune=800), economics=RESERVED))
    sentences = [flip.sentence for flip in found]
    assert (
        "A volume of 369,000 requests a month instead of 304,167 would make the answer yes (tune_to_save, fine_tune)."
        in sentences
    )
    assert "A price of the prompted model 1.22 times as high would make the answer yes (tune_to_save, fine_tune)." in (
        sentences
    )


def test_a_goal_that_is_met_flips_where_it_is_no_longer_proven() -> None:
    case = Case(Goal(quality=0.7), ladder(1000, few_shot=800, fine_tune=805))
    (flip,) = flips(case)
    low = decide(case).rungs[0].low
    assert low is not None
    assert (flip.key, flip.answer) == ("goal.quality", "not_yet")
    assert low < flip.at < low + 0.003


def test_goals_near_one_are_tried_too() -> None:
    keys = {flip.key: flip for flip in flips(Case(Goal(quality=0.97), ladder(1000, few_shot=990, fine_tune=990)))}
    assert 0.97 < keys["goal.quality"].at < 0.99


def test_nothing_measured_and_nothing_known_of_money_flip_nothing() -> None:
    assert flips(Case(Goal(quality=0.8), [])) == ()
    keys = {flip.key for flip in flips(Case(Goal(), ladder(few_shot=150, fine_tune=150), economics=Economics(1e5, 12)))}
    assert keys <= {"goal.worthwhile_gain"}


def test_flips_are_plain_sentences_and_are_read_back() -> None:
    rng = np.random.default_rng(4)
    for i in range(12):
        skills = rng.uniform(0.3, 1.0, 2)
        made = world(rng, 150, guess=0.2, few_shot=skills[0], fine_tune=skills[1])
        goal = (Goal(), Goal(quality=0.7))[i % 2]
        case = Case(goal, made, planned=("guess", "few_shot", "fine_tune"))
        found = flips(case)
        assert found == flips(replace(case))
        assert all(
            re.fullmatch(r"A .* instead of .* would make the answer (no|yes|not yet) \(.*\)\.", f.sentence)
            for f in found
        )
        verdict = replace(decide(case), sensitivity=found)
        assert verdict_from_json(verdict_to_json(verdict)) == verdict
