"""The durable record of every model call: cache, bill and crash recovery in one.

One SQLite file per task serves all its runs. A call's answer is on disk before anyone sees it, so a run that was
killed goes on where it stood, and a run that is repeated pays nothing.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.models.bill import Bill, at_price, most_dollars
from shouldtune.models.budget import NO_PRICE, OVER, Budget
from shouldtune.models.prompted import options_to_dict
from shouldtune.types import Completion, Conversation, Message, Model, ModelSpec, Options, Spent, Tunable, TuneSettings

SCHEMA_VERSION = 1
Purpose = tuple[str, str]
"""(rung, what for): `("few_shot", "fit")`."""

_paying: ContextVar[Purpose] = ContextVar("paying", default=("", ""))


@contextmanager
def paying(rung: str, purpose: str) -> Iterator[None]:
    """Everything that is asked inside is on this rung's bill; tasks started inside inherit it."""
    token = _paying.set((rung, purpose))
    try:
        yield
    finally:
        _paying.reset(token)


@dataclass
class _Entry:
    row: tuple[str, str, str, str, str]
    """key, request, completion, rung, purpose"""
    saved: asyncio.Future[None]


class Ledger:
    """One writer to one file. `bills` say what each purpose rests on; `new_calls` what this process bought."""

    def __init__(self, path: Path, on_call: Callable[[Purpose, Completion, bool], None] | None = None) -> None:
        """Open or create the file. CannotMeasure when another process writes it, or it is damaged."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.on_call = on_call
        self.new_calls = 0
        self.budget: Budget | None = None
        self.bills: dict[Purpose, Bill] = {}
        self._seen: dict[str, Completion] = {}
        self._waiting: list[_Entry] = []
        self._flushing: asyncio.Task[None] | None = None
        self._one_at_a_time = threading.Lock()
        self._lock = path.with_suffix(".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.close()
            raise CannotMeasure(
                "another run is writing this ledger", where=path, hint="wait for it, or stop it"
            ) from None
        try:
            self._database = sqlite3.connect(path, check_same_thread=False)
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._lock.close()
            raise CannotMeasure(
                f"the ledger cannot be read: {error}", where=path, hint="move the file away to start a new one"
            ) from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA synchronous = FULL")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(f"written by another version (schema {version}, this is {SCHEMA_VERSION})")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, request TEXT NOT NULL, completion TEXT NOT NULL,"
            " rung TEXT NOT NULL, purpose TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS lost (usd REAL NOT NULL, rung TEXT NOT NULL, purpose TEXT NOT NULL,"
            " at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )
        self._database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._database.commit()
        self._keys = {key for (key,) in self._database.execute("SELECT key FROM calls")}

    def budget_ended(self) -> bool:
        """Whether a call was not begun for want of money; then no other is either."""
        return self.budget is not None and self.budget.ended

    def find(self, key: str) -> Completion | None:
        """The recorded answer to a request, or None."""
        if key not in self._keys:
            return None  # without waiting for whatever is being written
        with self._one_at_a_time:
            row = self._database.execute("SELECT completion FROM calls WHERE key = ?", (key,)).fetchone()
        return None if row is None else completion_from_json(row[0])

    async def record(self, key: str, request: str, completion: Completion) -> None:
        """Write one answer to a canonical request; returns when it is on disk. Those that wait share one sync."""
        self.new_calls += 1
        if completion.failed:  # a failure is no answer: the next run may try again
            if completion.cost_usd:
                await asyncio.to_thread(self._lose, completion.cost_usd, _paying.get())
            return
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row = (key, request, canonical(vars(completion)), *_paying.get())
        self._waiting.append(_Entry(row, saved))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await saved

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._commit, batch)
            except (
                sqlite3.Error,
                ValueError,
            ) as error:  # a text that cannot be written must not leave its caller waiting
                problem = CannotMeasure(
                    f"the ledger cannot be written: {error}", where=self.path, hint="is the disk full?"
                )
                for entry in batch:
                    if not entry.saved.done():
                        entry.saved.set_exception(problem)
                continue
            for entry in batch:
                if not entry.saved.done():
                    entry.saved.set_result(None)

    def _commit(self, batch: Sequence[_Entry]) -> None:
        with self._one_at_a_time, self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO calls (key, request, completion, rung, purpose) VALUES (?, ?, ?, ?, ?)",
                [entry.row for entry in batch],
            )
        self._keys.update(entry.row[0] for entry in batch)

    def _lose(self, usd: float, purpose: Purpose) -> None:
        """Write down what a failed call may have cost: a budget counts it in later runs too."""
        with self._one_at_a_time, self._database:
            self._database.execute("INSERT INTO lost (usd, rung, purpose) VALUES (?, ?, ?)", (usd, *purpose))

    def charge(self, key: str, completion: Completion, *, new: bool) -> None:
        """Put one answer on the bill of whoever is paying, at list price whether it was bought now or before."""
        purpose = _paying.get()
        self.bills.setdefault(purpose, Bill()).add(completion)
        self._seen[key] = completion
        if self.on_call is not None:
            self.on_call(purpose, completion, new)

    def spent(self, rung: str | None = None, purpose: str | None = None) -> Spent:
        """What a rung's purpose took; without a rung, what the run took: each distinct answer once."""
        if rung is not None:
            return self.bills.get((rung, purpose or ""), Bill()).spent()
        total = Bill()
        for completion in self._seen.values():
            total.add(completion)
        return total.spent()

    def close(self) -> None:
        with self._one_at_a_time:  # a run that is cut off may close while a commit is under way in its thread
            self._database.close()
        self._lock.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Ledgered:
    """A model whose every answer is in the ledger before it is used, and found there the next time.

    With a `price` its answers carry dollars at that price, whenever they were bought, and the ledger's budget is kept.
    """

    model: Model
    ledger: Ledger
    price: Price | None = None

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        request = request_of(self.model.spec(), messages, options)
        key = sha256(request)
        found = self.ledger.find(key)
        completion = await self._bought(key, request, messages, options) if found is None else found
        if completion.error == OVER:
            return completion
        completion = at_price(completion, self.price, None)
        self.ledger.charge(key, completion, new=found is None)
        return completion

    async def _bought(self, key: str, request: str, messages: Sequence[Message], options: Options) -> Completion:
        """Ask the model, within the budget; the answer is on disk when it is returned."""
        most = None if self.price is None else most_dollars(self.price, messages, options)
        budget = self.ledger.budget if self.price is not None else None
        if budget is not None and most is None:
            return Completion("", finish_reason="error", error=NO_PRICE, cost_usd=0.0)
        if budget is not None and not await budget.begin(most or 0.0):
            return Completion("", finish_reason="error", error=OVER)
        cost: float | None = None
        try:
            completion = at_price(await self.model.complete(messages, options), self.price, most)
            cost = completion.cost_usd
        finally:
            if budget is not None:
                await budget.settle(most or 0.0, cost)
        await self.ledger.record(key, request, completion)
        return completion

    def spec(self) -> ModelSpec:
        return self.model.spec()

    async def aclose(self) -> None:
        close = getattr(self.model, "aclose", None)
        if close is not None:
            await close()


