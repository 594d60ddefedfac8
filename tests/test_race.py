"""The race in worlds with known truth: what it asks, what it finds, and how often that is wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from shouldtune.judgement import Economics
from shouldtune.stats import ScoreArray, clopper_pearson
from shouldtune.types import Goal
from shouldtune.verdict.bounds import gather
from shouldtune.verdict.columns import Column
from shouldtune.verdict.economics import Cost, Each, Money
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.race import Ask, Done, Open, gather_raced, next_step, rehearse, why_stopped
from shouldtune.verdict.rows import findings

FREE = ("guess", "classic")


def rungs(seed: int, n: int = 200, *, agreement: float = 0.6, graded: bool = False, **skills: float) -> list[Column]:
    """Rungs with these true skills, that agree on a share of the examples because those are hard or easy for all."""
    rng = np.random.default_rng([seed, n])
    shared, alike = rng.random(n), rng.random(n) < agreement
    made = []
    for name, skill in skills.items():
        scores = (np.where(alike, shared, rng.random(n)) < skill).astype(float)
        if graded:  # the mean stays the skill
            scores = np.where(rng.random(n) < 0.5, scores, rng.beta(2 * skill, 2 * (1 - skill), n))
        made.append(Column(name, name == "fine_tune", name not in FREE, ScoreArray(scores), trial=skill))
    return made


def asked(columns: list[Column]) -> dict[str, int]:
    return {c.name: len(c.asked_scores) for c in columns}


def share_asked(columns: list[Column], whole: list[Column]) -> float:
    return sum(asked(columns).values()) / sum(len(c.scores) for c in whole)


# ---------------------------------------------------------------- what it asks


def test_the_first_step_opens_the_first_rung_and_without_rungs_there_is_nothing_to_do() -> None:
    assert next_step(Goal(), [], 3) == Open()
    assert next_step(Goal(), [], 0) == Done()


def test_a_rung_without_a_model_is_measured_whole_at_once() -> None:
    guess = replace(rungs(1, 300, guess=0.2)[0], scores=ScoreArray(np.full(300, np.nan)), asked=0)
    assert next_step(Goal(quality=0.8), [guess], 2) == Ask("guess", 0, 300)


def test_batches_grow_and_a_small_rest_is_not_left_over() -> None:
    whole, steps, at = rungs(15, 500, zero_shot=0.84)[0], [], 0
    while at < 500:
        step = next_step(Goal(quality=0.8), [replace(whole, asked=at, scores=first(whole, at))], 1)
        assert isinstance(step, Ask)
        steps.append(step.stop - step.start)
        at = step.stop
    assert steps == [32] * 8 + [64] * 2 + [116]


def test_a_rung_that_clearly_meets_the_goal_ends_the_race_early() -> None:
    whole = rungs(2, 1000, guess=0.1, zero_shot=0.95, few_shot=0.97, fine_tune=0.99)
    found, columns = rehearse(Goal(quality=0.8), whole)
    assert found is not None
    assert (found.reason, found.rung) == ("goal_met", "zero_shot")
    assert [c.name for c in columns] == ["guess", "zero_shot"]
    assert 64 <= asked(columns)["zero_shot"] <= 300


def test_a_cheap_rung_near_the_goal_is_asked_everything_before_a_dearer_one_is_looked_at() -> None:
    """Else the dear 0.93 would win over the cheap 0.85, because it clears 0.8 sooner."""
    whole = rungs(3, 1000, zero_shot=0.85, few_shot=0.93, fine_tune=0.99)
    found, columns = rehearse(Goal(quality=0.8), whole)
    assert found is not None
    assert found.rung == "zero_shot"
    assert len(columns) == 1


def test_a_beaten_rung_gets_no_more_calls() -> None:
    whole = rungs(4, 1000, guess=0.1, zero_shot=0.2, few_shot=0.7, nearest_shots=0.3, fine_tune=0.7)
    _, columns = rehearse(Goal(), whole)
    assert asked(columns)["few_shot"] == asked(columns)["fine_tune"] == 1000
    assert max(asked(columns)["zero_shot"], asked(columns)["nearest_shots"]) <= 128
    evidence = gather_raced(Goal(), columns, 0)
    assert why_stopped(evidence, columns[1]) == "few_shot is better by more than 0.03"
    assert why_stopped(evidence, columns[2]) is None


def test_a_dearer_rung_drops_a_cheaper_one_only_once_that_is_below_the_goal() -> None:
    whole = rungs(5, 600, zero_shot=0.84, few_shot=0.99, fine_tune=0.99)
    found, columns = rehearse(Goal(quality=0.8), whole, all_rungs=True)
    assert found is not None
    assert found.rung == "zero_shot"
    assert asked(columns)["zero_shot"] > 200
    _, columns = rehearse(Goal(quality=0.97), whole, all_rungs=True)
    assert asked(columns)["zero_shot"] < 200


def test_a_rung_that_rested_goes_on_when_it_comes_to_matter() -> None:
    whole = rungs(6, 1000, agreement=0.2, guess=0.1, zero_shot=0.62, few_shot=0.6, fine_tune=0.7)
    found, columns = rehearse(Goal(quality=0.9), whole)
    before = [replace(c, asked=96, scores=first(c, 96)) for c in whole[1:3]]
    guess = replace(whole[0], asked=1000)
    assert next_step(Goal(quality=0.9), [guess, *before], 1) == Open()  # both are below the goal: on with the ladder
    assert asked(columns)["zero_shot"] > 96
    assert found is None or found.reason in ("tune", "out_of_reach")


def test_all_rungs_are_opened_when_asked_for_and_still_stop_early() -> None:
    whole = rungs(7, 1000, guess=0.1, zero_shot=0.95, few_shot=0.5, fine_tune=0.97)
    found, columns = rehearse(Goal(quality=0.8), whole, all_rungs=True)
    assert found is not None
    assert (found.reason, found.rung) == ("goal_met", "zero_shot")
    assert len(columns) == 4
    assert share_asked(columns[1:], whole[1:]) < 0.5


def test_what_is_found_does_not_hang_on_rows_that_were_not_asked() -> None:
    whole = rungs(8, 600, guess=0.1, zero_shot=0.3, few_shot=0.5, fine_tune=0.9)
    found, columns = rehearse(Goal(), whole)
    spoilt = [
        replace(w, scores=ScoreArray.of([*c.asked_scores, *[0.0] * (600 - len(c.asked_scores))]))
        for w, c in zip(whole, columns, strict=True)
    ]
    again, columns_again = rehearse(Goal(), spoilt)
    assert (found, asked(columns)) == (again, asked(columns_again))


def test_failed_calls_never_help_a_rung_and_let_none_rest() -> None:
    whole = rungs(9, 400, guess=0.1, zero_shot=0.97, fine_tune=0.97)
    holed = [
        replace(c, scores=ScoreArray.of([None if i % 5 == 0 and c.uses_llm else s for i, s in enumerate(c.scores)]))
        for c in whole
    ]
    clear, few = rehearse(Goal(quality=0.8), whole)
    unclear, many = rehearse(Goal(quality=0.8), holed)
    assert clear is not None
    assert unclear is None
    assert asked(few)["zero_shot"] < 200 < asked(many)["zero_shot"]  # asked again they may be answered


def test_a_rung_of_which_the_rest_will_hardly_settle_anything_rests_and_the_next_is_looked_at() -> None:
    whole = rungs(3, 1000, guess=0.1, zero_shot=0.8, few_shot=0.93, fine_tune=0.99)
    found, columns = rehearse(Goal(quality=0.8), whole)
    assert found is not None
    assert (found.reason, found.rung) == ("goal_met", "few_shot")
    assert 200 < asked(columns)["zero_shot"] < 1000


def test_the_rung_hardest_to_beat_is_asked_and_the_others_rest_until_it_is_beaten() -> None:
    whole = rungs(4, 1000, guess=0.1, a=0.45, b=0.7, c=0.5, d=0.55, fine_tune=0.73)
    _, columns = rehearse(Goal(), whole)
    seen = asked(columns)
    assert seen["b"] == max(seen[name] for name in "abcd")
    assert max(seen[name] for name in "acd") <= 128 < seen["b"]


def test_a_gain_at_the_margin_is_let_be_before_everything_is_asked() -> None:
    shares = []
    for i in range(10):
        whole = rungs(i, 1000, agreement=0.3, guess=0.1, zero_shot=0.67, fine_tune=0.7)
        _, columns = rehearse(Goal(), whole)
        shares.append(asked(columns)["fine_tune"] / 1000)
    assert np.mean(shares) < 0.9


def with_money(
    goal: Goal, whole: list[Column], money: Money, *, all_rungs: bool = False
) -> tuple[str | None, list[Column]]:
    columns, memory = list[Column](), Memory()
    while True:
        waiting = len(whole) - len(columns)
        step = next_step(goal, columns, waiting, all_rungs=all_rungs, money=money, memory=memory)
        if isinstance(step, Done):
            found = findings(gather_raced(goal, columns, waiting, money=money, memory=memory))
            return (found[0].reason if found else None), columns
        if isinstance(step, Open):
            columns.append(replace(whole[len(columns)], asked=0))
        else:
            at = [c.name for c in columns].index(step.rung)
            columns[at] = replace(whole[at], asked=step.stop)


def prices(whole: list[Column], fit: float, value: float | None, prompt: float = 0.0) -> Money:
    """120,000 requests over a year; fitting the tuned rung costs `fit`, an answer of the others `prompt`."""
    each = {c.name: 0.0 if c.training or not c.uses_llm else prompt for c in whole}

    def cost(c: Column) -> Cost:
        return Cost(fit * c.training, 0.0, 0.0, Each(lambda: np.arange(2), np.full(2, each[c.name])))

    return Money(Economics(10_000, 12, value), {c.name: cost(c) for c in whole})


def test_where_a_gain_is_too_dear_the_race_goes_on_until_that_is_shown() -> None:
    whole = rungs(2, 1000, zero_shot=0.5, few_shot=0.6, fine_tune=0.75)
    for value, reason in ((0.1, "does_not_pay"), (1.0, "tune")):  # 0.15 gained is worth $1,800 or $18,000
        found, columns = with_money(Goal(), whole, prices(whole, 4_000, value))
        assert found == reason
        assert share_asked(columns, whole) < 0.9


@pytest.mark.parametrize(("goal", "all_rungs"), [(Goal(worthwhile_gain=0.1), False), (Goal(0.7, 0.1), True)])
def test_where_a_tuned_rung_may_save_the_race_goes_on_until_it_is_shown_to_be_as_good(
    goal: Goal, all_rungs: bool
) -> None:
    whole = rungs(3, 1000, agreement=0.9, guess=0.1, zero_shot=0.5, few_shot=0.82, fine_tune=0.82)
    cheap, dear = prices(whole, 100, None, prompt=0.01), prices(whole, 10_000, None, prompt=0.01)
    found, columns = with_money(goal, whole, cheap, all_rungs=all_rungs)
    assert found == "tune_to_save"
    assert share_asked(columns, whole) < 0.9
    found, columns = with_money(goal, whole, dear, all_rungs=all_rungs)
    assert found in ("goal_met", "does_not_pay")


def test_a_memory_kept_between_steps_changes_none_of_them() -> None:
    for i, goal in enumerate((Goal(), Goal(quality=0.75), Goal(quality=0.6))):
        for graded in (False, True):
            whole = rungs(i, 200, graded=graded, guess=0.3, zero_shot=0.6, few_shot=0.7, fine_tune=0.72)
            columns: list[Column] = []
            memory = Memory()
            while True:
                steps = [next_step(goal, columns, 4 - len(columns), memory=m) for m in (memory, None)]
                assert steps[0] == steps[1]
                if isinstance(steps[0], Done):
                    break
                if isinstance(steps[0], Open):
                    columns.append(replace(whole[len(columns)], asked=0))
                else:
                    at = [c.name for c in columns].index(steps[0].rung)
                    columns[at] = replace(whole[at], asked=steps[0].stop)


def test_a_rung_over_the_cost_limit_drops_no_other() -> None:
    whole = rungs(10, 400, zero_shot=0.3, stronger=0.95, fine_tune=0.5)
    whole[1] = replace(whole[1], limits="broken")
    evidence = gather_raced(Goal(), [replace(c, asked=400) for c in whole], 0)
    assert evidence.beaten == {}


# ---------------------------------------------------------------- what a beaten rung inherits


def test_a_candidate_that_beats_the_beater_beats_the_beaten() -> None:
    whole = rungs(11, 600, agreement=0.9, zero_shot=0.2, few_shot=0.6, fine_tune=0.9)
    short = [replace(whole[0], asked=32, scores=first(whole[0], 32)), *(replace(c, asked=600) for c in whole[1:])]
    e = gather_raced(Goal(quality=0.95), short, 0)
    if "zero_shot" not in e.beaten:
        short[0] = replace(whole[0], asked=96, scores=first(whole[0], 96))
        e = gather_raced(Goal(quality=0.95), short, 0)
    assert e.beaten == {"zero_shot": ("few_shot",)}
    assert e.gains["fine_tune", "zero_shot"].low >= e.gains["fine_tune", "few_shot"].low + 0.03
    assert e.quality["zero_shot"].high <= e.quality["few_shot"].high - 0.03


# ---------------------------------------------------------------- how often it is wrong

Skills = dict[str, float]
FALSE: list[tuple[str, Goal, Skills, str]] = [
    ("a useless fine-tune", Goal(), {"guess": 0.2, "zero_shot": 0.5, "few_shot": 0.7, "fine_tune": 0.7}, "yes"),
    ("a gain at the margin", Goal(), {"zero_shot": 0.6, "few_shot": 0.7, "fine_tune": 0.73}, "yes"),
    ("prompts just below the goal", Goal(0.8), {"a": 0.799, "b": 0.799, "c": 0.799, "fine_tune": 0.9}, "no"),
    ("tuning gains just enough", Goal(None, 0.1), {"a": 0.7, "b": 0.7, "c": 0.7, "fine_tune": 0.8}, "no"),
    ("a prompt just meets the goal", Goal(0.7), {"a": 0.6, "b": 0.701, "fine_tune": 0.9}, "yes"),
    ("classic is just not as good", Goal(None, 0.1), {"classic": 0.7, "a": 0.6, "fine_tune": 0.801}, "no"),
    ("one prompt hides behind a worse", Goal(), {"a": 0.3, "b": 0.67, "c": 0.7, "fine_tune": 0.72}, "yes"),
]


@pytest.mark.parametrize(("goal", "skills", "wrong"), [row[1:] for row in FALSE], ids=[row[0] for row in FALSE])
@pytest.mark.parametrize("agreement", [0.2, 0.9])
def test_a_race_is_rarely_wrong(goal: Goal, skills: Skills, wrong: str, agreement: float) -> None:
    worlds = 40
    found = [rehearse(goal, rungs(i, 150, agreement=agreement, **skills))[0] for i in range(worlds)]
    false = sum(f is not None and f.answer == wrong for f in found)
    assert clopper_pearson(false, worlds, 0.01).low <= 0.05


def test_graded_scores_are_rarely_wrong_either() -> None:
    skills = {"few_shot": 0.7, "fine_tune": 0.73}
    found = [rehearse(Goal(), rungs(i, 100, graded=True, **skills))[0] for i in range(20)]
    assert sum(f is not None and f.answer == "yes" for f in found) <= 2


CLEAR: list[tuple[str, Goal, Skills, float]] = [
    ("a prompt is enough", Goal(0.8), {"guess": 0.1, "zero_shot": 0.5, "few_shot": 0.95, "fine_tune": 0.95}, 0.5),
    ("only tuning helps", Goal(0.8), {"guess": 0.1, "zero_shot": 0.3, "few_shot": 0.5, "fine_tune": 0.95}, 0.6),
    ("only tuning, no goal", Goal(), {"guess": 0.1, "zero_shot": 0.3, "few_shot": 0.5, "fine_tune": 0.9}, 0.6),
    ("tuning is worse", Goal(), {"guess": 0.1, "zero_shot": 0.3, "few_shot": 0.9, "fine_tune": 0.6}, 0.6),
]


@pytest.mark.parametrize(("goal", "skills", "most"), [row[1:] for row in CLEAR], ids=[row[0] for row in CLEAR])
def test_where_it_is_clear_the_race_agrees_with_the_whole_and_asks_far_less(
    goal: Goal, skills: Skills, most: float
) -> None:
    shares, agreed = [], Counter[bool]()
    for i in range(15):
        whole = rungs(i, 300, **skills)
        found, columns = rehearse(goal, whole)
        complete = next(iter(findings(gather(goal, whole, len(whole)))), None)
        agreed[(found and found.reason) == (complete and complete.reason)] += 1
        shares.append(share_asked(columns, whole))
    assert agreed[True] >= 14
    assert np.mean(shares) <= most


def first(c: Column, n: int) -> ScoreArray:
    return c.as_of(n).scores
