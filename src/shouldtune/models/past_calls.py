"""What a task's ledger holds, read and not written: what was paid, how fast a model was, how long its tokens are."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.models.ledger import completion_from_json
from shouldtune.models.prices import id_of
from shouldtune.types import Completion, ModelSpec

QUERY = "SELECT key, request, completion, rung, purpose FROM calls ORDER BY key"


@dataclass(frozen=True)
class PastCall:
    """One answer in the ledger."""

    key: str
    model: ModelSpec
    request: dict[str, Any]
    completion: Completion
    rung: str
    purpose: str

    @property
    def model_id(self) -> str | None:
        """The id of the model as a task file names it: of a remote one, or of a local one without an adapter."""
        if self.model.get("kind") == "local":
            return None if self.model.get("adapter") else str(self.model["model"])
        return id_of(self.model)

    @property
    def training(self) -> bool:
        """Whether it stands for an epoch of training, and no answer."""
        return "tune" in self.request


def past_calls(path: Path) -> Iterator[PastCall]:
    """Every answer in a ledger, in the order of its keys; nothing where there is no file. CannotMeasure."""
    if not path.exists():
        return
    for key, request, completion, rung, purpose in _rows(path, QUERY):
        plain = json.loads(request)
        model = plain.get("model") or plain.get("tune") or {}
        yield PastCall(key, model, plain, completion_from_json(completion), rung, purpose)


def dollars_paid(path: Path, price: Callable[[str], Price | None]) -> tuple[float, tuple[str, ...]]:
    """(dollars that the calls of all runs cost at list price, models whose calls have no known price).

    Calls that were lost on their way are in it at the most that they can have cost.
    """
    if not path.exists():
        return 0.0, ()
    paid, unknown = [0.0], set()
    for call in past_calls(path):
        if call.model.get("kind") == "local" or call.training:
            continue
        completion, found = call.completion, price(call.model_id) if call.model_id else None
        known = None
        if found is not None:
            known = found.of(completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens)
        cost = completion.cost_usd if known is None else known
        if cost is None:
            unknown.add(call.model_id or str(call.model.get("kind", "an unnamed model")))
        else:
            paid.append(cost)
    lost = "SELECT usd FROM lost" if _rows(path, "SELECT 1 FROM sqlite_master WHERE name = 'lost'") else ""
    return sum(paid) + sum(usd for (usd,) in (_rows(path, lost) if lost else ())), tuple(sorted(unknown))


def _rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    try:
        database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()
    except sqlite3.DatabaseError as error:
        raise CannotMeasure(
            f"the ledger cannot be read: {error}", where=path, hint="move the file away to start a new one"
        ) from None
