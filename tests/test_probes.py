"""The failures' segments: known values, worlds with planted causes, and what happens at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from shouldtune.verdict.probes import PROBES, Probe, Tried, diagnose

CALLS: tuple[Probe, ...] = ("form", "passage", "shots", "stronger")


def failure(i: int, *repaired: Probe, placebo: bool | None = False) -> Tried:
    return Tried(f"f{i}", {probe: probe in repaired for probe in PROBES}, (placebo,))


def world(seed: int, n: int, shares: list[float], chance: float) -> tuple[list[Tried], list[Tried]]:
    """Failures whose causes are drawn from the shares of (PROBES..., unexplained), and successes that label doubts."""
    rng = np.random.default_rng(seed)
    failures = []
    for i in range(n):
        cause = int(rng.choice(len(shares), p=shares))
        passes = {probe: bool(rng.random() < chance) or place == cause for place, probe in enumerate(PROBES)}
        failures.append(Tried(f"f{i}", passes, (bool(rng.random() < chance),)))
    return failures, [Tried(f"s{i}", {"label": bool(rng.random() >= chance)}) for i in range(64)]


def estimates(failures: list[Tried], successes: list[Tried], probes: tuple[Probe, ...] = PROBES) -> list[float | None]:
    return [share.share.estimate for share in diagnose(failures, successes, probes).shares]


# ---------------------------------------------------------------- known values


def test_without_chance_a_failure_belongs_to_the_first_probe_that_repairs_it() -> None:
    failures = [
        failure(1, "label"),
        failure(2, "form", "stronger"),
        failure(3, "form", "shots"),
        failure(4, "stronger"),
        failure(5),
    ]
    assert estimates(failures, [failure(9, *PROBES)]) == pytest.approx([0.2, 0.4, 0.0, 0.0, 0.2, 0.2])


def test_a_probe_that_repairs_no_more_than_the_placebo_explains_nothing() -> None:
    """Of 100, form and the placebo repair 20 each, 4 of them the same: as two coins would."""
    failures = [failure(i, *(("form",) if i < 20 else ()), placebo=i < 4 or 20 <= i < 36) for i in range(100)]
    assert estimates(failures, [], ("form",)) == pytest.approx([0.0, 1.0], abs=0.02)


def test_chance_is_taken_out_as_two_coins_would_put_it_in() -> None:
    """Half have the cause; of the others a fifth is repaired by chance: 0.5 + 0.5 * 0.2 = 0.6 repaired."""
    failures = [failure(i, *(("form",) if i < 60 else ()), placebo=i % 5 == 0) for i in range(100)]
    assert estimates(failures, [], ("form",)) == pytest.approx([0.5, 0.5])


def test_chance_that_sticks_to_some_examples_is_taken_out_once() -> None:
    """A fifth of the failures flips under whatever is asked: the first probe gets them, and no later one should pay."""
    flips, fixed = [failure(i, *CALLS, placebo=True) for i in range(200)], [failure(1000 + i) for i in range(400)]
    stronger = [failure(2000 + i, "stronger") for i in range(400)]
    found = estimates([*flips, *fixed, *stronger], [], CALLS)
    assert found == pytest.approx([0.0, 0.0, 0.0, 0.5, 0.5], abs=0.01)


def test_targets_that_are_doubted_where_the_answer_was_right_are_the_chance_of_label() -> None:
    failures = [failure(i, *(("label",) if i < 55 else ())) for i in range(100)]
    successes = [Tried(f"s{i}", {"label": i >= 10}) for i in range(100)]
    assert estimates(failures, successes, ("label",)) == pytest.approx([0.5, 0.5])


def test_what_a_change_breaks_is_told_beside_what_it_repairs() -> None:
    successes = [Tried(f"s{i}", {"form": i >= 3}, (i >= 1,)) for i in range(10)]
    found = diagnose([failure(i, "form") for i in range(10)], successes, ("form",))
    assert (found.shares[0].repaired, found.shares[0].asked) == (10, 10)
    assert found.shares[0].broken is not None
    assert found.shares[0].broken.estimate == pytest.approx(0.3)
    assert found.placebo_broken.estimate == pytest.approx(0.1)


# ---------------------------------------------------------------- worlds


def test_intervals_cover_the_planted_shares_and_the_error_is_within_five_points() -> None:
    rng, covered, errors, uncorrected = np.random.default_rng(3), [], [], []
    for seed in range(150):
        shares = list(rng.dirichlet([1.0] * 6))
        failures, successes = world(seed, int(rng.integers(96, 301)), shares, float(rng.uniform(0.0, 0.3)))
        found = [each.share for each in diagnose(failures, successes, PROBES).shares]
        covered += [each.low <= truth <= each.high for each, truth in zip(found, shares, strict=True)]
        errors += [abs((each.estimate or 0.0) - truth) for each, truth in zip(found, shares, strict=True)]
        first = [next((i for i, p in enumerate(PROBES) if f.passes[p]), 5) for f in failures]
        uncorrected += list(abs(np.bincount(first, minlength=6) / len(first) - np.array(shares)))
    assert 0.88 <= np.mean(covered) <= 0.97
    assert np.mean(errors) <= 0.04
    assert np.mean(uncorrected) > 0.06  # without the placebo the same worlds are misread


@pytest.mark.parametrize("seed", range(5))
def test_shares_are_shares_and_add_up_to_one(seed: int) -> None:
    failures, successes = world(seed, 40, [0.0, 0.05, 0.0, 0.1, 0.0, 0.85], 0.3)
    found = [each.share for each in diagnose(failures, successes, PROBES).shares]
    assert sum(each.estimate or 0.0 for each in found) == pytest.approx(1.0)
    assert all(0 <= each.low <= (each.estimate or 0.0) <= each.high <= 1 for each in found)
    assert all(each.low < each.high for each in found)


# ---------------------------------------------------------------- edges


def test_the_order_in_which_probes_are_named_changes_nothing() -> None:
    failures, successes = world(1, 64, [1 / 6] * 6, 0.2)
    assert diagnose(failures, successes, PROBES) == diagnose(failures, successes, tuple(reversed(PROBES)))


def test_without_failures_nothing_is_known() -> None:
    found = diagnose([], [], ("form",))
    assert [(each.share.estimate, each.share.low, each.share.high) for each in found.shares] == [(None, 0.0, 1.0)] * 2


def test_one_failure_is_hardly_anything() -> None:
    found = diagnose([failure(1, "form")], [], ("form",))
    assert found.shares[0].share.estimate == 1.0
    assert found.shares[0].share.low == 0.0


def test_answers_that_flip_under_any_rewording_say_nothing() -> None:
    found = diagnose([failure(i, "form", placebo=i > 0) for i in range(20)], [], ("form",))
    assert found.placebo.estimate == pytest.approx(0.95)
    assert all(each.share.estimate is None for each in found.shares)


def test_without_a_placebo_nothing_is_known() -> None:
    assert estimates([failure(i, "form", placebo=None) for i in range(20)], [], ("form",)) == [None, None]


def test_a_probe_that_was_not_run_has_no_segment() -> None:
    found = diagnose([failure(i, "stronger") for i in range(20)], [], ("form", "shots"))
    assert [each.segment for each in found.shares] == ["format", "examples", "unexplained"]
    assert found.share("capacity") is None
    assert found.shares[-1].share.estimate == 1.0


def test_a_change_that_changes_nothing_cannot_be_the_cause_nor_repair_by_chance() -> None:
    same = [Tried(f"f{i}", {}, (i % 4 == 0,)) for i in range(100)]
    assert estimates(same, [], ("form", "passage")) == [0.0, 0.0, 1.0]


def test_chance_is_not_taken_out_of_what_asks_no_model_again() -> None:
    failures = [failure(i, *(("form",) if i < 50 else ()), placebo=i % 5 == 0) for i in range(100)]
    found = diagnose(failures, [], ("form",), certain=("form",))
    assert [each.share.estimate for each in found.shares] == pytest.approx([0.5, 0.5])


def test_a_failed_call_is_neither_a_repair_nor_none() -> None:
    """Half of the calls were lost: the others tell the share."""
    passes: list[bool | None] = [True, False, None, None]
    failures = [Tried(f"f{i}", {"form": passes[i % 4]}, (False,)) for i in range(80)]
    assert estimates(failures, [], ("form",)) == pytest.approx([0.5, 0.5])


def test_what_is_no_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        diagnose([failure(1), failure(1)], [], ("form",))
    with pytest.raises(ValueError, match="no such probes"):
        diagnose([], [], ("form", "form"))
