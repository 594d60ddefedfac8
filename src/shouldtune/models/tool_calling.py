"""A model that is handed the functions in an input as its tools, in place of a prompt that describes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from shouldtune.models.prompted import options_from_dict, options_to_dict
from shouldtune.types import Completion, Message, Model, ModelSpec, Options

JSON_TYPES = {
    "dict": "object",
    "float": "number",
    "tuple": "array",
    "int": "integer",
    "bool": "boolean",
    "str": "string",
}
"""Names of types as some lists of functions have them, and JSON Schema's."""
KNOWN_TYPES = frozenset({"object", "number", "array", "integer", "boolean", "string", "null"})
NAMED_PARTS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
"""Keys of a schema whose values are schemas under names of the author's own: one of them may be called `type`."""
PLAIN_PARTS = frozenset({"default", "enum", "const", "examples"})
"""Keys of a schema whose values are data."""
LONGEST_NAME = 64


class Offer(NamedTuple):
    """An input that offers functions, as a server is asked."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...]
    """As OpenAI writes them."""
    names: Mapping[str, str]
    """From a tool's name to the function's own, where the two differ."""


@dataclass(frozen=True)
class ToolCalling:
    """Takes `{"messages": [...], "functions": [...]}` (or `tools`) apart: messages are sent, functions are tools.

    An input of another form is sent as it is, without tools.
    """

    model: Model
    instruction: str = ""
    options: Options = Options()

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer the last user message. The calls come back as text, `{"calls": [{"name", "arguments"}]}`, under the
        names that the input offers."""
        sent, tools, names = read_offer(messages[-1].content) or Offer((Message("user", messages[-1].content),), (), {})
        system = (Message("system", self.instruction),) if self.instruction else ()
        asked = self.options if options == Options() else options
        answer = await self.model.complete((*system, *sent), replace(asked, tools=tools))
        return answer if answer.failed or not names else replace(answer, text=_own_names(answer.text, names))

    def spec(self) -> ModelSpec:
        return {
            "kind": "tool_calling",
            "model": self.model.spec(),
            "instruction": self.instruction,
            "options": options_to_dict(self.options),
        }

    @staticmethod
    def from_spec(spec: ModelSpec, model: Model) -> ToolCalling:
        return ToolCalling(model, spec["instruction"], options_from_dict(spec["options"]))


def read_offer(text: str) -> Offer | None:
    """What an input offers; None where it offers no functions."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    listed = value.get("functions") or value.get("tools")
    turns = value.get("messages")
    if not isinstance(listed, list) or not isinstance(turns, list):
        return None
    found = [function for item in listed if (function := _function(item)) is not None]
    sent_names = _sent_names([function["name"] for function in found])
    tools = tuple(_tool(function, name) for function, name in zip(found, sent_names, strict=True))
    sent = tuple(
        Message(turn["role"], str(turn.get("content") or ""))
        for turn in turns
        if isinstance(turn, dict) and turn.get("role") in ("system", "user", "assistant")
    )
    own = {name: f["name"] for f, name in zip(found, sent_names, strict=True) if name != f["name"]}
    return Offer(sent, tools, own) if sent and tools else None


def _function(item: Any) -> Mapping[str, Any] | None:
    found = item.get("function", item) if isinstance(item, dict) else None
    return found if isinstance(found, dict) and isinstance(found.get("name"), str) else None


def _sent_names(names: Sequence[str]) -> list[str]:
    """Names in the letters that servers take, no two of them the same."""
    found: list[str] = []
    for name in names:
        plain = sent = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:LONGEST_NAME]
        number = 1
        while sent in found:
            number += 1
            sent = f"{plain[: LONGEST_NAME - len(f'_{number}')]}_{number}"
        found.append(sent)
    return found


def _own_names(text: str, names: Mapping[str, str]) -> str:
    """An answer's calls under the functions' own names; the text as it is where it holds no calls."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    calls = value.get("calls") if isinstance(value, dict) else None
    if not isinstance(calls, list):
        return text
    for call in calls:
        if isinstance(call, dict) and isinstance(call.get("name"), str):
            call["name"] = names.get(call["name"], call["name"])
    return json.dumps(value, ensure_ascii=False)


def _tool(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    parameters = found.get("parameters")
    schema = _schema(parameters) if isinstance(parameters, dict) else {"type": "object", "properties": {}}
    told = {"name": name, "description": str(found.get("description") or ""), "parameters": schema}
    return {"type": "function", "function": told}


def _schema(part: Any) -> Any:
    """A description of parameters with JSON Schema's own names of types; one that it does not know is left out."""
    if isinstance(part, list):
        return [_schema(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _part(key, value) for key, value in part.items() if key != "type"}
    kind = part.get("type")
    if isinstance(kind, dict):  # a parameter that is called `type`, where nothing else says so
        return {**made, "type": _schema(kind)}
    kinds = [JSON_TYPES.get(one, one) for one in (kind if isinstance(kind, list) else [kind]) if isinstance(one, str)]
    if not kinds or not KNOWN_TYPES.issuperset(kinds):
        return made
    return {**made, "type": list(dict.fromkeys(kinds)) if isinstance(kind, list) else kinds[0]}


def _part(key: str, value: Any) -> Any:
    if key in PLAIN_PARTS:
        return value
    if key in NAMED_PARTS and isinstance(value, dict):
        return {name: _schema(inner) for name, inner in value.items()}
    return _schema(value)
