"""The budget as the server counts it: whatever the server says, however many ask at once, in one process or two."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.judgement import Price
from shouldtune.measure import measure
from shouldtune.models.budget import Budget
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.past_calls import dollars_paid
from shouldtune.models.prompted import Prompted
from shouldtune.models.remote import open_remote
from shouldtune.types import Completion, Example, Options, Score
from tests.conftest import MakeTask, numbered_rows
from tests.counting_server import CountingServer, Usage
from tests.test_cli import shouldtune
from tests.warm import Warm

PRICE = Price(100.0, 400.0)
TELLS: dict[str, Callable[[int, int, int], Usage]] = {
    "the truth": lambda read, written, cached: {"prompt_tokens": read, "completion_tokens": written},
    "nothing": lambda read, written, cached: None,
    "no figures": lambda read, written, cached: {},
    "zeros": lambda read, written, cached: {"prompt_tokens": 0, "completion_tokens": 0},
    "less than none": lambda read, written, cached: {"prompt_tokens": -read, "completion_tokens": -written},
    "words": lambda read, written, cached: {"prompt_tokens": str(read), "completion_tokens": "some"},
    "one figure": lambda read, written, cached: {"prompt_tokens": read},
    "too much": lambda read, written, cached: {"prompt_tokens": 50 * read, "completion_tokens": 50 * written},
}


def grade(completion: Completion, example: Example) -> Score:
    return Score(0.0)


@pytest.mark.parametrize("tells", TELLS)
@pytest.mark.parametrize("worst", [False, True])
def test_64_calls_at_once_stay_below_a_tenth_of_what_they_need(tmp_path: Path, tells: str, worst: bool) -> None:
    path, examples = tmp_path / "ledger.sqlite", [Example(f"{i}", f"question {i} " * 5, "a") for i in range(320)]
    with CountingServer(usage=TELLS[tells], worst=worst).running() as server:

        async def ask(usd: float | None) -> float:
            with Ledger(path) as ledger:
                model = replace(open_remote(f"{server.url}#m"), concurrency=64)
                table = {f"{server.url}#m": PRICE}
                ledger.budget = None if usd is None else Budget(usd, dollars_paid(path, table.get)[0])
                asked = Prompted(Ledgered(model, ledger, PRICE), options=Options(max_tokens=8))
                await measure(asked, examples, grade)
                await model.aclose()
                return 0.0 if ledger.budget is None else ledger.budget.spent

        asyncio.run(ask(None))
        cap = server.billed(PRICE) / 10
        path.unlink()
        server.tokens.clear()
        for _ in range(2):  # the second run begins where the first has stopped
            spent = asyncio.run(ask(cap))
            assert 0 < server.billed(PRICE) <= cap
            assert spent <= cap + 1e-9 or tells == "too much"  # who tells too much is believed
        assert dollars_paid(path, {f"{server.url}#m": PRICE}.get)[0] == pytest.approx(spent)


def test_two_processes_on_one_run_stay_below_the_wall_together(make_task: MakeTask, tmp_path: Path, warm: Warm) -> None:
    with CountingServer(worst=True, latency_s=0.01).running() as server:
        model = f"{server.url}#m"
        prices = {model: {"read": PRICE.read, "written": PRICE.written}}
        folder = make_task(numbered_rows(80), model=model, tune=None, prices=prices, budget=0.4)
        both = [warm.begin(tmp_path / name, "run", folder, "--no-probes") for name in ("one", "two")]
        codes = [each.wait() for each in both]
        assert sorted(codes) == [3, 4], [each.stderr for each in both]
        refused = both[codes.index(4)].stderr
        assert len(re.findall("^error: .*another run is writing this ledger$", refused, re.MULTILINE)) == 1
        assert 0.2 < server.billed(PRICE) <= 0.4
        assert max(server.asked.values()) == 1


# ---------------------------------------------------------------- a clock that jumps


def test_a_clock_that_jumps_by_hours_and_years_changes_nothing(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, true, true_ns = random.Random(10), time.time, time.time_ns
    jumps = [-3.2e8, -3600.0 * 5, -60.0, 0.0, 60.0, 3600.0 * 30, 6.4e8]

    def found(name: str) -> tuple[dict[str, Any], Path]:
        folder = make_task(
            numbered_rows(100),
            name=name,
            model=model,
            tune=None,
            goal={"quality": 0.8},
            budget=100.0,
            prices={model: {"read": 1.0, "written": 1.0}},
            max_minutes=50,
        )
        done = shouldtune("run", folder, "--json", "--no-probes", "--rungs", "guess,zero_shot,few_shot")
        assert done.returncode == 0, done.stderr
        verdict: dict[str, Any] = json.loads(done.stdout)
        return verdict, folder

    def durations(value: Any, name: str = "") -> list[float]:
        if isinstance(value, dict):
            return [each for key, inner in value.items() for each in durations(inner, key)]
        if isinstance(value, list):
            return [each for inner in value for each in durations(inner, name)]
        return [value] if isinstance(value, float) and re.search("second|latency|_s$", name) else []

    with CountingServer(lambda question: f"answer {question.split()[-1]}").running() as server:
        model = f"{server.url}#m"
        calm, _ = found("calm")
        monkeypatch.setattr(time, "time", lambda: true() + rng.choice(jumps))
        monkeypatch.setattr(time, "time_ns", lambda: true_ns() + int(rng.choice(jumps) * 1e9))
        wild, folder = found("wild")
    for name in ("answer", "reason", "rung", "because", "comparisons"):
        assert wild[name] == calm[name]
    assert [rung["quality"] for rung in wild["rungs"]] == [rung["quality"] for rung in calm["rungs"]]
    rows = next((folder / "runs").glob("*/predictions.jsonl")).read_text().splitlines()
    lasted = durations(wild) + [each for row in rows for each in durations(json.loads(row))]
    assert len(lasted) > 30
    assert all(0 <= each < 600 for each in lasted)
