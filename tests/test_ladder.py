"""Climbs in worlds with known truth: scripted models whose ability is set."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import CannotMeasure, InputError
from shouldtune.ladder import climb
from shouldtune.models.open import open_fitted
from shouldtune.progress import Progress
from shouldtune.run import RunRecord, load_run
from shouldtune.rungs import LADDER
from shouldtune.rungs.choosing import best_of
from shouldtune.scorers import load_scorer
from shouldtune.task import load_task
from shouldtune.types import Completion, Example, Message, ModelSpec, Options
from tests.conftest import MakeTask, Rows, numbered_rows
from tests.tiny_llama import write_tiny_gguf

SIMULATED = Climb(allow_simulated=True)
WHOLE = Climb(allow_simulated=True, whole_holdout=True)
GOAL = {"quality": 0.8}


class Counting(Progress):
    def __init__(self) -> None:
        self.new = 0
        self.rungs: list[str] = []

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self.new += new

    def rung_started(self, name: str, position: int, total: int) -> None:
        self.rungs.append(name)


def world(make_task: MakeTask, abilities: str, n: int = 400, how: Climb = SIMULATED, **changes: Any) -> RunRecord:
    folder = make_task(
        numbered_rows(n), model=f"scripted:{abilities}", tune=f"scripted:{abilities}", **{"goal": GOAL, **changes}
    )
    return asyncio.run(climb(load_task(folder), how))


def lamp_rows() -> Rows:
    """Rows whose label follows from one word."""
    return [
        {
            "input": f"the {'red' if i % 2 else 'green'} lamp number {i * 7919} is on",
            "target": "stop" if i % 2 else "go",
        }
        for i in range(500)
    ]


def test_says_no_when_four_shots_are_enough(make_task: MakeTask) -> None:
    verdict = world(make_task, "base=0.2,shots@4=0.95,tuned=0.95").verdict
    assert (verdict.answer, verdict.reason, verdict.rung) == ("no", "goal_met", "few_shot")
    assert verdict.simulated


def test_says_yes_when_only_tuning_helps(make_task: MakeTask) -> None:
    verdict = world(make_task, "base=0.2,tuned=0.95").verdict
    assert (verdict.answer, verdict.reason, verdict.rung) == ("yes", "tune", "fine_tune")


def test_says_out_of_reach_when_nothing_helps(make_task: MakeTask) -> None:
    verdict = world(make_task, "base=0.2,tuned=0.2").verdict
    assert (verdict.answer, verdict.reason) == ("not_yet", "out_of_reach")


def test_says_no_gain_when_tuning_adds_nothing_and_there_is_no_goal(make_task: MakeTask) -> None:
    verdict = world(make_task, "base=0.2,shots@2=0.97,tuned=0.2", n=900, goal={}).verdict
    assert (verdict.answer, verdict.reason) == ("no", "no_gain")


def test_failed_calls_that_could_change_the_answer_end_in_unmeasured(make_task: MakeTask) -> None:
    verdict = world(make_task, "base=0.2,shots@4=0.9,tuned=0.9,fails=0.1").verdict
    assert (verdict.answer, verdict.reason) == ("not_yet", "unmeasured")
    measured = next(rung for rung in verdict.rungs if rung.name == "few_shot")
    assert measured.unmeasured > 0
    assert measured.n + measured.unmeasured == 120


def test_says_no_model_needed_when_labels_follow_from_a_word(make_task: MakeTask) -> None:
    folder = make_task(lamp_rows(), scorer="label", goal=GOAL, model="scripted:base=0.1", tune="scripted:tuned=0.99")
    verdict = asyncio.run(climb(load_task(folder), SIMULATED)).verdict
    assert (verdict.answer, verdict.reason) == ("no", "no_model_needed")
    assert verdict.rung in ("guess", "classic")


def test_under_forty_rows_nothing_is_spent(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(30), model="scripted:base=1", goal=GOAL)
    counting = Counting()
    verdict = asyncio.run(climb(load_task(folder), SIMULATED, counting)).verdict
    assert (verdict.answer, verdict.reason) == ("not_yet", "label_more")
    assert counting.new == 0


def test_a_rung_that_meets_the_goal_ends_the_climb_unless_all_rungs_are_asked_for(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), model="scripted:base=0.95", tune="scripted:tuned=0.95", goal=GOAL)
    short, full = Counting(), Counting()
    first = asyncio.run(climb(load_task(folder), SIMULATED, short)).verdict
    second = asyncio.run(climb(load_task(folder), Climb(all_rungs=True, allow_simulated=True), full)).verdict
    assert short.rungs == ["guess", "classic", "zero_shot"]
    assert full.rungs == [rung.name for rung in LADDER]
    assert first.rung == second.rung == "zero_shot"


def test_a_rung_that_is_settled_is_asked_no_more_unless_the_whole_holdout_is_asked_for(make_task: MakeTask) -> None:
    raced, whole = (world(make_task, "base=0.2,tuned=0.95", n=1200, how=how) for how in (SIMULATED, WHOLE))
    assert raced.folder != whole.folder
    assert (raced.verdict.answer, raced.verdict.rung) == (whole.verdict.answer, whole.verdict.rung)
    stopped = {rung.name: rung.stopped_because for rung in raced.verdict.rungs if rung.stopped_because}
    assert stopped["zero_shot"] == "it stays below the goal"
    assert stopped["fine_tune"] == "it reaches the goal"
    assert "guess" not in stopped
    assert not [rung for rung in whole.verdict.rungs if rung.stopped_because]
    assert raced.verdict.provenance["intervals"]["share_sequential"] > 0
    assert "share_sequential" not in whole.verdict.provenance["intervals"]
    order = [example.id for example in raced.holdout]
    for m in raced.measurements:
        assert [p.example_id for p in m.predictions] == order[: len(m.predictions)]
    asked = [sum(m.measured.calls for m in record.measurements if m.uses_llm) for record in (raced, whole)]
    assert asked[0] < asked[1] / 2


def test_a_ledger_with_holes_changes_nothing(make_task: MakeTask) -> None:
    """Scores decide in the holdout's order, not in that of their arrival, which would favour short answers."""
    first = world(make_task, "base=0.2,shots@4=0.7,tuned=0.75")
    before = (first.folder / "verdict.json").read_bytes()
    with sqlite3.connect(first.folder.parent / "ledger.sqlite") as database:
        database.execute("DELETE FROM calls WHERE substr(key, 1, 1) < '5'")  # asked anew, so they come back later
    again = asyncio.run(climb(load_task(first.folder.parent.parent), SIMULATED))
    assert (again.folder / "verdict.json").read_bytes() == before


