"""The wall in dollars: what is begun, what is kept, and how a run ends at it."""

from __future__ import annotations

import asyncio
import json
import random
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import InputError
from shouldtune.judgement import Price, RungResult
from shouldtune.ladder import climb
from shouldtune.models import budget
from shouldtune.models.bill import Size
from shouldtune.models.budget import OVER, Budget
from shouldtune.models.doubles import Abilities, Flaky, Scripted
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered, LedgeredTunable
from shouldtune.models.past_calls import dollars_paid, past_calls
from shouldtune.models.paying import paying
from shouldtune.models.plain import Constant
from shouldtune.rejudge import judge_again
from shouldtune.report.terminal import plain_lines
from shouldtune.report.words import unknown_outcomes
from shouldtune.run import RunRecord, ledger_path, load_run
from shouldtune.task import load_task
from shouldtune.types import Completion, Message, ModelSpec, Options, Spent, TuneSettings
from tests.conftest import MakeTask, numbered_rows
from tests.counting_server import CountingServer
from tests.test_cli import shouldtune

WORLD = "scripted:base=0.2,shots@4=0.5,tuned=0.95"
PRICES = {WORLD: {"read": 10.0, "written": 10.0}}


# ---------------------------------------------------------------- the wall itself


def test_no_order_of_answers_passes_the_wall_and_little_is_left_below_it() -> None:
    async def go(seed: int) -> tuple[Budget, float]:
        rng, budget, paid = random.Random(seed), Budget(10.0, 1.5), 1.5

        async def one() -> None:
            nonlocal paid
            most = rng.uniform(0.2, 0.6)
            if not await budget.begin(most):
                return
            await asyncio.sleep(rng.uniform(0, 0.002))
            cost = most * rng.choice([0.1, 0.5, 1.0])
            paid += cost
            assert paid <= 10.0
            budget.settle(most, cost)

        await asyncio.gather(*(one() for _ in range(200)))
        return budget, paid

    for seed in range(20):
        budget, paid = asyncio.run(go(seed))
        assert budget.ended
        assert budget.spent == pytest.approx(paid)
        assert 10.0 - 0.6 < paid <= 10.0


def test_a_call_that_does_not_fit_waits_for_those_under_way_and_nothing_is_begun_after_the_end() -> None:
    async def go() -> list[bool]:
        budget = Budget(1.0, 0.0)
        assert await budget.begin(0.9)
        waiting = asyncio.create_task(budget.begin(0.5))
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.settle(0.9, 0.1)  # it cost less than was set aside
        fits = await waiting
        budget.settle(0.5, None)  # what it cost is not known: all of it counts
        assert budget.spent == pytest.approx(0.6)
        return [fits, await budget.begin(0.41), await budget.begin(0.01)]

    assert asyncio.run(go()) == [True, False, False]


def test_a_lost_call_is_paid_at_the_most_and_remembered_by_later_runs(tmp_path: Path) -> None:
    price, path = Price(1e3, 1e3), tmp_path / "ledger.sqlite"
    messages = [Message("user", "q")]
    most = Size.of(messages, Options()).dollars(price) or 0.0
    for times in (1, 2):  # a failure is tried again in the next run, and may be billed again
        with Ledger(path) as ledger:
            ledger.budget = Budget(100.0, dollars_paid(path, {}.get)[0])
            failing = Ledgered(Flaky(Constant("a"), rate=1.0), ledger, price)
            with paying("zero_shot", "measure"):
                asyncio.run(failing.complete(messages))
            assert ledger.budget.spent == pytest.approx(times * most)
            assert ledger.spent().unknown_calls == times
            assert ledger.spent().unknown_usd == pytest.approx(times * most)
    assert dollars_paid(path, {}.get)[0] == pytest.approx(2 * most)


@dataclass(frozen=True)
class Trying:
    """A model that tried some times in vain before it answered or gave up."""

    answer: Completion
    most_billed: int = 3

    async def complete(self, messages: Any, options: Options = Options()) -> Completion:
        return self.answer

    def spec(self) -> ModelSpec:
        return {"kind": "trying"}


