"""Bytes that are added at the end and read from anywhere, on disk once they are many."""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

from shouldtune.errors import CannotMeasure

HELD = 256 * 1024
"""Bytes that wait in memory before they are written together; what is shorter than that has no file."""


HINT = "examples and answers are kept there while a command runs; TMPDIR names another place"


class ScratchFile:
    """One writer, many readers. The file has no name, so it is gone with whoever holds it, however that ends."""

    def __init__(self) -> None:
        self._file: int | None = None
        self._written = 0
        self._waiting = bytearray()

    def __len__(self) -> int:
        return self._written + len(self._waiting)

    def add(self, what: bytes) -> None:
        """Put bytes at the end. CannotMeasure where the disk is full."""
        self._waiting += what
        if len(self._waiting) >= HELD:
            self._write()

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` up to, not including, `stop`."""
        parts = []
        while self._file is not None and start < min(stop, self._written):
            try:
                part = os.pread(self._file, min(stop, self._written) - start, start)
            except OSError as error:
                raise CannotMeasure(f"cannot read: {error.strerror}", where=scratch_folder(), hint=HINT) from None
            if not part:
                raise CannotMeasure("a scratch file was cut short", where=scratch_folder(), hint=HINT)
            parts.append(part)
            start += len(part)
        if start < stop:
            parts.append(bytes(self._waiting[start - self._written : stop - self._written]))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _write(self) -> None:
        try:
            if self._file is None:
                with tempfile.TemporaryFile(dir=scratch_folder()) as unnamed:
                    self._file = os.dup(unnamed.fileno())
                weakref.finalize(self, os.close, self._file)
            while self._waiting:
                done = os.pwrite(self._file, self._waiting, self._written)
                self._written += done
                del self._waiting[:done]
        except OSError as error:
            raise CannotMeasure(f"cannot write: {error.strerror}", where=scratch_folder(), hint=HINT) from None


def scratch_folder() -> Path:
    """TMPDIR, else /var/tmp, which is on disk where /tmp may be memory, else wherever Python puts such files."""
    if not os.environ.get("TMPDIR") and os.access("/var/tmp", os.W_OK | os.X_OK):  # noqa: S108  the files have no name
        return Path("/var/tmp")  # noqa: S108
    try:
        return Path(tempfile.gettempdir())
    except OSError:  # nothing that can be written to
        return Path(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108
