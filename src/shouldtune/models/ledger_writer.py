"""The one writer to a ledger's file: what waits to be written shares a transaction, and one sync."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from shouldtune.errors import CannotMeasure
from shouldtune.models.key_set import KeySet
from shouldtune.models.ledger_file import cannot_read, lock, open_to_write

Row = tuple[str | int | float | None, ...]
FIND = "SELECT completion FROM calls WHERE key = ?"


def _insert(table: str, columns: str) -> str:
    """One statement for all rows of a commit, which come as JSON: one a row would wait for the interpreter's lock at
    each of them."""
    values = ", ".join(f"json_extract(value, '$[{place}]')" for place in range(len(columns.split(","))))
    return f"INSERT OR REPLACE INTO {table} ({columns}) SELECT {values} FROM json_each(?)"  # noqa: S608  our own words


_WRITE = {
    "calls": _insert("calls", "key, request, completion, rung, purpose"),
    "sent": _insert("sent", "id, key, model, read, written, usd, rung, purpose"),
    "failed": _insert("failed", "key, failure, rung, purpose"),
    "known": "DELETE FROM sent WHERE id IN (SELECT value FROM json_each(?))",
}


@dataclass(frozen=True)
class Rows:
    """What is written together."""

    calls: Sequence[Row] = ()
    sent: Sequence[Row] = ()
    failed: Sequence[Row] = ()
    known: Sequence[int] = ()
    """Numbers of those sent whose outcome is known."""


class LedgerWriter:
    """A file that is open to be written, and which answers it holds."""

    def __init__(self, path: Path) -> None:
        """Open or create it. CannotMeasure when another process writes it, or it is damaged."""
        self.path = path
        self._waiting: deque[tuple[Rows, asyncio.Future[None]]] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._one_at_a_time = threading.Lock()
        self._lock = lock(path)
        try:
            self._database = open_to_write(path)
            with cannot_read(path):
                self._keys = KeySet(key for (key,) in self._database.execute("SELECT key FROM calls"))
                left = self._database.execute("SELECT id, key, usd FROM sent").fetchall()
        except CannotMeasure:
            self._lock.close()
            raise
        self.left: list[tuple[int, str, float | None]] = left
        """(number, key, dollars) of calls that were sent: whoever left them there is gone, nobody will know of them."""

    def find(self, key: str) -> str | None:
        """The text of a recorded answer, or None. CannotMeasure where the file is damaged."""
        if key not in self._keys:  # without waiting for whatever is being written
            return None
        with cannot_read(self.path), self._one_at_a_time:
            row = self._database.execute(FIND, (key,)).fetchone()
        return None if row is None else str(row[0])

    async def write(self, rows: Rows) -> None:
        """Returns when they are on disk. CannotMeasure."""
        saved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((rows, saved))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush())
        await saved

    def close(self) -> None:
        """Write what still waits, and let others write. A run that is cut off may close while a commit is under way."""
        with suppress(sqlite3.Error, ValueError):  # its callers are gone, and what was sent is written down
            self._commit([])
        with self._one_at_a_time:
            self._database.close()
        self._lock.close()

    async def _flush(self) -> None:
        while self._waiting:
            told: list[asyncio.Future[None]] = []
            problem: CannotMeasure | None = None
            try:
                await asyncio.to_thread(self._commit, told)
            except (sqlite3.Error, ValueError) as error:  # nobody must be left waiting
                problem = CannotMeasure(
                    f"the ledger cannot be written: {error}", where=self.path, hint="is the disk full?"
                )
            for saved in told:
                if saved.done():
                    continue
                if problem is None:
                    saved.set_result(None)
                else:
                    saved.set_exception(problem)

    def _commit(self, told: list[asyncio.Future[None]]) -> None:
        """Write in one transaction whatever waits; `told` is filled with whom it is to be told."""
        batch: list[Rows] = []
        with self._one_at_a_time:
            while self._waiting:
                rows, saved = self._waiting.popleft()
                batch.append(rows)
                told.append(saved)
            if not batch:
                return
            together = {kind: [row for rows in batch for row in getattr(rows, kind)] for kind in _WRITE}
            self._database.execute("BEGIN IMMEDIATE")
            with self._database:
                for kind, rows_of_kind in together.items():
                    if rows_of_kind:
                        self._database.execute(_WRITE[kind], (json.dumps(rows_of_kind, ensure_ascii=False),))
            self._keys.update(str(row[0]) for row in together["calls"])
