"""Providers whose own API is not OpenAI's, through the package any-llm (extra [providers]): `any:anthropic/NAME`.

The package turns a provider's API into OpenAI's shape. Its own retries are off, so that ours are the only ones.
No redirect is followed where a provider's client keeps its HTTP client as OpenAI's and Anthropic's do. The package has
no word for it that all understand: other clients (Google's, Cohere's, Mistral's ...) each want to be told in their own
way, some cannot be, and they do with a redirect what they do.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter
from typing import TYPE_CHECKING, Any

from shouldtune.errors import InputError, ModelUnavailable
from shouldtune.models.api_keys import hide
from shouldtune.models.attempts import CONCURRENCY, PATIENCE, TIMEOUT_S, patience_for, refused, timeout_s
from shouldtune.models.concurrency import Places
from shouldtune.models.posting import Reply, retry_after
from shouldtune.models.providers import ANY, checked_url
from shouldtune.models.refusals import meaning_of
from shouldtune.models.replies import failed, read_reply, short, without_keys
from shouldtune.models.requests import Manner, request_body
from shouldtune.models.retrying import Attempt, CallPatience, ask_patiently
from shouldtune.types import Completion, Message, ModelSpec, Options

if TYPE_CHECKING:
    from any_llm import AnyLLM
    from any_llm.exceptions import AnyLLMError

NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout")
"""Errors of the HTTP library before anything was sent."""


@dataclass(frozen=True)
class ThroughAnyLlm:
    """A model of a provider that any-llm knows. The key is read from the environment, by that package's names."""

    provider: str
    name: str
    base_url: str = ""
    """An address in place of the provider's own, where the environment names one."""
    timeout_s: float = TIMEOUT_S
    """For one attempt."""
    concurrency: int = CONCURRENCY
    patience: CallPatience = PATIENCE

    @property
    def most_billed(self) -> int:
        """How many attempts of one call may be billed."""
        return self.patience.billed

    @cached_property
    def _places(self) -> Places:
        return Places(self.concurrency)

    @cached_property
    def _manner(self) -> list[Manner]:
        """The one manner that refusals have taught so far."""
        return [Manner()]

    @cached_property
    def _client(self) -> AnyLLM:
        return _opened(self.provider, self.base_url)

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """An answer, or a failed Completion. Raises CannotMeasure where no call can succeed."""
        start = perf_counter()

        async def ask(seconds: float) -> Attempt:
            return await self._ask(messages, options, min(seconds, self.timeout_s), start)

        return await ask_patiently(ask, self._places, self.patience)

    def spec(self) -> ModelSpec:
        return {"kind": "any_llm", "provider": self.provider, "name": self.name, "base_url": self.base_url}

    async def aclose(self) -> None:
        """Close the provider's client, where one was opened: some close at once, some are to be awaited."""
        opened = self.__dict__.get("_client")
        close = getattr(getattr(opened, "client", None), "close", None)
        closing = close() if close is not None else None
        if inspect.isawaitable(closing):
            await closing

    async def _ask(self, messages: Sequence[Message], options: Options, seconds: float, start: float) -> Attempt:
        import asyncio

        from any_llm.exceptions import AnyLLMError

        manner = self._manner[0]
        body = request_body(self.name, messages, options, manner)
        keys = _keys(self._client.ENV_API_KEY_NAME)
        try:
            async with asyncio.timeout(seconds):
                reply = await self._client.acompletion(**body, stream=False)
        except TimeoutError:
            return Attempt(failed(f"no answer within {seconds:.3g} s", "unknown", perf_counter() - start), None, True)
        except AnyLLMError as error:
            return self._failed(error, manner, body, keys, start)
        answer = read_reply(_without(reply.model_dump_json(), keys), perf_counter() - start, messages, options)
        return Attempt(replace(without_keys(answer, *keys), manner=manner.words()))

    def _failed(
        self, error: AnyLLMError, manner: Manner, body: dict[str, Any], keys: Sequence[str], start: float
    ) -> Attempt:
        """What an error of the package means, by the status of the reply that it stands for."""
        why, latency_s = short(_without(str(error), keys)), perf_counter() - start
        taught = manner.taught(why, body)
        if taught is not None and error.status_code in (None, 400, 422):
            self._manner[0] = self._manner[0].with_(taught)
            return Attempt(failed(why, "permanent", latency_s, 0.0), at_once=True)
        if error.status_code is None:
            return Attempt(_without_reply(error, why, latency_s))
        headers = getattr(getattr(error.original_exception, "response", None), "headers", {})
        reply = Reply(error.status_code, why, retry_after(headers))
        meaning = "malformed" if reply.status < 300 else meaning_of(reply)
        asked = f"{self.provider} answered {reply.status}"
        return refused(reply, why, meaning, asked, self._client.ENV_API_KEY_NAME, latency_s)


