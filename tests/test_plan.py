"""What a climb would take: beside what climbs then took, in worlds of scripted models."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.judgement import Price
from shouldtune.ladder import climb
from shouldtune.looks import rows_of
from shouldtune.models.bill import Size
from shouldtune.models.keys import canonical, request_of
from shouldtune.models.ledger import Ledger
from shouldtune.models.past_calls import dollars_paid, past_calls
from shouldtune.planning import Plan, plan
from shouldtune.provable import GAIN, GOAL, NO_GAIN, RUNGS, provable
from shouldtune.report.plans import plan_to_json, plan_to_text
from shouldtune.run import ledger_path
from shouldtune.rungs import LADDER
from shouldtune.stats import ScoreArray
from shouldtune.task import load_task
from shouldtune.types import Completion, Goal, Message, Options
from shouldtune.verdict.bounds import share_alpha
from shouldtune.verdict.columns import Column
from shouldtune.verdict.limits import RACED
from tests.conftest import MakeTask, Rows, numbered_rows
from tests.test_cli import shouldtune

MODEL = "scripted:base=0.3,shots@4=0.6,tuned=0.7,told=0.5,writes=0.3"
PRICES = {"prices": {MODEL: {"read": 2.0, "written": 8.0}}}


def planned(folder: Path, **how: Any) -> Plan:
    return asyncio.run(plan(load_task(folder), Climb(**how)))


def labelled_rows(n: int) -> Rows:
    return [{"input": f"lamp {i} of {i * 7919 % 991}", "target": f"label {i % 4}"} for i in range(n)]


@pytest.mark.parametrize("pairwise", [False, True])
def test_a_judges_calls_are_in_the_plan_and_no_climb_makes_more(make_task: MakeTask, pairwise: bool) -> None:
    judge = "scripted:judge=honest"
    folder = make_task(
        numbered_rows(120),
        model=MODEL,
        tune=None,
        scorer="judge",
        scoring={"judge": judge, "rubric": "The answer is right.", "pairwise": pairwise},
        prices={**PRICES["prices"], judge: {"read": 2.0, "written": 8.0}},
    )
    few = chosen_rungs(("guess", "zero_shot", "few_shot"))
    made = planned(folder, rungs=few, probing=None)
    found = {rung.name: rung for rung in made.rungs}
    how = Climb(few, allow_simulated=True, whole_holdout=True, all_rungs=True, probing=None)
    record = asyncio.run(climb(load_task(folder), how))
    paid = Counter(call.rung for call in past_calls(ledger_path(folder)))
    most = sum(rung.calls_most for rung in found.values())
    assert 0.5 * most < sum(paid.values()) <= most
    assert found["judge"].calls_most == found["judge"].calls_expected > 0
    assert 0 < (record.verdict.spent.usd or 0.0) <= (made.usd_most or 0.0)


@pytest.mark.parametrize("scorer", ["exact", "label"])
def test_no_climb_asks_more_than_the_plan_says_at_most(make_task: MakeTask, scorer: str) -> None:
    rows = labelled_rows(300) if scorer == "label" else numbered_rows(300)
    folder = make_task(rows, model=MODEL, tune=MODEL, scorer=scorer, **PRICES)
    found = {rung.name: rung for rung in planned(folder, all_rungs=True).rungs}
    how = Climb(all_rungs=True, allow_simulated=True, whole_holdout=True)
    record = asyncio.run(climb(load_task(folder), how))
    asked = {m.rung: m for m in record.measurements if m.uses_llm}
    paid = Counter(call.rung for call in past_calls(ledger_path(folder)) if not call.training)
    assert {*asked, "probes", "forgetting"} == set(paid) == {name for name, rung in found.items() if rung.calls_most}
    for name, calls in paid.items():
        assert 0 < calls <= found[name].calls_most
    assert paid["probes"] > 200
    if scorer == "exact":  # else it shares questions with `structured`
        assert paid["few_shot"] > 0.9 * found["few_shot"].calls_most
    assert found["fine_tune"].calls_most >= 32 * found["fine_tune"].epochs_most / 2 + len(record.holdout)
    spent = record.verdict.spent.usd
    assert spent is not None
    assert 0 < spent <= sum(rung.usd_most or 0 for rung in found.values())
    assert found["zero_shot"].calls_most == asked["zero_shot"].measured.calls
    assert found["fine_tune"].epochs_most >= len(asked["fine_tune"].trials)
    skipped = {rung.name: rung.skipped_because for rung in record.verdict.rungs if not rung.applied}
    skipped["learning curve"] = "it was not asked for (`--forecast`)"
    assert skipped == {name: rung.skipped_because for name, rung in found.items() if rung.skipped_because}


def test_what_is_expected_lies_below_the_most_and_is_all_of_it_where_nothing_is_stopped(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), model=MODEL, tune=MODEL, goal={"quality": 0.8})
    raced, whole = planned(folder), planned(folder, all_rungs=True, whole_holdout=True)
    for stopped, full in zip(raced.rungs, whole.rungs, strict=True):
        assert stopped.calls_expected <= full.calls_expected <= full.calls_most == stopped.calls_most
    assert sum(rung.calls_expected for rung in raced.rungs) < 0.8 * sum(rung.calls_most for rung in raced.rungs)
    assert {rung.opened for rung in whole.rungs if rung.calls_most} == {1.0}
    few = next(rung for rung in whole.rungs if rung.name == "few_shot")
    assert few.calls_expected == few.calls_most


def test_a_stronger_model_is_asked_the_best_prompt_and_the_probes_at_its_own_price(make_task: MakeTask) -> None:
    strong = "scripted:base=0.9"
    prices = {**PRICES["prices"], strong: {"read": 100.0, "written": 100.0}}
    folder = make_task(numbered_rows(300), model=MODEL, tune=MODEL, strong=strong, prices=prices)
    plans = planned(folder), planned(make_task(numbered_rows(300), name="weak", model=MODEL, tune=MODEL, **PRICES))
    found, without = ({rung.name: rung for rung in each.rungs} for each in plans)
    few, stronger = found["few_shot"], found["stronger"]
    assert stronger.calls_most == len(load_task(folder).holdout)
    assert stronger.usd_most is not None and few.usd_most is not None
    assert stronger.usd_most / stronger.calls_most > 10 * few.usd_most / few.calls_most
    assert found["probes"].calls_expected > without["probes"].calls_expected
    assert (found["probes"].usd_most or 0) > 2 * (without["probes"].usd_most or 0)
    assert planned(folder, probing=None).rungs[-3].skipped_because == "they are not wanted"


def test_planning_writes_nothing_asks_nothing_and_needs_no_key(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(120), model="openai:gpt-5-mini")
    before = sorted(folder.rglob("*"))
    found = planned(folder)
    assert sorted(folder.rglob("*")) == before
    assert [line for line in found.prices if "openai:gpt-5-mini: $0.25 read" in line and "genai-prices" in line]
    assert found.usd_most is not None and found.usd_expected is not None
    assert 0 < found.usd_expected < found.usd_most
    zero = next(rung for rung in found.rungs if rung.name == "zero_shot")
    most = zero.prompt_tokens_most * 0.25 / 1e6 + zero.calls_most * 24 * 2.0 / 1e6
    assert zero.usd_most == pytest.approx(most, rel=0.01)


def test_an_unknown_price_makes_dollars_unknown_and_a_model_that_runs_here_costs_none(make_task: MakeTask) -> None:
    unknown = planned(make_task(numbered_rows(120), model="http://127.0.0.1:9/v1#m", tune=None))
    assert unknown.usd_most is None
    assert next(rung for rung in unknown.rungs if rung.name == "zero_shot").usd_expected is None
    here = planned(make_task(numbered_rows(120), tune=None))
    assert here.usd_most == 0.0
    assert here.machine_s_expected is None
    assert "-" in plan_to_text(unknown)


def test_answers_that_the_ledger_holds_cost_nothing_again(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(200), model=MODEL, tune=None, **PRICES)
    before = planned(folder)
    how = Climb(all_rungs=True, allow_simulated=True, whole_holdout=True)
    asyncio.run(climb(load_task(folder), how))
    after = planned(folder)
    zero = {at: next(rung for rung in p.rungs if rung.name == "zero_shot") for at, p in enumerate((before, after))}
    assert (zero[0].calls_known, zero[1].calls_known) == (0, zero[0].calls_most)
    assert zero[1].usd_most == zero[1].usd_expected == zero[1].calls_expected == 0
    assert "are in the task's ledger already" in plan_to_text(after)
    assert after.can.look == 2
    assert "look 2 at them, which may err 0.76%" in plan_to_text(after)


@contextmanager
def ledger_of(folder: Path) -> Iterator[Ledger]:
    with Ledger(ledger_path(folder)) as ledger:
        yield ledger


def test_tokens_and_time_are_taken_from_earlier_answers_where_there_are_enough(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(200), tune=None)
    spec = {"kind": "local", "model": "smollm2", "revision": "r", "engine": "e", "adapter": None}

    async def fill(ledger: Ledger) -> None:
        for i in range(30):
            request = request_of(spec, [Message("user", f"{i:096d}")], Options())
            await ledger.record(str(i), request, Completion("a", 52, 8, latency_s=9.0, compute_s=0.6))

    with ledger_of(folder) as ledger:
        asyncio.run(fill(ledger))
    assert {call.model_id for call in past_calls(folder / "runs" / "ledger.sqlite")} == {"smollm2"}
    found = planned(folder, rungs=chosen_rungs(["zero_shot"]), all_rungs=True, whole_holdout=True, probing=None)
    assert "prompt tokens: 2.00 bytes each, as in 30 earlier calls, and 4 a message" in found.methods
    assert "answer tokens: 8 each, as in 30 earlier calls" in found.methods
    (rung,) = (rung for rung in found.rungs if rung.name == "zero_shot")
    assert rung.machine_s_expected == pytest.approx((rung.prompt_tokens_expected + 8 * 60) * 0.01)
    assert found.usd_most == 0.0


def test_a_ledger_tells_what_was_paid_and_for_whom_it_is_not_known(tmp_path: Path) -> None:
    remote = {"kind": "remote", "base_url": "http://h/v1", "name": "m", "key_variable": ""}
    other, path = {**remote, "name": "other"}, tmp_path / "runs" / "ledger.sqlite"

    async def fill(ledger: Ledger) -> None:
        say = [Message("user", "q")]
        await ledger.record("a", request_of(remote, say, Options()), Completion("", 1_000_000, 0, cost_usd=9.0))
        await ledger.record("b", request_of({"kind": "local"}, say, Options()), Completion("a", 5, 5, compute_s=1.0))
        await ledger.record("c", canonical({"tune": {"kind": "local"}}), Completion("epoch 1", compute_s=5.0))
        await ledger.record("d", request_of(other, say, Options()), Completion("a", 5, 5, cost_usd=0.5))
        sent = await ledger.intend("e", "http://h/v1#m", Size(1, 1, 1), 0.25)
        await ledger.record("e", "{}", Completion("", error="lost"), sent)

    assert dollars_paid(path, {}.get) == (0.0, ())
    with ledger_of(tmp_path) as ledger:
        asyncio.run(fill(ledger))
    assert dollars_paid(path, {"http://h/v1#m": Price(2.0, 8.0)}.get) == (pytest.approx(2.0 + 0.5 + 0.25), ())
    with ledger_of(tmp_path) as ledger:
        asyncio.run(ledger.record("f", request_of(other, [Message("user", "r")], Options()), Completion("a", 5, 5)))
    assert dollars_paid(path, {}.get)[1] == ("http://h/v1#other",)


def test_the_levels_that_proof_is_said_at_are_those_that_decide() -> None:
    untrained = [Column(rung.name, False, rung.uses_llm, ScoreArray.of([1.0])) for rung in LADDER if not rung.training]
    columns = [*untrained, Column("fine_tune", True, True, ScoreArray.of([1.0]), trial=0.5)]
    levels = share_alpha(Goal(quality=0.8, confidence=0.96), columns, 1, len(untrained))
    assert len(untrained) == RUNGS
    for low in levels.low.values():
        assert pytest.approx(2 * low * RACED.fixed) == GOAL * 0.04 / RUNGS
    assert pytest.approx(2 * levels.gain * RACED.fixed) == GAIN * 0.04
    assert pytest.approx(2 * max(levels.no_gain.values()) * RACED.fixed) == NO_GAIN * 0.04


def test_graded_scores_have_their_own_power(make_task: MakeTask) -> None:
    rows = [{"input": f"say {i}", "target": f"the {i % 7} quick {i} foxes over {i % 5} dogs"} for i in range(400)]
    graded = asyncio.run(provable(load_task(make_task(rows, scorer="f1"))))
    binary = asyncio.run(provable(load_task(make_task(rows, scorer="exact"))))
    assert (graded.graded, binary.graded) == (True, False)
    assert graded.visible_gain != binary.visible_gain
    assert graded.rows_to_settle < binary.rows_to_settle  # 0/1 differences spread by sqrt(0.2)


def test_a_gain_that_is_called_visible_is_usually_shown(make_task: MakeTask) -> None:
    """By simulation, at the level and by the interval that decide."""
    from shouldtune.stats import paired_limits

    can = asyncio.run(provable(load_task(make_task(numbered_rows(600)))))
    assert can.visible_gain is not None
    rng, shown = np.random.default_rng(2), 0
    for _ in range(200):
        better, worse = (0.2 + can.visible_gain) / 2, (0.2 - can.visible_gain) / 2
        d = rng.choice([1.0, -1.0, 0.0], can.n, p=[better, worse, 0.8])
        a, b = np.where(d > 0, 1.0, 0.0), np.where(d < 0, 1.0, 0.0)
        level = GAIN * can.alpha / 2
        shown += paired_limits(tuple(a), tuple(b), level, level).low > 0
    assert 0.7 <= shown / 200 <= 0.92


def test_too_few_rows_are_said_and_nothing_is_planned(make_task: MakeTask) -> None:
    found = planned(make_task(numbered_rows(30), model=MODEL))
    assert found.too_few
    assert {rung.skipped_because for rung in found.rungs} == {"there are too few rows"}
    assert "30 examples are too few" in plan_to_text(found)


def test_a_forecast_is_ruled_out_with_its_reason(make_task: MakeTask) -> None:
    small = planned(make_task(numbered_rows(100), model=MODEL, tune=MODEL), forecast=True)
    assert "a curve takes 128" in str(small.no_forecast)
    folder = make_task(numbered_rows(900), model=MODEL, tune=MODEL)
    assert "not asked for" in str(planned(folder).no_forecast)
    asked = planned(folder, forecast=True)
    assert asked.no_forecast is None
    curve = next(rung for rung in asked.rungs if rung.name == "learning curve")
    assert curve.epochs_most >= 6 * 3  # two subsets of three sizes
    assert curve.calls_most >= 6 * 64
    untuned = planned(make_task(numbered_rows(900), model=MODEL, tune=None), forecast=True)
    assert "no model that can be tuned" in str(untuned.no_forecast)


def test_the_command_prints_a_table_or_json_and_says_what_it_cannot_tell(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(200), model="http://127.0.0.1:9/v1#m", goal={"quality": 0.97}, tune=None)
    done = shouldtune("plan", folder)
    assert done.returncode == 0, done.stderr
    assert "What this plan cannot tell:" in done.stdout
    assert "a perfect score could not prove the goal of 0.97" in done.stdout
    document = json.loads(shouldtune("plan", folder, "--json", "--rungs", "zero_shot").stdout)
    assert [rung["name"] for rung in document["rungs"]] == ["zero_shot", "probes", "learning curve", "forgetting"]
    assert document["usd_most"] is None
    assert json.loads(plan_to_json(planned(folder)))["can"]["n"] == len(rows_of(load_task(folder).holdout))
