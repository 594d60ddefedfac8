"""How one server is called, through the official client, and what its errors mean.

The client tries nothing again by itself: a read is tried again here, for it changes nothing; a write never is, since
one whose reply was lost may have been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from shouldtune.errors import CannotMeasure, ModelUnavailable
from shouldtune.models.api_keys import hide, key_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
Plain = Mapping[str, Any]


@dataclass(frozen=True)
class JobPatience:
    """How long to wait for a provider's job, in seconds."""

    first_s: float = 2.0
    """Between the first two looks at a job; each pause is half as long again as the one before."""
    most_s: float = 60.0
    """Between two looks at most."""
    settled_s: float = 120.0
    """After so long a call that has left no trace at the provider was not carried out."""
    unreachable_s: float = 900.0
    """For so long a read is tried again."""


class Refused(Exception):
    """The server said no: nothing was done."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


class Lost(Exception):
    """No answer, or none that can be read: it may have been done. `wait_s` is what the server asks for."""

    def __init__(self, words: str, wait_s: float = 0.0) -> None:
        super().__init__(words)
        self.wait_s = wait_s


class Busy(Lost):
    """The server had no time for it: nothing was done, and later it may be."""


class Client:
    """The way to one server. CannotMeasure where its key is refused, or it cannot be reached for long."""

    def __init__(self, base_url: str, key_variable: str, patience: JobPatience) -> None:
        self.base_url, self.key_variable, self.patience = base_url, key_variable, patience
        self.host = urlsplit(base_url).netloc
        self._opened: AsyncOpenAI | None = None

    def open(self) -> AsyncOpenAI:
        """The client, made when it is first needed. Nothing but the key is taken from the environment."""
        if self._opened is None:
            client = require_client()
            self._opened = client.AsyncOpenAI(
                api_key=self._key or "none",
                default_headers={"OpenAI-Organization": client.Omit(), "OpenAI-Project": client.Omit()},
                base_url=self.base_url,
                max_retries=0,
                http_client=client.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False),
            )
        return self._opened

    @property
    def _key(self) -> str:
        return key_of(self.key_variable)

    async def one(self, sent: Awaitable[Any]) -> Plain:
        """The object that a call answers with. Refused, Busy, Lost, CannotMeasure."""
        found = plain(await self.once(sent))
        if not isinstance(found.get("id"), str):
            raise Lost("the reply has no id")
        return found

    async def read(self, look: Callable[[], Awaitable[T]]) -> T:
        """Look again, with longer and longer pauses, until there is an answer."""
        until, pause = monotonic() + self.patience.unreachable_s, min(0.5, self.patience.most_s)
        while True:
            try:
                return await self.once(look())
            except Lost as error:
                if monotonic() >= until:
                    raise CannotMeasure(
                        f"cannot reach {self.host}: {error}",
                        hint="what was started there goes on: run the same command again to pick it up",
                    ) from None
                await asyncio.sleep(min(max(pause, error.wait_s), self.patience.most_s))
                pause *= 2

    async def once(self, sent: Awaitable[T]) -> T:
        """What a call answers with. Refused, Busy, Lost, CannotMeasure."""
        client = require_client()
        try:
            return await sent
        except client.APIStatusError as error:
            raise self._problem(error.status_code, self._words(error), _asked_to_wait(error)) from None
        except client.OpenAIError as error:
            raise Lost(self._words(error)) from None
        except (ValueError, AttributeError, TypeError) as error:  # a reply of another shape
            raise Lost(f"a reply that cannot be read: {self._words(error)}") from None

    def _problem(self, status: int, words: str, wait_s: float) -> Exception:
        if status == 401:
            hint = f"set {self.key_variable}" if self.key_variable else ""
            return CannotMeasure(f"{self.host} refused the key: {words}", hint=hint)
        if status == 429:
            return Busy(words, wait_s)
        if (300 <= status < 500 and status not in (408, 409)) or status == 501:
            return Refused(status, words)
        return Lost(f"HTTP {status}: {words}", wait_s)

    def _words(self, error: Exception) -> str:
        """What an error says, without the key that a server may have put into it."""
        body = getattr(error, "body", None)
        told = body.get("message") if isinstance(body, Mapping) else None
        text = " ".join(str(told or error).split())
        return hide(text, self._key)[:200]

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.close()


def require_client() -> Any:
    """The official client. ModelUnavailable where it is not installed."""
    try:
        import openai
    except ModuleNotFoundError:
        raise ModelUnavailable(
            "training at a provider needs the package openai", hint='pip install "shouldtune[openai]"'
        ) from None
    return openai


def plain(found: Any) -> Plain:
    """A reply's fields, those too that the client does not know. TypeError where it is no object."""
    if not hasattr(found, "to_dict"):
        raise TypeError(f"{type(found).__name__} in place of an object")
    return dict(found.to_dict(mode="python"))


def _asked_to_wait(error: Any) -> float:
    try:
        return max(0.0, float(error.response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
