"""The ledger: nothing paid twice, nothing crossed, nothing lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.measure import measure
from shouldtune.models import key_set, seen
from shouldtune.models.audit import compact, problems
from shouldtune.models.bill import Size
from shouldtune.models.budget import Budget
from shouldtune.models.doubles import Abilities, Flaky, Priced, Scripted
from shouldtune.models.key_set import KeySet
from shouldtune.models.keys import request_of, sha256
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.past_calls import dollars_paid, failures, lost_calls, past_calls
from shouldtune.models.paying import paying
from shouldtune.models.plain import Constant
from shouldtune.models.remote import Remote
from shouldtune.run import ledger_path
from shouldtune.types import Completion, Example, Message, Model, ModelSpec, Options, Score, Spent
from tests.conftest import MakeTask, numbered_rows
from tests.test_cli import shouldtune

Request = tuple[ModelSpec, tuple[Message, ...], Options]


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

    async def ask_all() -> None:
        asked = 0
        for model in models:
            for option in options:
                one = Ledgered(model, ledger)
                await asyncio.gather(*(one.complete([Message("user", text)], option) for text in ("q", "q ", "Q")))
                asked += 3
                assert ledger.new_calls == asked

    asyncio.run(ask_all())


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


SECOND = """
import sys, time
from pathlib import Path
from shouldtune.errors import CannotMeasure
from shouldtune.models.ledger import Ledger
start = time.monotonic()
try:
    Ledger(Path(sys.argv[1])).close()
except CannotMeasure as error:
    print(f"{time.monotonic() - start:.3f}", error)
