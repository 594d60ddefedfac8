"""The search for a better instruction: what it finds, what it claims, and how it ends and goes on."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import InputError
from shouldtune.ladder import climb
from shouldtune.measure import measure
from shouldtune.models.doubles import HINT, Abilities, Scripted
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.past_calls import dollars_paid
from shouldtune.models.paying import paying
from shouldtune.models.prompted import Prompted
from shouldtune.report.page import to_html
from shouldtune.report.prompts import changes, effort, in_words
from shouldtune.report.terminal import plain_lines
from shouldtune.run import RunRecord, ledger_path, load_run
from shouldtune.rungs.bridge import Bridge, Ended, in_a_thread
from shouldtune.rungs.choosing import parted
from shouldtune.rungs.instructions import Instructions
from shouldtune.stats import paired_limits
from shouldtune.task import load_task
from shouldtune.types import (
    Completion,
    Example,
    Fitted,
    Message,
    Models,
    ModelSpec,
    Options,
    Output,
    PromptSearch,
    Rewriting,
    Score,
    Skipped,
    Task,
)
from tests.conftest import MakeTask, numbered_rows
from tests.test_ladder import Counting

pytest.importorskip("gepa")

HELPED, USELESS = "base=0.3,told=0.8,writes=0.2", "base=0.3,told=0.3,writes=0.5"
ONLY = Climb(chosen_rungs(["zero_shot", "instructions"]), allow_simulated=True, whole_holdout=True, probing=None)
SEARCH = replace(ONLY, rungs=(Instructions(patience=6, patience_alone=6),))


def folder_of(make_task: MakeTask, abilities: str = HELPED, n: int = 200, **changes: Any) -> Path:
    return make_task(numbered_rows(n), model=f"scripted:{abilities}", tune=None, **changes)


def exact(completion: Completion, example: Example) -> Score:
    return Score(float(completion.text == example.target))


def toy(n: int = 160, **changes: Any) -> Task:
    return Task(
        "toy", "Answer.", tuple(Example(str(i), f"question {i}", f"answer {i}") for i in range(n)), exact, **changes
    )


def fit(task: Task, abilities: str) -> Fitted | Skipped:
    models = Models(Scripted.knowing(task.train, Abilities.parse(abilities)))
    return asyncio.run(Instructions(patience=4).fit(task, models))


# ---------------------------------------------------------------- what is claimed


def test_an_instruction_that_helps_is_found_and_gains_on_the_holdout(make_task: MakeTask) -> None:
    record = asyncio.run(climb(load_task(folder_of(make_task, n=400)), ONLY))
    plain, better = record.measurements
    gain = paired_limits(
        tuple(score or 0.0 for score in better.scores), tuple(score or 0.0 for score in plain.scores), 0.025, 0.025
    )
    assert gain.low > 0.2
    found = better.search
    assert found is not None
    assert HINT in found.kept[found.found].text
    assert [(trial.setting, trial.n >= 32) for trial in better.trials] == [
        ("the task's instruction", True),
        ("the instruction found", True),
    ]
    assert found.asked <= Instructions().most_calls
    assert better.fit.calls < found.asked + found.written + 2 * 96
    assert load_run(record.folder) == record


def test_where_nothing_helps_nothing_is_claimed_and_the_holdout_is_not_asked(make_task: MakeTask) -> None:
    record = asyncio.run(climb(load_task(folder_of(make_task, USELESS)), SEARCH))
    (line,) = record.verdict.rungs
    assert line.skipped_because is not None
    assert line.skipped_because.startswith(
        "none was better than the task's own: 6 new instructions were written, 0 kept"
    )
    with sqlite3.connect(ledger_path(record.folder.parent.parent)) as database:
        assert {purpose for (purpose,) in database.execute("SELECT DISTINCT purpose FROM calls")} == {"fit"}


def test_luck_on_the_training_half_is_rarely_a_gain_elsewhere() -> None:
    """Every instruction is as good as any other: what the search prefers, it prefers by chance."""

    @dataclass(frozen=True)
    class Lucky:
        seed: int

        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            if "```" in messages[-1].content:
                return Completion(f"```\nTry {options.seed}.\n```")
            drawn = hashlib.sha256(repr((self.seed, messages)).encode()).digest()[0] / 256
            return Completion(f"answer {messages[-1].content.split()[-1]}" if drawn < 0.4 else "wrong")

        def spec(self) -> ModelSpec:
            return {"kind": "lucky", "seed": self.seed}

    fresh = [Example(str(i), f"question {i}", f"answer {i}") for i in range(1000, 1300)]
    kept, claimed, gains = 0, 0, []
    for seed in range(12):
        model, task = Lucky(seed), toy()
        found = asyncio.run(Instructions(patience_alone=20).fit(task, Models(model)))
        if isinstance(found, Skipped):
            kept += "none was better" not in found.because
            continue
        pairs = [asyncio.run(measure(each, fresh, exact)) for each in (found.model, Prompted(model, task.instruction))]
        own, other = ([p.score.value for p in each if p.score] for each in pairs)
        gains.append(sum(own) / len(own) - sum(other) / len(other))
        claimed += paired_limits(tuple(own), tuple(other), 0.025, 0.025).low > 0
    assert kept + len(gains) >= 8  # the search did prefer something
    assert kept >= 2  # and rows that it had not seen then spoke against it
    assert claimed <= 1
    assert abs(sum(gains)) / len(gains) < 0.05


def test_the_form_of_an_answer_is_held_and_the_model_writes_without_it() -> None:
    labels = Output(labels=("answer 0", "answer 1"))
    task = toy(output=labels)
    task = replace(task, train=tuple(replace(e, target=f"answer {i % 2}") for i, e in enumerate(task.train)))
    found = fit(task, "base=0.5,told=0.95,writes=0.6")
    assert isinstance(found, Fitted)
    assert isinstance(found.model, Prompted)
    assert found.model.options.choices == labels.labels
    assert found.model.options.choice_logprobs
    assert HINT in found.model.instruction


def test_the_strong_model_writes_where_there_is_one() -> None:
    task, known = toy(), Abilities.parse("base=0.3,told=0.9")
    weak = Scripted.knowing(task.train, known)
    strong = Scripted.knowing(task.train, replace(known, writes=0.5))
    assert isinstance(asyncio.run(Instructions(patience=4).fit(task, Models(weak))), Skipped)
    found = asyncio.run(Instructions(patience=4).fit(task, Models(weak, strong=strong)))
    assert isinstance(found, Fitted)
    assert isinstance(found.model, Prompted)
    assert found.model.model is weak


def test_a_task_that_cannot_be_searched_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert fit(toy(20), HELPED) == Skipped("fewer than 32 training examples")
    assert fit(replace(toy(), instruction=""), HELPED) == Skipped("there is no instruction to improve")
    monkeypatch.setitem(sys.modules, "gepa", None)
    skipped = fit(toy(), HELPED)
    assert isinstance(skipped, Skipped)
    assert 'pip install "shouldtune[prompt-search]"' in skipped.because


def test_all_right_from_the_start_asks_for_no_instruction() -> None:
    skipped = fit(toy(), "base=1,writes=1")
    assert isinstance(skipped, Skipped)
    assert "0 new instructions were written" in skipped.because
    assert skipped.because.endswith("until every answer was right")


# ---------------------------------------------------------------- what is read


def test_the_writer_reads_training_rows_alone_and_none_that_instructions_are_judged_on(make_task: MakeTask) -> None:
    loaded = load_task(folder_of(make_task))
    record = asyncio.run(climb(loaded, ONLY))
    with sqlite3.connect(ledger_path(record.folder.parent.parent)) as database:
        asked = [json.loads(row[0]) for row in database.execute("SELECT request FROM calls WHERE purpose = 'fit'")]
    sent = [content for request in asked for _, content in request["messages"]]
    requests = [content for content in sent if "```" in content]
    assert len(requests) > 5
    assert not [e for e in record.holdout for content in sent if e.input in content]
    pool, unseen = parted(loaded.task)
    shown, weighed = replace(loaded.task, train=pool).halves(32, 3)
    apart = [f"{e.input}\n" for e in (*weighed, *unseen)]
    assert not [text for text in apart for content in requests if text in content]
    read = [e for e in shown if any(f"## Wanted\n{e.target}\n" in content for content in requests)]
    assert len(read) > 10
    answers = [request["messages"] for request in asked if "```" not in request["messages"][-1][1]]
    targets = {e.target for e in loaded.task.train}
    assert not [content for messages in answers for _, content in messages if content in targets]


def test_the_writer_is_told_the_scorers_reason_and_no_endless_text() -> None:
    heard: list[str] = []

    @dataclass(frozen=True)
    class Listening:
        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            heard.append(messages[-1].content)
            return Completion("wrong")

        def spec(self) -> ModelSpec:
            return {"kind": "listening"}

    async def reasoned(completion: Completion, example: Example) -> Score:
        return Score(0.25, "too curt")

    train = tuple(replace(e, input=f"{e.input} {'long ' * 5000}") for e in toy().train)
    task = replace(toy(), scorer=reasoned, train=train)
    asyncio.run(Instructions(patience=1).fit(task, Models(Listening())))
    (request,) = [text for text in heard if "```" in text]
    assert "It scored 0.25 of 1 (too curt)." in request
    assert len(request) < 12_000


# ---------------------------------------------------------------- how it ends and goes on


RUN = """
import asyncio, os, signal, sys, threading
from dataclasses import replace
from pathlib import Path
from shouldtune.ladder import climb
from shouldtune.progress import Progress
from shouldtune.task import load_task
from tests.test_instructions import SEARCH

