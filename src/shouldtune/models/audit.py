"""A look at a whole ledger: what its calls took, whether it is sound, its rows as JSON lines, and less room for it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.bill import sum_known
from shouldtune.models.keys import sha256
from shouldtune.models.ledger_file import cannot_read, lock, open_to_read, open_to_write
from shouldtune.models.past_calls import LostCall, PastCall, PriceOf, failures, lost_calls, past_call, past_calls, rows

MOST_PROBLEMS = 100


@dataclass
class Account:
    """What one rung spent for one purpose, over all runs of the task."""

    rung: str
    purpose: str
    calls: int = 0
    """Answers in the ledger; epochs of training are no calls."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    dollars: list[float | None] = field(default_factory=list)
    """Of each answer of a model that is paid for, and each job at a provider; None where no price is known."""
    lost: list[float | None] = field(default_factory=list)
    """Of each call whose outcome nobody knows, the most that it can have cost."""
    failed: int = 0
    epochs: int = 0
    first: str = ""
    """When the first of it was written, UTC."""
    last: str = ""

    @property
    def usd(self) -> float | None:
        return sum_known(self.dollars)

    @property
    def unknown_usd(self) -> float | None:
        return sum_known(self.lost)

    def add(self, call: PastCall, price: PriceOf) -> None:
        """One more answer."""
        self._seen(call.at)
        if call.training:
            self.epochs += 1
            if call.model.get("kind") == "remote":
                self.dollars.append(call.completion.cost_usd)
            return
        self.calls += 1
        self.prompt_tokens += call.completion.prompt_tokens or 0
        self.completion_tokens += call.completion.completion_tokens or 0
        if not call.free:
            self.dollars.append(call.dollars(price))

    def lose(self, lost: LostCall, price: PriceOf) -> None:
        """One more call whose outcome nobody knows."""
        self._seen(lost.at)
        self.lost.append(lost.dollars(price))

    def _seen(self, at: str) -> None:
        self.first = min(filter(None, (self.first, at)), default="")
        self.last = max(self.last, at)


@dataclass(frozen=True)
class Accounts:
    """What the ledger of a task holds."""

    path: Path
    bytes: int
    by_purpose: tuple[Account, ...]
    """In the order in which they began."""
    failures: dict[str, int]
    """Failed calls by kind of failure; `unclassified` where the kind is not known."""


def accounts_of(path: Path, price: PriceOf) -> Accounts:
    """Add a ledger up, also while a run is writing it. InputError where there is none, CannotMeasure."""
    _must_exist(path)
    found: dict[tuple[str, str], Account] = {}

    def account(rung: str, purpose: str) -> Account:
        return found.setdefault((rung, purpose), Account(rung, purpose))

    for call in past_calls(path):
        account(call.rung, call.purpose).add(call, price)
    for lost in lost_calls(path):
        account(lost.rung, lost.purpose).lose(lost, price)
    kinds: Counter[str] = Counter()
    for kind, rung, purpose, times in failures(path):
        kinds[kind or "unclassified"] += times
        account(rung, purpose).failed += times
    ordered = sorted(found.values(), key=lambda each: (each.first, each.rung, each.purpose))
    return Accounts(path, path.stat().st_size, tuple(ordered), dict(sorted(kinds.items())))


def problems(path: Path) -> tuple[str, ...]:
    """What is wrong with a ledger: its file, keys that are no hash of their request, answers that cannot be read.

    At most a hundred; none where it is sound. InputError where there is none, CannotMeasure where it is no ledger.
    """
    _must_exist(path)
    with open_to_read(path) as database:
        said = [text for (text,) in database.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})")]
    if said != ["ok"]:
        return tuple(f"damaged: {text}" for text in said)
    wrong = []
    for row in rows(path):
        if row[0] != sha256(row[1]):
            wrong.append(f"call {row[0]}: its key is not the hash of its request")
        try:
            past_call(row)
        except (ValueError, TypeError, AttributeError) as error:
            wrong.append(f"call {row[0]}: it cannot be read: {error}")
        if len(wrong) >= MOST_PROBLEMS:
            break
    return tuple(wrong)


def lines_of(path: Path) -> Iterator[str]:
    """Every answer as one line of JSON in ASCII, in the order of its keys. InputError, CannotMeasure as `problems`."""
    _must_exist(path)
    for key, request, completion, rung, purpose, at in rows(path):
        try:
            said = {"request": json.loads(request), "completion": json.loads(completion)}
        except ValueError:
            hint = "`shouldtune ledger TASK --check` says what else is damaged"
            raise CannotMeasure(f"the call {key} cannot be read", where=path, hint=hint) from None
        yield json.dumps({"key": key, "rung": rung, "purpose": purpose, "at": at, **said}, sort_keys=True) + "\n"


def compact(path: Path) -> tuple[int, int]:
    """Give the room of what was deleted back: (bytes before, bytes after). Nothing is dropped.

    InputError where there is no ledger; CannotMeasure where a run is writing it, or it is damaged.
    """
    _must_exist(path)
    with lock(path):
        before, database = path.stat().st_size, open_to_write(path)
        try:
            with cannot_read(path):
                database.execute("VACUUM")
        finally:
            database.close()
    return before, path.stat().st_size


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise InputError("there is no ledger yet", where=path, hint="`shouldtune run` on the task writes one")
