"""Worlds with known truth: what is decided there, how often it is wrong, and what failed calls may not do."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from shouldtune.judgement import Economics, Interval, Price, RungResult, Verdict
from shouldtune.stats import ScoreArray
from shouldtune.types import Completion, Goal, Measurement, Prediction, Score, Spent, Trial
from shouldtune.verdict.bounds import Evidence, gather
from shouldtune.verdict.case import Case
from shouldtune.verdict.columns import Column
from shouldtune.verdict.decide import decide
from shouldtune.verdict.plain import verdict_from_json, verdict_to_json
from shouldtune.verdict.rows import finding_if_filled, findings

Scores = Sequence[float | None]
FREE = ("guess", "classic")
TRAINED = ("fine_tune", "distil")


def measured(name: str, scores: Scores, *, trial: float | None = None, **answer: float) -> Measurement:
    """A rung's measurement; its name says whether it trains or needs no LLM."""
    predictions = tuple(
        Prediction(f"row-{i}", Completion("", error="the server was away"), None)
        if score is None
        else Prediction(f"row-{i}", Completion("answer", **answer), Score(score, metrics={"valid": 1.0}))
        for i, score in enumerate(scores)
    )
    trials = () if trial is None else (Trial("a setting", trial, 48), Trial("another", None, 0))
    return Measurement(name, predictions, name in TRAINED, name not in FREE, trials)


def right(count: int, n: int = 200, failed: int = 0) -> list[float | None]:
    """Right on the first `count` of n examples; the last `failed` calls failed."""
    return [None if i >= n - failed else float(i < count) for i in range(n)]


def ladder(n: int = 200, failed: Mapping[str, int] | None = None, **counts: int) -> list[Measurement]:
    """One rung a keyword, right on its first so many examples: the better one is right wherever the worse one is."""
    return [measured(name, right(count, n, (failed or {}).get(name, 0))) for name, count in counts.items()]


def world(rng: np.random.Generator, n: int, agreement: float = 0.6, **skills: float) -> list[Measurement]:
    """Rungs with these true skills, that agree on a share of the examples because those are hard or easy for all."""
    shared, alike = rng.random(n), rng.random(n) < agreement
    return [
        measured(name, list(map(float, np.where(alike, shared, rng.random(n)) < skill)), trial=skill)
        for name, skill in skills.items()
    ]


def answers(goal: Goal, worlds: int, n: int = 200, seed: int = 0, **skills: float) -> Counter[str]:
    """How often each answer is given in worlds with these true skills."""
    found: Counter[str] = Counter()
    for i in range(worlds):
        found[decide(Case(goal, world(np.random.default_rng([seed, i]), n, **skills))).answer] += 1
    return found


# ---------------------------------------------------------------- each row


def test_says_no_when_four_shots_are_enough() -> None:
    verdict = decide(
        Case(Goal(quality=0.8), ladder(guess=20, zero_shot=100, few_shot=182), {"fine_tune": "not needed"})
    )
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "goal_met", "few_shot")
    assert verdict.because[0] == "few_shot scores 0.91 (0.85 to 0.94) on 200 held-out examples: above the goal of 0.8."


def test_ships_the_cheapest_rung_that_meets_the_goal_not_the_best() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(zero_shot=180, few_shot=195, fine_tune=199)))
    assert (verdict.reason, verdict.rung) == ("goal_met", "zero_shot")


def test_says_no_model_is_needed_when_a_classifier_meets_the_goal() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(guess=60, classic=184, few_shot=190)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "no_model_needed", "classic")


def test_without_a_goal_no_model_is_needed_when_a_classifier_is_as_good_as_any() -> None:
    verdict = decide(Case(Goal(), ladder(classic=190, few_shot=150, fine_tune=185)))
    assert (verdict.reason, verdict.rung) == ("no_model_needed", "classic")
    assert decide(Case(Goal(), ladder(classic=190, few_shot=150))).reason != "no_model_needed"  # training not measured


