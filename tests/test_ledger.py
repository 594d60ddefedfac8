"""The ledger: nothing paid twice, nothing crossed, nothing lost."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.models.doubles import Abilities, Flaky, Priced, Scripted
from shouldtune.models.ledger import Ledger, paying
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.past_calls import dollars_paid
from shouldtune.models.plain import Constant
from shouldtune.types import Completion, Message, Model, ModelSpec, Options


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        yield ledger


def ask(model: Model, text: str, options: Options = Options()) -> str:
    return asyncio.run(model.complete([Message("user", text)], options)).text


def test_the_same_question_is_answered_from_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    model = Ledgered(Scripted({"q": "a"}, Abilities(base=1.0)), ledger)
    assert [ask(model, "q"), ask(model, "q")] == ["a", "a"]
    assert ledger.new_calls == 1
    ledger.close()
    with Ledger(tmp_path / "ledger.sqlite") as again:
        assert ask(Ledgered(Scripted({"q": "a"}, Abilities(base=1.0)), again), "q") == "a"
        assert again.new_calls == 0


def test_any_change_of_the_request_is_another_question(ledger: Ledger) -> None:
    base = Scripted({"q": "a"}, Abilities(base=1.0))
    models = [
        base,
        replace(base, seed=1),
        replace(base, is_tuned=True),
        replace(base, abilities=Abilities(base=0.9)),
        Constant("a"),
        Constant("b"),
    ]
    options = [
        Options(),
        Options(max_tokens=9),
        Options(temperature=0.5),
        Options(seed=3),
        Options(stop=("x",)),
        Options(choices=("a",)),
        Options(schema={"type": "object"}),
    ]
    asked = 0
    for model in models:
        for option in options:
            for text in ("q", "q ", "Q"):
                ask(Ledgered(model, ledger), text, option)
                asked += 1
                assert ledger.new_calls == asked


def test_where_an_adapter_lies_does_not_matter_but_what_it_holds_does(tmp_path: Path) -> None:
    from shouldtune.models.keys import digest, identity

    spec = {"kind": "local", "adapter": {"path": "/here", "sha256": "1"}}
    assert identity(spec) == identity({"kind": "local", "adapter": {"path": "/there", "sha256": "1"}})
    assert digest(identity(spec)) != digest(identity({"kind": "local", "adapter": {"path": "/here", "sha256": "2"}}))


def test_a_failed_call_is_tried_again_the_next_time(ledger: Ledger) -> None:
    failing = Ledgered(Flaky(Constant("a"), rate=1.0), ledger)
    first = asyncio.run(failing.complete([Message("user", "q")]))
    assert first.failed
    assert ledger.find("anything") is None
    asyncio.run(failing.complete([Message("user", "q")]))
    assert ledger.new_calls == 2


def test_a_second_writer_is_refused_in_one_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    with pytest.raises(CannotMeasure, match="another run is writing"):
        Ledger(tmp_path / "ledger.sqlite")
    ledger.close()
    Ledger(tmp_path / "ledger.sqlite").close()


def test_a_damaged_file_and_a_newer_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    with pytest.raises(CannotMeasure, match="cannot be read"):
        Ledger(tmp_path / "a.sqlite")
    with sqlite3.connect(tmp_path / "b.sqlite") as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(CannotMeasure, match="another version"):
        Ledger(tmp_path / "b.sqlite")


def test_each_purpose_has_its_bill_at_list_price_found_or_bought(ledger: Ledger) -> None:
    model = Ledgered(Priced(Scripted({"q": "answer"}, Abilities(base=1.0)), 1e6, 2e6), ledger)
    for rung in ("zero_shot", "few_shot"):
        with paying(rung, "measure"):
            ask(model, "q")
    one, two = ledger.spent("zero_shot", "measure"), ledger.spent("few_shot", "measure")
    assert one == two
    assert one.calls == 1
    assert one.usd == pytest.approx(one.prompt_tokens + 2 * one.completion_tokens)
    assert ledger.spent().calls == 1
    assert ledger.spent("guess", "fit").usd is None


def test_an_unknown_price_makes_the_bill_unknown(ledger: Ledger) -> None:
    with paying("r", "fit"):
        ask(Ledgered(Constant("a"), ledger), "q")
        assert ledger.spent("r", "fit").usd == 0.0
        ledger.charge("k", Completion("a", latency_s=0.1), new=True)
        ask(Ledgered(Constant("b"), ledger), "q")
    assert ledger.spent("r", "fit").usd is None


def test_a_ledger_from_before_there_were_cached_tokens_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    old = '{"text":"a","prompt_tokens":9,"completion_tokens":2,"latency_s":0.5,"finish_reason":"stop","passages":[]}'
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE calls (key TEXT PRIMARY KEY, request TEXT NOT NULL, completion TEXT NOT NULL,"
            " rung TEXT NOT NULL, purpose TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        database.execute("INSERT INTO calls VALUES ('k', '{}', ?, 'zero_shot', 'measure', '2026-01-01')", (old,))
        database.execute("PRAGMA user_version = 1")
    database.close()
    assert dollars_paid(path, {}.get) == (
        0.0,
        ("an unnamed model",),
    )  # read without being written: whose call it was is not known
    with Ledger(path) as ledger:
        found = ledger.find("k")
        assert found == Completion("a", 9, 2, latency_s=0.5)
        asyncio.run(ledger.record("new", "{}", Completion("b", 9, 2, cached_tokens=5)))
        again = ledger.find("new")
        assert again is not None and again.cached_tokens == 5


def test_answers_are_priced_anew_at_the_price_of_now(tmp_path: Path) -> None:
    class Telling:
        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            return Completion("a", 100, 10, cached_tokens=60, latency_s=0.1)

        def spec(self) -> ModelSpec:
            return {"kind": "telling"}

    def spent(price: Price | None) -> float | None:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            ask(Ledgered(Telling(), ledger, price), "q")
            assert ledger.spent().cached_tokens == 60
            return ledger.spent().usd

    assert spent(None) is None
    assert spent(Price(1e4, 1e4, cached=1e3)) == pytest.approx(0.4 + 0.06 + 0.1)
    assert spent(Price(2e4, 1e4)) == pytest.approx(2.0 + 0.1)


WRITER = """
import asyncio, sys
from pathlib import Path
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.types import Message
async def main():
    ledger = Ledger(Path(sys.argv[1]))
    model = Ledgered(Scripted({}, Abilities()), ledger)
    async def one(i):
        await model.complete([Message("user", f"q{i}")])
        print(i, flush=True)
    for start in range(0, 100000, 16):
        await asyncio.gather(*(one(i) for i in range(start, start + 16)))
asyncio.run(main())
"""


def test_no_answer_that_was_seen_is_lost_to_kill(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    seen: set[int] = set()
    for wait in (0.05, 0.15, 0.3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        seen.add(int(process.stdout.readline()))
        time.sleep(wait)
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read()
        seen |= {int(line) for line in rest.split("\n")[:-1]}
        process.stdout.close()
        process.wait()
    with Ledger(path) as ledger:
        model = Ledgered(Scripted({}, Abilities()), ledger)
        for i in sorted(seen):
            ask(model, f"q{i}")
        assert len(seen) > 16
        assert ledger.new_calls == 0
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_a_text_that_cannot_be_written_is_an_error_and_nobody_waits_for_ever(ledger: Ledger) -> None:
    model = Ledgered(Constant("half a character \ud83d"), ledger)
    with pytest.raises(CannotMeasure, match="cannot be written"):
        asyncio.run(asyncio.wait_for(model.complete([Message("user", "q")]), 10))
    assert ask(Ledgered(Constant("whole"), ledger), "q") == "whole"
