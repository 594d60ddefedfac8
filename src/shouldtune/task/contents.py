"""What a task consists of, by hash: enough to tell months later what has changed, without another copy of the data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from shouldtune.task.file import TaskFile
from shouldtune.types import Example, Output

if TYPE_CHECKING:
    from shouldtune.task import LoadedTask

Hashes = Sequence[tuple[str, str]]
"""(id, hash of the content), in order; worked out when they are asked for."""
SETTINGS = {"scoring", "output", "columns", "keep"}
"""Keys of the task file that no other record of a run holds."""


@dataclass(frozen=True)
class Contents:
    """The examples of both halves, the documents and the user's own code."""

    holdout: Hashes
    train: Hashes | None = None
    """None for a run from before they were recorded."""
    documents: Hashes | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """The user's own code, and the schema where a file holds it: name and hash."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    kept: Mapping[str, str] | None = None
    """The tasks that `keep` names: name and digest. None for a run from before they were recorded."""


@dataclass(frozen=True)
class Earlier:
    """How an earlier run had split a task's examples, and examples that came from elsewhere since."""

    contents: Contents
    more: Sequence[Example] = ()


def contents_of(loaded: LoadedTask) -> Contents:
    """The contents of a task as it is now."""
    return Contents(
        holdout=hashes_of(loaded.holdout),
        train=hashes_of(loaded.task.train),
        documents=tuple((document.id, _hash(asdict(document))) for document in loaded.task.documents),
        files=_files(loaded),
        settings=loaded.file.model_dump(mode="json", include=SETTINGS),
        kept=loaded.kept_digests,
    )


def _files(loaded: LoadedTask) -> dict[str, str]:
    code = own_code(loaded.file, loaded.folder)
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in code}
    named = loaded.file.output.json_schema
    if isinstance(named, str):
        found[named] = hashlib.sha256(schema_text(loaded.task.output)).hexdigest()
    return found


def schema_text(output: Output) -> bytes:
    """What a schema says, however it is laid out; the order of its keys may decide that of an answer's."""
    return json.dumps(output.schema).encode()


def contents_from_plain(plain: Mapping[str, Any]) -> Contents:
    """The Contents that `asdict` and JSON made plain. KeyError, TypeError or ValueError for anything else."""
    halves: dict[str, Hashes | None] = {}
    for name in ("holdout", "train", "documents"):
        rows = plain[name]
        halves[name] = None if rows is None else tuple((str(name), str(found)) for name, found in rows)
    found = Contents(halves["holdout"] or (), halves["train"], halves["documents"], plain["files"], plain["settings"])
    return replace(found, kept=plain.get("kept"))


def hashes_of(examples: Sequence[Example]) -> Hashes:
    """(id, hash) of each example."""
    return _HashesOf(examples)


class _HashesOf(Sequence[tuple[str, str]]):
    def __init__(self, examples: Sequence[Example]) -> None:
        self._examples = examples

    def __len__(self) -> int:
        return len(self._examples)

    @overload
    def __getitem__(self, index: int) -> tuple[str, str]: ...
    @overload
    def __getitem__(self, index: slice) -> Hashes: ...
    def __getitem__(self, index: int | slice) -> tuple[str, str] | Hashes:
        if isinstance(index, slice):
            return _HashesOf(self._examples[index])
        example = self._examples[index]
        return example.id, hash_of(example)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return ((example.id, hash_of(example)) for example in self._examples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


def as_json(contents: Contents) -> Iterator[str]:
    """The contents as one JSON object, piece by piece: `contents_from_plain` reads it back."""
    for number, name in enumerate(sorted(each.name for each in fields(contents))):
        yield ("{" if number == 0 else ", ") + json.dumps(name) + ": "
        value = getattr(contents, name)
        if isinstance(value, Mapping) or value is None:
            yield _json(value)
            continue
        for index, pair in enumerate(value):
            yield ("[" if index == 0 else ", ") + _json(pair)
        yield "]" if len(value) else "[]"
    yield "}"


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def hash_of(example: Example) -> str:
    """Of what an example says: its id may only be the number of its line, and a split may have found its group."""
    return _hash([example.input, example.target, example.accepted, example.meta])


def own_code(file: TaskFile, folder: Path) -> list[Path]:
    """The files of the user's own code that a task's scorers name."""
    names = file.scorer if isinstance(file.scorer, dict) else [file.scorer]
    codes = [folder / name.rpartition(":")[0] for name in sorted(names)]
    return [code for name, code in zip(sorted(names), codes, strict=True) if name.endswith(".py") or code.is_file()]


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
