"""Mend the data, mend retrieval, and how good anything can get: in worlds of known truth."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from shouldtune.doubts import Doubts, doubt
from shouldtune.judgement import Interval
from shouldtune.stats import clopper_pearson
from shouldtune.types import Example, Goal
from shouldtune.verdict.diagnosis import (
    DataEvidence,
    ceiling,
    fix_data,
    fix_retrieval,
    goal_is_out_of_reach,
    wrong_targets,
)

GOAL = Goal(0.8)


def messages(seed: int, n: int, wrong: float, labels: int = 8, clear: float = 0.4) -> tuple[list[Example], set[str]]:
    """Rows of eight words, of which a share `clear` belongs to the label; and the ids whose target was exchanged."""
    rng = np.random.default_rng(seed)
    rows, exchanged = [], set()
    for i in range(n):
        label = int(rng.integers(labels))
        own = rng.random(8) < clear
        words = [f"own{label}x{rng.integers(6)}" if mine else f"any{rng.integers(150)}" for mine in own]
        if rng.random() < wrong:
            label = (label + 1 + int(rng.integers(labels - 1))) % labels
            exchanged.add(f"r{i}")
        rows.append(Example(f"r{i}", " ".join(words), f"label {label}"))
    return rows, exchanged


@lru_cache
def doubted(seed: int, n: int, wrong: float, labels: int = 8, clear: float = 0.4) -> Doubts:
    return doubt(messages(seed, n, wrong, labels, clear)[0], labelled=True)


# ---------------------------------------------------------------- doubts


def test_doubts_name_mostly_the_targets_that_were_exchanged() -> None:
    _, exchanged = messages(5, 500, 0.3)
    found = doubted(5, 500, 0.3)
    named = {each.example_id for each in found.doubts}
    assert len(named & exchanged) / len(named) > 0.8
    assert len(named & exchanged) / len(exchanged) > 0.6
    surest = [each.example_id for each in found.doubts][:20]
    assert len(set(surest) & exchanged) >= 18


def test_a_doubt_says_what_instead_and_why() -> None:
    rows, _ = messages(1, 120, 0.0, 3, 0.6)
    moved = replace(rows[5], target="label 0" if rows[5].target != "label 0" else "label 1")
    found = {each.example_id: each for each in doubt([*rows[:5], moved, *rows[6:]], labelled=True).doubts}
    assert found["r5"].instead == rows[5].target
    targets = {row.id: row.target for row in rows}
    assert {targets[name] for name in found["r5"].because} == {rows[5].target}


def test_the_same_input_with_two_targets_is_a_contradiction_unless_both_are_accepted() -> None:
    rows = [Example("a", "Hello  there", "x"), Example("b", "hello there", "y"), Example("c", "bye", "z")]
    found = doubt(rows, labelled=False)
    assert (found.contradictory, found.inputs, found.unreachable) == (1, 2, pytest.approx(1 / 3))
    assert {each.example_id for each in found.doubts} == {"a", "b"}
    both = [replace(rows[0], accepted=("y",)), rows[1], rows[2]]
    assert doubt(both, labelled=False).contradictory == 0
    outvoted = doubt([*rows, Example("d", "hello there", "x")], labelled=False)
    assert [each.example_id for each in outvoted.doubts] == ["b"]


@pytest.mark.parametrize("n", [0, 1, 4])
def test_too_few_rows_are_not_judged_by_others(n: int) -> None:
    found = doubt([Example(f"r{i}", f"text {i}", f"t{i}") for i in range(n)], labelled=True)
    assert (found.doubts, found.surest) == ((), ())
    assert wrong_targets(found, 0.05).estimate is None


def test_rows_of_a_group_do_not_vouch_for_each_other() -> None:
    rows, _ = messages(2, 120, 0.0)
    twins = [replace(row, id=f"{row.id}-{k}", group=row.id, target="label 7") for row in rows[:15] for k in range(3)]
    found = doubt([*twins, *rows[15:]], labelled=True)
    wrong = [twin for twin in twins if rows[int(twin.group[1:])].target != "label 7"]  # type: ignore[index]
    assert len({twin.id for twin in wrong} & found.ids) > len(wrong) / 2


# ---------------------------------------------------------------- mending the data


def test_clean_targets_are_not_called_wrong_and_exchanged_ones_are() -> None:
    assert fix_data(DataEvidence(doubted(3, 200, 0.0, 4)), GOAL) == ()
    assert [flaw.kind for flaw in fix_data(DataEvidence(doubted(5, 500, 0.3)), GOAL)] == ["wrong"]


@pytest.mark.slow
@pytest.mark.parametrize("clear", [0.25, 0.3, 0.45])
def test_clean_targets_are_rarely_called_wrong(clear: float) -> None:
    worlds = 30
    called = sum(bool(fix_data(DataEvidence(doubted(seed, 200, 0.0, 4, clear)), GOAL)) for seed in range(worlds))
    assert clopper_pearson(called, worlds, 0.02).low <= 0.05


@pytest.mark.slow
def test_exchanged_targets_are_mostly_called_wrong_and_their_share_is_covered() -> None:
    found = [doubted(seed, 400, 0.3) for seed in range(8)]
    called = [fix_data(DataEvidence(each), GOAL) for each in found]
    assert sum(bool(flaws) and flaws[0].kind == "wrong" for flaws in called) >= 5
    limits = [wrong_targets(each, 0.05) for each in found]
    assert sum(each.low <= 0.3 <= each.high for each in limits) >= 7


def test_targets_that_a_language_model_gets_right_are_hard_not_wrong() -> None:
    doubts = Doubts(400, inputs=400, surest=((40, 10), (80, 20)), labels=5)
    assert fix_data(DataEvidence(doubts), GOAL)
    assert not fix_data(DataEvidence(doubts), GOAL, heard=Interval(0.0, 0.0, 0.02, 90))


def test_who_disagrees_with_half_of_what_it_is_surest_of_knows_nothing() -> None:
    assert wrong_targets(Doubts(400, surest=((40, 24), (80, 48)), labels=20), 0.05).estimate is None
    assert wrong_targets(Doubts(400, surest=((40, 18),), labels=2), 0.05).estimate is None  # chance is a half


def test_words_that_mislead_both_models_on_two_labels_are_no_wrong_targets() -> None:
    """What was counted on security alerts with house rules, whose targets are all right."""
    misled = Doubts(264, inputs=264, surest=((26, 7), (53, 15), (87, 26), (132, 42)), labels=2)
    assert wrong_targets(misled, 0.01).estimate is None
    assert fix_data(DataEvidence(misled), GOAL) == ()


def test_a_rate_that_falls_as_rows_get_surer_is_difficulty() -> None:
    flat = wrong_targets(Doubts(400, surest=((100, 20), (200, 40)), labels=9), 0.05)
    falling = wrong_targets(Doubts(400, surest=((100, 20), (200, 80)), labels=9), 0.05)
    assert flat.estimate == pytest.approx(0.2)
    assert falling.estimate == pytest.approx(0.15)
    assert flat.low > 0.1 > falling.low == 0.0


def test_leaks_contradictions_failing_targets_and_a_fooled_scorer_are_told_apart() -> None:
    clean = DataEvidence(Doubts(300, inputs=300), rows=300, holdout=100)
    assert fix_data(clean, GOAL) == ()
    for changed, kind in (
        (replace(clean, leaked=15), "leaked"),
        (replace(clean, failing=40), "failing"),
        (replace(clean, doubts=Doubts(300, contradictory=40, inputs=300)), "contradictory"),
        (replace(clean, constant=(1.0,) * 80 + (0.0,) * 20, constants_tried=100), "constant"),
    ):
        assert [flaw.kind for flaw in fix_data(changed, GOAL)] == [kind]
    assert fix_data(replace(clean, leaked=4), GOAL) == ()  # its lower limit is not above what is worthwhile


# ---------------------------------------------------------------- mending retrieval


def said(right: float, retrieved: float, n: int, worlds: int, goal: Goal) -> float:
    """How often retrieval is blamed, where the right passage scores `right` and the retrieved one `retrieved`."""
    count = 0
    for seed in range(worlds):
        drawn = np.random.default_rng(seed).random((2, n))
        best = (drawn[0] < right).astype(float)
        found = np.where(drawn[1] < retrieved / right, best, 0.0)
        count += fix_retrieval([*map(float, found)], [*map(float, best)], goal) is not None
    return count / worlds


def test_a_right_passage_that_just_misses_the_goal_is_rarely_said_to_meet_it() -> None:
    assert said(0.799, 0.4, 128, 300, GOAL) <= 0.08


def test_a_gain_of_less_than_is_worthwhile_is_rarely_blamed_on_retrieval() -> None:
    assert said(0.95, 0.925, 128, 300, GOAL) <= 0.08


def test_a_broken_retriever_is_found() -> None:
    assert said(0.92, 0.4, 128, 100, GOAL) >= 0.9


def test_rows_without_a_right_passage_count_as_wrong() -> None:
    right: list[float | None] = [1.0] * 128
    assert fix_retrieval([0.0] * 128, right, GOAL) is not None
    assert fix_retrieval([0.0] * 128, [*right[:90], *[None] * 38], GOAL) is None


def test_without_a_goal_or_a_sample_retrieval_is_not_blamed() -> None:
    assert fix_retrieval([0.0] * 50, [1.0] * 50, Goal(None)) is None
    assert fix_retrieval([], [], GOAL) is None


# ---------------------------------------------------------------- the ceiling


@pytest.mark.slow
def test_the_ceiling_holds_what_knowing_every_answer_scores() -> None:
    """Whoever knows the true label scores 1 less the share of targets that were exchanged."""
    held = []
    for seed in range(20):
        share = (0.0, 0.1, 0.2, 0.3)[seed % 4]
        exchanged = messages(100 + seed, 300, share)[1]
        found = ceiling(doubted(100 + seed, 300, share))
        held.append(found.low <= 1 - len(exchanged) / 300 <= found.high)
    assert sum(held) >= 17


def test_a_goal_above_the_ceiling_is_called_out() -> None:
    found = ceiling(doubted(5, 500, 0.3))
    assert goal_is_out_of_reach(Goal(0.95), found)
    assert not goal_is_out_of_reach(Goal(0.6), found)
    assert not goal_is_out_of_reach(Goal(None), found)


def test_of_free_text_only_contradictions_bound_the_ceiling() -> None:
    rows = [Example(f"r{i}", f"input {i // 2}", f"target {i if i < 20 else i // 2}") for i in range(100)]
    found = ceiling(doubt(rows, labelled=False))
    assert found.estimate is None
    assert found.low == 0.0
    assert found.high == pytest.approx(1 - clopper_pearson(10, 100, 0.05).low)
    agreed = ceiling(doubt(rows, labelled=False), agreeing=(15, 100))
    assert agreed.estimate == pytest.approx(0.85)