def test_the_same_run_again_calls_no_model_and_writes_the_same_bytes(make_task: MakeTask) -> None:
    first = world(make_task, "base=0.2,tuned=0.95")
    before = (first.folder / "verdict.json").read_bytes()
    counting = Counting()
    second = asyncio.run(climb(load_task(first.folder.parent.parent), SIMULATED, counting))
    assert second.folder == first.folder
    assert counting.new == 0
    assert (second.folder / "verdict.json").read_bytes() == before


class Stop(Progress):
    """Dies at the n-th call, as abruptly as an exception can."""

    def __init__(self, at: int) -> None:
        self.left = at

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self.left -= 1
        if self.left == 0:
            raise RuntimeError("cut off")


@pytest.mark.parametrize("at", [3, 300, 600])
def test_a_run_that_was_cut_off_goes_on_to_the_same_bytes(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr("shouldtune.models.ledgered.monotonic", lambda: 0.0)  # training takes longer on a busy machine
    whole = world(make_task, "base=0.2,tuned=0.95")
    wanted = (whole.folder / "verdict.json").read_bytes()
    task = make_task(
        numbered_rows(400), model="scripted:base=0.2,tuned=0.95", tune="scripted:base=0.2,tuned=0.95", goal=GOAL
    )
    for file in sorted(whole.folder.parent.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    with pytest.raises(RuntimeError, match="cut off"):
        asyncio.run(climb(load_task(task), SIMULATED, Stop(at)))
    with pytest.raises(InputError, match=r"no run here|no verdict"):
        load_run(task)
    assert (asyncio.run(climb(load_task(task), SIMULATED)).folder / "verdict.json").read_bytes() == wanted


def test_what_was_written_is_read_back_as_it_was(make_task: MakeTask) -> None:
    record = world(make_task, "base=0.2,shots@4=0.95,fails=0.02")
    again = load_run(record.folder)
    assert again == record
    assert [m.rung for m in again.measurements] == [rung.name for rung in again.verdict.rungs if rung.applied]
    assert len(again.measurements[0].predictions) == len(again.holdout)


def test_the_winner_is_a_folder_that_answers(make_task: MakeTask) -> None:
    folder = make_task(lamp_rows(), scorer="label", goal=GOAL, model="scripted:base=0.1", tune="scripted:tuned=0.99")
    record = asyncio.run(climb(load_task(folder), SIMULATED))
    winner = open_fitted(record.folder / "winner")
    assert asyncio.run(winner.complete([Message("user", "the red lamp is on")])).text == "stop"


def test_a_scripted_model_leads_to_no_verdict_unless_allowed(make_task: MakeTask) -> None:
    with pytest.raises(InputError, match="simulated"):
        world(make_task, "base=0.2", how=Climb())


def test_a_model_that_never_answers_is_an_error_and_no_verdict(make_task: MakeTask) -> None:
    with pytest.raises(CannotMeasure, match="every call failed"):
        world(make_task, "base=0.2,fails=1")


def test_no_holdout_target_reaches_a_prompt(make_task: MakeTask) -> None:
    record = world(make_task, "base=0.2,tuned=0.5")
    held = {example.target for example in record.holdout}
    with sqlite3.connect(record.folder.parent / "ledger.sqlite") as database:
        requests = [json.loads(row[0]) for row in database.execute("SELECT request FROM calls")]
    sent = [content for request in requests for _, content in request.get("messages", ())]
    assert len(sent) > 1000
    assert not [content for content in sent if content in held]


def test_unknown_rungs_are_refused_and_known_ones_keep_ladder_order() -> None:
    assert [rung.name for rung in chosen_rungs(["fine_tune", "guess"])] == ["guess", "fine_tune"]
    with pytest.raises(InputError, match="no rung 'few_shots'"):
        chosen_rungs(["few_shots"])


def test_each_rung_says_what_it_tried_and_what_it_took(make_task: MakeTask) -> None:
    record = world(make_task, "base=0.2,shots@4=0.5,tuned=0.95", how=WHOLE)
    by_name = {m.rung: m for m in record.measurements}
    few = by_name["few_shot"]
    assert [trial.setting for trial in few.trials[:4]] == ["2 shots", "4 shots", "8 shots", "16 shots"]
    all_rows = few.trials[1].n
    # Those that answer alike are carried on to the last row, the one that is clearly worse is not.
    assert [trial.n for trial in few.trials] == [32, *[all_rows] * 5]
    assert few.fit.calls == 32 + 6 * all_rows  # the first of the three draws is one of the sizes, asked once more
    assert few.measured.calls == len(record.holdout)
    assert few.trials[4].setting.endswith("shots, draw 2")
    assert "retrieval" not in by_name
    skipped = {rung.name: rung.skipped_because for rung in record.verdict.rungs if not rung.applied}
    assert skipped["retrieval"] == "the task has no documents"


def test_sizes_are_tried_until_one_falls_far_behind() -> None:
    @dataclass(frozen=True)
    class Right:
        """Answers `share` of ten questions rightly."""

        share: float

        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            return Completion("yes" if int(messages[-1].content) < 10 * self.share else "no")

        def spec(self) -> ModelSpec:
            return {"kind": "right", "share": self.share}

    ten = [Example(str(number), str(number), "yes") for number in range(10)]
    sizes = [(str(share), Right(share)) for share in (0.3, 0.5, 0.5, 0.3, 0.9)]
    exact = load_scorer("exact", Path(), "")
    best, trials = asyncio.run(best_of(sizes, ten, exact, rising=True))
    assert (best, [trial.score for trial in trials]) == (1, [0.3, 0.5, 0.5, 0.3])
    assert asyncio.run(best_of(sizes, ten, exact))[0] == 4
    assert len(asyncio.run(best_of([("a", Right(0)), ("b", Right(0)), sizes[4]], ten, exact, rising=True))[1]) == 2


def test_settings_that_score_alike_on_the_first_rows_are_told_apart_on_all() -> None:
    @dataclass(frozen=True)
    class RightFrom:
        """Answers the questions in a range rightly."""

        start: int
        stop: int

        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            return Completion("yes" if self.start <= int(messages[-1].content) < self.stop else "no")

        def spec(self) -> ModelSpec:
            return {"kind": "right-from", "range": [self.start, self.stop]}

    rows = [Example(str(number), str(number), "yes") for number in range(96)]
    settings = [("early", RightFrom(0, 16)), ("nothing", RightFrom(0, 0)), ("late", RightFrom(17, 80))]
    best, trials = asyncio.run(best_of(settings, rows, load_scorer("exact", Path(), "")))
    assert (best, [trial.n for trial in trials]) == (2, [64, 32, 64])  # on 32 rows early led by one
    assert trials[2].score == pytest.approx(47 / 64)

    alike = [(str(start), RightFrom(start, start + 16)) for start in range(0, 16, 4)]
    slow = ("slow", RightFrom(18, 96))  # the last of five on 32 rows, within a standard error of all
    best, trials = asyncio.run(best_of([*alike, slow], rows, load_scorer("exact", Path(), "")))
    assert (best, trials[4].score) == (4, pytest.approx(46 / 64))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_training_here_goes_on_while_a_server_answers_the_rungs_before_it(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers nothing before a training step was made: one after the other would never end."""
    pytest.importorskip("torch")
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")

    class Begun(Progress):
        def __init__(self) -> None:
            self.training = asyncio.Event()

        def trained(self, done: int, total: int, loss: float) -> None:
            self.training.set()

    async def go() -> RunRecord:
        progress = Begun()

        async def answer(request: web.Request) -> web.Response:
            await asyncio.wait_for(progress.training.wait(), 60)
            return web.json_response({"choices": [{"message": {"content": "stop"}, "finish_reason": "stop"}]})

        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        model = f"http://127.0.0.1:{runner.addresses[0][1]}/v1#waits"
        folder = make_task(lamp_rows()[:120], model=model, tune=f"gguf:{gguf}", scorer="label")
        how = Climb(rungs=chosen_rungs(["zero_shot", "fine_tune"]), all_rungs=True)
        try:
            return await climb(load_task(folder), how, progress)
        finally:
            await runner.cleanup()

    found = {rung.name: rung for rung in asyncio.run(go()).verdict.rungs}
    assert found["zero_shot"].unmeasured == 0
    assert found["fine_tune"].applied
