"""From a completion to what OpenAI's clients read: a whole chat completion, or the chunks of one.

Where the rung retrieves, the message has one field more, `shouldtune`: `passages`, the ids of the documents that stood
in the prompt, and `cited`, where a reader finds them.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from shouldtune.scorers.function_call_forms import read_answer
from shouldtune.serving.reading import Asked
from shouldtune.serving.winner import Winner
from shouldtune.types import Completion

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Reply:
    """One answer on its way out."""

    winner: Winner
    asked: Asked
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, completion: Completion) -> dict[str, Any]:
        message = {"role": "assistant", "refusal": None, **self._content(completion), **_sources(completion)}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(message, completion)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": usage_of(completion)}

    def first(self) -> bytes:
        return self._chunk({"role": "assistant", "content": ""})

    def piece(self, text: str) -> bytes:
        return self._chunk({"content": text})

    def last(self, completion: Completion) -> bytes:
        """What a stream ends with: sources, calls, why it ended, usage where it was asked for."""
        delta: dict[str, Any] = _sources(completion)
        if self.asked.tools:
            delta = {**self._content(completion), **delta}
            delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(delta.get("tool_calls", []))]
        ended = self._chunk(delta, _finish(delta, completion))
        if self.asked.include_usage:
            plain = {**self._head("chat.completion.chunk"), "choices": [], "usage": usage_of(completion)}
            ended += event(plain)
        return ended + DONE

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.winner.name,
            "system_fingerprint": self.winner.fingerprint,
        }

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        plain: dict[str, Any] = {**self._head("chat.completion.chunk"), "choices": [choice]}
        if self.asked.include_usage:
            plain["usage"] = None
        return event(plain)

    def _content(self, completion: Completion) -> dict[str, Any]:
        if not self.asked.tools:
            return {"content": completion.text}
        answer = read_answer(completion.text, self.asked.tools)
        if not answer.calls:
            return {"content": "" if _is_empty(completion.text) else completion.text}
        try:
            written = [json.dumps(call.arguments, ensure_ascii=False, allow_nan=False) for call in answer.calls]
        except (TypeError, ValueError, RecursionError):  # Python that JSON cannot hold
            return {"content": completion.text}
        calls = [
            {
                "id": f"call_{secrets.token_hex(12)}",
                "type": "function",
                "function": {"name": call.name, "arguments": arguments},
            }
            for call, arguments in zip(answer.calls, written, strict=True)
        ]
        return {"content": None, "tool_calls": calls}


def usage_of(completion: Completion) -> dict[str, Any] | None:
    """Tokens; None where they are not known."""
    read, written = completion.prompt_tokens, completion.completion_tokens
    if read is None or written is None:
        return None
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    if completion.cached_tokens is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": completion.cached_tokens}
    return usage


def event(plain: dict[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(plain, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def _sources(completion: Completion) -> dict[str, Any]:
    if not completion.passages:
        return {}
    return {"shouldtune": {"passages": list(completion.passages), "cited": list(completion.cited)}}


def _finish(message: dict[str, Any], completion: Completion) -> str:
    if message.get("tool_calls"):
        return "tool_calls"
    return "length" if completion.finish_reason == "length" else "stop"


def _is_empty(text: str) -> bool:
    """Whether the answer is that nothing is to be called."""
    try:
        return bool(json.loads(text) in ({"calls": []}, []))
    except (ValueError, RecursionError):
        return False
