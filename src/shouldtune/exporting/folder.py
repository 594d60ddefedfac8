"""An export's folder: whole or not there, its files listed with their hashes."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.gguf_cache import sha256_of

MANIFEST = "export.json"
MARKS = {"failed": "PARITY_FAILED.txt", "not_shown": "PARITY_NOT_SHOWN.txt"}
"""What stands in a folder that did not pass, by the outcome, so that nobody takes it for one that did."""


def refuse_what_is_there(folder: Path, *, force: bool) -> None:
    """InputError where something would be overwritten; with `force`, only what is an export itself may be."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not force:
        raise InputError(
            "this is there already", where=folder, hint="--force writes it anew, --out names another place"
        )
    if not (folder / MANIFEST).is_file():
        raise InputError("this is no export, so it is not overwritten", where=folder, hint="--out names another place")


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, put in its place when the block ends; after an error nothing is left. CannotMeasure."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
            fresh = Path(scratch) / "new"
            fresh.mkdir()
            yield fresh
            if folder.exists():
                folder.replace(Path(scratch) / "old")
            fresh.replace(folder)
    except OSError as error:
        raise CannotMeasure(
            f"cannot write: {error.strerror}", where=folder, hint="is the disk full, or the folder read-only?"
        ) from None


def write_manifest(folder: Path, told: dict[str, Any]) -> None:
    """List what lies in the folder, each file with its size and SHA-256."""
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    text = json.dumps({**told, "files": files}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy one file, its content alone. CannotMeasure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
