"""Where answers may be drawn from: a folder or file of txt, md and jsonl, or a function in the task's folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.task.yaml_lines import read_text
from shouldtune.types import Document
from shouldtune.user_code import is_code, load_code

MAX_DOCUMENT_BYTES = 200_000_000
TEXT_KINDS = (".txt", ".md")


def read_documents(name: str, folder: Path, where: str) -> tuple[Document, ...]:
    """Read `documents:` of a task file, in a stable order.

    `name` is a folder, a .txt / .md / .jsonl file, or `file.py:function` returning Documents. Raises InputError.
    """
    if is_code(name):
        found: Iterable[Document] = load_code(name, folder, where)()
    else:
        path = folder / name
        if not path.exists():
            raise InputError(
                f"there are no documents at {name!r}", where=where, hint="the path is relative to the task file"
            )
        found = (document for file in _files(path) for document in _read(file, path))
    documents = tuple(found)
    if not documents:
        raise InputError(f"no documents in {name!r}", where=where, hint="txt, md and jsonl files are read")
    repeated = len(documents) - len({document.id for document in documents})
    if repeated:
        raise InputError(
            f"{repeated} documents in {name!r} share an id with another", where=where, hint="make ids unique"
        )
    return documents


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    root = path.resolve()
    inside = [file for file in sorted(path.rglob("*")) if file.is_file() and file.resolve().is_relative_to(root)]
    return [file for file in inside if file.suffix.lower() in (*TEXT_KINDS, ".jsonl")]


def _read(file: Path, root: Path) -> Iterator[Document]:
    text = read_text(file, MAX_DOCUMENT_BYTES)
    if file.suffix.lower() != ".jsonl":
        name = str(file.relative_to(root)) if root.is_dir() else file.name
        first = text.strip().split("\n", 1)[0].lstrip("# ").strip()
        yield Document(id=name, title=first[:120] or name, text=text.strip())
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
        title=str(row.get("title") or ""),
        text=row["text"],
        meta=meta if isinstance(meta, dict) else {},
    )
