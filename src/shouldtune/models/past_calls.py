"""What a task's ledger holds, read and not written: what was paid, how fast a model was, how long its tokens are.

Nothing here needs the ledger's lock: it is read in short pieces, so that a run that is writing waits for none of them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.models.bill import Size, at_price, most_of_tokens
from shouldtune.models.keys import completion_from_json
from shouldtune.models.ledger_file import open_to_read, tables
from shouldtune.models.open import HERE
from shouldtune.models.prices import id_of
from shouldtune.models.prompted import options_from_dict
from shouldtune.types import Completion, Message, ModelSpec

ROWS_AT_ONCE = 1000

Row = tuple[str, str, str, str, str, str]
"""key, request, completion, rung, purpose, at"""
PriceOf = Callable[[str], Price | None]


@dataclass(frozen=True)
class PastCall:
    """One answer in the ledger."""

    key: str
    model: ModelSpec
    request: dict[str, Any]
    completion: Completion
    rung: str
    purpose: str
    at: str = ""
    """When it was written, UTC."""

    @property
    def model_id(self) -> str | None:
        """The id of the model as a task file names it: of a remote one, or of a local one without an adapter."""
        if self.model.get("kind") in HERE:
            return None if self.model.get("adapter") else str(self.model["model"])
        return id_of(self.model)

    @property
    def training(self) -> bool:
        """Whether it stands for an epoch of training, and no answer."""
        return "tune" in self.request

    @property
    def free(self) -> bool:
        """Whether it took machine time and no dollars."""
        return self.training or self.model.get("kind") in HERE

    def dollars(self, price: PriceOf) -> float | None:
        """At list price; where the server told no tokens, the most that it can have cost; None without a price."""
        found = price(self.model_id) if self.model_id else None
        if found is None:
            return self.completion.cost_usd
        messages = [Message(role, content) for role, content in self.request["messages"]]
        size = Size.of(messages, options_from_dict(self.request["options"]))
        known = at_price(self.completion, found, size).cost_usd
        return size.dollars(found) if known is None else known


@dataclass(frozen=True)
class LostCall:
    """A call that was sent and whose outcome nobody knows; while a run is writing, perhaps one that is under way."""

    model: str | None
    read: int | None
    written: int | None
    usd: float | None
    rung: str
    purpose: str
    at: str

    def dollars(self, price: PriceOf) -> float | None:
        """The most that it can have cost, as it was set aside, or else at the price of now; None without a price."""
        found = price(self.model) if self.model and self.usd is None else None
        if found is None or self.read is None or self.written is None:
            return self.usd
        return most_of_tokens(found, self.read, self.written)


def rows(path: Path) -> Iterator[Row]:
    """Every row of the answers, in the order of its keys; nothing where there is no file. CannotMeasure."""
    if not path.exists():
        return
    query = "SELECT key, request, completion, rung, purpose, at FROM calls WHERE key > ? ORDER BY key LIMIT ?"
    last = ""
    while True:
        with open_to_read(path) as database:
            found = database.execute(query, (last, ROWS_AT_ONCE)).fetchall() if "calls" in tables(database) else []
        yield from found
        if len(found) < ROWS_AT_ONCE:
            return
        last = found[-1][0]


def past_calls(path: Path) -> Iterator[PastCall]:
    """Every answer in a ledger, in the order of its keys; nothing where there is no file. CannotMeasure."""
    for row in rows(path):
        try:
            yield past_call(row)
        except (ValueError, TypeError, AttributeError):
            hint = "`shouldtune ledger TASK --check` says what else is damaged"
            raise CannotMeasure(f"the call {row[0]} cannot be read", where=path, hint=hint) from None


def past_call(row: Row) -> PastCall:
    """The call of one row. ValueError, TypeError or AttributeError where it cannot be read."""
    key, request, completion, rung, purpose, at = row
    plain = json.loads(request)
    model = plain.get("model") or plain.get("tune") or {}
    return PastCall(key, model, plain, completion_from_json(completion), rung, purpose, at)


def lost_calls(path: Path) -> tuple[LostCall, ...]:
    """Every call whose outcome nobody knows; none where there is no file. CannotMeasure."""
    return tuple(LostCall(*row) for row in _all(path, _lost))


def failures(path: Path) -> tuple[tuple[str | None, str, str, int], ...]:
    """(what kind of failure, rung, purpose, how many calls); none where there is no file. CannotMeasure."""
    query = "SELECT failure, rung, purpose, count(*) FROM failed GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
    return tuple(_all(path, lambda database, names: database.execute(query) if "failed" in names else ()))


def dollars_paid(path: Path, price: PriceOf) -> tuple[float, tuple[str, ...]]:
    """(dollars that the calls of all runs cost at list price, models whose calls have no known price).

    Calls whose outcome nobody knows are in it at the most that they can have cost.
    """
    paid, unknown = [0.0], set()
    for call in past_calls(path):
        if call.free:
            continue
        cost = call.dollars(price)
        if cost is None:
            unknown.add(call.model_id or str(call.model.get("kind", "an unnamed model")))
        else:
            paid.append(cost)
    for lost in lost_calls(path):
        cost = lost.dollars(price)
        if cost is None:
            unknown.add(lost.model or "an unnamed model")
        else:
            paid.append(cost)
    return fsum(paid), tuple(sorted(unknown))


def _lost(database: sqlite3.Connection, names: set[str]) -> Any:
    if "sent" in names:
        return database.execute("SELECT model, read, written, usd, rung, purpose, at FROM sent ORDER BY id")
    if "lost" in names:
        return database.execute("SELECT NULL, NULL, NULL, usd, rung, purpose, at FROM lost ORDER BY rowid")
    return ()


def _all(path: Path, query: Callable[[sqlite3.Connection, set[str]], Any]) -> list[tuple[Any, ...]]:
    if not path.exists():
        return []
    with open_to_read(path) as database:
        return list(query(database, tables(database)))
