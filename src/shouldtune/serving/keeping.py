"""What was asked and answered, kept for the next re-check where the operator wants it: two files that only grow.

    FILE                    every answer: {"id", "input", "output", ...}; and every feedback on one: the same with "of"
    FILE's name.told.jsonl  the answers whose right answer is known: {"id", "input", "target", "output", ...}

Rows of the second are examples as the task loader reads them. A row is written whole and is on disk before the client
has its answer, or the end of one that is streamed: what was given up on the way is not kept. Both files are for their
owner alone, and for one server at a time.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import stat
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.serving.refused import Refused, bad
from shouldtune.types import Completion

ROWS_BEGIN = (b'{"id":', b'{"of":')
REMEMBERED = 10_000
"""Answers that feedback may still speak of."""


class Journal:
    """A file of JSON lines that only grows. InputError where it cannot be one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        try:
            self._file = os.open(path, flags, 0o600)
        except OSError as error:
            raise InputError(f"cannot be kept here: {error.strerror}", where=path) from None
        try:
            self._check()
            self.size = self._without_torn_end(os.fstat(self._file).st_size)
        except InputError:
            os.close(self._file)
            raise

    def _check(self) -> None:
        path, found = self.path, os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            raise InputError("this is no ordinary file", where=path)
        if found.st_mode & 0o077:
            raise InputError("others may read this file", where=path, hint=f"chmod 600 {path}")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError("another server keeps its answers here", where=path) from None

    def append(self, row: dict[str, Any]) -> int:
        """Write one row to the disk, whole or not at all; where it begins. OSError."""
        line = (json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        begin = self.size
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError:
            os.ftruncate(self._file, begin)
            raise
        self.size += len(line)
        return begin

    def read(self, begin: int) -> dict[str, Any]:
        """The row that begins there."""
        with self.path.open("rb") as file:
            file.seek(begin)
            row: dict[str, Any] = json.loads(file.readline())
        return row

    def rows(self) -> list[tuple[int, dict[str, Any]]]:
        """(where it begins, row) of the last rows."""
        found: OrderedDict[int, bytes] = OrderedDict()
        with self.path.open("rb") as file:
            begin = 0
            for line in file:
                found[begin] = line
                begin += len(line)
                if len(found) > REMEMBERED:
                    found.popitem(last=False)
        return [(begin, json.loads(line)) for begin, line in found.items()]

    def close(self) -> None:
        os.close(self._file)

    def _without_torn_end(self, size: int) -> int:
        """A crash may have left part of a row, of which nobody was told."""
        end = size
        while end and os.pread(self._file, 1, end - 1) != b"\n":
            end -= 1
        if end != size:
            begun = os.pread(self._file, len(ROWS_BEGIN[0]), end)
            if begun not in [each[: len(begun)] for each in ROWS_BEGIN]:
                raise InputError("this file holds something else than kept answers", where=self.path)
            os.ftruncate(self._file, end)
        return end


class Kept:
    """The two files, and where in the first each of the last answers stands."""

    def __init__(self, path: Path) -> None:
        self._answers = Journal(path)
        self._told = Journal(told_path(path))
        self._places: OrderedDict[str, int] = OrderedDict()
        self._judged: OrderedDict[str, None] = OrderedDict()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="shouldtune-kept")
        try:
            for place, row in self._answers.rows():
                if "of" not in row:
                    self._places[row["id"]] = place
            for _, row in self._told.rows():
                self._judged[row["id"]] = None
        except (ValueError, KeyError, TypeError):
            raise InputError("this file holds something else than kept answers", where=path) from None

    async def answer(self, answer_id: str, rung: str, text: str, completion: Completion) -> None:
        """Keep an answer. OSError."""
        row = {"id": answer_id, "input": text, "output": completion.text, "rung": rung, "at": _now()}
        if completion.passages:
            row["passages"] = list(completion.passages)  # type: ignore[assignment]
        await self._apart(self._keep_answer, row)

    async def feedback(self, answer_id: str, answer: str | None, score: float | None) -> bool:
        """Keep what is told of an answer; whether an example has come of it. Refused (404, 409). OSError."""
        return bool(await self._apart(self._keep_feedback, answer_id, answer, score))

    def close(self) -> None:
        self._writer.shutdown()
        self._answers.close()
        self._told.close()

    async def _apart(self, work: Any, *what: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, *what)

    def _keep_answer(self, row: dict[str, Any]) -> None:
        _remember(self._places, row["id"], self._answers.append(row))

    def _keep_feedback(self, answer_id: str, answer: str | None, score: float | None) -> bool:
        place = self._places.get(answer_id)
        if place is None:
            raise Refused(404, "no such answer is kept", param="id", code="answer_not_found")
        target = answer
        kept = self._answers.read(place)
        if target is None and score == 1:
            target = kept["output"]
        if target is not None and answer_id in self._judged:
            raise Refused(409, "the right answer to this is known already", param="id", code="told_already")
        told = {"target": target} if target is not None else {}
        told |= {"score": score} if score is not None else {}  # type: ignore[dict-item]
        row = {"input": kept["input"], **told, "output": kept["output"], "rung": kept["rung"], "at": _now()}
        self._answers.append({"of": answer_id, **row})
        if target is None:
            return False
        self._told.append({"id": answer_id, **row})
        _remember(self._judged, answer_id, None)
        return True


def told_path(path: Path) -> Path:
    """Where the examples that come of feedback stand."""
    return path.with_name(f"{path.stem}.told.jsonl")


def read_feedback(body: dict[str, Any]) -> tuple[str, str | None, float | None]:
    """(id, right answer, score) of a feedback's body. Refused (400)."""
    answer_id, answer, score = body.get("id"), body.get("answer"), body.get("score")
    if not isinstance(answer_id, str) or not answer_id:
        raise bad("`id` must be the id of a chat completion", "id")
    if answer is not None and (not isinstance(answer, str) or not answer.strip()):
        raise bad("`answer` must be the right answer, as text", "answer")
    if score is not None and (not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1):
        raise bad("`score` must be a number from 0 to 1", "score")
    if answer is None and score is None:
        raise bad("tell a `score`, the right `answer`, or both", "score")
    return answer_id, answer, None if score is None else float(score)


def _remember(known: OrderedDict[str, Any], name: str, value: Any) -> None:
    known[name] = value
    while len(known) > REMEMBERED:
        known.popitem(last=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
