"""A model behind any OpenAI-compatible server: one request at a time here, tried again in retrying.py alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from time import perf_counter

from shouldtune.errors import CannotMeasure
from shouldtune.models.api_keys import hide, key_of
from shouldtune.models.attempts import CONCURRENCY, PATIENCE, TIMEOUT_S, patience_for, refused, timeout_s
from shouldtune.models.concurrency import Places
from shouldtune.models.posting import Poster, Reply, Unanswered, Unreachable
from shouldtune.models.providers import address_of, checked_url, key_variable_at
from shouldtune.models.refusals import meaning_of
from shouldtune.models.replies import failed, read_reply, short, without_keys
from shouldtune.models.requests import Manner, request_body
from shouldtune.models.retrying import Attempt, CallPatience, ask_patiently
from shouldtune.types import Completion, Message, ModelSpec, Options


class _Line:
    """What all calls of one model share: the session, the places, and what is known of the server."""

    def __init__(self, concurrency: int) -> None:
        self.poster = Poster()
        self.places = Places(concurrency)
        self.manner = Manner()
        self.reached = False
        """Whether it was ever there: one that was may come back, one that never was is not waited for."""


@dataclass(frozen=True)
class Remote:
    """A model behind `base_url`. The key is read from the environment and never written anywhere."""

    name: str
    base_url: str
    key_variable: str = ""
    timeout_s: float = TIMEOUT_S
    """For one attempt."""
    concurrency: int = CONCURRENCY
    """Calls under way at once, at most."""
    patience: CallPatience = PATIENCE

    @cached_property
    def _line(self) -> _Line:
        return _Line(self.concurrency)

    @property
    def most_billed(self) -> int:
        """How many attempts of one call may be billed."""
        return self.patience.billed

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """An answer, after as many attempts as make sense. What never came comes back as a failed Completion.

        Raises CannotMeasure where no call can succeed: no connection to the host, key refused, no such model, no money.
        """
        start = perf_counter()

        async def ask(seconds: float) -> Attempt:
            return await self._ask(messages, options, min(seconds, self.timeout_s), start)

        return await ask_patiently(ask, self._line.places, self.patience)

    def spec(self) -> ModelSpec:
        return {"kind": "remote", "name": self.name, "base_url": self.base_url, "key_variable": self.key_variable}

    async def aclose(self) -> None:
        await self._line.poster.close()

    async def _ask(self, messages: Sequence[Message], options: Options, seconds: float, start: float) -> Attempt:
        """One request. Whatever comes back holds no key."""
        key = key_of(self.key_variable)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
        manner = self._line.manner
        body = request_body(self.name, messages, options, manner)
        sent = json.dumps(body).encode()
        try:
            reply = await self._line.poster.post(f"{self.base_url}/chat/completions", sent, headers, seconds)
        except Unreachable as error:
            return self._unreachable(hide(str(error), key), start)
        except Unanswered as error:
            return Attempt(failed(hide(str(error), key), "unknown", perf_counter() - start), overloaded=error.slow)
        self._line.reached = True
        reply = replace(reply, text=hide(reply.text, key))
        if reply.status != 200:
            taught = manner.taught(reply.text, body) if reply.status in (400, 422) else None
            if taught is not None:
                self._line.manner = self._line.manner.with_(taught)
            return self._refused(reply, start, changed=taught is not None)
        answer = read_reply(reply.text, perf_counter() - start, messages, options)
        return Attempt(replace(without_keys(answer, key), manner=manner.words()))

    def _unreachable(self, why: str, start: float) -> Attempt:
        if self._line.reached:
            return Attempt(failed(f"cannot reach the server: {why}", "transient", perf_counter() - start, 0.0))
        raise CannotMeasure(
            f"cannot reach {self.base_url}: {why}", hint="is the server running, and is the address right?"
        )

    def _refused(self, reply: Reply, start: float, *, changed: bool) -> Attempt:
        """A reply that is no 200."""
        asked = f"{self.base_url} answered {reply.status} for {self.name!r}"
        latency_s = perf_counter() - start
        tried = refused(reply, short(reply.text), meaning_of(reply), asked, self.key_variable, latency_s)
        return replace(tried, at_once=changed)


def open_remote(model_id: str) -> Remote:
    """The model that an id names (see providers.py). InputError, or CannotMeasure where its key is not at hand."""
    model, needs_key = _remote(model_id)
    if needs_key and not key_of(model.key_variable):
        raise CannotMeasure(
            f"{model.key_variable} is not set",
            hint=f"export {model.key_variable}=..., put it into a file for --env-file, or name a local model",
        )
    return model


def remote_of(model_id: str) -> Remote:
    """The same without a look at whether a key is at hand: enough to know what would be asked."""
    return _remote(model_id)[0]


def remote_from_spec(spec: ModelSpec) -> Remote:
    """The model that a spec describes. InputError where it would have a key sent where it does not belong."""
    where = spec["base_url"]
    return _at(spec["name"], checked_url(where), key_variable_at(where, spec["key_variable"]))


def _remote(model_id: str) -> tuple[Remote, bool]:
    address = address_of(model_id)
    return _at(address.name, address.base_url, address.key_variable), address.needs_key


def _at(name: str, base_url: str, key_variable: str) -> Remote:
    seconds = timeout_s()
    return Remote(name, base_url, key_variable, seconds, patience=patience_for(seconds))
