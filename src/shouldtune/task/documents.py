"""Where answers may be drawn from: a folder or file of text, Markdown, HTML, PDF, Word or JSONL, or a function."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.retrieval.chunks import PAGES
from shouldtune.task.parsed import NEEDED, Parsed, parse_files
from shouldtune.task.yaml_lines import read_text, whole
from shouldtune.types import Document
from shouldtune.user_code import is_code, load_code

MAX_DOCUMENT_BYTES = 200_000_000
TEXT_KINDS = (".txt", ".md")
KINDS = (*TEXT_KINDS, ".jsonl", *NEEDED)
LONGEST_TITLE = 120


def read_documents(name: str, folder: Path, where: str) -> tuple[tuple[Document, ...], tuple[str, ...]]:
    """Read `documents:` of a task file, in a stable order. Returns (documents, notes on the files that gave none).

    `name` is a folder, a file of one of KINDS, or `file.py:function` returning Documents. A PDF, Word or HTML file that
    is broken, or takes too long or too much memory to read, is left out with a note, and refused where it is the only
    one. Raises InputError, and CannotMeasure where a package that reads a kind is not installed.
    """
    if is_code(name):
        made: Iterable[Document] = load_code(name, folder, where)()
        documents, notes = tuple(made), tuple[str, ...]()
    else:
        path = folder / name
        if not path.exists():
            raise InputError(
                f"there are no documents at {name!r}", where=where, hint="the path is relative to the task file"
            )
        documents, notes = _found(_files(path), path)
    if not documents:
        hint = notes[0] if notes else "txt, md, html, pdf, docx and jsonl files are read"
        raise InputError(f"no documents in {name!r}", where=where, hint=hint)
    repeated = len(documents) - len({document.id for document in documents})
    if repeated:
        raise InputError(
            f"{repeated} documents in {name!r} share an id with another", where=where, hint="make ids unique"
        )
    return documents, notes


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    root = path.resolve()
    inside = [file for file in sorted(path.rglob("*")) if file.is_file() and file.resolve().is_relative_to(root)]
    return [file for file in inside if file.suffix.lower() in KINDS]


def _found(files: Sequence[Path], root: Path) -> tuple[tuple[Document, ...], tuple[str, ...]]:
    """The documents of all files, in the files' order, and a note on each file that gave none."""
    packed = [file for file in files if file.suffix.lower() in NEEDED]
    parsed = dict(zip(packed, parse_files(packed), strict=True))
    documents: list[Document] = []
    notes: list[str] = []
    for file in files:
        if file not in parsed:
            documents += _read(file, root)
        elif parsed[file].error is not None:
            notes.append(f"{_name(file, root)} was left out: {parsed[file].error}")
        else:
            documents.append(_from_parsed(parsed[file], _name(file, root)))
    return tuple(documents), tuple(notes)


def _name(file: Path, root: Path) -> str:
    return str(file.relative_to(root)) if root.is_dir() else file.name


def _from_parsed(parsed: Parsed, name: str) -> Document:
    title = parsed.title.strip() or parsed.text.split("\n", 1)[0].strip()
    return Document(name, title[:LONGEST_TITLE] or name, parsed.text, {PAGES: parsed.pages} if parsed.pages else {})


def _read(file: Path, root: Path) -> Iterator[Document]:
    text = read_text(file, MAX_DOCUMENT_BYTES)
    if file.suffix.lower() != ".jsonl":
        name = _name(file, root)
        first = text.strip().split("\n", 1)[0].lstrip("# ").strip()
        yield Document(id=name, title=first[:LONGEST_TITLE] or name, text=text.strip())
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield _from_json(line, f"{file}:{number}", f"{file.name}:{number}")


def _from_json(line: str, where: str, fallback_id: str) -> Document:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        raise InputError("not valid JSON", where=where, hint="each line is one JSON object") from None
    if not isinstance(row, dict) or not isinstance(row.get("text"), str):
        raise InputError(
            "this document has no `text`", where=where, hint='write {"id": ..., "title": ..., "text": ...}'
        )
    meta = row.get("meta")
    return Document(
        id=str(row.get("id") or fallback_id),
        title=whole(str(row.get("title") or "")),
        text=whole(row["text"]),
        meta=meta if isinstance(meta, dict) else {},
    )