@pytest.mark.parametrize(
    ("answer", "lost", "known"),
    [
        (Completion("a", 100, 10, latency_s=0.1), 0, 0.11),
        (Completion("a", 100, 10, latency_s=0.1, lost=2), 2, 0.11),
        (Completion("", error="no answer", failure="unknown", lost=3), 3, 0.0),
        (Completion("", error="HTTP 500", failure="transient", cost_usd=0.0, lost=1), 1, 0.0),
        (Completion("", error="HTTP 400", failure="permanent", cost_usd=0.0), 0, 0.0),
        (Completion("", error="stopped", failure="not_asked", cost_usd=0.0), 0, 0.0),
    ],
)
def test_every_lost_attempt_counts_at_the_most_beside_the_answer(
    tmp_path: Path, answer: Completion, lost: int, known: float
) -> None:
    price, path, messages = Price(1e3, 1e3), tmp_path / "ledger.sqlite", [Message("user", "q")]
    most = Size.of(messages, Options()).dollars(price) or 0.0
    with Ledger(path) as ledger:
        ledger.budget = Budget(4 * most, 0.0)
        with paying("zero_shot", "measure"):
            asyncio.run(Ledgered(Trying(answer), ledger, price).complete(messages))
        assert ledger.budget.spent == pytest.approx(known + lost * most)
        for spent in (ledger.spent(), ledger.spent("zero_shot", "measure")):
            assert (spent.unknown_calls, spent.usd or 0.0) == (lost, pytest.approx(known))
            assert (spent.unknown_usd or 0.0) == pytest.approx(lost * most)
    assert dollars_paid(path, {}.get)[0] == pytest.approx(known + lost * most)
    with Ledger(path) as ledger:  # what is set aside is what all attempts of a call may cost
        ledger.budget = Budget(3.5 * most, most)
        refused = asyncio.run(Ledgered(Trying(answer), ledger, price).complete([Message("user", "another")]))
        assert refused.failure == "not_asked"


def test_a_prompt_whose_price_may_be_unknown_is_not_sent_where_a_budget_is_kept(tmp_path: Path) -> None:
    price = Price(1.0, 1.0, up_to=200)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        model = Ledgered(Constant("a"), ledger, price)
        ledger.budget = Budget(100.0, 0.0)
        long = asyncio.run(model.complete([Message("user", "q" * 200)]))
        assert long.failed and "price is not known" in str(long.error)
        assert (ledger.new_calls, ledger.budget.spent, ledger.budget_ended()) == (0, 0.0, False)
        assert asyncio.run(model.complete([Message("user", "q")])).text == "a"
        ledger.budget = None
        assert asyncio.run(model.complete([Message("user", "q" * 200)])).text == "a"


def test_an_answer_that_the_ledger_holds_is_had_beyond_the_wall(tmp_path: Path) -> None:
    class Costly:
        async def complete(self, messages: Any, options: Options = Options()) -> Completion:
            return Completion("a", 10, 10, latency_s=0.1)

        def spec(self) -> ModelSpec:
            return {"kind": "costly"}

    async def ask(ledger: Ledger, text: str) -> Completion:
        return await Ledgered(Costly(), ledger, Price(1e3, 1e3)).complete([Message("user", text)])

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        assert asyncio.run(ask(ledger, "q")).cost_usd == pytest.approx(0.02)
        ledger.budget = Budget(0.02, 0.02)
        assert asyncio.run(ask(ledger, "q")).text == "a"
        assert not ledger.budget_ended()
        refused = asyncio.run(ask(ledger, "another"))
        assert (refused.error, refused.failure) == (OVER, "not_asked")
        assert ledger.budget_ended()
        assert (ledger.new_calls, ledger.spent().calls) == (1, 1)


def test_unknown_outcomes_are_shown_beside_what_was_spent() -> None:
    spent = Spent(calls=5, usd=0.5, unknown_calls=2, unknown_usd=0.0123)
    assert unknown_outcomes(spent) == "unknown outcomes: 2 calls, $0.012 at most"
    assert unknown_outcomes(replace(spent, unknown_usd=None)) == "unknown outcomes: 2 calls, cost unknown"


# ---------------------------------------------------------------- a climb that ends at it


FEW = chosen_rungs(("guess", "zero_shot", "few_shot", "nearest_shots", "fine_tune"))


def run(folder: Path, budget: float | None = None, **how: Any) -> RunRecord:
    """A short climb; `max_calls` and `max_minutes` are the file's, the rest is how it climbs."""
    limits = {name: how.pop(name) for name in ("max_calls", "max_minutes") if name in how}
    short = Climb(FEW, allow_simulated=True, probing=None, forgetting=False, **how)
    return asyncio.run(climb(load_task(folder, budget=budget, **limits), short))


def paid(folder: Path) -> float:
    return dollars_paid(ledger_path(folder), {}.get)[0]


def untimed(record: RunRecord) -> list[RungResult]:
    """The rungs without the seconds of fitting: an epoch's are the clock's, and a busy machine is slow."""
    return [replace(rung, fit_seconds=None) for rung in record.verdict.rungs]