"""


def a_second_writer(path: Path) -> str:
    """What another process says that would write too; nothing where it may."""
    command = [sys.executable, "-c", SECOND, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_second_writer_in_another_process_is_refused_in_one_line_and_readers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    def second() -> str:
        return a_second_writer(path)

    with Ledger(path) as ledger:
        ask(Ledgered(Constant("a"), ledger), "q")
        said = second()
        assert said.endswith(f"{path}: another run is writing this ledger\n") and said.count("\n") == 1
        assert [call.completion.text for call in past_calls(path)] == ["a"]
        with pytest.raises(CannotMeasure, match="another run is writing"):
            compact(path)
    assert second() == ""


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


def old_ledger(path: Path, *, lost: bool = True) -> None:
    """A file as version 1 wrote it."""
    old = '{"text":"a","prompt_tokens":9,"completion_tokens":2,"latency_s":0.5,"finish_reason":"stop","passages":[]}'
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE calls (key TEXT PRIMARY KEY, request TEXT NOT NULL, completion TEXT NOT NULL,"
            " rung TEXT NOT NULL, purpose TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        database.execute("INSERT INTO calls VALUES ('k', '{}', ?, 'zero_shot', 'measure', '2026-01-01')", (old,))
        if lost:
            database.execute(
                "CREATE TABLE lost (usd REAL NOT NULL, rung TEXT NOT NULL, purpose TEXT NOT NULL,"
                " at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            database.execute("INSERT INTO lost VALUES (0.25, 'few_shot', 'fit', '2026-01-02')")
        database.execute("PRAGMA user_version = 1")
    database.close()


@pytest.mark.parametrize("lost", [False, True])
def test_an_older_file_is_read_as_it_is_and_migrated_when_it_is_written(tmp_path: Path, lost: bool) -> None:
    path = tmp_path / "ledger.sqlite"
    old_ledger(path, lost=lost)
    paid = (0.25 if lost else 0.0, ("an unnamed model",))  # whose call it was is not known
    assert dollars_paid(path, {}.get) == paid
    with Ledger(path) as ledger:
        found = ledger.find("k")
        assert found == Completion("a", 9, 2, latency_s=0.5)
        asyncio.run(ledger.record("new", "{}", Completion("b", 9, 2, cached_tokens=5)))
        again = ledger.find("new")
        assert again is not None and again.cached_tokens == 5
    assert dollars_paid(path, {}.get) == paid
    assert [(call.usd, call.rung, call.at) for call in lost_calls(path)] == [(0.25, "few_shot", "2026-01-02")] * lost
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (2,)
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'lost'").fetchall()
    database.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    old_ledger(path)
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE failed (something_else TEXT)")  # in the way of the last table
    database.close()
    before = path.read_bytes()
    with pytest.raises(CannotMeasure, match="cannot be read: table failed already exists"):
        Ledger(path)
    assert path.read_bytes() == before


def change(ledger: Ledger, statement: str) -> None:
    """From outside, as another program might."""
    with sqlite3.connect(ledger.path) as database:
        database.execute(statement)
    database.close()


def test_an_answer_of_which_a_newer_version_says_more_is_still_read(ledger: Ledger) -> None:
    asyncio.run(ledger.record("k", "{}", Completion("b", 9, 2)))
    change(ledger, "UPDATE calls SET completion = json_set(completion, '$.mood', 'good')")
    assert ledger.find("k") == Completion("b", 9, 2)
    change(ledger, "UPDATE calls SET completion = 'half a'")
    with pytest.raises(CannotMeasure, match="the answer k cannot be read"):
        ledger.find("k")


class Slow:
    """A paid model that is still busy when its process ends, unless it is let go."""

    def __init__(self) -> None:
        self.begun = 0
        self.asked, self.go = asyncio.Event(), asyncio.Event()

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        self.begun += 1
        self.asked.set()
        await self.go.wait()
        return Completion("a", 10, 10, latency_s=0.1)

    def spec(self) -> ModelSpec:
        return {"kind": "remote", "name": "m", "base_url": "http://127.0.0.1:9/v1"}


def test_a_paid_call_is_on_disk_before_it_is_sent_and_stays_there_when_it_is_cut_off(tmp_path: Path) -> None:
    path, price, messages = tmp_path / "ledger.sqlite", Price(1e3, 1e3), [Message("user", "q")]

    async def cut_off() -> None:
        with Ledger(path) as ledger:
            ledger.budget = Budget(100.0, 0.0)
            slow = Slow()
            call = asyncio.create_task(Ledgered(slow, ledger, price).complete(messages))
            await slow.asked.wait()
            assert len(lost_calls(path)) == 1
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

    most = Size.of(messages, Options()).dollars(price)
    asyncio.run(cut_off())
    assert [(lost.model, lost.usd) for lost in lost_calls(path)] == [("http://127.0.0.1:9/v1#m", most)]
    assert dollars_paid(path, {}.get) == (most, ())

    async def go_on() -> Spent:
        with Ledger(path) as ledger:
            slow = Slow()
            slow.go.set()
            model = Ledgered(slow, ledger, price)
            await asyncio.gather(*(model.complete(messages) for _ in range(20)))
            assert (slow.begun, ledger.new_calls) == (1, 1)  # the same question at once is bought once
            return ledger.spent()

    spent = asyncio.run(go_on())
    assert (spent.calls, spent.usd, spent.unknown_calls, spent.unknown_usd) == (1, 0.02, 1, most)
    assert dollars_paid(path, {"http://127.0.0.1:9/v1#m": price}.get)[0] == pytest.approx(0.02 + (most or 0.0))


def test_calls_that_no_server_can_have_answered_are_not_counted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    async def go() -> None:
        with Ledger(path) as ledger:
            model = Ledgered(Remote("m", "http://127.0.0.1:9/v1"), ledger, Price(1.0, 1.0))
            examples = [Example(f"{i}", f"q{i}", "a") for i in range(50)]
            with pytest.raises(CannotMeasure, match="cannot reach"):
                await measure(model, examples, lambda completion, example: Score(0.0))
            await model.aclose()

    asyncio.run(go())
    assert lost_calls(path) == ()


def test_a_call_here_that_costs_no_dollars_is_not_written_down_beforehand(tmp_path: Path) -> None:
    path, seen = tmp_path / "ledger.sqlite", []

    class Here(Constant):
        async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
            seen.append(len(lost_calls(path)))
            return await super().complete(messages, options)

    with Ledger(path) as ledger:
        ask(Ledgered(Here("a"), ledger), "q")
        ask(Ledgered(Here("b"), ledger, Price(1.0, 1.0)), "q")
    assert seen == [0, 1]


def test_what_a_killed_writer_left_half_written_is_rolled_back_for_a_reader(tmp_path: Path) -> None:
    """As kill -9 leaves it between the journal and the end of a commit: the journal is hot."""
    path, hot = tmp_path / "ledger.sqlite", tmp_path / "killed"
    with Ledger(path) as ledger:
        ask(Ledgered(Constant("a"), ledger), "q")
    hot.mkdir()
    with sqlite3.connect(path, isolation_level=None) as database:
        database.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
        database.execute("BEGIN IMMEDIATE")
        for i in range(200):
            database.execute("INSERT INTO failed VALUES (?, NULL, '', '', '')", ("x" * 4000 + str(i),))
        for left in tmp_path.glob("ledger.sqlite*"):
            shutil.copy(left, hot)
        database.execute("ROLLBACK")
    database.close()
    assert (hot / "ledger.sqlite-journal").stat().st_size > 0
    assert [call.completion.text for call in past_calls(hot / "ledger.sqlite")] == ["a"]
    assert failures(hot / "ledger.sqlite") == ()
    assert problems(hot / "ledger.sqlite") == ()


# ---------------------------------------------------------------- the cache


def changed(rng: random.Random, request: Request) -> Request:
    """The request with one field changed, anywhere in it."""
    spec, messages, options = request
    kind = rng.choice(["spec", "adapter", "message", "role", "option", "moved"])
    text = "".join(rng.choices('ab é\u0301\x00\n"\\{}[],:0', k=rng.randrange(1, 12)))
    if kind == "spec":
        return (
            {**spec, rng.choice(["name", "base_url", "key_variable", "revision", "engine", text]): text},
            messages,
            options,
        )
    if kind == "adapter":
        return {**spec, "adapter": {"path": "anywhere", rng.choice(["sha256", "rank", text]): text}}, messages, options
    place = rng.randrange(len(messages))
    said = list(messages)
    if kind == "message":
        said[place] = Message(said[place].role, said[place].content + text)
    elif kind == "role":
        said[place] = Message(rng.choice(["system", "assistant"]), text)
    elif kind == "moved":
        cut = rng.randrange(len(said[0].content) + 1)
        said[0] = Message(said[0].role, said[0].content[:cut])
        said.insert(1, Message("user", messages[0].content[cut:]))
    else:
        change: dict[str, Any] = rng.choice(
            [
                {"max_tokens": rng.randrange(1, 10**6)},
                {"temperature": rng.random()},
                {"seed": rng.randrange(1, 10**6)},
                {"stop": (text,)},
                {"stop": (text, "")},
                {"choices": (text, "b")},
                {"schema": {"type": text}},
                {"tools": ({"name": text},)},
                {"choice_logprobs": True, "seed": rng.randrange(1, 10**6)},
            ]
        )
        options = replace(options, **change)
    return spec, tuple(said), options


@pytest.mark.parametrize("changes", [1_500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_the_cache_never_crosses_and_the_same_request_is_always_found(tmp_path: Path, changes: int) -> None:
    """Requests, each another one changed in one field: none is another's, and each finds its own answer."""
    rng = random.Random(9)
    base: Request = (
        {"kind": "remote", "name": "m", "base_url": "http://h/v1"},
        (Message("system", "be brief"), Message("user", "q")),
        Options(),
    )
    made, known = [base], {repr(base)}
    while len(made) <= changes:
        one = changed(rng, rng.choice(made[:200]))
        if repr(one) not in known:
            known.add(repr(one))
            made.append(one)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        requests = [request_of(*one) for one in made]
        keys = [sha256(request) for request in requests]
        assert len(set(keys)) == len(made)
        hits = 0

        async def record(number: int) -> None:
            nonlocal hits
            hits += ledger.find(keys[number]) is not None
            await ledger.record(keys[number], requests[number], Completion(str(number)))

        async def record_all() -> None:
            await asyncio.gather(*map(record, range(len(made))))

        asyncio.run(record_all())
        assert hits == 0
    with Ledger(tmp_path / "ledger.sqlite") as again:
        for number, (spec, messages, options) in enumerate(made):
            reordered = {name: spec[name] for name in reversed(spec)}
            found = again.find(sha256(request_of(reordered, list(messages), replace(options))))
            assert found is not None and found.text == str(number)
    assert problems(tmp_path / "ledger.sqlite") == ()


