"""PDF, Word and HTML files to text, in child processes bounded in time and memory: nothing hangs, nothing spreads."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure
from shouldtune.task import parsing

SECONDS = 30
"""For one file."""
MEMORY_BYTES = 2_000_000_000
MAX_FILE_BYTES = 200_000_000
AT_ONCE = 32
"""Files that one child reads: starting it takes as long as reading a small file."""
NEEDED = {".pdf": "pypdf", ".docx": "mammoth", ".html": "selectolax", ".htm": "selectolax"}
"""Which package reads which kind."""


@dataclass(frozen=True)
class Parsed:
    """What one file gave."""

    text: str = ""
    title: str = ""
    pages: tuple[int, ...] = ()
    """At which character of the text each page starts; empty where there are no pages."""
    error: str | None = None
    """Why there is no text, in one line."""


def parse_files(paths: Sequence[Path], seconds: int = SECONDS, memory_bytes: int = MEMORY_BYTES) -> list[Parsed]:
    """The text of each file, or why there is none; a file may take `seconds` and its child `memory_bytes`.

    Raises CannotMeasure where the package that reads a kind is not installed.
    """
    lacking = {NEEDED[path.suffix.lower()] for path in paths} - {
        name for name in set(NEEDED.values()) if importlib.util.find_spec(name) is not None
    }
    if lacking:
        first = next(path for path in paths if NEEDED[path.suffix.lower()] in lacking)
        raise CannotMeasure(
            f"reading this needs {', '.join(sorted(lacking))}", where=first, hint='pip install "shouldtune[docs]"'
        )
    small = [path for path in paths if path.stat().st_size <= MAX_FILE_BYTES]  # what is larger is not even opened
    workers = max(1, min(8, cpu_count() or 1))
    size = max(1, min(AT_ONCE, -(-len(small) // workers)))
    groups = [small[start : start + size] for start in range(0, len(small), size)]
    with ThreadPoolExecutor(workers) as pool:
        done = pool.map(lambda group: _group(group, seconds, memory_bytes), groups)
        found = dict(zip(small, (parsed for group in done for parsed in group), strict=True))
    return [found.get(path, Parsed(error=f"it is larger than {MAX_FILE_BYTES:,} bytes")) for path in paths]


def _group(paths: Sequence[Path], seconds: int, memory_bytes: int) -> list[Parsed]:
    """Read files in one child; the one that kills it is given up, and the next child goes on behind it."""
    found: list[Parsed] = []
    while len(found) < len(paths):
        rest = paths[len(found) :]
        code = _child(rest, seconds, memory_bytes, found)
        if len(found) < len(paths):
            late = code is None or code == -14  # SIGALRM
            found.append(Parsed(error=f"it took longer than {seconds} s" if late else "its reader crashed"))
    return found


def _child(paths: Sequence[Path], seconds: int, memory_bytes: int, found: list[Parsed]) -> int | None:
    """Start a child on the files and append what it says; returns its exit status, None when it had to be killed."""
    # -P: a file named like a module beside the parser, or in the folder one stands in, must not be imported.
    command = [sys.executable, "-P", parsing.__file__, str(seconds), str(memory_bytes)]
    command += [str(path.resolve()) for path in paths]
    with tempfile.TemporaryFile() as out:
        try:
            done = subprocess.run(  # noqa: S603  our own program, names as arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                timeout=10 + seconds * len(paths),  # each file has its own alarm; this is for systems without
                check=False,
            )
            code: int | None = done.returncode
        except subprocess.TimeoutExpired:
            code = None
        out.seek(0)
        for line in out.read().split(b"\n"):
            row = _row(line)
            if row is not None:
                found.append(row)
    return code


def _row(line: bytes) -> Parsed | None:
    """One line of a child's answer; None for the empty rest, or a line that was cut off when it died."""
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    if "error" in row:
        return Parsed(error=row["error"])
    return Parsed(row["text"], row["title"], tuple(row.get("pages", ())))
