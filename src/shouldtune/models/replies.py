"""A 200's body as a Completion: what is said in it, what it took, and whether it has the form that was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from shouldtune.models.api_keys import hide
from shouldtune.models.bill import A_MESSAGE, BYTES_A_TOKEN
from shouldtune.models.refusals import error_inside
from shouldtune.models.requests import form_of
from shouldtune.types import Completion, Failure, Message, Options

_FENCED = re.compile(r"\s*```[a-z]*\n(.*?)\n?```\s*", re.S)


def read_reply(text: str, latency_s: float, messages: Sequence[Message], options: Options) -> Completion:
    """Anything that is not the shape of a chat completion is a failed call that says so."""
    try:
        reply = json.loads(text)
        if not isinstance(reply, Mapping):
            raise TypeError
        if (inside := error_inside(reply)) is not None:
            return failed(f"an error inside a 200: {short(str(reply['error']))}", inside, latency_s)
        choice = reply["choices"][0]
        message = choice["message"]
        ended = choice.get("finish_reason")
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            return failed(f"the model declined: {short(message['refusal'])}", "refused", latency_s)
        if ended == "content_filter":
            return failed("the answer was filtered by the provider", "refused", latency_s)
        answer = _called(message) if options.tools else _said(message["content"])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return failed(f"not a chat completion: {short(text)}", "malformed", latency_s)
    if answer is None and ended == "length":
        answer = ""  # a reasoning model that was cut off before it said anything
    if not isinstance(answer, str):
        return failed(f"no text in the answer: {short(str(choice))}", "malformed", latency_s)
    truncated, answer = ended == "length", writable(answer)
    answer, formed = _formed(answer, options)
    usage = reply.get("usage")
    details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
    read, written = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return Completion(
        text=answer,
        prompt_tokens=_about(messages) if read is None else read,
        completion_tokens=_tokens(answer) if written is None else written,
        cached_tokens=_count(details, "cached_tokens"),
        tokens_estimated=read is None or written is None,
        latency_s=latency_s,
        finish_reason="length" if truncated else "stop",
        engine=writable(str(reply.get("model") or "")),
        form_missed=not formed and not truncated,
    )


def failed(why: str, failure: Failure, latency_s: float, cost_usd: float | None = None) -> Completion:
    """A call without an answer; 0 dollars where it is known not to be billed."""
    told = writable(why)
    return Completion("", latency_s=latency_s, cost_usd=cost_usd, finish_reason="error", error=told, failure=failure)


def without_keys(answer: Completion, *keys: str) -> Completion:
    """The same without a key that a server has put into it, written in another way than it is looked for in a reply."""
    for key in keys:
        error = None if answer.error is None else hide(answer.error, key)
        answer = replace(answer, text=hide(answer.text, key), error=error, engine=hide(answer.engine, key))
    return answer


def writable(text: str) -> str:
    """The text with a question mark for what no file can hold: half of a pair that JSON's escapes left alone."""
    return text.encode("utf-8", "replace").decode()


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    return " ".join(text.split())[:200]


MOST_TOKENS = 1 << 40
"""A count above that is no count."""


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_TOKENS else None


def _about(messages: Sequence[Message]) -> int:
    """Tokens of a prompt, estimated from its bytes, for servers that do not tell what they read."""
    return sum(_tokens(message.content) + A_MESSAGE for message in messages)


def _tokens(text: str) -> int:
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)


def _said(content: Any) -> Any:
    """The text of a message; some providers give it in parts."""
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content


def _called(message: Mapping[str, Any]) -> Any:
    """The calls of a message as one JSON text; its words where it calls nothing."""
    calls = message.get("tool_calls")
    if not calls:
        return _said(message.get("content")) or ""
    return json.dumps({"calls": [_call(call["function"]) for call in calls]}, ensure_ascii=False)


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments come as JSON in a string; where that cannot be read they are kept as they came."""
    told = function.get("arguments")
    try:
        arguments = json.loads(told) if isinstance(told, str) and told else told or {}
    except ValueError:
        arguments = told
    return {"name": function["name"], "arguments": arguments}


def _formed(answer: str, options: Options) -> tuple[str, bool]:
    """(the answer in the form asked for, whether it has it): a server may have ignored what was asked for."""
    schema = form_of(options)
    if schema is None or options.tools:
        return answer, True
    if options.choices:
        return _chosen(answer, options.choices)
    plain = _unfenced(answer)
    try:
        return plain, _satisfies(json.loads(plain), schema)
    except (ValueError, RecursionError):
        return answer, False


def _chosen(answer: str, choices: Sequence[str]) -> tuple[str, bool]:
    """The label inside `{"label": ...}`, or said alone; the answer itself where it is neither."""
    plain = _unfenced(answer).strip()
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError):
        found = plain
    told = str(found["label"]) if isinstance(found, dict) and "label" in found else None
    named = (told if told is not None else found if isinstance(found, str) else plain).strip()
    same = [choice for choice in choices if choice.casefold() == named.rstrip(".").casefold()]
    if named in choices or len(same) == 1:
        return (named if named in choices else same[0]), True
    return (answer if told is None else told), False


def _unfenced(answer: str) -> str:
    """The inside of a fenced block that is all of the answer."""
    match = _FENCED.fullmatch(answer)
    return match[1] if match else answer


def _satisfies(value: Any, schema: Mapping[str, Any]) -> bool:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        return bool(Draft202012Validator(dict(schema)).is_valid(value))
    except (SchemaError, RecursionError):
        return True
