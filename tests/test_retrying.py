"""One retry layer: what is tried again, how often, when, and what it may have cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest

from shouldtune.errors import CannotMeasure
from shouldtune.models.concurrency import FIRST, Places
from shouldtune.models.remote import open_remote
from shouldtune.models.retrying import Attempt, CallPatience, ask_patiently
from shouldtune.types import Completion, Failure, Message, Options
from tests.faulty_server import FaultyServer

QUICK = CallPatience(first_wait_s=0.01, longest_wait_s=0.05, limit_s=5.0)
FREE = ("transient", "refused", "permanent")


def failing(failure: Failure) -> Attempt:
    cost = 0.0 if failure in FREE else None
    return Attempt(Completion("", finish_reason="error", error="e", failure=failure, cost_usd=cost))


def tried(*failures: Failure | None, patience: CallPatience = QUICK) -> tuple[Completion, int]:
    """(what a call ends with whose attempts go so, how many there were)."""
    made = 0

    async def ask(seconds: float) -> Attempt:
        nonlocal made
        made += 1
        failure = failures[min(made, len(failures)) - 1]
        return Attempt(Completion("yes")) if failure is None else failing(failure)

    return asyncio.run(ask_patiently(ask, Places(4), patience)), made


def ask_all(
    server: FaultyServer, questions: Sequence[str], patience: CallPatience = QUICK, timeout_s: float = 5.0
) -> list[Completion]:
    """Ask one model all of these at once."""

    async def go() -> list[Completion]:
        model = replace(open_remote(server.model_id), patience=patience, timeout_s=timeout_s)
        try:
            return await asyncio.gather(*(model.complete([Message("user", q)], Options()) for q in questions))
        finally:
            await model.aclose()

    with server.running():
        return asyncio.run(go())


# ---------------------------------------------------------------- what is tried again


def test_what_may_succeed_is_tried_six_times_and_no_more() -> None:
    completion, made = tried("transient")
    assert (completion.failure, completion.lost, completion.cost_usd, made) == ("transient", 0, 0.0, 6)
    assert tried("transient", "transient", None)[0].text == "yes"


@pytest.mark.parametrize("failure", ["permanent", "refused", "not_asked"])
def test_what_cannot_succeed_is_tried_once(failure: Failure) -> None:
    assert tried(failure, None)[1] == 1


def test_an_unknown_outcome_is_tried_again_once_and_both_are_told() -> None:
    completion, made = tried("unknown")
    assert (completion.failure, completion.lost, made) == ("unknown", 2, 2)
    completion, made = tried("unknown", None)
    assert (completion.text, completion.lost, made) == ("yes", 1, 2)


def test_replies_that_are_no_answers_are_lost_too_and_few_are_bought() -> None:
    completion, made = tried("malformed")
    assert (completion.failure, completion.lost, made) == ("malformed", 2, QUICK.billed)  # the last one counts itself
    assert tried("malformed", "malformed", None)[0].lost == 2
    assert tried("unknown", "malformed", "transient", "unknown")[0].lost == 3


def test_no_call_succeeding_ends_the_run_unless_something_was_lost_before() -> None:
    made = 0

    async def ask(seconds: float) -> Attempt:
        nonlocal made
        made += 1
        if made == 1 and lost_first:
            return failing("unknown")
        raise CannotMeasure("no such model")

    lost_first = False
    with pytest.raises(CannotMeasure):
        asyncio.run(ask_patiently(ask, Places(1), QUICK))
    lost_first, made = True, 0
    completion = asyncio.run(ask_patiently(ask, Places(1), QUICK))
    assert (completion.failure, completion.lost, completion.error) == ("permanent", 1, "no such model")


# ---------------------------------------------------------------- when


def test_waits_are_drawn_from_twice_as_much_each_time_up_to_the_longest() -> None:
    waits: list[float] = []

    async def go() -> None:
        async def ask(seconds: float) -> Attempt:
            at.append(asyncio.get_running_loop().time())
            return failing("transient")

        at: list[float] = []
        patience = CallPatience(first_wait_s=0.01, longest_wait_s=0.05, limit_s=5.0)
        await ask_patiently(ask, Places(1), patience, draw=lambda: 1.0)
        waits.extend(b - a for a, b in pairwise(at))

    asyncio.run(go())
    assert all(wait >= least for wait, least in zip(waits, (0.01, 0.02, 0.04, 0.05, 0.05), strict=True))


def test_a_call_ends_when_its_time_is_over_and_a_wait_that_does_not_fit_is_not_begun() -> None:
    completion, made = tried(
        "transient", patience=CallPatience(first_wait_s=1000.0, longest_wait_s=1000.0, limit_s=0.5)
    )
    assert completion.failure == "transient" and made <= 2

    async def ask(seconds: float) -> Attempt:
        return replace(failing("transient"), retry_after_s=3600.0)

    places = Places(1)
    first = asyncio.run(ask_patiently(ask, places, QUICK))
    assert first.error is not None and "3600 s" in first.error
    second = asyncio.run(ask_patiently(ask, places, QUICK))  # not even sent
    assert second.error is not None and "left alone" in second.error and second.cost_usd == 0.0


@pytest.mark.parametrize("retry_after", [None, "1"])
def test_a_server_that_always_says_429_is_asked_six_times_and_never_before_it_wants(retry_after: str | None) -> None:
    server = FaultyServer(faults={"429": 1.0}, retry_after=retry_after)
    patience = replace(QUICK, limit_s=3.5 if retry_after else 5.0)
    completions = ask_all(server, [f"q{i}" for i in range(6)], patience)
    assert {completion.failure for completion in completions} == {"transient"}
    assert max(server.asked.values()) <= 6
    if retry_after is None:
        assert min(server.asked.values()) == 6
        return
    starts = [at for at, _ in server.came]
    first_round = server.came[: next(i for i, (at, _) in enumerate(server.came) if at - starts[0] > 0.5)]
    assert len(first_round) <= FIRST  # nobody else is sent while the server wants to be left alone
    for name in server.asked:
        mine = [at for at, other in server.came if other == name]
        assert all(later - earlier >= 0.99 for earlier, later in pairwise(mine))


def test_a_date_to_come_back_is_held_against_the_servers_own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    from shouldtune.models.posting import retry_after

    date = "Sun, 06 Nov 1994 08:49:37 GMT"
    assert retry_after({"Retry-After": "Sun, 06 Nov 1994 08:50:07 GMT", "Date": date}) == 30.0
    assert retry_after({"Retry-After": date, "Date": "Sun, 06 Nov 1994 09:00:00 GMT"}) == 0.0
    assert retry_after({"Retry-After": "Sun, 06 Nov 2094 08:50:07 GMT"}) is None
    assert retry_after({"retry-after-ms": "250", "Retry-After": "9"}) == 0.25
    assert [retry_after({"Retry-After": odd}) for odd in ("", "soon", "-1", "nan", "inf", "1e999")] == [None] * 6


def test_a_jump_of_the_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = iter(range(10**6))
    monkeypatch.setattr(time, "time", lambda: (-1) ** next(jumps) * 3.2e8)  # ten years there and back
    server = FaultyServer(first=("429", "500"), retry_after="0")
    for completion in ask_all(server, ["a", "b"]):
        assert completion.text == "hello"
        assert completion.latency_s is not None and 0 <= completion.latency_s < 60


# ---------------------------------------------------------------- how many at once


def test_places_grow_until_the_first_burst_and_fall_by_a_fifth_once_for_it() -> None:
    async def go() -> None:
        places = Places(64)
        assert places.size == FIRST
        taken: list[int] = []
        for _ in range(16):
            while len(taken) < int(places.size):
                taken.append(await places.take())
            places.give_back(taken.pop(), "well")
        assert places.size == FIRST + 16
        while taken:
            places.give_back(taken.pop(), "well")  # nobody wanted more: no more are made
        before = places.size
        taken = [await places.take() for _ in range(10)]
        for burst in taken:
            places.give_back(burst, "overloaded")
        assert places.size == pytest.approx(0.8 * before)
        for _ in range(100):
            places.give_back(await places.take(), "overloaded")
        assert places.size == 1.0

    asyncio.run(go())


def test_places_double_each_round_also_where_a_rounds_answers_come_together() -> None:
    async def go() -> list[int]:
        places, out, rounds = Places(64), list[int](), list[int]()

        async def call() -> None:
            out.append(await places.take())

        waiting = [asyncio.create_task(call()) for _ in range(300)]
        for _ in range(5):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            rounds.append(len(out))
            for burst in out:
                places.give_back(burst, "well")
            out.clear()
        for task in waiting:
            task.cancel()
        return rounds

    assert asyncio.run(go()) == [4, 8, 16, 32, 64]


def test_a_place_that_was_given_to_somebody_who_left_goes_to_the_next() -> None:
    async def go() -> None:
        places = Places(1)
        burst = await places.take()
        leaves, stays = asyncio.create_task(places.take()), asyncio.create_task(places.take())
        await asyncio.sleep(0)
        places.give_back(burst, "well")
        leaves.cancel()
        await asyncio.wait_for(stays, 1)

    asyncio.run(go())


# ---------------------------------------------------------------- against a server


def test_an_answer_that_comes_after_our_time_is_over_is_unknown_and_bought_once_more_at_most() -> None:
    server = FaultyServer(first=("timeout", "timeout", "timeout"), hang_s=0.6)
    (completion,) = ask_all(server, ["q"], timeout_s=0.2)
    assert (completion.failure, completion.lost, completion.cost_usd) == ("unknown", 2, None)
    assert list(server.asked.values()) == [2]
    server = FaultyServer(first=("timeout",), hang_s=0.6)
    (completion,) = ask_all(server, ["q"], timeout_s=0.2)
    assert (completion.text, completion.lost) == ("hello", 1)


def test_a_connection_that_breaks_after_sending_is_unknown() -> None:
    (completion,) = ask_all(FaultyServer(first=("lost", "lost")), ["q"])
    assert (completion.failure, completion.lost) == ("unknown", 2)


def test_every_fault_that_may_pass_is_survived() -> None:
    faults = ("429", "500", "503", "malformed", "error_in_200", "lost")
    for fault in faults:
        (completion,) = ask_all(FaultyServer(first=(fault,)), ["q"])
        assert completion.text == "hello", fault
        assert completion.lost == (fault in ("malformed", "error_in_200", "lost")), fault


def test_a_call_without_time_to_ask_is_a_failed_call_and_no_empty_answer() -> None:
    completion, made = tried(None, patience=replace(QUICK, limit_s=0.0))
    assert (completion.failed, completion.failure, completion.cost_usd, made) == (True, "transient", 0.0, 0)