def _without_reply(error: AnyLLMError, why: str, latency_s: float) -> Completion:
    """An error without a reply: refused by the package itself, never sent, or sent and lost."""
    from any_llm.exceptions import ProviderError, UpstreamProviderError

    if not isinstance(error, ProviderError | UpstreamProviderError):
        return failed(why, "permanent", latency_s, 0.0)
    cause: BaseException | None = error.original_exception
    while cause is not None:
        if type(cause).__name__ in NOT_SENT:
            return failed(f"cannot reach the provider: {why}", "transient", latency_s, 0.0)
        cause = cause.__cause__
    return failed(f"connection lost: {why}", "unknown", latency_s)


def _keys(named: str) -> tuple[str, ...]:
    """The keys in the variables that the package names for a provider, as `GEMINI_API_KEY/GOOGLE_API_KEY`."""
    return tuple(os.environ.get(variable, "").strip() for variable in re.findall(r"[A-Z][A-Z0-9_]+", named))


def _without(text: str, keys: Sequence[str]) -> str:
    for key in keys:
        text = hide(text, key)
    return text


def open_any(model_id: str) -> ThroughAnyLlm:
    """`any:provider/name`. InputError, or ModelUnavailable where the package or the key is not at hand."""
    model = any_of(model_id)
    client = _opened(model.provider, "")  # its key is looked for now
    address = os.environ.get(client.ENV_API_BASE_NAME or "", "")
    return replace(model, base_url=checked_url(address)) if address else model


def any_from_spec(spec: ModelSpec) -> ThroughAnyLlm:
    """The model that a spec describes. InputError where it was asked at another address than the environment names."""
    model = open_any(f"{ANY}{spec['provider']}/{spec['name']}")
    if model.base_url != spec["base_url"]:
        raise InputError(
            f"this model was asked at {spec['base_url'] or 'its own address'}", hint="is this folder yours?"
        )
    return model


def any_of(model_id: str) -> ThroughAnyLlm:
    """The same without a look at whether it can be asked."""
    provider, slash, name = model_id.removeprefix(ANY).partition("/")
    if not (provider.isidentifier() and slash and name.strip()):
        raise InputError(
            f"{model_id!r} names no model", hint="write any:PROVIDER/NAME, as any:anthropic/claude-haiku-4-5"
        )
    seconds = timeout_s()
    return ThroughAnyLlm(provider, name, timeout_s=seconds, patience=patience_for(seconds))


def _opened(provider: str, base_url: str) -> AnyLLM:
    try:
        from any_llm import AnyLLM
        from any_llm.exceptions import AnyLLMError, UnsupportedParameterError
    except ImportError:
        raise ModelUnavailable(
            "models named `any:` need the package any-llm-sdk", hint='pip install "shouldtune[providers]"'
        ) from None
    os.environ.setdefault("AWS_MAX_ATTEMPTS", "1")  # boto3's retries, which any-llm does not turn off
    try:
        try:
            made = AnyLLM.create(provider, api_base=base_url or None, unified_exceptions=True, max_retries=0)
        except UnsupportedParameterError:
            if provider != "bedrock":
                raise
            made = AnyLLM.create(provider, api_base=base_url or None, unified_exceptions=True)
    except (AnyLLMError, ImportError, ValueError) as error:
        raise ModelUnavailable(f"any-llm cannot open {provider!r}: {short(str(error))}") from None
    http: Any = getattr(getattr(made, "client", None), "_client", None)
    if http is not None and hasattr(http, "follow_redirects"):
        http.follow_redirects = False  # a key would follow
    return made