@pytest.mark.parametrize(("budget", "whole"), [(0.001, False), (0.03, True), (0.06, False), (0.12, True)])
def test_a_climb_stops_at_the_wall_and_says_what_is_not_measured(
    make_task: MakeTask, budget: float, whole: bool
) -> None:
    folder = make_task(numbered_rows(200), model=WORLD, tune=WORLD, goal={"quality": 0.8}, prices=PRICES)
    record = run(folder, budget, whole_holdout=whole)
    verdict = record.verdict
    assert 0 <= paid(folder) <= budget
    assert (verdict.answer, verdict.reason) == ("not_yet", "unmeasured")  # and not out_of_reach: rungs are missing
    assert verdict.provenance["budget"] == {"usd": budget, "ended": True, "ended_by": "dollars"}
    order = [example.id for example in record.holdout]
    for m in record.measurements:
        assert [p.example_id for p in m.predictions] == order[: len(m.predictions)]
        assert not [p for p in m.predictions if p.completion.failed]
    said = " ".join(plain_lines(record))
    assert "The budget ended before the answer was clear" in said
    assert "fine_tune skipped: not reached" in said
    assert judge_again(load_run(record.folder), ["goal.quality=0.9"]).verdict.reason == "unmeasured"


def test_a_higher_budget_goes_on_in_the_same_run_to_the_verdict_without_a_wall(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(200), model=WORLD, tune=WORLD, goal={"quality": 0.8}, prices=PRICES)
    first = run(folder, 0.12)
    before = paid(folder)
    second = run(folder, 0.25)
    assert before < paid(folder) <= 0.25  # what the first part paid counts
    last = run(folder, 50.0)
    assert first.folder == second.folder == last.folder
    assert last.verdict.reason == "tune"
    assert last.verdict.provenance["budget"] == {"usd": 50.0, "ended": False}
    assert {r.verdict.provenance["look"] for r in (first, second, last)} == {1}
    other = make_task(numbered_rows(200), name="other", model=WORLD, tune=WORLD, goal={"quality": 0.8}, prices=PRICES)
    assert untimed(run(other)) == untimed(last)
    assert last.verdict.spent.usd == pytest.approx(paid(folder))
    assert run(folder, 0.001).verdict.reason == "tune"  # everything is in the ledger: nothing need be begun


def test_a_goal_that_was_met_before_the_wall_stays_met(make_task: MakeTask) -> None:
    model = "scripted:base=0.97,tuned=0.97"
    prices = {model: {"read": 10.0, "written": 10.0}}
    folder = make_task(numbered_rows(200), model=model, tune=model, goal={"quality": 0.8}, prices=prices)
    record = run(folder, 0.2, all_rungs=True)
    assert record.verdict.provenance["budget"]["ended"]
    assert (record.verdict.reason, record.verdict.rung) == ("goal_met", "zero_shot")


