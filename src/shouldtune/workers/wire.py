"""What goes between the driver and its workers: JSON and files' bytes, so that it hangs on no class of ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure, InputError, ModelUnavailable, ShouldTuneError
from shouldtune.files import write_whole
from shouldtune.models.keys import canonical
from shouldtune.types import Conversation, Message

Files = dict[str, bytes]
"""A folder: what each file below it holds, by its path."""
Call = tuple[int, str, dict[str, Any]]
"""(number, messages as JSON, options)."""
LEFT = ""
"""In place of an answer that nobody waited for any more."""
_RAISED = {error.__name__: error for error in (InputError, CannotMeasure, ModelUnavailable)}


@dataclass(frozen=True)
class Recipe:
    """What a worker opens its model from."""

    model_id: str
    on_gpu: bool = False

    def plain(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Lesson:
    """One epoch of a training."""

    conversations: str
    """JSON."""
    settings: dict[str, Any]
    epoch: int
    """From 1 on."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)


def messages_to_json(messages: Sequence[Message]) -> str:
    return canonical([[message.role, message.content] for message in messages])


def messages_from_json(text: str) -> list[Message]:
    return [Message(role, content) for role, content in json.loads(text)]


def conversations_to_json(conversations: Sequence[Conversation]) -> str:
    return canonical([[[[m.role, m.content] for m in each.messages], each.answer] for each in conversations])


def conversations_from_json(text: str) -> list[Conversation]:
    rows = json.loads(text)
    return [Conversation(tuple(Message(role, content) for role, content in said), answer) for said, answer in rows]


def told(error: ShouldTuneError) -> dict[str, Any]:
    """An error of ours as plain data."""
    kind = next(name for name in reversed(_RAISED) if isinstance(error, _RAISED[name]))
    return {"raised": kind, "message": error.message, "where": error.where, "hint": error.hint}


def raise_told(answer: dict[str, Any]) -> None:
    """Raise here what was raised there; nothing where nothing was."""
    if "raised" in answer:
        raise _RAISED[answer["raised"]](answer["message"], where=answer["where"], hint=answer["hint"])


def read_folder(folder: Path) -> Files:
    """Every file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.iterdir())}


def write_folder(folder: Path, files: Files) -> Path:
    """Write those that are not there. CannotMeasure."""
    for name, content in files.items():
        if Path(name).name != name:
            raise CannotMeasure(f"a worker sent a file with the name {name!r}", where=folder)
        if not (folder / name).exists():
            write_whole(folder / name, content)
    return folder
