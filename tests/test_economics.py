"""What rungs cost, to the cent, and when the dearer one pays."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from shouldtune.judgement import Economics, Interval, Price
from shouldtune.stats import paired_limits
from shouldtune.types import Completion, Measurement, Prediction, Score, Spent
from shouldtune.verdict.economics import break_even, cost_of, price, rung_cost

A_DAY = 365 / 12
"""Days in a month of a year."""
LEVELS = (0.025, 0.025)
NO_GAIN = Interval(0.0, -0.03, 0.03, 200)


def measured(
    name: str,
    *,
    training: bool = False,
    uses_llm: bool = True,
    fit: Spent = Spent(),
    n: int = 200,
    **answer: float | None,
) -> Measurement:
    """A rung whose every answer took the same, and is right."""
    completion = Completion("answer", **answer)
    predictions = tuple(Prediction(f"row-{i}", completion, Score(1.0)) for i in range(n))
    return Measurement(name, predictions, training, uses_llm, fit=fit)


API = measured("few_shot", prompt_tokens=2_800, completion_tokens=106)
TUNED = measured("fine_tune", training=True, prompt_tokens=60, completion_tokens=106, compute_s=0.2)
RESERVED = Economics(
    per_month=10_000 * A_DAY,
    months=12,
    prompt_price=Price(read=0.25, written=2.00),
    fine_tune_usd=10,
    tuned_fixed_usd_per_month=335,
)


def test_the_worked_example_to_the_cent() -> None:
    money = price(RESERVED, [API, TUNED])
    assert round(money.total("few_shot") or 0, 2) == 3_328.80  # 3,650,000 answers at $0.000912
    assert round(money.total("fine_tune") or 0, 2) == 4_030.00  # 10 + 12 * 335
    found = break_even(money, "fine_tune", "few_shot", NO_GAIN, LEVELS, 0.05, seed=0)
    assert found is not None
    assert found.pays == "above"
    assert (found.per_month or 0) / A_DAY == pytest.approx(12_106.5, abs=0.1)  # 4030 / 3328.80 * 10,000
    at_that_volume = price(replace(RESERVED, per_month=found.per_month), [API, TUNED])
    assert at_that_volume.total("few_shot") == pytest.approx(4_030.00)


def test_the_worked_example_with_cached_tokens_to_the_cent() -> None:
    """Of 2,800 prompt tokens 2,000 are the same each time: 800 at $0.25, 2,000 at $0.025 and 106 at $2 a million."""
    cached = measured("few_shot", prompt_tokens=2_800, completion_tokens=106, cached_tokens=2_000)
    listed = replace(RESERVED, prompt_price=Price(read=0.25, written=2.00, cached=0.025))
    money = price(listed, [cached, TUNED])
    assert round(money.total("few_shot") or 0, 2) == 1_686.30  # 3,650,000 answers at $0.000462
    found = break_even(money, "fine_tune", "few_shot", NO_GAIN, LEVELS, 0.05, seed=0)
    assert found is not None
    assert (found.per_month or 0) / A_DAY == pytest.approx(23_898.5, abs=0.1)  # 4030 / 1686.30 * 10,000
    for unreported in (API, replace(API, predictions=cached.predictions)):
        at_read = price(RESERVED, [unreported, TUNED])  # no price for cached tokens, or nothing said of them
        assert round(at_read.total("few_shot") or 0, 2) == 3_328.80


def test_a_search_with_cached_tokens_is_billed_at_both_prices() -> None:
    searched = Spent(calls=10, prompt_tokens=1_000_000, completion_tokens=1_000, seconds=1_800, cached_tokens=600_000)
    listed = replace(RESERVED, prompt_price=Price(read=0.25, written=2.00, cached=0.025, up_to=5_000))
    assert cost_of(listed, replace(API, fit=searched)).fit == pytest.approx(0.4 * 0.25 + 0.6 * 0.025 + 0.002)


def test_a_prompt_beyond_the_price_is_not_billed_at_it() -> None:
    listed = replace(RESERVED, prompt_price=Price(read=0.25, written=2.00, up_to=2_799))
    assert price(listed, [API, TUNED]).total("few_shot") is None


def test_a_total_is_fit_labels_and_every_month_and_refit() -> None:
    plan = Economics(
        per_month=1_000,
        months=6,
        usd_per_label=0.5,
        labels_bought=300,
        fine_tune_usd=20,
        tuned_fixed_usd_per_month=100,
        refits=2,
        tuned_price=Price(1.0, 4.0),
    )
    each = (60 * 1.0 + 106 * 4.0) / 1e6
    assert price(plan, [TUNED]).total("fine_tune") == pytest.approx(20 + 150 + 6 * (100 + 1_000 * each) + 2 * 20)
    line = rung_cost(price(plan, [TUNED]), "fine_tune", 0.8)
    assert line.per_1k == pytest.approx(1_000 * each + 100)
    assert line.per_correct == pytest.approx((line.total or 0) / (6_000 * 0.8))


def test_the_users_own_price_comes_first_then_the_models_then_machine_time() -> None:
    rung = measured("few_shot", prompt_tokens=1_000, completion_tokens=10, cost_usd=0.5, compute_s=36.0)
    machine = Economics(machine_usd_per_hour=2.0)
    assert cost_of(replace(machine, prompt_price=Price(1.0, 1.0)), rung).mean == pytest.approx(0.00101)
    assert cost_of(machine, rung).mean == pytest.approx(0.5)
    unpriced = measured("few_shot", compute_s=36.0)
    assert cost_of(machine, unpriced).mean == pytest.approx(0.02)
    assert cost_of(machine, unpriced).source == "machine time"
    assert cost_of(Economics(), unpriced).mean is None


def test_a_tuned_model_is_never_billed_at_the_price_of_the_prompted_one() -> None:
    assert cost_of(Economics(prompt_price=Price(1.0, 1.0)), TUNED).mean is None


def test_a_fit_costs_its_tokens_or_its_machine_time() -> None:
    searched = Spent(calls=10, prompt_tokens=1_000_000, completion_tokens=1_000, seconds=1_800)
    prompted, trained = replace(API, fit=searched), replace(TUNED, fit=searched)
    assert cost_of(RESERVED, prompted).fit == pytest.approx(0.252)
    assert cost_of(Economics(machine_usd_per_hour=3.0), trained).fit == pytest.approx(1.5)
    assert cost_of(Economics(machine_usd_per_hour=3.0), prompted).fit is None  # not run on that machine
    assert cost_of(RESERVED, API).fit == 0.0  # nothing was tried


def test_an_unknown_price_is_never_taken_to_be_free() -> None:
    for unknown in ("per_month", "months", "fine_tune_usd", "prompt_price"):
        searched = Spent(calls=3, seconds=5)
        rungs = [replace(API, fit=searched), replace(TUNED, fit=searched)]
        money = price(replace(RESERVED, **{unknown: None}), rungs)
        assert None in (money.total("few_shot"), money.total("fine_tune")), unknown
        assert money.more("fine_tune", "few_shot", 0.025, 0.025) is None
    bought = replace(RESERVED, labels_bought=5)
    assert price(bought, [TUNED]).total("fine_tune") is None
    assert price(bought, [API]).total("few_shot") is not None  # labels for training alone
    one_is_not_known = replace(API, predictions=(Prediction("x", Completion("a"), Score(1.0)), *API.predictions))
    assert price(RESERVED, [one_is_not_known]).total("few_shot") is None


def test_a_rung_without_a_language_model_costs_nothing_to_run() -> None:
    assert price(RESERVED, [measured("classic", uses_llm=False)]).total("classic") == 0.0


def test_where_lines_do_not_cross_it_pays_always_or_never() -> None:
    def pays(**changes: float | None) -> str:
        found = break_even(
            price(replace(RESERVED, **changes), [API, TUNED]),
            "fine_tune",
            "few_shot",
            NO_GAIN,
            LEVELS,
            0.05,
            0,
        )
        assert found is not None
        assert (found.per_month is None) == (found.pays in ("always", "never"))
        return found.pays

    free, dear = Price(0.0, 0.0), Price(100.0, 100.0)
    assert pays() == "above"
    assert pays(prompt_price=free) == "never"
    assert pays(tuned_fixed_usd_per_month=0, fine_tune_usd=0) == "always"
    assert pays(tuned_fixed_usd_per_month=0, fine_tune_usd=0, tuned_price=dear) == "never"


def test_a_dear_prompt_search_makes_tuning_pay_below_a_volume() -> None:
    searched = replace(API, fit=Spent(calls=1, prompt_tokens=10**9))
    money = price(replace(RESERVED, tuned_fixed_usd_per_month=0, tuned_price=Price(100, 100)), [searched, TUNED])
    found = break_even(money, "fine_tune", "few_shot", NO_GAIN, LEVELS, 0.05, 0)
    assert found is not None
    assert found.pays == "below"
    assert found.per_month == pytest.approx((250 - 10) / (12 * (0.0166 - 0.000912)))


def test_the_value_of_a_correct_answer_moves_the_break_even() -> None:
    gain = Interval(0.1, 0.05, 0.15, 200)
    without = break_even(price(RESERVED, [API, TUNED]), "fine_tune", "few_shot", gain, LEVELS, 0.05, 0)
    assert without is not None
    assert without.value == pytest.approx((4_030 - 3_328.80) / (3_650_000 * 0.1))
    valued = replace(RESERVED, value_per_correct=without.value)
    at_that_value = break_even(price(valued, [API, TUNED]), "fine_tune", "few_shot", gain, LEVELS, 0.05, 0)
    assert at_that_value is not None
    assert at_that_value.per_month == pytest.approx(RESERVED.per_month)


def test_a_band_comes_from_what_was_measured_and_is_the_same_each_time() -> None:
    rng = np.random.default_rng(3)
    tokens = rng.poisson(2_800, 200)
    rows = tuple(Prediction(f"row-{i}", Completion("a", int(t), 106), Score(1.0)) for i, t in enumerate(tokens))
    varied = replace(API, predictions=rows)
    money = price(RESERVED, [varied, TUNED])
    found = [break_even(money, "fine_tune", "few_shot", NO_GAIN, LEVELS, 0.05, 7) for _ in range(2)]
    assert found[0] == found[1]
    assert found[0] is not None
    assert (found[0].low or 0) < (found[0].per_month or 0) < (found[0].high or math.inf)
    error = np.std(tokens * 0.25e-6, ddof=1) / math.sqrt(200)
    each = float(np.mean(tokens)) * 0.25e-6 + 106 * 2e-6
    assert found[0].high == pytest.approx(4_030 / 12 / (each - 1.96 * error), rel=2e-3)
    more = money.more("fine_tune", "few_shot", 0.025, 0.025)
    assert more is not None
    assert more.high - more.low == pytest.approx(2 * 1.96 * error * 3_650_000, rel=1e-3)


def test_a_gain_that_may_be_none_leaves_the_value_without_an_upper_end() -> None:
    found = break_even(
        price(RESERVED, [API, TUNED]), "fine_tune", "few_shot", Interval(0.02, -0.02, 0.06, 200), LEVELS, 0.05, 0
    )
    assert found is not None
    assert found.value is not None
    assert found.value_low is not None
    assert found.value_high is None


def test_the_band_of_the_break_even_holds_the_truth_as_often_as_it_says() -> None:
    truth, held = 4_030 / 12 / ((2_800 * 0.25 + 106 * 2) / 1e6), 0
    for world in range(200):
        tokens = np.random.default_rng([9, world]).gamma(4, 700, 60)
        rows = tuple(Prediction(f"{i}", Completion("a", round(t), 106), Score(1.0)) for i, t in enumerate(tokens))
        tuned = replace(
            TUNED, predictions=tuple(replace(p, example_id=f"{i}") for i, p in enumerate(TUNED.predictions[:60]))
        )
        money = price(RESERVED, [replace(API, predictions=rows), tuned])
        found = break_even(money, "fine_tune", "few_shot", NO_GAIN, LEVELS, 0.10, world)
        assert found is not None
        held += (found.low or 0) <= truth <= (found.high or math.inf)
    assert 0.84 <= held / 200 <= 0.96


def test_the_band_holds_the_truth_where_the_gain_is_uncertain_too() -> None:
    """A gain of 0.1 on 0/1 answers, worth $0.001 each, at the limits that decide: its spread reaches the volume."""
    gain, worth, held, wide = 0.1, 0.001, 0, 0
    each = (2_800 * 0.25 + 106 * 2) / 1e6
    truth, value_truth = 4_030 / 12 / (each + worth * gain), (4_030 - 3_328.80) / (3_650_000 * gain)
    values = 0
    for world in range(200):
        rng = np.random.default_rng([11, world])
        rows = [f"{i}" for i in range(300)]
        tokens = rng.gamma(16, 175, len(rows))
        api = tuple(
            Prediction(i, Completion("a", round(t), 106), Score(1.0)) for i, t in zip(rows, tokens, strict=True)
        )
        better = rng.choice([1.0, -1.0, 0.0], len(rows), p=[0.2, 0.1, 0.7])
        tuned = replace(TUNED, predictions=tuple(replace(TUNED.predictions[0], example_id=i) for i in rows))
        seen = paired_limits(tuple(np.maximum(better, 0.0)), tuple(np.maximum(-better, 0.0)), 0.05, 0.05)
        money = price(replace(RESERVED, value_per_correct=worth), [replace(API, predictions=api), tuned])
        found = break_even(money, "fine_tune", "few_shot", seen, (0.05, 0.05), 0.10, world)
        assert found is not None
        held += (found.low or 0) <= truth <= (found.high or math.inf)
        wide += (found.high or math.inf) > 1.02 * (found.low or 0)
        values += (found.value_low or 0) <= value_truth <= (found.value_high or math.inf)
    assert wide == 200
    assert 0.85 <= held / 200 <= 0.99
    assert 0.85 <= values / 200 <= 0.99