def test_a_budget_that_cannot_be_kept_is_refused(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m", tune=None, budget=5)
    with pytest.raises(InputError, match=r"a budget of \$5 cannot be kept: no price is known of http://127") as caught:
        run(folder)
    assert "--price READ,WRITTEN" in caught.value.hint and "prices:" in caught.value.hint
    assert "--no-price-limit" in caught.value.hint
    done = shouldtune("run", folder)
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    for price in ("1", "1,2,3", "1,x", "-1,2", "nan,1"):
        bad = shouldtune("run", folder, "--price", price)
        assert (bad.returncode, bad.stderr.count("error:")) == (2, 1)


def test_a_run_ends_in_order_after_so_many_new_calls_and_the_next_one_goes_on(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(200), model=WORLD, tune=WORLD, goal={"quality": 0.8})
    calls = []
    for most in (0, 40, 70):
        record = run(folder, max_calls=most)
        assert record.verdict.reason == "unmeasured"
        told = record.verdict.provenance["budget"]
        assert told == {"max_calls": most, "ended": True, "ended_by": "calls"}
        calls.append(sum(not call.training for call in past_calls(ledger_path(folder))))
    assert calls == [0, 40, 110]
    done = run(folder, max_calls=100_000)
    assert done.verdict.provenance["budget"] == {"max_calls": 100_000, "ended": False}
    assert done.verdict.reason == "tune"
    assert run(folder, max_calls=0).verdict.reason == "tune"  # nothing new is needed


def test_a_run_ends_in_order_after_so_many_minutes(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_task(numbered_rows(200), model=WORLD, tune=WORLD, goal={"quality": 0.8}, max_minutes=10)
    clock = iter(range(0, 10**9, 6))  # each look at it takes six seconds
    monkeypatch.setattr(budget, "monotonic", lambda: float(next(clock)))
    record = run(folder)
    assert record.verdict.reason == "unmeasured"
    assert record.verdict.provenance["budget"] == {"max_minutes": 10, "ended": True, "ended_by": "minutes"}
    asked = sum(1 for _ in past_calls(ledger_path(folder)))
    assert 50 < asked <= 100
    monkeypatch.undo()
    assert run(folder).verdict.reason == "tune"


def test_training_ends_after_the_epoch_in_which_the_time_is_over(tmp_path: Path) -> None:
    async def epochs(minutes: float) -> int:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            ledger.budget = Budget(None, 0.0, minutes=minutes)
            model = LedgeredTunable(Scripted({}, Abilities()), ledger)
            return len([tuned async for tuned in model.tune([], TuneSettings(epochs=4))])

    assert asyncio.run(epochs(0.0)) == 1
    assert asyncio.run(epochs(60.0)) == 4


# ---------------------------------------------------------------- a server that bills


def test_a_servers_bill_stays_within_the_budget_and_the_command_ends_with_3(make_task: MakeTask) -> None:
    with CountingServer().running() as server:
        model, price = f"{server.url}#m", Price(100.0, 400.0, cached=10.0)
        prices = {model: {"read": 100.0, "written": 400.0, "cached": 10.0}}
        folder = make_task(numbered_rows(100), model=model, tune=None, prices=prices, budget=0.2)
        command = ("run", folder, "--json", "--no-probes", "--rungs", "guess,zero_shot,few_shot")
        done = shouldtune(*command)
        assert done.returncode == 3, done.stderr
        # A call may be billed twice, so twice the most that it can cost is set aside: the wall is met earlier.
        assert 0.05 < server.billed(price) <= 0.2
        verdict = json.loads(done.stdout)
        assert (verdict["reason"], verdict["provenance"]["budget"]["ended_by"]) == ("unmeasured", "dollars")
        assert verdict["spent"]["usd"] == pytest.approx(paid(folder)) == pytest.approx(server.billed(price), rel=0.02)
        assert verdict["spent"]["cached_tokens"] > 0
        errors = [line for line in done.stderr.splitlines() if line.startswith(("error:", "hint:"))]
        assert [line.split(":")[0] for line in errors] == ["error", "hint"]
        assert "of $0.2 is spent on this task" in errors[0]
        assert "for all of it that would be" in errors[1] and "more at most, $" in errors[1]
        calls = server.calls
        assert shouldtune(*command).returncode == 3
        assert server.calls == calls  # the next call still does not fit
        more = shouldtune(*command, "--budget", "40")
        assert more.returncode == 0, more.stderr
        assert json.loads(more.stdout)["spent"]["usd"] > 0.2
        assert max(server.asked.values()) == 1  # nothing was bought twice


def test_the_command_takes_a_price_and_limits_and_says_what_the_rest_would_take(make_task: MakeTask) -> None:
    with CountingServer().running() as server:
        folder = make_task(numbered_rows(60), model=f"{server.url}#m", tune=None, budget=5)
        command = ("run", folder, "--json", "--no-probes", "--rungs", "guess,zero_shot,few_shot")
        few = shouldtune(*command, "--price", "100,400", "--max-calls", "5")
        assert (few.returncode, server.calls) == (3, 5)
        assert "error: the budget ended: 5 new calls were allowed" in few.stderr
        assert re.search(r"goes on from there; for all of it that would be \d+ calls more at most, \$\d", few.stderr)
        late = shouldtune(*command, "--price", "100,400", "--max-minutes", "0")
        assert (late.returncode, server.calls) == (3, 5)
        assert "the budget ended: 0 s are over" in late.stderr
        priced = json.loads(shouldtune(*command, "--price", "100,400").stdout)
        assert priced["spent"]["usd"] == pytest.approx(server.billed(Price(100.0, 400.0)))
        assert priced["provenance"]["budget"] == {"usd": 5.0, "ended": False}
        free = shouldtune(*command, "--no-price-limit")
        assert free.returncode == 0, free.stderr
        assert "the budget of $5 does not hold" in free.stderr
        told = json.loads(free.stdout)
        assert told["provenance"]["budget"] == {"usd": 5.0, "ended": False, "holds": False}
        assert "the budget of $5 does not hold" in shouldtune("report", folder).stdout


def test_the_plan_says_whether_a_budget_is_enough(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(200), model="openai:gpt-5-mini", tune=None, budget=100)
    assert "budget: $100, of which $0 is spent; the rest is enough for all of it" in shouldtune("plan", folder).stdout
    small = make_task(numbered_rows(200), model="openai:gpt-5-mini", tune=None, budget=0.0001)
    assert "the rest is enough not even for what is expected" in shouldtune("plan", small).stdout
    unknown = make_task(numbered_rows(200), model="http://127.0.0.1:9/v1#m", tune=None, budget=1)
    assert "cannot be kept" in shouldtune("plan", unknown).stdout
