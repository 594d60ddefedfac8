"""A model that is handed the functions in an input as its tools, in place of a prompt that describes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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


@dataclass(frozen=True)
class ToolCalling:
    """Takes `{"messages": [...], "functions": [...]}` (or `tools`) apart: messages are sent, functions are tools.

    An input of another form is sent as it is, without tools.
    """

    model: Model
    instruction: str = ""
    options: Options = Options()

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer the last user message. The calls come back as text, `{"calls": [{"name", "arguments"}]}`."""
        offered = read_offer(messages[-1].content)
        sent, tools = offered if offered is not None else ((Message("user", messages[-1].content),), ())
        system = (Message("system", self.instruction),) if self.instruction else ()
        asked = self.options if options == Options() else options
        return await self.model.complete((*system, *sent), replace(asked, tools=tools))

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


def read_offer(text: str) -> tuple[tuple[Message, ...], tuple[Mapping[str, Any], ...]] | None:
    """(messages, tools as OpenAI writes them) of an input that offers functions; None where it does not."""
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
    tools = tuple(tool for item in listed if (tool := _tool(item)) is not None)
    sent = tuple(
        Message(turn["role"], str(turn.get("content") or ""))
        for turn in turns
        if isinstance(turn, dict) and turn.get("role") in ("system", "user", "assistant")
    )
    return (sent, tools) if sent and tools else None


def _tool(item: Any) -> Mapping[str, Any] | None:
    found = item.get("function", item) if isinstance(item, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("name"), str):
        return None
    parameters = found.get("parameters")
    schema = _schema(parameters) if isinstance(parameters, dict) else {"type": "object", "properties": {}}
    name = re.sub(r"[^A-Za-z0-9_-]", "_", found["name"])[:64]  # servers take no other letters in a tool's name
    told = {"name": name, "description": str(found.get("description") or ""), "parameters": schema}
    return {"type": "function", "function": told}


def _schema(part: Any) -> Any:
    """A description of parameters with JSON Schema's own names of types; one that it does not know is left out."""
    if isinstance(part, list):
        return [_schema(item) for item in part]
    if not isinstance(part, dict):
        return part
    made = {key: _schema(value) for key, value in part.items() if key != "type"}
    kind = part.get("type")
    if isinstance(kind, dict):  # a parameter that is called `type`
        return {**made, "type": _schema(kind)}
    kind = JSON_TYPES.get(kind, kind) if isinstance(kind, str) else kind
    return {**made, "type": kind} if not isinstance(kind, str) or kind in KNOWN_TYPES else made
