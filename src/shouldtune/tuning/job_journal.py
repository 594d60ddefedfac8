"""What was sent to a provider and started there, written down before it is done.

    TASK/runs/provider_jobs.jsonl

A line is on disk before the call that it speaks of is made, so that a run that was killed at any point knows what it
may have done: `upload` and `start` are intents, `uploaded`, `started` and `refused` say how they ended, `ended` how the
job did. The ledger's lock sees to it that one process writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure

Line = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    job: str
    status: str
    """`succeeded`, `failed` or `cancelled`."""
    model: str | None = None
    """The result, where there is one."""
    checkpoints: tuple[str, ...] = ()
    """Models from before the end of training, the earliest first."""
    trained_tokens: int | None = None
    """Billed tokens, all epochs together."""
    seconds: float | None = None
    """From its start to its end, as the provider tells."""
    why: str = ""


@dataclass
class JobJournal:
    """The lines so far, by the mark of what they speak of."""

    path: Path
    _lines: list[Line] = field(default_factory=list)
    _whole: int = 0
    """Bytes up to the last end of a line."""

    @staticmethod
    def open(path: Path) -> JobJournal:
        """Read it; a last line without an end was never acted on. CannotMeasure where it is damaged."""
        try:
            content = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise CannotMeasure(f"cannot be read: {error.strerror}", where=path) from None
        whole = content[: content.rfind(b"\n") + 1]
        lines = [_read(line, path, number) for number, line in enumerate(whole.split(b"\n")[:-1], 1)]
        return JobJournal(path, lines, len(whole))

    def write(self, event: str, mark: str, **facts: Any) -> None:
        """Append a line; it is on disk when this returns. CannotMeasure."""
        line: Line = {"event": event, "mark": mark, "at": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
        try:
            fresh = not self.path.exists()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.truncate(self._whole)  # without a line that was being written when a run was killed
                file.write(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
                file.flush()
                os.fsync(file.fileno())
                self._whole = file.tell()
            if fresh:
                _sync_folder(self.path.parent)
        except OSError as error:
            raise CannotMeasure(
                f"cannot write: {error.strerror}", where=self.path, hint="is the disk full, or the folder read-only?"
            ) from None
        self._lines.append(line)

    def last(self, mark: str, *events: str) -> Line | None:
        """The newest line of a mark, of these events."""
        return next((line for line in reversed(self._lines) if line["mark"] == mark and line["event"] in events), None)

    def open_since(self, mark: str, intent: str, *ends: str) -> float | None:
        """How many seconds ago an intent was written of whose end nothing is known; None where there is none.

        By the clock of the wall, which may have been set in between: then it counts as written just now.
        """
        line = self.last(mark, intent, *ends)
        if line is None or line["event"] != intent:
            return None
        since = (datetime.now(UTC) - datetime.fromisoformat(line["at"])).total_seconds()
        return max(0.0, since)

    def ended(self, mark: str) -> Ended | None:
        """How the job of a mark ended; None where it did not, as far as is known."""
        line = self.last(mark, "ended")
        return None if line is None else _ended(line)

    def attempts(self, mark: str) -> int:
        """How often another job was asked for after one had failed."""
        return sum(line["event"] == "again" and line["mark"] == mark for line in self._lines)

    def others(self, mark: str) -> frozenset[str]:
        """Ids of jobs that bear another mark."""
        return frozenset(line["job"] for line in self._lines if line["event"] == "started" and line["mark"] != mark)

    def jobs(self) -> Iterator[tuple[Line, Ended | None]]:
        """Every job that was started, or may have been: the line of its start, and how it ended."""
        marks = dict.fromkeys(line["mark"] for line in self._lines if line["event"] in ("start", "started"))
        for mark in marks:
            line = self.last(mark, "start", "started")
            if line is not None and (self.last(mark, "start", "started", "refused") or line)["event"] != "refused":
                yield line, self.ended(mark)


def _read(line: bytes, path: Path, number: int) -> Line:
    try:
        found = json.loads(line)
        if not {"event", "mark", "at"} <= found.keys():
            raise ValueError("a key is missing")
        datetime.fromisoformat(found["at"])
    except (ValueError, AttributeError, TypeError) as error:
        raise CannotMeasure(
            f"the record of a provider's jobs is damaged: {error}",
            where=f"{path}:{number}",
            hint="a job might be started twice: mend the line, or look at the provider and move the file away",
        ) from None
    return dict(found)


def _ended(line: Line) -> Ended:
    return Ended(
        line["job"],
        line["status"],
        line["model"],
        tuple(line["checkpoints"]),
        line["trained_tokens"],
        line["seconds"],
        line["why"],
    )


def _sync_folder(folder: Path) -> None:
    """A new file's name is on disk too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
