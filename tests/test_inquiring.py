"""What a climb looks into beside the rungs: the data, the failures and a learning curve; in worlds of known truth."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shouldtune.asked import Climb
from shouldtune.inquiring import Inquirer, data_findings
from shouldtune.ladder import climb
from shouldtune.probing import Probing
from shouldtune.progress import Progress
from shouldtune.rejudge import judge_again
from shouldtune.run import RunRecord, load_run
from shouldtune.task import load_task
from shouldtune.types import Completion
from tests.conftest import MakeTask, Rows, numbered_rows
from tests.test_diagnosis import messages

FEW = Probing(failures=48, successes=24, random=64, most_calls=900, tried_again=4)
SIMULATED = Climb(allow_simulated=True, probing=FEW)
ALL = replace(SIMULATED, all_rungs=True)


class Heard(Progress):
    def __init__(self) -> None:
        self.calls = 0
        self.notes: list[str] = []

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self.calls += 1

    def noted(self, text: str) -> None:
        self.notes.append(text)


def world(make_task: MakeTask, abilities: str, rows: Rows, how: Climb = SIMULATED, **changes: Any) -> RunRecord:
    file = {"model": f"scripted:{abilities}", "tune": f"scripted:{abilities}", "goal": {"quality": 0.8}, **changes}
    return asyncio.run(climb(load_task(make_task(rows, **file)), how))


def contradicting(n: int, twice: int) -> Rows:
    """The first `twice` questions stand a second time with another answer."""
    rows = numbered_rows(n)
    return [*rows, *({"input": row["input"], "target": f"not {row['target']}"} for row in rows[:twice])]


# ---------------------------------------------------------------- the data, before anything is spent


def test_contradicting_targets_end_the_climb_before_anything_is_asked(make_task: MakeTask) -> None:
    folder = make_task(contradicting(300, 60), model="scripted:base=0.9", goal={"quality": 0.8})
    heard = Heard()
    record = asyncio.run(climb(load_task(folder), SIMULATED, heard))
    verdict = record.verdict
    assert (verdict.answer, verdict.reason, verdict.rung) == ("not_yet", "fix_data", None)
    assert heard.calls == 0
    assert "exclude each other" in heard.notes[0]
    assert verdict.diagnosis is not None
    assert [flaw.kind for flaw in verdict.diagnosis.flaws] == ["contradictory"]
    assert verdict.diagnosis.flaws[0].rows
    assert verdict.diagnosis.doubted > 60
    assert load_run(record.folder) == record


def test_all_rungs_are_measured_all_the_same_and_another_line_judges_them(make_task: MakeTask) -> None:
    record = world(make_task, "base=0.2,tuned=0.95", contradicting(300, 60), ALL)
    assert record.verdict.reason == "fix_data"
    assert {m.rung for m in record.measurements} >= {"zero_shot", "few_shot", "fine_tune"}
    same = judge_again(record, ["goal.quality=0.8"]).verdict
    assert replace(same, provenance=record.verdict.provenance) == record.verdict
    assert judge_again(record, ["goal.worthwhile_gain=0.4"]).verdict.reason == "tune"
    flip = next(flip for flip in record.verdict.sensitivity if flip.key == "goal.worthwhile_gain")
    assert (flip.answer, flip.reason) == ("yes", "tune")


def test_a_goal_that_the_targets_do_not_allow_is_told_first(make_task: MakeTask) -> None:
    rows = contradicting(200, 100)
    folder = make_task(rows, model="scripted:base=0.9", tune=None, goal={"quality": 0.95, "worthwhile_gain": 0.9})
    heard = Heard()
    record = asyncio.run(climb(load_task(folder), SIMULATED, heard))
    assert "lies above the best score within reach" in heard.notes[0]
    assert record.verdict.diagnosis is not None
    assert record.verdict.diagnosis.goal_above_ceiling
    assert any("lies above what the targets allow" in sentence for sentence in record.verdict.because)
    found = {finding.title: finding.level for finding in asyncio.run(data_findings(load_task(folder)))}
    assert found["ceiling"] == "problem"


def test_targets_that_are_only_doubted_wait_for_a_language_model(make_task: MakeTask) -> None:
    """Three in ten labels are exchanged, and the model fails on others just as often: it does not find them wrong."""
    noisy = [{"input": row.input, "target": row.target} for row in messages(5, 900, 0.3)[0]]
    goal = {"quality": 0.9, "worthwhile_gain": 0.1}
    how = replace(SIMULATED, probing=replace(FEW, failures=96, successes=96, most_calls=2000))
    record = world(make_task, "base=0.75", noisy, how, scorer="label", goal=goal, tune=None)
    assert record.inquiry.probes is not None
    heard = record.inquiry.probes.heard
    assert heard is not None
    assert heard.high < 0.1
    assert record.verdict.reason != "fix_data"
    assert replace(record.inquiry, probes=None).flaws(load_task(record.folder.parent.parent).task.goal)
    silent = world(make_task, "base=0.75", noisy, replace(how, probing=None), scorer="label", goal=goal, tune=None)
    assert silent.verdict.reason == "fix_data"
    assert not silent.measurements


# ---------------------------------------------------------------- the failures, before training is paid for


def test_failures_of_the_best_prompt_are_probed_on_the_training_half_alone(make_task: MakeTask) -> None:
    record = world(make_task, "base=0.3,shots@8=0.6,tuned=0.95", numbered_rows(400))
    why = record.verdict.diagnosis
    assert why is not None
    assert why.rung in ("few_shot", "nearest_shots")
    assert sum(share.share.estimate or 0.0 for share in why.shares) == pytest.approx(1.0)
    assert why.failing == pytest.approx(0.4 * why.asked, abs=0.15 * why.asked)
    held = {example.input for example in record.holdout}
    with sqlite3.connect(record.folder.parent / "ledger.sqlite") as database:
        asked = [json.loads(row[0]) for row in database.execute("SELECT request FROM calls WHERE rung = 'probes'")]
    assert len(asked) > 100
    assert not [request for request in asked if request["messages"][-1][1] in held]


def test_nothing_is_probed_where_a_rung_meets_the_goal_or_probes_are_off(make_task: MakeTask) -> None:
    met = world(make_task, "base=0.97", numbered_rows(300))
    assert met.verdict.reason == "goal_met"
    assert met.inquiry.probes is None
    off = world(make_task, "base=0.2,tuned=0.95", numbered_rows(300), replace(SIMULATED, probing=None))
    by_file = world(make_task, "base=0.2,tuned=0.95", numbered_rows(300), probes=False)
    assert off.inquiry.probes is None
    assert by_file.inquiry.probes is None
    assert off.verdict.reason == by_file.verdict.reason == "tune"


@asynccontextmanager
async def librarian() -> AsyncIterator[str]:
    """A model that answers `what of bcde` once a passage about 1234 stands above it."""

    async def answer(request: web.Request) -> web.Response:
        content = (await request.json())["messages"][-1]["content"]
        number = content.rsplit(" ", 1)[-1].translate(str.maketrans("abcdefghij", "0123456789"))
        known = re.search(rf"\bfact {number}\b", content) is not None
        text = f"answer {number}" if known else "no idea"
        return web.json_response({"choices": [{"message": {"content": text}, "finish_reason": "stop"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1#librarian"
    finally:
        await runner.cleanup()


def lost_questions(make_task: MakeTask, model: str) -> Path:
    """Questions that share no word with the passages that answer them."""
    letters = str.maketrans("0123456789", "abcdefghij")
    rows = [
        {"input": f"what of {str(i).translate(letters)}", "target": f"answer {i}", "meta": {"gold": f"d{i}"}}
        for i in range(1000, 1240)
    ]
    folder = make_task(rows, model=model, tune="scripted:tuned=0.99", documents="docs.jsonl", goal={"quality": 0.7})
    lines = [
        {"id": f"d{i}", "title": f"entry {i * 7}", "text": f"This tells fact {i} and no more."}
        for i in range(1000, 1240)
    ]
    (folder / "docs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def test_retrieval_is_mended_before_tuning_is_paid_for(make_task: MakeTask) -> None:
    async def go(how: Climb) -> RunRecord:
        async with librarian() as model:
            return await climb(load_task(lost_questions(make_task, model)), how)

    record = asyncio.run(go(SIMULATED))
    verdict = record.verdict
    found = {rung.name: rung for rung in verdict.rungs}
    assert (found["retrieval"].quality or 0.0) < 0.2
    assert (verdict.answer, verdict.reason) == ("not_yet", "fix_retrieval")
    assert not found["fine_tune"].applied
    assert "retrieval comes first" in (found["fine_tune"].skipped_because or "")
    assert verdict.diagnosis is not None
    assert verdict.diagnosis.passage is not None
    assert verdict.diagnosis.passage.right.low > 0.7
    assert verdict.diagnosis.missed > 30
    assert judge_again(record, ["goal.quality=0.7"]).verdict.reason == "fix_retrieval"
    assert judge_again(record, ["goal.quality=0.999"]).verdict.reason != "fix_retrieval"
    whole = asyncio.run(go(ALL)).verdict
    assert whole.reason == "tune", "a tuned candidate that meets the goal comes before mending"


# ---------------------------------------------------------------- a learning curve


def test_a_fine_tune_that_would_gain_too_little_by_forecast_is_not_paid_for(make_task: MakeTask) -> None:
    goal = {"worthwhile_gain": 0.6}
    record = world(make_task, "base=0.3,tuned=0.3", numbered_rows(700), goal=goal, forecast=True)
    verdict = record.verdict
    assert (verdict.answer, verdict.reason, verdict.basis) == ("no", "no_gain", "forecast")
    assert "by forecast" in next(r.skipped_because or "" for r in verdict.rungs if r.name == "fine_tune")
    assert verdict.forecast is not None
    assert verdict.forecast.spared
    assert [ahead.times for ahead in verdict.forecast.ahead] == [1, 2, 5, 10]
    assert all(ahead.score.low <= ahead.score.high for ahead in verdict.forecast.ahead)
    with sqlite3.connect(record.folder.parent / "ledger.sqlite") as database:
        paid = dict(database.execute("SELECT purpose, count(*) FROM calls WHERE rung = 'fine_tune' GROUP BY purpose"))
    assert set(paid) == {"forecast"}
    assert judge_again(record, ["goal.worthwhile_gain=0.6"]).verdict.basis == "forecast"


def test_a_forecast_that_leaves_it_open_lets_the_fine_tune_be_measured(make_task: MakeTask) -> None:
    verdict = world(make_task, "base=0.3,tuned=0.9", numbered_rows(500), forecast=True).verdict
    assert (verdict.reason, verdict.basis) == ("tune", "measured")
    assert verdict.forecast is not None
    assert not verdict.forecast.spared
    assert verdict.forecast.until is not None


def test_a_curve_is_measured_where_it_is_asked_for_or_a_provider_has_a_price(make_task: MakeTask) -> None:
    def wants(how: Climb = SIMULATED, **changes: Any) -> bool:
        loaded = load_task(make_task(numbered_rows(60), **{"tune": "scripted:tuned=1", **changes}))
        inquirer = Inquirer(loaded, loaded.task.goal, how, None, Progress())  # type: ignore[arg-type]  # no model is asked
        return inquirer.forecasting

    assert not wants()
    assert wants(forecast=True)
    assert wants(replace(SIMULATED, forecast=True))
    assert wants(economics={"fine_tune_usd": 40})
    assert not wants(economics={"fine_tune_usd": 40}, forecast=False)
    assert not wants(economics={"fine_tune_usd": 40}, tune="smollm2")


# ---------------------------------------------------------------- a stronger model


def test_the_best_prompt_is_asked_of_the_strong_model_before_training(make_task: MakeTask) -> None:
    strong = {"strong": "scripted:base=0.3,shots@4=0.97"}
    record = world(make_task, "base=0.1,shots@4=0.5,tuned=0.97", numbered_rows(400), **strong)
    assert (record.verdict.reason, record.verdict.rung) == ("goal_met", "stronger")
    line = next(rung for rung in record.verdict.rungs if rung.name == "stronger")
    assert line.notes in [("the prompt of few_shot",), ("the prompt of nearest_shots",)]
    assert not next(rung for rung in record.verdict.rungs if rung.name == "fine_tune").applied


def test_a_strong_model_beyond_the_allowed_cost_blocks_nothing(make_task: MakeTask) -> None:
    strong = "scripted:base=0.97"
    record = world(
        make_task,
        "base=0.2,tuned=0.97",
        numbered_rows(400),
        strong=strong,
        prices={strong: {"read": 1e6, "written": 1e6}},
        goal={"quality": 0.8, "max_cost_per_1k": 1.0},
    )
    assert (record.verdict.reason, record.verdict.rung) == ("tune", "fine_tune")
    assert record.verdict.diagnosis is not None
    capacity = next(share for share in record.verdict.diagnosis.shares if share.segment == "capacity")
    assert capacity.share.low > 0.7


def test_without_a_strong_model_the_rung_says_so(make_task: MakeTask) -> None:
    skipped = {r.name: r.skipped_because for r in world(make_task, "base=0.2", numbered_rows(200)).verdict.rungs}
    assert skipped["stronger"] == "no stronger model was named (`strong:` in the task file)"
