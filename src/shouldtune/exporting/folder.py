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
    """InputError where something is there: without `force` anything, with it what is no export or was put into one."""
    here, elsewhere = Path.cwd().resolve(), "--out names another place"
    if folder == here or folder in here.parents:
        raise InputError("this is the folder that the command runs in, or one around it", where=folder, hint=elsewhere)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not force:
        raise InputError("this is there already", where=folder, hint=f"--force writes it anew, {elsewhere}")
    files = _files_of_an_export(folder)
    if files is None:
        raise InputError("this is no export, so it is not overwritten", where=folder, hint=elsewhere)
    added = [name for name in _files_in(folder) if name not in files and "__pycache__" not in name.split("/")]
    if added:
        raise InputError(
            f"{added[0]} is not a file of the export that lies here, so it is not overwritten",
            where=folder,
            hint=f"move it away, or {elsewhere}",
        )


def _files_of_an_export(folder: Path) -> set[str] | None:
    """The names of an export's files, its manifest's among them; None where this is no export."""
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if not isinstance(told["shouldtune"], str) or not isinstance(told["form"], str):
            return None
        return {MANIFEST, *map(str, told["files"])}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, put in its place when the block ends; after an error nothing is left. CannotMeasure."""
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        fresh = scratch / "new"
        with writing(folder):
            fresh.mkdir()
        yield fresh
        with writing(folder):
            _put(fresh, folder, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _put(fresh: Path, folder: Path, old: Path) -> None:
    """Rename it into its place; what stands there goes only when it is there."""
    if folder.exists():
        folder.replace(old)
    try:
        fresh.replace(folder)
    except OSError:
        if old.exists():
            old.replace(folder)
        raise


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """What the system says of files that cannot be written, as one line. CannotMeasure."""
    try:
        yield
    except OSError as error:
        raise CannotMeasure(
            f"cannot write: {error.strerror or error}", where=folder, hint="is the disk full, or the folder read-only?"
        ) from None


def write_manifest(folder: Path, told: dict[str, Any]) -> None:
    """List what lies in the folder, each file with its size and SHA-256."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256_of(folder / name)}
        for name in _files_in(folder)
    }
    text = json.dumps({**told, "files": files}, indent=1, ensure_ascii=False)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy one file, its content alone. CannotMeasure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
