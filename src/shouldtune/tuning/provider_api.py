"""A server's files and fine-tuning jobs in OpenAI's form, through the official client.

The client tries nothing again by itself: a read is tried again here, for it changes nothing; a write never is, since
one whose reply was lost may have been done. What becomes of those is decided in provider_jobs.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from shouldtune.errors import CannotMeasure, ModelUnavailable, NotTrained
from shouldtune.models.api_keys import hide, key_of
from shouldtune.tuning.training_file import TrainingFile

if TYPE_CHECKING:
    from openai import AsyncOpenAI

T = TypeVar("T")
Plain = Mapping[str, Any]
READ_TIMEOUT_S, WRITE_TIMEOUT_S = 30.0, 600.0
MARK = "shouldtune"
"""The key of our mark in a job's metadata."""
MOST_LISTED = 20_000


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


@dataclass(frozen=True)
class Order:
    """One training."""

    model_id: str
    """The base as a task file names it."""
    base: str
    """The same by its name at the provider."""
    file: TrainingFile
    epochs: int
    mark: str
    """Hash of all that decides the result, and of where it is made: the job bears it."""

    @property
    def suffix(self) -> str:
        """Part of the tuned model's name: the mark again, as long as every provider takes."""
        return f"st-{self.mark[:12]}"

    @property
    def most_tokens(self) -> int:
        """That can be billed, all epochs together."""
        return self.file.most_tokens * self.epochs


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


class Provider:
    """One server. Raises CannotMeasure where its key is refused, or it cannot be reached for long."""

    def __init__(self, base_url: str, key_variable: str, patience: JobPatience = JobPatience()) -> None:
        self.base_url, self.key_variable, self.patience = base_url, key_variable, patience
        self.host = urlsplit(base_url).netloc
        self._client: AsyncOpenAI | None = None

    # ------------------------------------------------------------ reads: tried again

    async def find_file(self, name: str, size: int) -> str | None:
        """The id of the file of this name and size; None where there is none. Refused where files are not listed."""

        async def look() -> str | None:
            async for each in self._open().files.list(purpose="fine-tune", timeout=READ_TIMEOUT_S):
                file = _plain(each)
                if file.get("filename") == name and file.get("bytes") in (size, None) and file.get("status") != "error":
                    return str(file["id"])
            return None

        return await self._read(look)

    async def find_job(self, order: Order, file_id: str, others: Collection[str]) -> Plain | None:
        """The job that bears our mark, or where a server keeps no marks, that trains this base on our file.

        Of several the one that got farthest, and none of `others`. Refused where jobs are not listed.
        """

        async def look() -> Plain | None:
            found, seen = [], 0
            async for each in self._open().fine_tuning.jobs.list(limit=100, timeout=READ_TIMEOUT_S):
                job = _plain(each)
                if job.get("id") not in others and _is_ours(job, order, file_id):
                    found.append(job)
                seen += 1
                if seen >= MOST_LISTED:
                    break
            rank = {"succeeded": 0, "failed": 2, "cancelled": 2}
            return min(found, key=lambda job: rank.get(job.get("status", ""), 1), default=None)

        return await self._read(look)

    async def job(self, job_id: str) -> Plain:
        """How a job stands."""
        return await self._read(
            lambda: self._one(self._open().fine_tuning.jobs.retrieve(job_id, timeout=READ_TIMEOUT_S))
        )

    async def events(self, job_id: str) -> list[Plain]:
        """What a job tells, the oldest first; nothing where the server tells nothing."""

        async def look() -> list[Plain]:
            page = await self._open().fine_tuning.jobs.list_events(job_id, limit=50, timeout=READ_TIMEOUT_S)
            return [_plain(event) for event in reversed(page.data or [])]

        try:
            return await self._read(look)
        except Refused:
            return []

    async def checkpoints(self, job_id: str) -> list[Plain]:
        """Models from before the end of training, the earliest first; none where the server keeps none."""

        async def look() -> list[Plain]:
            listed = self._open().fine_tuning.jobs.checkpoints.list(job_id, limit=100, timeout=READ_TIMEOUT_S)
            return sorted([_plain(each) async for each in listed], key=lambda each: each.get("step_number") or 0)

        try:
            return await self._read(look)
        except Refused:
            return []

    async def is_ready(self, model: str) -> bool:
        """Whether a model is listed; True where the server cannot be asked."""
        try:
            await self._try(self._open().models.retrieve(model, timeout=READ_TIMEOUT_S))
        except Refused as error:
            return error.status != 404
        except Lost:
            return True
        return True

    # ------------------------------------------------------------ writes: never tried again

    async def upload(self, name: str, content: bytes) -> str:
        """Send a file; returns its id. Refused, Busy, Lost."""
        file = (name, content, "application/jsonl")
        sent = self._open().files.create(file=file, purpose="fine-tune", timeout=WRITE_TIMEOUT_S)
        return str((await self._one(sent))["id"])

    async def start(self, order: Order, file_id: str) -> Plain:
        """Start a job. Refused, Busy, Lost."""
        sent = self._open().fine_tuning.jobs.create(
            model=order.base,
            training_file=file_id,
            suffix=order.suffix,
            metadata={MARK: order.mark},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": order.epochs}}},
            timeout=WRITE_TIMEOUT_S,
        )
        return await self._one(sent)

    async def cancel(self, job_id: str) -> Plain:
        """Ask for the end of a job. Refused, Busy, Lost."""
        return await self._one(self._open().fine_tuning.jobs.cancel(job_id, timeout=READ_TIMEOUT_S))

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()

    # ------------------------------------------------------------ the client

    def _open(self) -> AsyncOpenAI:
        """The client, made when it is first needed. Nothing but the key is taken from the environment."""
        if self._client is None:
            client = require_client()
            self._client = client.AsyncOpenAI(
                api_key=self._key or "none",
                default_headers={"OpenAI-Organization": client.Omit(), "OpenAI-Project": client.Omit()},
                base_url=self.base_url,
                max_retries=0,
                http_client=client.DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False),
            )
        return self._client

    @property
    def _key(self) -> str:
        return key_of(self.key_variable)

    async def _one(self, sent: Awaitable[Any]) -> Plain:
        found = _plain(await self._try(sent))
        if not isinstance(found.get("id"), str):
            raise Lost("the reply has no id")
        return found

    async def _read(self, look: Callable[[], Awaitable[T]]) -> T:
        """Look again, with longer and longer pauses, until there is an answer."""
        until, pause = monotonic() + self.patience.unreachable_s, min(0.5, self.patience.most_s)
        while True:
            try:
                return await self._try(look())
            except Lost as error:
                if monotonic() >= until:
                    raise CannotMeasure(
                        f"cannot reach {self.host}: {error}",
                        hint="what was started there goes on: run the same command again to pick it up",
                    ) from None
                await asyncio.sleep(min(max(pause, error.wait_s), self.patience.most_s))
                pause *= 2

    async def _try(self, sent: Awaitable[T]) -> T:
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