READER = """
import sys, time
from pathlib import Path
from shouldtune.models.past_calls import dollars_paid, past_calls
path, most = Path(sys.argv[1]), 0
while not time.sleep(0.1):
    count = sum(1 for _ in past_calls(path))
    assert count >= most and dollars_paid(path, {}.get)[0] >= 0
    most = count
    print(count, flush=True)
"""


@pytest.mark.parametrize("commits", [200, pytest.param(100_000, marks=pytest.mark.slow)])
def test_one_writer_and_readers_beside_it(tmp_path: Path, commits: int) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:

        async def one_by_one() -> None:
            for number in range(commits):
                await ledger.record(f"{number:064}", "{}", Completion("a" * (number % 300)))

        asyncio.run(ledger.record("first", "{}", Completion("a")))
        readers = [
            subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        asyncio.run(one_by_one())
        assert "another run is writing" in a_second_writer(path)
    for reader in readers:
        assert reader.stdout is not None
        assert int(reader.stdout.readline()) >= 1
        assert reader.poll() is None  # it is still reading, and never failed
        reader.kill()
        reader.stdout.close()
        reader.wait()
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert database.execute("SELECT count(*) FROM calls").fetchone()[0] == commits + 1
    database.close()


# ---------------------------------------------------------------- shouldtune ledger


def test_the_command_shows_checks_exports_and_compacts(make_task: MakeTask, tmp_path: Path) -> None:
    model = "http://127.0.0.1:9/v1#m"
    folder = make_task(numbered_rows(60), model=model, tune=None, prices={model: {"read": 1e3, "written": 1e3}})
    assert shouldtune("ledger", folder).returncode == 2  # there is none yet
    path, slow = ledger_path(folder), Slow()

    async def fill() -> None:
        with Ledger(path) as ledger:
            slow.go.set()
            with paying("zero_shot", "measure"):
                for text in ("q", "r\x1b[31m"):
                    await Ledgered(slow, ledger, Price(1e3, 1e3)).complete([Message("user", text)])
            with paying("few_shot", "fit"):
                await Ledgered(Flaky(slow, 1.0), ledger, Price(1e3, 1e3)).complete([Message("user", "s")])

    asyncio.run(fill())
    with Ledger(path):  # a run is writing
        shown = shouldtune("ledger", folder)
        assert shown.returncode == 0, shown.stderr
        lines = {line.split("  ")[0]: line.split() for line in shown.stdout.splitlines()}
        assert lines["zero_shot measure"][2:8] == ["2", "20", "20", "$0.040", "0", "$0"]
        assert lines["few_shot fit"][6] == "1" and lines["few_shot fit"][8] == "1"
        assert "failed: unclassified 1" in shown.stdout
        document = json.loads(shouldtune("ledger", folder, "--json").stdout)
        assert [(each["rung"], each["calls"], each["failed"]) for each in document["accounts"]] == [
            ("few_shot", 0, 1),
            ("zero_shot", 2, 0),
        ] or document["accounts"][0]["rung"] == "zero_shot"
        assert json.loads(shouldtune("ledger", folder, "--check", "--json").stdout) == {"sound": True, "problems": []}
        exported = shouldtune("ledger", folder, "--export", "-").stdout
        assert "\x1b" not in exported
        rows = [json.loads(line) for line in exported.splitlines()]
        assert {row["request"]["messages"][0][1] for row in rows} == {"q", "r\x1b[31m"}
        assert shouldtune("ledger", folder, "--export", tmp_path / "all.jsonl").returncode == 0
        assert (tmp_path / "all.jsonl").read_text() == exported
        assert shouldtune("ledger", folder, "--compact").returncode == 4
    assert shouldtune("ledger", folder, "--compact").returncode == 0
    assert shouldtune("ledger", folder, "--export", "-").stdout == exported


def test_the_command_says_what_is_damaged(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60), tune=None)
    path = ledger_path(folder)
    with Ledger(path) as ledger:
        for number in range(3):
            request = f'{{"number":{number}}}'
            asyncio.run(ledger.record(sha256(request), request, Completion("a")))
        change(ledger, "UPDATE calls SET request = '{}' WHERE request LIKE '%1%'")
        change(ledger, "UPDATE calls SET completion = 'half' WHERE request LIKE '%2%'")
    done = shouldtune("ledger", folder, "--check")
    assert done.returncode == 4
    assert done.stdout.count("FAIL") == 2
    assert "its key is not the hash of its request" in done.stdout and "it cannot be read" in done.stdout
    path.write_bytes(path.read_bytes()[:5000] + b"\xff" * 3000)
    assert shouldtune("ledger", folder, "--check").returncode == 4
    damaged = shouldtune("ledger", folder)
    assert (damaged.returncode, damaged.stderr.count("error:")) == (4, 1)


# ---------------------------------------------------------------- what happens to its process


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


def test_a_key_that_was_taken_in_is_known_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_set, "NEW", 10)
    keys = [sha256(str(i)) for i in range(1_000)]
    known = KeySet(keys[:25])
    for i in range(25, 500):
        assert keys[i] not in known
        known.update([keys[i], keys[i]])
        assert keys[i] in known
    assert all(key in known for key in keys[:500])
    assert not any(key in known for key in keys[500:])  # by chance one in 10^16


def test_of_several_answers_to_one_request_the_last_is_billed_however_many_are_looked_at_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = seen.AnswersSeen()
    for key, tokens in enumerate([3, 5, 8, 13, 21, 34], 1):
        answers.add(str(key % 4), Completion("", prompt_tokens=tokens, cost_usd=tokens / 1_000))
    billed = []
    for together in (100, 2, 1):
        monkeypatch.setattr(seen, "SORTED_TOGETHER", together)
        billed.append(answers.bill({"2": [0.5], "9": [0.7]}))
    for bill in billed:
        assert (bill.calls, bill.prompt_tokens, bill.lost) == (4, 8 + 13 + 21 + 34, [0.5])
        assert bill.spent().usd == pytest.approx(0.076)
