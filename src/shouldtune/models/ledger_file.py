"""The ledger's file: its tables, older ones brought up to date, and a connection that only reads.

    calls    every answer, by the SHA-256 of its request
    sent     paid calls that were sent and whose outcome is not known, or not yet: all of it may be billed
    failed   what kind of failure each failed call was

Version 1 had no `sent` and no `failed`; its `lost` held dollars alone.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from shouldtune.errors import CannotMeasure

SCHEMA_VERSION = 2
BUSY_S = 60.0
"""How long a commit waits for readers, and a reader for a commit."""

_CALLS = """CREATE TABLE IF NOT EXISTS calls (key TEXT PRIMARY KEY, request TEXT NOT NULL, completion TEXT NOT NULL,
 rung TEXT NOT NULL, purpose TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""
_SENT = """CREATE TABLE sent (id INTEGER PRIMARY KEY, key TEXT NOT NULL, model TEXT, read INTEGER, written INTEGER,
 usd REAL, rung TEXT NOT NULL, purpose TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""
_FAILED = """CREATE TABLE failed (key TEXT NOT NULL, failure TEXT, rung TEXT NOT NULL, purpose TEXT NOT NULL,
 at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"""
_FROM_LOST = "INSERT INTO sent (key, usd, rung, purpose, at) SELECT '', usd, rung, purpose, at FROM lost"


def lock(path: Path) -> IO[str]:
    """Become the one writer of a ledger, until the file returned is closed. CannotMeasure where there is another."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise CannotMeasure(
            f"the ledger cannot be written: {error.strerror}", where=path, hint="is the folder read-only, or full?"
        ) from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        held.close()
        raise CannotMeasure("another run is writing this ledger", where=path, hint="wait for it, or stop it") from None
    return held


def open_to_write(path: Path) -> sqlite3.Connection:
    """A connection to a file that is whole and of this version: made, or migrated in one transaction, where it is not.

    Nothing begins a transaction by itself. The caller holds the lock. CannotMeasure.
    """
    with cannot_read(path):
        database = sqlite3.connect(path, check_same_thread=False, timeout=BUSY_S, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = FULL")
            if _version(database) != SCHEMA_VERSION:
                _migrate(database)
        except sqlite3.Error:
            database.close()
            raise
    return database


@contextmanager
def open_to_read(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that writes nothing and needs no lock, also while a run is writing. CannotMeasure.

    What a killed run had half written is rolled back first, which takes a writer.
    """
    with cannot_read(path):
        database = _reader(path)
    try:
        with cannot_read(path):
            yield database
    finally:
        database.close()


def _reader(path: Path) -> sqlite3.Connection:
    try:
        return _read_only(path)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
    with lock(path):
        open_to_write(path).close()
    return _read_only(path)


def _read_only(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
    try:
        _version(database)
    except sqlite3.Error:
        database.close()
        raise
    return database


@contextmanager
def cannot_read(path: Path) -> Iterator[None]:
    """What SQLite says of a file that is damaged, as one line."""
    try:
        yield
    except sqlite3.Error as error:
        hint = "move the file away to start a new one"
        raise CannotMeasure(f"the ledger cannot be read: {error}", where=path, hint=hint) from None


def tables(database: sqlite3.Connection) -> set[str]:
    """The names of the tables that there are: an older file is read as it is."""
    return {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _version(database: sqlite3.Connection) -> int:
    """The file's schema version, 0 for a new file; sqlite3.DatabaseError for one that is newer than this program."""
    version = int(database.execute("PRAGMA user_version").fetchone()[0])
    database.execute("SELECT 1 FROM sqlite_master").fetchone()
    if not 0 <= version <= SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"written by another version (schema {version}, this is {SCHEMA_VERSION})")
    return version


def _migrate(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    with database:
        database.execute(_CALLS)
        database.execute(_SENT)
        database.execute(_FAILED)
        if "lost" in tables(database):
            database.execute(_FROM_LOST)
            database.execute("DROP TABLE lost")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