def require_client() -> Any:
    """The official client. ModelUnavailable where it is not installed."""
    try:
        import openai
    except ModuleNotFoundError:
        raise ModelUnavailable(
            "training at a provider needs the package openai", hint='pip install "shouldtune[openai]"'
        ) from None
    return openai


def closed(host: str, model: str, error: Refused) -> NotTrained:
    """What a refusal to train comes to, in one line."""
    words = str(error).lower()
    ends = ("not available", "no longer", "not supported", "not allowed", "not enabled", "deprecated", "does not exist")
    if error.status in (403, 404, 405, 410, 501) or any(end in words for end in ends):
        return NotTrained(f"{host} does not offer fine-tuning of {model} (HTTP {error.status}: {error})")
    return NotTrained(f"{host} refused to train {model} (HTTP {error.status}: {error})")


def _plain(found: Any) -> Plain:
    """A reply's fields, those too that the client does not know. TypeError where it is no object."""
    if not hasattr(found, "to_dict"):
        raise TypeError(f"{type(found).__name__} in place of an object")
    return dict(found.to_dict(mode="python"))


def _is_ours(job: Plain, order: Order, file_id: str) -> bool:
    """By our mark; where the server keeps none, by the suffix or the file, which carry hashes of ours."""
    kept = job.get("metadata")
    if isinstance(kept, Mapping) and MARK in kept:
        return bool(kept[MARK] == order.mark)
    if job.get("user_provided_suffix") is not None:
        return bool(job["user_provided_suffix"] == order.suffix)
    return job.get("training_file") == file_id and str(job.get("model", "")).startswith(order.base)


def _asked_to_wait(error: Any) -> float:
    try:
        return max(0.0, float(error.response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0
