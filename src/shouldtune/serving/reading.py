"""From the body of a chat completion to an input of the task, and how it is to be answered.

A fitted rung is a model of the task: it takes an input and writes its own prompt. So one user message is the input,
several turns are the transcript that the task loader makes of a row with `messages`, and instructions of the client's
own are refused, since they would be lost in silence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from shouldtune.serving.refused import Refused, bad
from shouldtune.serving.winner import Winner
from shouldtune.task.rows import transcript
from shouldtune.types import Options

MOST_STOPS, LONGEST_STOP = 4, 200
COLDEST = 1e-3
"""A temperature below it is taken for 0: dividing by it would overflow."""
MOST_TOOLS = 128


@dataclass(frozen=True)
class Asked:
    """One request, understood."""

    text: str
    """The input, as the task loader would read it."""
    options: Options
    stream: bool = False
    include_usage: bool = False
    tools: tuple[str, ...] = ()
    """Names of the functions that it offers; calls are then told as OpenAI tells them."""


def read_json(raw: bytes) -> dict[str, Any]:
    """A body as an object. Refused (400)."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, parse_constant=_no_number)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half a character can be written nowhere
    except UnicodeError:
        raise bad("the body is not UTF-8 text") from None
    except (ValueError, RecursionError):
        raise bad("the body is not JSON") from None
    if not isinstance(value, dict):
        raise bad("the body is not a JSON object")
    return value


def read_request(body: Mapping[str, Any], winner: Winner, most_tokens: int) -> Asked:
    """What a chat completion asks. Fields that are not known are ignored, as OpenAI's clients expect. Refused."""
    _check_model(body.get("model"), winner)
    _check_unsupported(body)
    turns = _turns(body.get("messages"))
    tools = _tools(body, winner)
    text = _offered(turns, tools, winner) if tools else _input(turns)
    if not text:
        raise bad("the message is empty", "messages")
    streamed, extra = _flag(body, "stream"), body.get("stream_options")
    if extra is not None and not isinstance(extra, dict):
        raise bad("`stream_options` must be an object", "stream_options")
    return Asked(
        text=text,
        options=_options(body, winner, most_tokens),
        stream=streamed,
        include_usage=streamed and _flag(extra or {}, "include_usage"),
        tools=tuple(tool["name"] for tool in tools),
    )


def _no_number(name: str) -> None:
    raise ValueError(name)


def _check_model(model: Any, winner: Winner) -> None:
    if not isinstance(model, str) or not model:
        raise bad("`model` must be given", "model")
    if model != winner.name:
        raise Refused(
            404,
            f"the model {_short(model)} does not exist here; this server has {winner.name!r}",
            param="model",
            code="model_not_found",
        )


def _check_unsupported(body: Mapping[str, Any]) -> None:
    """Refuse what would change the answer and cannot be done."""
    if body.get("n") not in (None, 1):
        raise bad("`n` must be 1: one answer a request", "n", "unsupported_value")
    for name, harmless in (("presence_penalty", 0), ("frequency_penalty", 0), ("top_p", 1)):
        value = body.get(name)
        if value is not None and value != harmless and not (name == "top_p" and not body.get("temperature")):
            raise bad(f"`{name}` is not supported by this model; leave it out", name, "unsupported_value")
    for name in ("logit_bias", "logprobs", "audio", "prediction", "functions"):
        if body.get(name):
            raise bad(f"`{name}` is not supported by this model", name, "unsupported_parameter")


# ---------------------------------------------------------------- messages

Turn = tuple[str, str]
"""(role, words)"""


def _turns(messages: Any) -> list[Turn]:
    if not isinstance(messages, list) or not messages:
        raise bad("`messages` must be a list of at least one message", "messages")
    return [_turn(place, message) for place, message in enumerate(messages)]


def _turn(place: int, message: Any) -> Turn:
    where = f"messages[{place}]"
    if not isinstance(message, dict):
        raise bad(f"{where} must be an object", where)
    role = message.get("role")
    if role in ("tool", "function") or message.get("tool_calls"):
        raise bad(f"{where}: results of tools cannot be sent back; this model answers one request", where)
    if role not in ("system", "developer", "user", "assistant"):
        raise bad(f"{where}.role must be `user`", f"{where}.role")
    return role, _words(message.get("content"), f"{where}.content")


