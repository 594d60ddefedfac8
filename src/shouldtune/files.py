"""Whole files or none."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from shouldtune.errors import CannotMeasure

RUNS = "runs"
"""The folder of a task where all that runs write lies."""


def cache_root() -> Path:
    """$SHOULDTUNE_CACHE, else $XDG_CACHE_HOME/shouldtune, else ~/.cache/shouldtune."""
    if own := os.environ.get("SHOULDTUNE_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "shouldtune"


def write_whole(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file, text as UTF-8: a reader finds the old version or the new one, never a part. CannotMeasure."""
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            name = file.name
            for part in [content] if isinstance(content, str | bytes) else content:
                file.write(part.encode("utf-8") if isinstance(part, str) else part)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        raise CannotMeasure(
            f"cannot write: {error.strerror}", where=path, hint="is the disk full, or the folder read-only?"
        ) from None
    finally:
        if name:
            Path(name).unlink(missing_ok=True)  # it is there where it was not whole