def test_says_yes_when_tuning_beats_every_rung_without_training() -> None:
    verdict = decide(Case(Goal(), ladder(zero_shot=80, few_shot=120, fine_tune=180)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("yes", "tune", "fine_tune")
    assert verdict.because[0].startswith("fine_tune gains 0.30 (0.25 to 0.37) over few_shot, the best rung without")


def test_the_rung_that_tuning_is_held_against_is_not_called_the_best_where_another_scored_higher() -> None:
    even, uneven = measured("zero_shot", [0.14] * 200), measured("few_shot", right(26, failed=20))
    said = decide(Case(Goal(), [even, uneven, measured("fine_tune", right(150))])).because[0]
    assert (
        "over zero_shot, the rung without training of which most is proven (few_shot scored 0.144, less surely)" in said
    )


def test_says_yes_below_the_goal_too_and_says_that_it_is_below() -> None:
    verdict = decide(Case(Goal(quality=0.97), ladder(zero_shot=80, few_shot=120, fine_tune=180)))
    assert (verdict.answer, verdict.reason) == ("yes", "tune")
    assert any("still below the goal of 0.97" in sentence for sentence in verdict.because)


def test_says_yes_to_the_only_rung_that_meets_the_goal_though_its_gain_is_small() -> None:
    goal = Goal(quality=0.8, worthwhile_gain=0.2)
    verdict = decide(Case(goal, ladder(1000, zero_shot=400, few_shot=760, fine_tune=840)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("yes", "tune", "fine_tune")
    assert any("No rung without training reaches the goal" in sentence for sentence in verdict.because)


def test_does_not_say_yes_while_a_cheaper_rung_may_still_meet_the_goal() -> None:
    verdict = decide(Case(Goal(quality=0.6), ladder(zero_shot=60, few_shot=125, fine_tune=180)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("not_yet", "label_more", "few_shot")
    assert verdict.examples_needed is not None
    assert verdict.examples_needed > 200


def test_says_out_of_reach_when_no_rung_can_reach_the_goal() -> None:
    verdict = decide(Case(Goal(quality=0.95), ladder(zero_shot=80, few_shot=140, fine_tune=143)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("not_yet", "out_of_reach", None)


def test_out_of_reach_without_training_says_that_it_speaks_of_the_rungs_at_hand() -> None:
    verdict = decide(Case(Goal(quality=0.95), ladder(zero_shot=80, few_shot=140), {"fine_tune": "no model to tune"}))
    assert verdict.reason == "out_of_reach"
    assert any("fine_tune: no model to tune" in s and "rungs at hand" in s for s in verdict.because)


def test_says_no_when_tuning_adds_nothing() -> None:
    verdict = decide(Case(Goal(), ladder(1000, zero_shot=500, few_shot=800, fine_tune=800)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "no_gain", "few_shot")


def test_says_no_without_tuning_when_there_is_no_room_for_a_gain() -> None:
    verdict = decide(Case(Goal(), ladder(1000, zero_shot=500, few_shot=995), {"fine_tune": "no model to tune"}))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "no_gain", "few_shot")


def test_does_not_say_no_gain_while_tuning_may_be_what_reaches_the_goal() -> None:
    measurements = ladder(1000, zero_shot=500, few_shot=800, fine_tune=801)
    assert decide(Case(Goal(), measurements)).reason == "no_gain"
    assert decide(Case(Goal(quality=0.8), measurements)).reason == "label_more"


def test_says_label_more_and_how_many_when_the_interval_straddles_the_line() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(zero_shot=100, few_shot=170, fine_tune=172)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("not_yet", "label_more", "few_shot")
    assert verdict.examples_needed is not None
    many = verdict.examples_needed
    assert decide(Case(Goal(quality=0.8), ladder(many, few_shot=many * 17 // 20))).reason == "goal_met"
    assert any(f"About {many} held-out examples instead of 200" in sentence for sentence in verdict.because)


def test_says_that_it_cannot_be_settled_when_too_many_rows_would_be_needed() -> None:
    verdict = decide(Case(Goal(), ladder(zero_shot=100, few_shot=150, fine_tune=157)))
    assert verdict.reason == "label_more"
    assert any("cannot be settled" in sentence for sentence in verdict.because)
    assert any("could add at most" in sentence for sentence in verdict.because)


def test_says_unmeasured_when_tuning_was_not_tried_and_why() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(zero_shot=100, few_shot=160), {"fine_tune": "no model to tune"}))
    assert (verdict.answer, verdict.reason) == ("not_yet", "unmeasured")
    assert any("fine_tune: no model to tune" in sentence for sentence in verdict.because)


def test_says_unmeasured_when_nothing_was_answered() -> None:
    for measurements in ([], ladder(40, {"few_shot": 40, "fine_tune": 40}, few_shot=0, fine_tune=0)):
        verdict = decide(Case(Goal(quality=0.8), measurements))
        assert (verdict.answer, verdict.reason, verdict.rung) == ("not_yet", "unmeasured", None)


# ---------------------------------------------------------------- precedence


BOTH: list[tuple[str, str, Goal, dict[str, int]]] = [
    ("no_model_needed", "goal_met", Goal(quality=0.5), {"classic": 700, "few_shot": 800, "fine_tune": 805}),
    ("no_model_needed", "no_gain", Goal(), {"classic": 900, "few_shot": 700, "fine_tune": 850}),
    ("tune", "out_of_reach", Goal(quality=0.99), {"guess": 100, "few_shot": 600, "fine_tune": 900}),
    ("out_of_reach", "no_gain", Goal(quality=0.95), {"guess": 100, "few_shot": 700, "fine_tune": 650}),
]


@pytest.mark.parametrize(("first", "second", "goal", "counts"), BOTH)
def test_of_two_rows_that_hold_the_first_wins(first: str, second: str, goal: Goal, counts: dict[str, int]) -> None:
    measurements = ladder(1000, **counts)
    assert [finding.reason for finding in findings(evidence(goal, measurements))][:2] == [first, second]
    assert decide(Case(goal, measurements)).reason == first


def test_a_goal_that_is_met_wins_over_a_tuned_rung_that_beats_all() -> None:
    measurements = ladder(1000, guess=100, few_shot=850, fine_tune=980)
    assert decide(Case(Goal(), measurements)).reason == "tune"
    verdict = decide(Case(Goal(quality=0.8), measurements))
    assert (verdict.reason, verdict.rung) == ("goal_met", "few_shot")
    assert any("fine_tune gains 0.13" in sentence for sentence in verdict.because)


def test_a_classifier_that_meets_the_goal_wins_over_a_tuned_rung_that_beats_all() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(1000, classic=850, few_shot=700, fine_tune=980)))
    assert (verdict.reason, verdict.rung) == ("no_model_needed", "classic")


def test_a_goal_that_is_met_wins_over_no_room_for_a_gain() -> None:
    assert decide(Case(Goal(quality=0.9), ladder(1000, few_shot=998, fine_tune=998))).reason == "goal_met"


# ---------------------------------------------------------------- failed calls


def test_ten_percent_failed_calls_end_in_unmeasured_when_filling_them_could_change_the_answer() -> None:
    whole = ladder(few_shot=172, zero_shot=100)
    assert decide(Case(Goal(quality=0.75), whole)).reason == "goal_met"
    holed = ladder(failed={"few_shot": 20}, few_shot=172, zero_shot=100)
    verdict = decide(Case(Goal(quality=0.8), holed))
    assert (verdict.answer, verdict.reason) == ("not_yet", "unmeasured")
    assert any("few_shot 20, of 200 each" in sentence for sentence in verdict.because)
    assert "goal_met, few_shot" in verdict.because[0]


def test_failed_calls_do_not_stand_in_the_way_of_an_answer_that_they_cannot_change() -> None:
    holed = {"few_shot": 6, "fine_tune": 6}
    assert decide(Case(Goal(), ladder(failed=holed, few_shot=100, fine_tune=180))).reason == "tune"
    assert decide(Case(Goal(quality=0.7), ladder(failed=holed, few_shot=180, fine_tune=180))).reason == "goal_met"


def test_failed_calls_that_could_not_settle_it_leave_label_more() -> None:
    verdict = decide(Case(Goal(), ladder(failed={"few_shot": 1}, few_shot=150, fine_tune=156)))
    assert verdict.reason == "label_more"


def test_dropping_the_hard_calls_does_not_meet_the_goal() -> None:
    """80 of 84 answered is 0.95, far above 0.8; the 16 that failed may all be wrong."""
    verdict = decide(Case(Goal(quality=0.8), ladder(100, {"few_shot": 16}, few_shot=80, fine_tune=80)))
    assert verdict.reason == "unmeasured"
    assert verdict.rungs[0].quality == pytest.approx(80 / 84)
    assert (verdict.rungs[0].n, verdict.rungs[0].unmeasured) == (84, 16)


def test_failures_never_help_a_verdict() -> None:
    rng = np.random.default_rng(5)
    for goal in (Goal(), Goal(quality=0.7)):
        for _ in range(60):
            skills = rng.uniform(0.4, 1.0, 4)
            whole = world(rng, 150, guess=skills[0] - 0.2, zero_shot=skills[1], few_shot=skills[2], fine_tune=skills[3])
            holed = [fail_some(m, rng) for m in whole]
            claims = {(f.reason, f.path) for f in findings(evidence(goal, whole))}
            assert {(f.reason, f.path) for f in findings(evidence(goal, holed))} <= claims


def test_a_few_fillings_stand_for_all_of_them() -> None:
    rng = np.random.default_rng(6)
    seen: Counter[bool] = Counter()
    for i in range(60):
        goal = (Goal(), Goal(quality=0.7))[i % 2]
        skills = rng.uniform(0.4, 0.95, 4)
        whole = world(rng, 150, guess=skills[0], few_shot=skills[1], nearest_shots=skills[2], fine_tune=skills[3])
        columns = columns_of([fail_some(m, rng) for m in whole])
        every = itertools.product([0.0, 1.0], repeat=len(columns))
        brute = any(
            findings(gather(goal, [fill(c, v) for c, v in zip(columns, fills, strict=True)], 0)) for fills in every
        )
        assert (finding_if_filled(columns, partial(gather, goal, sharing=0)) is not None) == brute
        seen[brute] += 1
    assert min(seen.values()) >= 5


def test_a_row_that_was_never_asked_is_unmeasured_not_dropped() -> None:
    whole, short = ladder(few_shot=180), ladder(150, zero_shot=100)
    verdict = decide(Case(Goal(quality=0.8), [*short, *whole]))
    assert (verdict.rungs[0].n, verdict.rungs[0].unmeasured) == (150, 50)
    assert verdict.reason == "goal_met"


# ---------------------------------------------------------------- limits


def test_a_rung_over_the_cost_limit_neither_meets_the_goal_nor_blocks_tuning() -> None:
    dear = measured("stronger", right(195), cost_usd=0.01)
    tuned = measured("fine_tune", right(180), cost_usd=0.0001)
    cheap = measured("few_shot", right(100), cost_usd=0.0001)
    free = Goal(quality=0.8)
    assert decide(Case(free, [cheap, dear, tuned])).rung == "stronger"
    verdict = decide(Case(replace(free, max_cost_per_1k=1.0), [cheap, dear, tuned]))
    assert (verdict.answer, verdict.rung) == ("yes", "fine_tune")
    assert any("stronger breaks the limit of $1 per 1,000 answers" in sentence for sentence in verdict.because)
    assert verdict.rungs[1].meets_goal is False


def test_an_unknown_cost_does_not_meet_a_cost_limit_and_is_said() -> None:
    verdict = decide(Case(Goal(quality=0.8, max_cost_per_1k=1.0), ladder(few_shot=195, fine_tune=100)))
    assert (verdict.answer, verdict.reason) == ("not_yet", "unmeasured")
    assert any("not known to keep the limit of $1" in sentence for sentence in verdict.because)


def test_an_unknown_cost_still_blocks_a_yes() -> None:
    tuned = measured("fine_tune", right(190), cost_usd=0.0001)
    unpriced, priced = measured("few_shot", right(185)), measured("zero_shot", right(100), cost_usd=0.0001)
    assert decide(Case(Goal(max_cost_per_1k=1.0), [priced, unpriced, tuned])).answer != "yes"
    assert decide(Case(Goal(max_cost_per_1k=1.0), [priced, tuned])).answer == "yes"


def test_a_tuned_rung_over_the_cost_limit_does_not_pay() -> None:
    cheap, dear = measured("few_shot", right(100), cost_usd=1e-4), measured("fine_tune", right(195), cost_usd=0.1)
    verdict = decide(Case(Goal(max_cost_per_1k=1.0), [cheap, dear]))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "does_not_pay", "few_shot")
    assert "cannot be shipped" in verdict.because[0]
    assert decide(Case(Goal(quality=0.9, max_cost_per_1k=1.0), [cheap, dear])).reason == "does_not_pay"
    both = [measured("few_shot", right(100), cost_usd=0.1), dear]
    assert (
        decide(Case(Goal(quality=0.9, max_cost_per_1k=1.0), both)).reason == "out_of_reach"
    )  # nothing to ship instead


def test_a_price_from_the_users_table_decides_about_the_cost_limit() -> None:
    rungs = [measured("few_shot", right(195), prompt_tokens=2_800, completion_tokens=106)]
    goal = Goal(quality=0.8, max_cost_per_1k=1.0)
    assert decide(Case(goal, rungs)).reason == "unmeasured"
    assert decide(Case(goal, rungs, economics=Economics(prompt_price=Price(0.25, 2.0)))).reason == "goal_met"
    assert decide(Case(goal, rungs, economics=Economics(prompt_price=Price(2.5, 2.0)))).reason != "goal_met"


@pytest.mark.parametrize(("latency", "reason"), [(0.5, "goal_met"), (3.0, "unmeasured"), (None, "unmeasured")])
def test_a_latency_that_is_slow_or_unknown_does_not_meet_its_limit(latency: float | None, reason: str) -> None:
    answer = {} if latency is None else {"latency_s": latency}
    goal = Goal(quality=0.8, max_latency_s=2.0)
    assert decide(Case(goal, [measured("few_shot", right(195), **answer)])).reason == reason


def test_a_rung_without_a_model_pays_nobody() -> None:
    verdict = decide(Case(Goal(quality=0.8, max_cost_per_1k=1.0), ladder(classic=195)))
    assert (verdict.reason, verdict.rungs[0].cost_per_1k) == ("no_model_needed", 0.0)


# ---------------------------------------------------------------- money


A_DAY = 365 / 12
RESERVED = Economics(
    per_month=10_000 * A_DAY,
    months=12,
    prompt_price=Price(read=0.25, written=2.00),
    fine_tune_usd=10,
    tuned_fixed_usd_per_month=335,
)
"""Over the horizon a prompted answer comes to $3,328.80 and the tuned model to $4,030."""


def priced(n: int = 1000, tokens: int = 2_800, **counts: int) -> list[Measurement]:
    """As `ladder`, each answer with its tokens."""
    return [measured(name, right(c, n), prompt_tokens=tokens, completion_tokens=106) for name, c in counts.items()]


def at(a_day: float) -> Economics:
    return replace(RESERVED, per_month=a_day * A_DAY)


def test_at_equal_quality_money_alone_decides_and_the_volume_at_which_it_flips_is_said() -> None:
    equal = priced(few_shot=800, fine_tune=800)
    verdict = decide(Case(Goal(), equal, economics=RESERVED))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "does_not_pay", "few_shot")
    assert verdict.because[0] == (
        "Over 12 months at 304,000 requests a month (10,000 a day) fine_tune costs $4,030 in all, few_shot $3,329."
    )
    assert verdict.because[1] == "fine_tune costs less above about 368,000 requests a month (12,100 a day)."
    assert "less than the 0.03 that would be worth it" in verdict.because[2]
    assert decide(Case(Goal(), equal, economics=at(12_100))).reason == "does_not_pay"
    above = decide(Case(Goal(), equal, economics=at(12_110)))
    assert (above.answer, above.reason, above.rung) == ("yes", "tune_to_save", "fine_tune")
    assert decide(Case(Goal(), equal)).reason == "no_gain"  # nothing is known of money


def test_a_tuned_rung_that_meets_a_met_goal_for_less_is_tuning_to_save() -> None:
    met = priced(few_shot=850, fine_tune=852)
    goal = Goal(quality=0.8)
    assert decide(Case(goal, met, economics=RESERVED)).reason == "goal_met"
    verdict = decide(Case(goal, met, economics=at(20_000)))
    assert (verdict.answer, verdict.reason, verdict.rung) == ("yes", "tune_to_save", "fine_tune")
    assert decide(Case(goal, priced(few_shot=850, fine_tune=790), economics=at(20_000))).reason == "goal_met"
    assert decide(Case(goal, priced(few_shot=950, fine_tune=860), economics=at(20_000))).reason == "goal_met"  # worse
    free = priced(classic=850, few_shot=850, fine_tune=860)
    assert decide(Case(goal, free, economics=at(20_000))).reason == "no_model_needed"


def test_tuning_saves_only_beside_every_rung_that_may_be_as_good() -> None:
    dear, cheap, tuned = priced(few_shot=800, zero_shot=800, fine_tune=800)
    cheap = replace(cheap, predictions=priced(tokens=100, zero_shot=800)[0].predictions)
    assert decide(Case(Goal(), [dear, tuned], economics=at(15_000))).reason == "tune_to_save"
    verdict = decide(Case(Goal(), [cheap, dear, tuned], economics=at(15_000)))
    assert (verdict.reason, verdict.rung) == ("does_not_pay", "zero_shot")


def test_what_tuning_saves_is_told_beside_a_rung_that_may_be_as_good() -> None:
    verdict = decide(Case(Goal(), priced(guess=100, few_shot=800, fine_tune=800), economics=at(20_000)))
    assert verdict.reason == "tune_to_save"
    assert "fine_tune costs $4,030 in all, few_shot $6,658" in verdict.because[0]


def test_a_gain_is_weighed_against_what_it_costs_where_the_value_of_an_answer_is_known() -> None:
    better = priced(few_shot=600, fine_tune=800)
    value = 701.20 / (3_650_000 * 0.2)  # what it costs more, over the correct answers that it adds

    def valued(times: float) -> Verdict:
        return decide(Case(Goal(), better, economics=replace(RESERVED, value_per_correct=times * value)))

    unknown = decide(Case(Goal(), better, economics=RESERVED))
    assert (unknown.answer, unknown.reason) == ("yes", "tune")
    assert any(s.startswith("It pays where a correct answer is worth $0.00096 (") for s in unknown.because)
    assert (valued(1.5).answer, valued(1.5).reason) == ("yes", "tune")
    assert (valued(0.5).answer, valued(0.5).reason, valued(0.5).rung) == ("no", "does_not_pay", "few_shot")
    assert "worth $397 at most over that time" in valued(0.5).because[2]
    assert (valued(1.0).answer, valued(1.0).reason) == ("not_yet", "label_more")
    assert "whether that is worth what it costs is open" in valued(1.0).because[0]


def test_money_that_may_or_may_not_come_back_is_not_a_reason_to_say_no() -> None:
    """Too dear for certain, but whether it is better is open: that would not be tuning but for the money."""
    open_gain = priced(200, few_shot=150, fine_tune=157)
    poor = replace(RESERVED, value_per_correct=1e-6)
    assert decide(Case(Goal(), open_gain, economics=poor)).reason == "label_more"


def test_what_is_not_known_of_money_changes_no_answer() -> None:
    for counts in ({"few_shot": 600, "fine_tune": 800}, {"few_shot": 800, "fine_tune": 800}):
        plain = decide(Case(Goal(), priced(**counts)))
        for unknown in ("per_month", "months", "prompt_price"):
            without = replace(RESERVED, value_per_correct=1e-6, **{unknown: None})
            found = decide(Case(Goal(), priced(**counts), economics=without))
            assert (found.answer, found.reason, found.rung) == (plain.answer, plain.reason, plain.rung)
            assert found.provenance["intervals"] == plain.provenance["intervals"]


def test_does_not_pay_comes_before_out_of_reach_and_after_a_goal_that_is_met() -> None:
    poor = replace(RESERVED, value_per_correct=1e-6)
    assert decide(Case(Goal(quality=0.95), priced(few_shot=600, fine_tune=800))).reason == "tune"
    assert (
        decide(Case(Goal(quality=0.95), priced(few_shot=600, fine_tune=800), economics=poor)).reason == "does_not_pay"
    )
    assert (
        decide(Case(Goal(quality=0.95), priced(few_shot=600, fine_tune=600), economics=poor)).reason == "does_not_pay"
    )
    assert decide(Case(Goal(quality=0.95), priced(few_shot=600, fine_tune=600))).reason == "out_of_reach"
    assert decide(Case(Goal(quality=0.5), priced(few_shot=600, fine_tune=800), economics=poor)).reason == "goal_met"


def test_the_only_rung_that_meets_the_goal_is_not_too_dear_while_its_value_is_unknown() -> None:
    goal = Goal(quality=0.8, worthwhile_gain=0.2)
    assert decide(Case(goal, priced(few_shot=760, fine_tune=840), economics=RESERVED)).reason == "tune"


def test_a_verdict_with_money_is_read_back_as_it_was_written() -> None:
    verdict = decide(Case(Goal(), priced(few_shot=600, fine_tune=800), economics=RESERVED))
    assert verdict.economics is not None
    assert verdict_from_json(verdict_to_json(verdict)) == verdict
    assert decide(Case(Goal(), ladder(few_shot=600, fine_tune=800), economics=Economics(1e5, 12))).economics is None


def test_the_share_for_money_is_taken_from_the_share_for_too_little_gain() -> None:
    rungs = priced(zero_shot=500, few_shot=600, fine_tune=800)
    before, after = (levels(decide(Case(Goal(), rungs, economics=e))) for e in (Economics(), RESERVED))
    assert sum(before["gain_high"].values()) == pytest.approx(0.05 * 5 / 8)
    assert sum(after["gain_high"].values()) + 2 * after["cost_low"] == pytest.approx(0.05 * 5 / 8)
    assert {name: after[name] for name in ("quality_low", "gain_low")} == {
        name: before[name] for name in ("quality_low", "gain_low")
    }


def test_all_that_a_yes_or_a_no_may_claim_falsely_adds_up_to_no_more_than_alpha() -> None:
    rungs = priced(guess=300, zero_shot=500, few_shot=600, fine_tune=800)
    for goal in (Goal(), Goal(quality=0.7)):
        for economics in (Economics(), RESERVED):
            at = levels(decide(Case(goal, rungs, economics=economics)))
            money_low, money_high = (at.get(f"cost_{end}", 0.0) for end in ("low", "high"))
            alone = at["quality_low_tuned"] if goal.quality else 0.0
            small = sum(at["gain_high"].values()) + 3 * money_low + at.get("without_llm", 0.0)
            no = sum(at["quality_low"].values()) + small
            assert no <= 0.05 * 3 / 4 + 1e-12  # the rest is the forecast's
            assert at["gain_low"] + alone + money_high <= 0.05 + 1e-12
            # one rung that meets the goal: each path to a yes says that it does not, or that the tuned one saves
            if goal.quality:
                assert at["quality_high"] + (at["gain_low"] + money_high if money_high else 0.0) <= 0.05 + 1e-12
            assert at["quality_high_tuned"] <= 0.05 / 4


def bargains(worlds: int, more_tokens: float, value: float | None, **skills: float) -> Counter[str]:
    """How often each answer is given where a tuned answer's tokens are random and few_shot's cost $1 a thousand."""
    found: Counter[str] = Counter()
    economics = Economics(1e6, 12, value, fine_tune_usd=0, prompt_price=Price(1, 0), tuned_price=Price(1, 0))
    for i in range(worlds):
        rng = np.random.default_rng([11, i])
        made = []
        for m, mean in zip(world(rng, 200, **skills), (1_000, 1_000 * more_tokens), strict=True):
            tokens = rng.gamma(4, mean / 4, 200)
            predictions = tuple(
                replace(p, completion=Completion("a", round(t), 0)) for p, t in zip(m.predictions, tokens, strict=True)
            )
            made.append(replace(m, predictions=predictions))
        found[decide(Case(Goal(worthwhile_gain=0.1), made, economics=economics)).answer] += 1
    return found


def test_tuning_that_just_does_not_save_is_rarely_recommended() -> None:
    assert bargains(300, 1.0, None, few_shot=0.8, fine_tune=0.8)["yes"] / 300 <= 0.05


def test_tuning_that_just_pays_is_rarely_called_too_dear() -> None:
    """A gain of 0.2 at $0.01 a correct answer is worth the $0.002 that an answer costs more."""
    assert bargains(300, 3.0, 0.01, few_shot=0.6, fine_tune=0.8)["no"] / 300 <= 0.05


def test_tuning_that_just_does_not_pay_is_rarely_recommended() -> None:
    assert bargains(300, 3.0, 0.01, few_shot=0.6, fine_tune=0.799)["yes"] / 300 <= 0.05


# ---------------------------------------------------------------- alpha


def test_the_goals_alpha_is_shared_over_the_rungs_that_may_still_be_measured() -> None:
    goal, planned = Goal(quality=0.8), ("zero_shot", "retrieval", "few_shot", "nearest_shots", "fine_tune")
    first, skipped = ladder(zero_shot=150), {"retrieval": "the task has no documents"}
    assert levels(decide(Case(goal, first)))["quality_low"] == {"zero_shot": pytest.approx(0.025)}
    early = levels(decide(Case(goal, first, skipped, planned=planned)))["quality_low"]
    all_that_apply = ladder(zero_shot=150, few_shot=150, nearest_shots=150, fine_tune=150)
    late = levels(decide(Case(goal, all_that_apply, skipped, planned=planned)))["quality_low"]
    assert early == {"zero_shot": pytest.approx(0.025 / 5)}  # what comes after it is not known before it is fitted
    assert late["zero_shot"] == early["zero_shot"]
    assert late["few_shot"] == pytest.approx(0.025 * 4 / 5 / 3)
    assert late["nearest_shots"] == pytest.approx(0.025 * 4 / 5 * 2 / 3 / 2)


def test_a_rung_near_the_goal_on_the_training_half_gets_more_of_its_alpha_and_one_far_from_it_little() -> None:
    trials = {"zero_shot": 0.4, "few_shot": 0.7, "nearest_shots": 0.85, "structured": None}
    rungs = [measured(name, right(100), **({} if t is None else {"trial": t})) for name, t in trials.items()]
    shares = levels(decide(Case(Goal(quality=0.8), rungs, planned=tuple(trials))))["quality_low"]
    assert shares["zero_shot"] == pytest.approx(0.025 * 0.1 / 3.1)
    assert shares["few_shot"] == pytest.approx((0.025 - shares["zero_shot"]) * 1 / 3)
    assert shares["nearest_shots"] == pytest.approx((0.025 - shares["zero_shot"]) * 2 / 3 * 4 / 5)
    assert sum(shares.values()) == pytest.approx(0.025)


def test_what_a_rung_takes_of_the_goals_alpha_does_not_hang_on_the_rungs_after_it() -> None:
    rng = np.random.default_rng(2)
    for _ in range(20):
        names = [f"rung_{i}" for i in range(6)]
        rungs = [measured(name, right(100), trial=float(rng.uniform(0.3, 1))) for name in names]
        kept = [m for m in rungs if rng.random() < 0.8]
        whole = levels(decide(Case(Goal(quality=0.8), kept, planned=names)))["quality_low"]
        assert sum(whole.values()) <= 0.025 + 1e-12
        for count in range(1, len(kept)):
            part = levels(decide(Case(Goal(quality=0.8), kept[:count], planned=names)))["quality_low"]
            assert part == {m.rung: whole[m.rung] for m in kept[:count]}


def test_half_of_the_share_for_no_gain_goes_to_the_best_on_the_training_half() -> None:
    rungs = [
        measured(name, right(100), trial=t) for name, t in (("zero_shot", 0.4), ("few_shot", 0.7), ("retrieval", 0.5))
    ]
    for goal, share in ((Goal(quality=0.8), 0.05 / 4), (Goal(), 0.05 * 5 / 8)):
        shares = levels(decide(Case(goal, [*rungs, measured("fine_tune", right(100))])))["gain_high"]
        assert shares == pytest.approx({"zero_shot": share / 4, "few_shot": share / 2, "retrieval": share / 4})


def test_a_rung_without_a_model_that_was_far_behind_on_the_training_half_takes_little_of_the_share() -> None:
    rungs = [measured("few_shot", right(100), trial=0.7), measured("fine_tune", right(100))]
    shares = [
        levels(decide(Case(Goal(), [measured("guess", right(20), trial=trial), *rungs])))["gain_high"]["few_shot"]
        for trial in (0.65, 0.2)
    ]
    assert shares == pytest.approx([0.05 * 5 / 8 / 2 / 2, 0.05 * 5 / 8 * 0.95 / 2])


def test_the_candidate_is_the_best_on_the_training_half_or_all_share_where_that_is_unknown() -> None:
    lower = measured("few_shot", right(100))
    known = [measured("fine_tune", right(190), trial=0.7), measured("distil", right(180), trial=0.8)]
    verdict = decide(Case(Goal(), [lower, *known]))
    assert verdict.rung == "distil"
    assert levels(verdict)["gain_low"] == pytest.approx(0.0375)
    unknown = [known[0], replace(known[1], trials=())]
    verdict = decide(Case(Goal(), [lower, *unknown]))
    assert verdict.rung == "fine_tune"
    assert levels(verdict)["gain_low"] == pytest.approx(0.0375 / 2)


def test_what_decides_is_what_is_drawn() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(few_shot=165, fine_tune=150)))
    assert verdict.reason == "label_more"
    low = verdict.rungs[0].low
    assert low is not None
    assert decide(Case(Goal(quality=low - 1e-6), ladder(few_shot=165, fine_tune=150))).reason == "goal_met"


# ---------------------------------------------------------------- how often it is wrong


@pytest.mark.parametrize("goal", [Goal(), Goal(quality=0.75)])
def test_a_useless_fine_tune_is_rarely_recommended(goal: Goal) -> None:
    found = answers(goal, 300, guess=0.2, zero_shot=0.5, few_shot=0.7, fine_tune=0.7)
    assert found["yes"] / 300 <= 0.05


def test_a_gain_that_is_just_not_worth_it_is_rarely_recommended() -> None:
    found = answers(Goal(), 200, n=150, zero_shot=0.6, few_shot=0.7, fine_tune=0.73)
    assert found["yes"] / 200 <= 0.05


def test_no_is_rarely_said_when_every_prompt_lies_just_below_the_goal() -> None:
    rungs = {f"prompt_{i}": 0.799 for i in range(4)}
    found = answers(Goal(quality=0.8), 200, n=150, **rungs, fine_tune=0.9)
    assert found["no"] / 200 <= 0.05


def test_no_is_rarely_said_when_tuning_gains_just_what_is_worth_it() -> None:
    rungs = {f"prompt_{i}": 0.7 for i in range(4)}
    found = answers(Goal(worthwhile_gain=0.1), 200, n=150, **rungs, fine_tune=0.8)
    assert found["no"] / 200 <= 0.05


def test_the_only_rung_that_meets_the_goal_is_rarely_called_no_gain() -> None:
    found = answers(Goal(quality=0.8), 200, n=300, few_shot=0.79, fine_tune=0.81)
    assert found["no"] / 200 <= 0.05


def test_a_large_gain_is_usually_seen() -> None:
    found = answers(Goal(), 50, zero_shot=0.5, few_shot=0.6, fine_tune=0.85)
    assert found["yes"] / 50 >= 0.9


def test_graded_scores_are_rarely_wrong_either() -> None:
    wrong = 0
    for i in range(40):
        rng = np.random.default_rng([8, i])
        hard = rng.random(100)
        few, tuned = (np.clip(0.5 + 0.3 * hard + rng.normal(0, 0.1, 100), 0, 1) for _ in range(2))
        measurements = [measured("few_shot", list(few)), measured("fine_tune", list(tuned))]
        wrong += decide(Case(Goal(quality=0.66), measurements)).answer == "yes"
    assert wrong / 40 <= 0.05


# ---------------------------------------------------------------- the verdict's lines


def test_every_rung_has_its_line_with_what_is_unknown_left_out() -> None:
    fit = Spent(calls=12, usd=0.3, seconds=4.0)
    answer = {"cost_usd": 0.002, "latency_s": 0.5, "compute_s": 0.25, "prompt_tokens": 80}
    first = replace(measured("few_shot", right(150, failed=10), trial=0.6, **answer), fit=fit, notes=("4 shots",))
    verdict = decide(
        Case(Goal(), [first], {"retrieval": "the task has no documents"}, planned=("few_shot", "fine_tune"))
    )
    line, waiting, skipped = verdict.rungs
    assert line == RungResult(
        name="few_shot",
        applied=True,
        quality=pytest.approx(150 / 190),
        low=line.low,
        high=line.high,
        n=190,
        unmeasured=10,
        cost_per_1k=pytest.approx(2.0),
        seconds_per_1k=pytest.approx(250.0),
        latency_p50=0.5,
        latency_p95=0.5,
        prompt_tokens_mean=80,
        fit_seconds=4.0,
        fit_cost=0.3,
        fit_calls=12,
        settings_tried=2,
        metrics={"valid": 1.0},
        notes=("4 shots",),
    )
    assert (waiting.name, waiting.applied, waiting.skipped_because) == ("fine_tune", False, "not reached")
    assert (skipped.name, skipped.skipped_because) == ("retrieval", "the task has no documents")
    bare = decide(Case(Goal(), ladder(few_shot=150))).rungs[0]
    assert (bare.cost_per_1k, bare.seconds_per_1k, bare.latency_p50, bare.prompt_tokens_mean) == (None,) * 4


def test_compares_the_candidate_with_every_rung_and_the_shipped_one_with_the_next_best() -> None:
    verdict = decide(Case(Goal(quality=0.8), ladder(guess=10, zero_shot=185, few_shot=188, fine_tune=150)))
    assert verdict.rung == "zero_shot"
    assert [(c.better, c.worse) for c in verdict.comparisons] == [
        ("fine_tune", "guess"),
        ("zero_shot", "fine_tune"),
        ("few_shot", "fine_tune"),
        ("few_shot", "zero_shot"),
    ]
    for c in verdict.comparisons:
        assert c.gain is not None
        assert c.low < c.gain < c.high
        assert c.n == 200
    assert verdict.comparisons[1].p_value == pytest.approx(2 * 0.5**35)
    assert verdict.comparisons[1].method == "exact McNemar test, Tango interval"


def test_passes_on_what_it_was_told() -> None:
    spent = Spent(calls=5)
    verdict = decide(Case(Goal(), ladder(few_shot=1)), spent=spent, simulated=True, provenance={"model": "scripted"})
    assert (verdict.spent, verdict.simulated, verdict.provenance["model"]) == (spent, True, "scripted")


def test_every_verdict_gives_two_to_five_reasons() -> None:
    rng = np.random.default_rng(2)
    for i in range(80):
        skills = rng.uniform(0.3, 1.0, 3)
        made = world(rng, 60, guess=skills[0] / 2, few_shot=skills[1], fine_tune=skills[2])
        goal = (Goal(), Goal(quality=0.7), Goal(quality=0.7, max_cost_per_1k=1.0))[i % 3]
        verdict = decide(Case(goal, [fail_some(m, rng) for m in made[: 1 + i % 4]], {"retrieval": "no documents."}))
        assert 2 <= len(verdict.because) <= 5, verdict.because
        assert all(s[0] != " " and s.endswith(".") and "None" not in s and "nan" not in s for s in verdict.because)


def test_refuses_what_cannot_be_a_measurement() -> None:
    twice = ladder(few_shot=10) * 2
    with pytest.raises(ValueError, match="measured twice"):
        decide(Case(Goal(), twice))
    doubled = replace(twice[0], predictions=twice[0].predictions * 2)
    with pytest.raises(ValueError, match="an example twice"):
        decide(Case(Goal(), [doubled]))
    with pytest.raises(ValueError, match="from 0 to 1"):
        decide(Case(Goal(), [measured("few_shot", [0.5, float("nan")])]))


# ---------------------------------------------------------------- helpers


def columns_of(measurements: Iterable[Measurement]) -> list[Column]:
    trials = [max((t.score or 0 for t in m.trials), default=None) for m in measurements]
    return [
        Column(m.rung, m.training, m.uses_llm, ScoreArray.of(m.scores), trial=trial)
        for m, trial in zip(measurements, trials, strict=True)
    ]


def evidence(goal: Goal, measurements: Iterable[Measurement]) -> Evidence:
    return gather(goal, columns_of(measurements), 0)


def fail_some(measurement: Measurement, rng: np.random.Generator) -> Measurement:
    """Up to a tenth of the calls fail."""
    share = rng.uniform(0, 0.1)
    failed = tuple(
        replace(p, score=None, completion=Completion("", error="away")) if rng.random() < share else p
        for p in measurement.predictions
    )
    return replace(measurement, predictions=failed)


def fill(column: Column, value: float) -> Column:
    return replace(column, scores=ScoreArray(column.scores.filled(value)))


def levels(verdict: Verdict) -> Mapping[str, Any]:
    found: Mapping[str, Any] = verdict.provenance["intervals"]
    return found


def test_an_interval_of_a_rung_without_answers_is_the_whole_range() -> None:
    verdict = decide(Case(Goal(), ladder(40, {"few_shot": 40}, few_shot=0, fine_tune=20)))
    line = verdict.rungs[0]
    assert Interval(line.quality, line.low or 0.0, line.high or 0.0, line.n) == Interval(None, 0.0, 1.0, 0)
