"""What is said to flip the answer does flip it, and nothing nearer does."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shouldtune.judgement import Economics, Flip, Price
from shouldtune.types import Goal, Measurement
from shouldtune.verdict.decide import decide
from shouldtune.verdict.plain import verdict_from_json, verdict_to_json
from shouldtune.verdict.sensitivity import flips
from tests.test_decide import RESERVED, ladder, priced, world


def changed(flip: Flip, value: float, goal: Goal, economics: Economics) -> dict[str, Any]:
    """The goal and economics with one number changed, by its name in the task file."""
    part, _, name = flip.key.partition(".")
    if part == "goal":
        return {"goal": replace(goal, **{name: value}), "economics": economics}
    if part == "economics":
        return {"goal": goal, "economics": replace(economics, **{name: value})}
    price = getattr(economics, f"{name}_price")
    scaled = Price(value * price.read, value * price.written, price.source)
    return {"goal": goal, "economics": replace(economics, **{f"{name}_price": scaled})}


def judged(measurements: list[Measurement], asked: dict[str, Any]) -> str:
    return decide(asked["goal"], measurements, {}, economics=asked["economics"]).answer


@pytest.mark.parametrize("economics", [Economics(), RESERVED, replace(RESERVED, value_per_correct=1e-4)])
@pytest.mark.parametrize("goal", [Goal(), Goal(quality=0.7)])
def test_each_flip_flips_the_answer_and_nothing_much_nearer_does(goal: Goal, economics: Economics) -> None:
    for counts in ({"few_shot": 800, "fine_tune": 800}, {"zero_shot": 300, "few_shot": 600, "fine_tune": 800}):
        measurements = priced(**counts)
        present = decide(goal, measurements, {}, economics=economics).answer
        found = flips(goal, measurements, {}, economics=economics)
        assert len(found) <= 3
        for flip in found:
            assert judged(measurements, changed(flip, flip.at, goal, economics)) == flip.answer != present, flip
            nearer = flip.at / 1.013 if flip.at > flip.now else flip.at * 1.013  # three figures and the bisection's end
            assert judged(measurements, changed(flip, nearer, goal, economics)) == present, flip


def test_the_worked_example_flips_at_a_volume_that_makes_tuning_save() -> None:
    found = flips(Goal(), priced(few_shot=800, fine_tune=800), {}, economics=RESERVED)
    sentences = [flip.sentence for flip in found]
    assert (
        "A volume of 369,000 requests a month instead of 304,167 would make the answer yes (tune_to_save, fine_tune)."
        in sentences
    )
    assert "A price of the prompted model 1.22 times as high would make the answer yes (tune_to_save, fine_tune)." in (
        sentences
    )


def test_a_goal_that_is_met_flips_where_it_is_no_longer_proven() -> None:
    measurements = ladder(1000, few_shot=800, fine_tune=805)
    (flip,) = flips(Goal(quality=0.7), measurements, {})
    low = decide(Goal(quality=0.7), measurements, {}).rungs[0].low
    assert low is not None
    assert (flip.key, flip.answer) == ("goal.quality", "not_yet")
    assert low < flip.at < low + 0.003


def test_goals_near_one_are_tried_too() -> None:
    keys = {flip.key: flip for flip in flips(Goal(quality=0.97), ladder(1000, few_shot=990, fine_tune=990), {})}
    assert 0.97 < keys["goal.quality"].at < 0.99


def test_nothing_measured_and_nothing_known_of_money_flip_nothing() -> None:
    assert flips(Goal(quality=0.8), [], {}) == ()
    keys = {flip.key for flip in flips(Goal(), ladder(few_shot=150, fine_tune=150), {}, economics=Economics(1e5, 12))}
    assert keys <= {"goal.worthwhile_gain"}


def test_flips_are_plain_sentences_and_are_read_back() -> None:
    rng = np.random.default_rng(4)
    for i in range(12):
        skills = rng.uniform(0.3, 1.0, 2)
        made = world(rng, 150, guess=0.2, few_shot=skills[0], fine_tune=skills[1])
        goal = (Goal(), Goal(quality=0.7))[i % 2]
        found = flips(goal, made, {}, planned=("guess", "few_shot", "fine_tune"))
        assert found == flips(goal, made, {}, planned=("guess", "few_shot", "fine_tune"))
        assert all(
            re.fullmatch(r"A .* instead of .* would make the answer (no|yes|not yet) \(.*\)\.", f.sentence)
            for f in found
        )
        verdict = replace(decide(goal, made, {}), sensitivity=found)
        assert verdict_from_json(verdict_to_json(verdict)) == verdict
