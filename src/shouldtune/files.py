"""Whole files or none."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from shouldtune.errors import CannotMeasure

RUNS = "runs"
"""The folder of a task where all that runs write lies."""


def write_whole(path: Path, text: str) -> None:
    """Write a text file: a reader finds the old version or the new one, never a part. Raises CannotMeasure."""
    name = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
        ) as file:
            name = file.name
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:
        if name:
            Path(name).unlink(missing_ok=True)
        raise CannotMeasure(
            f"cannot write: {error.strerror}", where=path, hint="is the disk full, or the folder read-only?"
        ) from None
