"""A run that is killed or interrupted loses no result, buys none twice, and ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from shouldtune.models.past_calls import lost_calls, past_calls
from shouldtune.report.terminal import plain_lines
from shouldtune.run import ledger_path, load_run
from tests.conftest import MakeTask, Rows
from tests.counting_server import CountingServer
from tests.warm import Running, Warm

PLACES = 16 + 16
"""Calls that are sent and written down as sent at once: those of the client, and those written ahead."""
AT_ONCE = 96
"""Calls that may have been answered and not yet be on disk."""
COMMAND = ("--rungs", "guess,zero_shot,few_shot", "--no-probes", "--whole-holdout", "--json", "--budget", "1000")


def rows(n: int) -> Rows:
    return [{"input": f"what is the colour of stone {i * 7919 % 10007}", "target": f"colour {i % 7}"} for i in range(n)]


def server() -> CountingServer:
    """It is right about two in three, by the question alone."""

    def answer(question: str) -> str:
        stone = int(question.rsplit(" ", 1)[-1]) if question.rsplit(" ", 1)[-1].isdigit() else 0
        right = f"colour {next((i for i in range(80) if i * 7919 % 10007 == stone), 0) % 7}"
        return right if hashlib.sha256(question.encode()).digest()[0] % 3 else "no colour"

    return CountingServer(answer, latency_s=0.002)


def task_for(make_task: MakeTask, model: str, name: str) -> Path:
    prices = {model: {"read": 50.0, "written": 100.0}}
    folder = make_task(rows(64), name=name, model=model, tune=None, goal={"quality": 0.9}, prices=prices)
    file = json.loads((folder / "shouldtune.yaml").read_text())
    (folder / "shouldtune.yaml").write_text(json.dumps({**file, "name": "toy"}))  # the same run in another folder
    return folder


def committed(folder: Path) -> dict[str, str]:
    """Every recorded answer, by the server's name for the request."""
    return {sent_as(call.request): call.completion.text for call in past_calls(ledger_path(folder))}


def sent_as(request: dict[str, Any]) -> str:
    said = {"messages": request["messages"], "max_tokens": request["options"].get("max_tokens", 256)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def cut_off(running: Running, counting: CountingServer, rng: random.Random, calls: int, how: int) -> bool:
    """Send the signal at a random point: before, between and after calls. Whether the run was cut off by it."""
    after, until = counting.calls + rng.randrange(calls), time.monotonic() + 20
    while counting.calls < after and time.monotonic() < until and not running.stdout:
        time.sleep(0.0005)
    time.sleep(rng.choice([0.0, rng.random() * 0.004, rng.random() * 0.03]))
    running.kill(how)
    return running.wait() in (-how, 130)


def found(text: str) -> dict[str, Any]:
    """A verdict without how long things took, and what a cut cost."""
    passing = ("seconds", "latency_p50", "latency_p95", "fit_seconds", "unknown_calls", "unknown_usd")

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(each) for name, each in value.items() if name not in passing}
        return [plain(each) for each in value] if isinstance(value, list) else value

    verdict: dict[str, Any] = plain(json.loads(text))
    return verdict


def scores(folder: Path) -> list[tuple[str, str, float | None]]:
    run = next((folder / "runs").glob("toy-*"))
    lines = [json.loads(line) for line in (run / "predictions.jsonl").read_text().splitlines()]
    return [(p["rung"], p["example_id"], p["score"] and p["score"]["value"]) for p in lines]


class Cut:
    """One run that is cut off again and again, and what must hold each time."""

    def __init__(self, parent: Warm, folder: Path, counting: CountingServer, rng: random.Random) -> None:
        self.parent, self.folder, self.counting, self.rng = parent, folder, counting, rng
        self.cuts = self.repeats = self.unknown = 0

    def begin(self) -> Running:
        return self.parent.begin(self.folder / "out", "run", self.folder, *COMMAND)

    def cut(self, calls: int, how: int) -> None:
        """Cut it off once and look at what it left."""
        known = committed(self.folder)
        before = self.counting.asked.copy()
        left = len(lost_calls(ledger_path(self.folder)))
        self.cuts += cut_off(self.begin(), self.counting, self.rng, calls, how)
        time.sleep(0.02)  # what is on its way to the server gets there
        after, now = self.counting.asked, committed(self.folder)
        assert known.items() <= now.items()  # no recorded answer is lost or changed
        assert all(after[name] == before[name] for name in known)  # and none is asked for again
        under_way = len(lost_calls(ledger_path(self.folder))) - left
        sent = sum(after.values()) - sum(before.values())
        assert sent - (len(now) - len(known)) <= under_way <= AT_ONCE  # each is on disk before it is sent
        self.unknown += under_way

    def end(self) -> str:
        """Let it end, and return its verdict."""
        last = self.begin()
        assert last.wait() == 0, last.stderr
        self.repeats = sum(self.counting.asked.values()) - len(self.counting.asked)
        assert self.repeats <= self.unknown == len(lost_calls(ledger_path(self.folder)))
        return last.stdout


@pytest.mark.parametrize("points", [3, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_run_loses_no_result_and_ends_like_one_that_was_not(
    make_task: MakeTask, warm: Warm, points: int
) -> None:
    rng, cuts, runs, unknown = random.Random(points), 0, 0, 0
    with server().running() as counting:
        model = f"{counting.url}#m"
        whole = Cut(warm, task_for(make_task, model, "whole"), counting, rng)
        truth = whole.end()
        needed = len(counting.asked)
        assert (whole.repeats, json.loads(truth)["spent"]["calls"]) == (0, needed)
        while cuts < points:
            counting.asked.clear()
            cut = Cut(warm, task_for(make_task, model, f"cut-{runs}"), counting, rng)
            for how in rng.choice([[signal.SIGKILL], [signal.SIGKILL] * 2, [signal.SIGINT, signal.SIGKILL]]):
                cut.cut(needed, how)
            text = cut.end()
            assert found(text) == found(truth)
            assert scores(cut.folder) == scores(whole.folder)
            spent = json.loads(text)["spent"]
            assert spent["unknown_calls"] == cut.unknown  # each is shown, at the most that it can have cost
            assert (spent["unknown_usd"] or 0.0) > 0.0 or not cut.unknown
            assert max(counting.asked.values()) <= 1 + cut.cuts
            said = " ".join(plain_lines(load_run(cut.folder)))
            assert ("unknown outcomes:" in said) == (cut.unknown > 0)
            cuts, runs, unknown = cuts + cut.cuts, runs + 1, unknown + cut.unknown
    print(f"{cuts} cuts of {runs} runs of {needed} calls, {unknown} calls under way")  # noqa: T201
    assert unknown > 0