def _words(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad(f"{where} must be text", where)
    parts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise bad(f"{where}: only parts of type `text` are understood", where)
        parts.append(part["text"])
    return "".join(parts)


def _input(turns: Sequence[Turn]) -> str:
    if any(role in ("system", "developer") for role, _ in turns):
        raise bad(
            "this model brings its own instruction: send the input alone, as a user message, without system messages",
            "messages",
            "unsupported_value",
        )
    if turns[-1][0] != "user":
        raise bad("the last message must be the user's", "messages")
    return transcript(turns)


# ---------------------------------------------------------------- tools


def _tools(body: Mapping[str, Any], winner: Winner) -> list[dict[str, Any]]:
    """The functions that a request offers."""
    listed, choice = body.get("tools"), body.get("tool_choice")
    if listed is not None and (not isinstance(listed, list) or len(listed) > MOST_TOOLS):
        raise bad(f"`tools` must be a list of at most {MOST_TOOLS}", "tools")
    if not listed:
        return []
    if winner.offers is None:
        raise bad("this model calls no functions: the task that it was made for has none", "tools", "unsupported_value")
    if choice not in (None, "auto"):
        raise bad("`tool_choice` must be `auto`", "tool_choice", "unsupported_value")
    found = []
    for place, tool in enumerate(listed):
        function = tool.get("function") if isinstance(tool, dict) and tool.get("type") == "function" else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise bad(f"tools[{place}] must be a function with a name", f"tools[{place}]")
        found.append(function)
    return found


def _offered(turns: Sequence[Turn], tools: Sequence[dict[str, Any]], winner: Winner) -> str:
    """An input that offers functions, in the form of the task's own rows."""
    messages = [{"role": "system" if role == "developer" else role, "content": words} for role, words in turns]
    listed = list(tools) if winner.offers == "functions" else [{"type": "function", "function": f} for f in tools]
    return json.dumps({"messages": messages, str(winner.offers): listed}, ensure_ascii=False)


# ---------------------------------------------------------------- options


def _options(body: Mapping[str, Any], winner: Winner, most_tokens: int) -> Options:
    """As the rung was measured, but for what the request says."""
    own = winner.own
    limit = _whole(body, "max_completion_tokens", 1) or _whole(body, "max_tokens", 1) or own.max_tokens
    temperature, seed = _number(body, "temperature", 0, 2), _whole(body, "seed", -(2**63), 2**63 - 1)
    return replace(
        own,
        max_tokens=min(limit, most_tokens),
        temperature=own.temperature if temperature is None else temperature if temperature >= COLDEST else 0.0,
        seed=own.seed if seed is None else seed,
        stop=_stops(body.get("stop")) or own.stop,
        schema=_schema(body.get("response_format"), winner),
    )


def _schema(form: Any, winner: Winner) -> Mapping[str, Any] | None:
    """The form of the answer: the rung's own where it has one, else the one asked for."""
    own = winner.own
    if form is None:
        return own.schema
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "text":
        return own.schema
    if kind not in ("json_object", "json_schema"):
        raise bad("`response_format.type` must be `text`, `json_object` or `json_schema`", "response_format")
    wanted: Any = {"type": "object"}
    if kind == "json_schema":
        described = form.get("json_schema")
        wanted = described.get("schema") if isinstance(described, dict) else None
        if not isinstance(wanted, dict):
            raise bad("`response_format.json_schema.schema` must be an object", "response_format")
    if own.schema is not None and (kind == "json_object" or wanted == own.schema):
        return own.schema
    if own.schema is not None or own.choices or not winner.decodes:
        said = "a label" if own.choices else "its own JSON" if own.schema is not None else "made without decoding"
        raise bad(f"this model's answers have a form of their own: {said}", "response_format", "unsupported_value")
    found: Mapping[str, Any] = wanted
    return found


def _stops(value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(listed, list) or len(listed) > MOST_STOPS:
        raise bad(f"`stop` must be a text or a list of at most {MOST_STOPS}", "stop")
    if not all(isinstance(stop, str) and 0 < len(stop) <= LONGEST_STOP for stop in listed):
        raise bad(f"each of `stop` must be a text of 1 to {LONGEST_STOP} characters", "stop")
    return tuple(listed)


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise bad(f"`{name}` must be true or false", name)
    return bool(value)


def _whole(body: Mapping[str, Any], name: str, least: int, most: int = 2**31) -> int | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise bad(f"`{name}` must be a whole number from {least} to {most}", name)
    return value


def _number(body: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
        raise bad(f"`{name}` must be a number from {least:g} to {most:g}", name)
    return float(value)


def _short(text: str) -> str:
    """A client's words as they may be said back to it."""
    return repr(text if len(text) <= 80 else f"{text[:80]}...")