def most_usd(model: Model, messages: Sequence[Message], options: Options) -> float:
    """Dollars that a call may cost at most, where the model's price is known; else 0."""
    price = model.price if isinstance(model, Ledgered) else None
    return 0.0 if price is None else most_dollars(price, messages, options) or 0.0


@dataclass(frozen=True)
class LedgeredTunable(Ledgered):
    """A tunable model whose training time is on the bill too."""

    model: Tunable

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        request = {
            "tune": identity(self.model.spec()),
            "conversations": digest([asdict(conversation) for conversation in conversations]),
            "settings": asdict(settings),
        }
        epoch, start = 0, monotonic()
        async for tuned in self.model.tune(conversations, settings):
            epoch += 1
            part = canonical({**request, "epoch": epoch})
            key = sha256(part)
            recorded = self.ledger.find(key)
            completion = recorded or Completion(
                f"epoch {epoch}", compute_s=round(monotonic() - start, 1), engine="training"
            )
            if recorded is None:
                await self.ledger.record(key, part, completion)
            self.ledger.charge(key, completion, new=recorded is None)
            yield Ledgered(tuned, self.ledger)
            start = monotonic()


def request_of(spec: ModelSpec, messages: Sequence[Message], options: Options) -> str:
    """A call in the one form whose SHA-256 is its key."""
    said = [[message.role, message.content] for message in messages]
    return canonical({"model": identity(spec), "messages": said, "options": options_to_dict(options)})


def identity(spec: ModelSpec) -> ModelSpec:
    """A spec without where things lie: a file's hash names it, its path does not."""
    return {
        name: identity(value) if isinstance(value, dict) else value for name, value in spec.items() if name != "path"
    }


def canonical(value: Any) -> str:
    """JSON with one form for one value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return sha256(canonical(value))


def sha256(text: str) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def completion_from_json(text: str) -> Completion:
    """The completion that `canonical(vars(completion))` wrote."""
    return completion_from_dict(json.loads(text))


def completion_from_dict(fields: Mapping[str, Any]) -> Completion:
    """The completion of these fields; lists become tuples again."""
    found: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in fields.items()}
    return Completion(**found)
