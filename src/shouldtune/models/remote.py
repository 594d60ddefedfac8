"""Any OpenAI-compatible server: a thin client for chat completions. One try, clear errors."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.prices import OPENAI
from shouldtune.types import Completion, Message, ModelSpec, Options

if TYPE_CHECKING:
    import aiohttp

TIMEOUT_S = 120.0
MAX_REPLY_BYTES = 10_000_000
CONCURRENCY = 16


class _Unreachable(Exception):
    """No connection at all."""


class _Client:
    """One aiohttp session for all calls of a model, made in the loop that first asks."""

    def __init__(self, concurrency: int) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(concurrency)

    async def post(
        self, url: str, body: dict[str, Any], headers: Mapping[str, str], timeout_s: float
    ) -> tuple[int, str]:
        """(status, body). Redirects are not followed, so that no key goes where it was not sent."""
        import aiohttp

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(trust_env=False)
        async with self._places:
            try:
                limit = aiohttp.ClientTimeout(total=timeout_s, connect=15)
                async with self._session.post(
                    url, json=body, headers=headers, timeout=limit, allow_redirects=False
                ) as reply:
                    raw = await reply.content.read(MAX_REPLY_BYTES)
                    while not reply.content.at_eof() and len(raw) < MAX_REPLY_BYTES:
                        raw += await reply.content.read(MAX_REPLY_BYTES - len(raw))
                    return reply.status, raw.decode("utf-8", "replace")
            except (aiohttp.ClientConnectorError, aiohttp.InvalidURL) as error:
                raise _Unreachable(str(error)) from None
            except aiohttp.ClientError as error:
                raise OSError(f"{type(error).__name__}: {error}") from None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


@dataclass(frozen=True)
class Remote:
    """A model behind `base_url` (ending in /v1). The key is read from the environment and never written anywhere."""

    name: str
    base_url: str
    key_variable: str = ""
    timeout_s: float = TIMEOUT_S
    concurrency: int = CONCURRENCY
    """Calls under way at once."""

    @cached_property
    def _client(self) -> _Client:
        return _Client(self.concurrency)

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """One POST to /chat/completions. A server's refusal comes back as a failed Completion.

        Raises CannotMeasure where no call can succeed: no connection to the host, key refused, no such model.
        """
        body = request_body(self.name, messages, options)
        start = perf_counter()
        try:
            status, text = await self._client.post(
                f"{self.base_url}/chat/completions", body, self._headers(), self.timeout_s
            )
        except TimeoutError:
            return _failed(f"no answer within {self.timeout_s:g} s", start)
        except _Unreachable as error:
            raise CannotMeasure(
                f"cannot reach {self.base_url}: {error}", hint="is the server running, and is the address right?"
            ) from None
        except OSError as error:
            return _failed(f"connection lost: {error}", start)
        if status in (401, 403, 404):
            hint = (
                f"set {self.key_variable}"
                if status != 404 and self.key_variable
                else "check the model's name and the address"
            )
            raise CannotMeasure(f"{self.base_url} answered {status} for {self.name!r}: {_short(text)}", hint=hint)
        if status != 200:
            return replace(_failed(f"HTTP {status}: {_short(text)}", start), cost_usd=0.0)  # a refusal is not billed
        return read_reply(text, start, options)

    def spec(self) -> ModelSpec:
        return {"kind": "remote", "name": self.name, "base_url": self.base_url, "key_variable": self.key_variable}

    async def aclose(self) -> None:
        await self._client.close()

    def _headers(self) -> dict[str, str]:
        key = os.environ.get(self.key_variable, "") if self.key_variable else ""
        return {"Authorization": f"Bearer {key}"} if key else {}


def open_remote(model_id: str) -> Remote:
    """`openai:NAME`, or `http(s)://host/v1#NAME` (its key, if any, in SHOULDTUNE_API_KEY). Raises InputError."""
    if model_id.startswith("openai:") and not os.environ.get("OPENAI_API_KEY"):
        raise CannotMeasure("OPENAI_API_KEY is not set", hint="export OPENAI_API_KEY=..., or name a local model")
    return remote_of(model_id)


def remote_of(model_id: str) -> Remote:
    """The same without a look at whether a key is at hand: enough to know what would be asked."""
    if model_id.startswith("openai:"):
        return Remote(model_id.removeprefix("openai:"), OPENAI, "OPENAI_API_KEY")
    url, _, name = model_id.partition("#")
    if not name:
        raise InputError(f"{model_id!r} names no model", hint="write it after the address: http://host:8000/v1#name")
    return Remote(name, url.rstrip("/"), "SHOULDTUNE_API_KEY")


def request_body(name: str, messages: Sequence[Message], options: Options) -> dict[str, Any]:
    """The JSON body of a chat completion; a label set is asked for as a JSON schema's enum."""
    body: dict[str, Any] = {
        "model": name,
        "messages": [{"role": message.role, "content": message.content} for message in messages],
        "max_tokens": options.max_tokens,
        "temperature": options.temperature,
        "seed": options.seed,
    }
    if options.stop:
        body["stop"] = list(options.stop)
    if options.tools:
        body["tools"] = [dict(tool) for tool in options.tools]
    schema = options.schema
    if options.choices:
        choice = {"type": "string", "enum": list(options.choices)}
        schema = {
            "type": "object",
            "properties": {"label": choice},
            "required": ["label"],
            "additionalProperties": False,
        }
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": dict(schema), "strict": True},
        }
    return body


def read_reply(text: str, start: float, options: Options) -> Completion:
    """A 200's body as a Completion; anything that is not the shape of one is a failed call that says so."""
    try:
        reply = json.loads(text)
        if not isinstance(reply, Mapping) or reply.get("error"):
            return _failed(f"an error inside a 200: {_short(str(reply))}", start)
        choice = reply["choices"][0]
        answer = _called(choice["message"]) if options.tools else choice["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return _failed(f"not a chat completion: {_short(text)}", start)
    if not isinstance(answer, str):
        return _failed(f"no text in the answer: {_short(str(choice))}", start)
    if options.choices:
        answer = _chosen(answer)
    usage = reply.get("usage") or {}
    details = usage.get("prompt_tokens_details") if isinstance(usage, Mapping) else None
    return Completion(
        text=answer,
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        latency_s=perf_counter() - start,
        finish_reason="length" if choice.get("finish_reason") == "length" else "stop",
        engine=str(reply.get("model") or ""),
    )


def _failed(why: str, start: float) -> Completion:
    return Completion(text="", latency_s=perf_counter() - start, finish_reason="error", error=why)


def _short(text: str) -> str:
    return " ".join(text.split())[:200]


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _called(message: Mapping[str, Any]) -> Any:
    """The calls of a message as one JSON text; its words where it calls nothing."""
    calls = message.get("tool_calls")
    if not calls:
        return message.get("content") or ""
    return json.dumps({"calls": [_call(call["function"]) for call in calls]}, ensure_ascii=False)


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments come as JSON in a string; where that cannot be read they are kept as they came."""
    told = function.get("arguments")
    try:
        arguments = json.loads(told) if isinstance(told, str) and told else told or {}
    except ValueError:
        arguments = told
    return {"name": function["name"], "arguments": arguments}


def _chosen(answer: str) -> str:
    """The label inside `{"label": ...}`; the answer itself where a server ignored the schema."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return answer
    return str(found["label"]) if isinstance(found, dict) and "label" in found else answer
