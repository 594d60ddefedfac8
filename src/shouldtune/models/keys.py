"""The one form of a request: what makes two calls the same call, and what a recorded answer is read back from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from shouldtune.models.prompted import options_to_dict
from shouldtune.types import Completion, Message, ModelSpec, Options


def request_of(spec: ModelSpec, messages: Sequence[Message], options: Options) -> str:
    """A call in the one form whose SHA-256 is its key."""
    said = [[message.role, message.content] for message in messages]
    return canonical({"model": identity(spec), "messages": said, "options": options_to_dict(options)})


def identity(spec: ModelSpec) -> ModelSpec:
    """A spec without where things lie: a file's hash names it, its path does not."""
    return {
        name: identity(value) if isinstance(value, dict) else value for name, value in spec.items() if name != "path"
    }


def canonical(value: Any) -> str:
    """JSON with one form for one value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of the canonical JSON, in hex."""
    return sha256(canonical(value))


def sha256(text: str) -> str:
    """SHA-256 of the text, in hex."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def completion_from_json(text: str) -> Completion:
    """The completion that `canonical(completion.plain())` wrote."""
    return completion_from_dict(json.loads(text))


def completion_from_dict(fields: Mapping[str, Any]) -> Completion:
    """The completion of these fields; lists become tuples again. What this version does not know is passed over."""
    known = Completion.__dataclass_fields__
    found: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in fields.items() if name in known
    }
    return Completion(**found)
