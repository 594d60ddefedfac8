"""The bank of worlds: what is true there, and when an answer is false."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shouldtune.judgement import Answer, Reason
from shouldtune.types import Goal
from shouldtune.verdict.rows import Finding

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks" / "verdicts"))

from play import play
from truth import is_false, true_finding
from worlds import CLASSES, World, measured

SKILLS = {"guess": 0.2, "zero_shot": 0.5, "few_shot": 0.7}


def world(goal: float | None = None, tuned: float = 0.7, **changed: float) -> World:
    return World(Goal(goal), {**SKILLS, **changed, "fine_tune": tuned}, 300)


def finding(answer: Answer, reason: Reason, rung: str | None = None, goal: bool = False) -> Finding:
    return Finding(answer, reason, rung, "goal" if goal else "none")


def truth(of: World) -> tuple[str, str | None] | None:
    found = true_finding(of)
    return (found.reason, found.rung) if found else None


def test_the_truth_is_the_table_on_true_means() -> None:
    assert truth(world(tuned=0.9)) == ("tune", "fine_tune")
    assert truth(world(tuned=0.71)) == ("no_gain", "few_shot")
    assert truth(world(0.6)) == ("goal_met", "few_shot")
    assert truth(world(0.8, 0.85)) == ("tune", "fine_tune")
    assert truth(world(0.95, 0.7)) == ("out_of_reach", None)
    assert truth(world(guess=0.75, tuned=0.76)) == ("no_model_needed", "guess")
    assert truth(replace(world(), wrong=0.3)) == ("fix_data", None)
    assert truth(replace(world(0.9, 0.8), passages=(0.3, 0.95))) == ("fix_retrieval", None)
    assert truth(replace(world(0.6, 0.8), passages=(0.3, 0.95))) == ("goal_met", "few_shot")


def test_a_gain_exactly_at_the_margin_is_worthwhile_and_a_score_exactly_at_the_goal_reaches_it() -> None:
    margin = world(tuned=0.7 + 0.03)
    assert truth(margin) == ("tune", "fine_tune")
    assert not is_false(margin, finding("yes", "tune", "fine_tune"))
    assert is_false(margin, finding("no", "no_gain", "few_shot"))
    assert is_false(world(tuned=0.7299), finding("yes", "tune", "fine_tune"))
    assert not is_false(world(0.7, 0.9), finding("no", "goal_met", "few_shot", goal=True))
    assert is_false(world(0.7001, 0.9), finding("no", "goal_met", "few_shot", goal=True))
    assert truth(world(0.7, 0.9)) == ("goal_met", "few_shot")


def test_a_yes_is_false_where_a_cheaper_rung_meets_the_goal_and_a_no_where_only_tuning_does() -> None:
    assert is_false(world(0.65, 0.95), finding("yes", "tune", "fine_tune"))
    assert is_false(world(0.71, 0.72), finding("no", "no_gain", "few_shot"))
    assert not is_false(world(0.71, 0.72), finding("yes", "tune", "fine_tune"))
    assert is_false(world(0.8, 0.85), finding("not_yet", "out_of_reach"))
    assert is_false(world(), finding("not_yet", "fix_data"))
    assert is_false(world(guess=0.67), finding("no", "no_model_needed", "guess"))
    assert not is_false(world(guess=0.68), finding("no", "no_model_needed", "guess"))


@pytest.mark.parametrize("name", CLASSES)
def test_a_world_is_what_its_class_says_and_the_same_by_its_seed(name: str) -> None:
    expected = {
        "prompt_is_enough": {"goal_met"},
        "only_tuning_helps": {"tune"},
        "tuning_adds_nothing": {"no_gain", "no_model_needed"},
        "tuning_does_not_pay": {"does_not_pay"},
        "retrieval_works": {"goal_met", "no_gain"},
        "retrieval_is_broken": {"fix_retrieval"},
        "format_is_the_problem": {"goal_met", "no_gain"},
        "wrong_targets": {"fix_data"},
        "leaked_holdout": {"fix_data"},
        "nothing_helps": {"out_of_reach", "tune"},
        "constant_wins": {"no_model_needed"},
        "gain_at_the_margin": {"tune"},
    }
    draw = CLASSES[name]
    for i in range(20):
        drawn = draw(np.random.default_rng(i), 300)
        found = truth(drawn)
        assert found is not None
        assert found[0] in expected.get(name, {found[0]})
        columns = [measured(draw(rng, 300), rng) for rng in (np.random.default_rng(i), np.random.default_rng(i))]
        assert columns[0] == columns[1]
        assert len(columns[0]) == 9


def test_every_rung_scores_its_skill_whatever_the_correlation_and_the_kind_of_score() -> None:
    drawn = World(Goal(), {f"rung_{i}": 0.1 * i for i in range(1, 9)} | {"fine_tune": 0.9}, 400)
    found = np.array([[np.mean(c.scores) for c in measured(drawn, np.random.default_rng(i))] for i in range(300)])
    assert found.mean(axis=0) == pytest.approx(list(drawn.skills.values()), abs=0.006)


def test_a_race_says_what_everything_measured_says_and_asks_less() -> None:
    games = []
    for number, (name, draw) in enumerate(CLASSES.items()):
        for i in range(2 if name != "forecast_first" else 1):
            rng = np.random.default_rng([number, i, 11])
            games.append(play(draw(rng, 300), rng))
    assert sum(game.false is not None for game in games) <= 2
    decisive = [game for game in games if game.whole != "not_yet open"]
    assert sum(game.found == game.whole for game in decisive) >= len(decisive) - 2
    assert np.mean([game.calls for game in games]) < 0.5