class Dies(Progress):
    left = int(sys.argv[2])

    def called(self, rung, purpose, completion, new):
        self.left -= new
        if self.left == 0:
            os.kill(os.getpid(), int(sys.argv[3]))

signal.signal(signal.SIGINT, signal.default_int_handler)  # a parent in the background has it ignored
try:
    asyncio.run(climb(load_task(Path(sys.argv[1])), SEARCH, Dies()))
except KeyboardInterrupt:
    print("interrupted,", threading.active_count(), "thread")
"""


HERE = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("at", "by"),
    [
        (141, signal.SIGKILL),
        (52, signal.SIGINT),
        *(
            pytest.param(at, signal.SIGKILL, marks=pytest.mark.slow)
            for at in random.Random(0).sample(range(5, 200), 12)
        ),
    ],
)
def test_a_search_that_was_killed_goes_on_without_repeating_a_call(
    make_task: MakeTask, at: int, by: signal.Signals
) -> None:
    whole = asyncio.run(climb(load_task(folder_of(make_task)), SEARCH))
    wanted = (whole.folder / "verdict.json").read_bytes()
    in_all = calls_in(whole.folder.parent.parent)
    folder = folder_of(make_task, name="killed")
    (folder / "shouldtune.yaml").write_text((folder / "shouldtune.yaml").read_text().replace("killed", "toy"))
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(folder), str(at), str(int(by))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=HERE)
    if by == signal.SIGINT:
        assert done.stdout == "interrupted, 1 thread\n", done.stderr
    else:
        assert done.returncode == -signal.SIGKILL, done.stderr
    before = calls_in(folder)
    assert at <= before < in_all
    counting = Counting()
    again = asyncio.run(climb(load_task(folder), SEARCH, counting))
    assert counting.new == in_all - before == calls_in(folder) - before
    assert (again.folder / "verdict.json").read_bytes() == wanted


def calls_in(folder: Path) -> int:
    with sqlite3.connect(ledger_path(folder)) as database:
        return int(database.execute("SELECT count(*) FROM calls").fetchone()[0])


PRICE = {"read": 10.0, "written": 10.0}


def priced(make_task: MakeTask, budget: float | None, how: Climb) -> RunRecord:
    folder = folder_of(make_task, prices={f"scripted:{HELPED}": PRICE})
    record = asyncio.run(climb(load_task(folder, budget=budget), how))
    assert budget is None or dollars_paid(ledger_path(folder), {}.get)[0] <= budget
    return record


def test_a_budget_that_ends_within_the_search_ends_it_in_order_and_a_higher_one_goes_on(make_task: MakeTask) -> None:
    how = replace(
        SEARCH, rungs=(Instructions(patience=6, patience_alone=6, share=9.0),)
    )  # the wall, and not its share, ends it
    short = priced(make_task, 0.03, how)
    assert short.verdict.provenance["budget"]["ended"]
    assert not [rung for rung in short.verdict.rungs if rung.applied]
    before = calls_in(short.folder.parent.parent)
    assert before > 20
    whole = priced(make_task, 5.0, how)
    assert whole.verdict.rungs == priced(make_task, None, how).verdict.rungs
    assert whole.verdict.rungs[0].search is not None


def test_a_search_keeps_to_its_share_of_the_budget_and_uses_what_it_found_until_then(make_task: MakeTask) -> None:
    found = priced(make_task, 0.4, replace(SEARCH, rungs=(Instructions(patience_alone=20, share=0.15),)))
    (line,) = found.verdict.rungs
    assert line.applied
    assert line.search is not None
    assert line.search.ended == "its share of the budget is spent"
    poor = priced(make_task, 0.4, replace(SEARCH, rungs=(Instructions(patience_alone=20, share=0.01),)))
    assert (
        poor.verdict.rungs[0].skipped_because == "its share of the budget, $0.004, may not pay for one new instruction"
    )


def searched_in_vain(make_task: MakeTask, share: float, abilities: str) -> tuple[str, float]:
    """(why there is no instruction, the part of the budget that was paid): all for the search, nothing is compared.

    Whoever writes is cheap, so that what a round takes is the answers, which are asked all at once.
    """
    model, strong = f"scripted:{abilities}", "scripted:base=0.3,writes=0.001"
    prices = {model: PRICE, strong: {"read": 0.01, "written": 0.01}}
    folder = make_task(numbered_rows(200), model=model, strong=strong, tune=None, prices=prices)
    how = replace(SEARCH, rungs=(Instructions(share=share),))
    (line,) = asyncio.run(climb(load_task(folder, budget=0.02), how)).verdict.rungs
    return str(line.skipped_because), dollars_paid(ledger_path(folder), {}.get)[0] / 0.02


@pytest.mark.parametrize("abilities", ["base=0.3", "base=0.3,fails=0.2"])
@pytest.mark.parametrize("share", [0.4, 0.46, 0.52, 0.58])
def test_no_round_of_a_search_goes_beyond_its_share(make_task: MakeTask, share: float, abilities: str) -> None:
    why, paid = searched_in_vain(make_task, share, abilities)
    assert why.endswith("until its share of the budget is spent")
    assert 0.8 * share < paid <= share


def test_the_first_scoring_keeps_to_the_share_too(make_task: MakeTask) -> None:
    why, paid = searched_in_vain(make_task, 0.18, "base=0.3")
    assert why == "its share of the budget is spent before the task's own instruction was scored"
    assert 0.08 < paid <= 0.18


def test_calls_that_fail_tell_neither_way() -> None:
    found = fit(toy(), "base=0.3,told=0.9,writes=0.5,fails=0.2")
    assert isinstance(found, Fitted)
    assert found.search is not None
    assert found.search.kept[found.search.found].score > found.search.kept[0].score + 0.3


def test_a_scorer_that_errs_ends_the_search_with_its_own_error() -> None:
    with pytest.raises(InputError, match="the scorer gave 7"):
        fit(replace(toy(), scorer=lambda completion, example: Score(7.0)), HELPED)


def test_what_breaks_while_an_instruction_is_written_is_raised() -> None:
    """gepa goes on after what a proposer raises, so that it would be lost."""

    @dataclass(frozen=True)
    class Breaks:
        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            if "```" in messages[-1].content:
                raise RuntimeError("broken")
            return Completion("wrong")

        def spec(self) -> ModelSpec:
            return {"kind": "breaks"}

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(Instructions(patience_alone=20).fit(toy(), Models(Breaks())))


def test_who_pays_is_known_on_the_other_side_of_the_bridge(tmp_path: Path) -> None:
    async def go(ledger: Ledger) -> None:
        model = Ledgered(Scripted({}), ledger)
        with paying("instructions", "fit"):
            await in_a_thread(lambda bridge: bridge.wait_for(model.complete([Message("user", "q")])))

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        asyncio.run(go(ledger))
        assert set(ledger.bills) == {("instructions", "fit")}


def test_a_bridge_that_was_cancelled_ends_its_thread_and_begins_nothing_more() -> None:
    begun: list[str] = []

    async def ask(what: str, heard: asyncio.Event) -> None:
        begun.append(what)
        heard.set()
        await asyncio.sleep(60)

    before = set(threading.enumerate())

    async def go() -> None:
        heard = asyncio.Event()

        def work(bridge: Bridge) -> None:
            for what in ("first", "second"):
                with suppress(Ended):
                    bridge.wait_for(ask(what, heard))

        task = asyncio.create_task(in_a_thread(work))
        await heard.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert begun == ["first"]
    assert set(threading.enumerate()) <= before


# ---------------------------------------------------------------- what is told

FOUND = PromptSearch(
    (
        Rewriting("Name the team.\nOne word.", None, 0.4, 32),
        Rewriting("Name the team.\nOne word.\nRefunds go to billing.", 0, 0.5, 32),
        Rewriting("Be \x1b[31mbrave\x1b[0m.", 0, 0.45, 32),
        Rewriting("Name the team.\nRefunds go to <b>billing</b>.", 1, 0.7, 32),
    ),
    found=3,
    written=9,
    asked=300,
    ended="10 in a row were no better",
)


def test_each_change_is_told_with_what_it_bought(make_task: MakeTask) -> None:
    assert in_words(FOUND) == [
        "change 1 of 2: 0.400 to 0.500 on 32 training examples",
        "change 2 of 2: 0.500 to 0.700 on 32 training examples",
        "kept: Name the team.",
        "removed: One word.",
        "added: Refunds go to <b>billing</b>.",
        effort(FOUND),
    ]
    assert effort(FOUND) == (
        "9 instructions written, 300 answers graded, until 10 in a row were no better; "
        "kept on the way, and not used: 0.450"
    )
    assert changes("a\nb", "a\nc") == [(" ", "a"), ("-", "b"), ("+", "c")]


def test_terminal_page_and_verdict_show_the_instruction_that_was_found(make_task: MakeTask) -> None:
    record = asyncio.run(climb(load_task(folder_of(make_task)), SEARCH))
    (line,) = record.verdict.rungs
    assert line.search is not None
    shown = replace(record, verdict=replace(record.verdict, rungs=(replace(line, search=FOUND),)))
    told = "\n".join(plain_lines(shown))
    assert "The instruction (instructions)" in told
    assert "- added: Refunds go to <b>billing</b>." in told
    page = to_html(shown)
    assert '<a href="#instruction">Instruction</a>' in page
    assert "<ins>+ Refunds go to &lt;b&gt;billing&lt;/b&gt;.\n</ins>" in page
    assert "<b>billing" not in page.split("</section>")[2]
    assert (
        json.loads((record.folder / "verdict.json").read_text())["rungs"][0]["search"]["kept"][0]["text"] == "Answer."
    )
