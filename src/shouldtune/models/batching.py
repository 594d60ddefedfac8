"""Many concurrent calls of local models become few batches.

Calls wait in one queue per event loop. A task takes all that wait for the same weights, computes them in the engine's
thread, and answers the callers. Who has left is not computed further; who listens hears tokens as they come.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal
from weakref import WeakKeyDictionary

from shouldtune.errors import ShouldTuneError
from shouldtune.models.engine import COMPUTE, Base, Engine, give_memory_back, load_base
from shouldtune.models.streaming import Spoken
from shouldtune.types import Completion, Failure, Message, Options

if TYPE_CHECKING:
    from shouldtune.models.decoding import Generated, Request

_QUIET_S, _GATHER_S = 0.004, 0.1
"""A batch starts when no call has come for _QUIET_S seconds, or _GATHER_S after its first call."""
_MOST_CALLS = 256
"""Calls in one batch: what is lost when the process dies, since answers arrive together."""


@dataclass(frozen=True)
class Identity:
    """Which weights answer."""

    id: str
    """As the user names it: `smollm2`, `gguf:PATH`, `hf:PATH`."""
    folder: Path
    """config.json, safetensors, tokenizer.json."""
    revision: str
    """Hash of the weights' file, in hex."""
    engine: Engine
    adapter: Path | None = None
    """A folder in peft's format."""
    adapter_sha256: str | None = None


@dataclass(frozen=True)
class _Call:
    identity: Identity
    messages: Sequence[Message]
    options: Options
    start: float
    answer: asyncio.Future[Completion]
    hear: Hear | None = None
    """Who is told, in the caller's loop, pieces of text and, as soon as this answer is whole, the answer."""


Hear = Callable[["str | Completion"], None]


async def ask(
    identity: Identity, messages: Sequence[Message], options: Options, hear: Hear | None = None
) -> Completion:
    """Answer a chat together with whatever else is waiting. A failure is a Completion with `error`."""
    loop = asyncio.get_running_loop()
    queue = _QUEUES.setdefault(loop, _Queue())
    return await queue.ask(_Call(identity, messages, options, perf_counter(), loop.create_future(), hear))


async def tell(
    identity: Identity, messages: Sequence[Message], options: Options
) -> AsyncGenerator[str | Completion, None]:
    """The same piece by piece, and last the Completion, which does not wait for the others of its batch.

    Its share of the batch's time is not known then: `compute_s` is None.
    """
    heard: asyncio.Queue[str | Completion | None] = asyncio.Queue()
    asked = asyncio.ensure_future(ask(identity, messages, options, heard.put_nowait))
    asked.add_done_callback(lambda _: heard.put_nowait(None))
    said = ""
    try:
        while isinstance(piece := await heard.get(), str):
            said += piece
            yield piece
        completion = await asked if piece is None else piece
        if rest := "" if completion.failed else completion.text[len(said) :]:
            yield rest
        yield completion
    finally:
        asked.cancel()


class _Queue:
    """The calls that wait in one event loop, and the task that works through them."""

    def __init__(self) -> None:
        self._waiting: list[_Call] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, call: _Call) -> Completion:
        self._waiting.append(call)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await call.answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._gather()
                if calls := self._take():
                    await self._answer(calls)
        finally:
            self._worker = None  # a finished task would keep its loop, and so this queue, for ever

    async def _answer(self, calls: list[_Call]) -> None:
        stop = _when_all_have_left(calls)
        try:
            completions = await asyncio.get_running_loop().run_in_executor(COMPUTE, _answer, calls, stop.is_set)
        except BaseException:  # the loop is ending: the thread and the callers must not wait for each other
            stop.set()
            for call in calls:
                call.answer.cancel()
            raise
        for call, completion in zip(calls, completions, strict=True):
            if not call.answer.done():
                call.answer.set_result(completion)

    async def _gather(self) -> None:
        """Wait until no more calls come: each that still comes shares the batch's work."""
        deadline, seen = perf_counter() + _GATHER_S, 0
        while seen < len(self._waiting) < _MOST_CALLS and perf_counter() < deadline:
            seen = len(self._waiting)
            await asyncio.sleep(_QUIET_S)

    def _take(self) -> list[_Call]:
        """The calls of the first one's weights, in order of arrival; callers that left are dropped."""
        self._waiting = [call for call in self._waiting if not call.answer.done()]
        same = [call for call in self._waiting if call.identity == self._waiting[0].identity][:_MOST_CALLS]
        taken = set(map(id, same))
        self._waiting = [call for call in self._waiting if id(call) not in taken]
        return same


_QUEUES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Queue] = WeakKeyDictionary()


def _when_all_have_left(calls: Sequence[_Call]) -> threading.Event:
    """An event that is set once nobody waits for any of these calls."""
    event = threading.Event()

    def left(_: asyncio.Future[Completion]) -> None:
        if all(call.answer.done() for call in calls):
            event.set()

    for call in calls:
        call.answer.add_done_callback(left)
    return event


def _answer(calls: Sequence[_Call], should_stop: Callable[[], bool]) -> list[Completion]:
    """Compute one batch; a failure becomes every call's error."""
    try:
        return _compute(calls, should_stop)
    except ShouldTuneError as error:
        why = f"{error} ({error.hint})" if error.hint else str(error)
    except Exception as error:  # out of memory, say: the caller must get an answer, and a failed call is data
        why = f"{type(error).__name__}: {error}"
    finally:
        give_memory_back()
    return [_failed(call, why) for call in calls]


def _compute(calls: Sequence[_Call], should_stop: Callable[[], bool]) -> list[Completion]:
    identity = calls[0].identity
    base = load_base(identity.folder, identity.engine)
    start = perf_counter()
    adapter = None
    if identity.adapter is not None and identity.adapter_sha256 is not None:
        adapter = base.adapter(identity.adapter, identity.adapter_sha256)
    prepared = [_prepare(base, call) for call in calls]
    requests = [request for request in prepared if not isinstance(request, str)]
    generated = iter(base.generator.generate(requests, adapter, identity.adapter_sha256 or "", should_stop))
    seconds = perf_counter() - start
    answers = [request if isinstance(request, str) else (request, next(generated)) for request in prepared]
    total = sum(answer[1].computed for answer in answers if not isinstance(answer, str))
    return [
        _failed(call, answer, "permanent")
        if isinstance(answer, str)
        else _completion(base, call, *answer, seconds / total)
        for call, answer in zip(calls, answers, strict=True)
    ]


def _prepare(base: Base, call: _Call) -> Request | str:
    """The call as token ids, or why it cannot be answered."""
    from shouldtune.models.decoding import Request

    options, window = call.options, base.model.config.window
    if options.max_tokens < 1:
        return f"an answer of {options.max_tokens} tokens was asked for"
    try:
        ids = base.tokenizer.prompt(call.messages)
        if not ids:
            return "the prompt is empty"
        trie = base.label_trie(options.choices) if options.choices and options.choice_logprobs else None
        room = options.max_tokens if trie is None else max(trie.depths, default=0)
        if len(ids) + room > window:
            return f"prompt of {len(ids)} tokens does not fit the window of {window} less {room} for the answer"
        if trie is not None:
            return Request(ids, options.max_tokens, labels=trie)
        formed = options.choices or options.schema is not None
        constraint = base.grammars.constraint(options.schema, options.choices) if formed else None
    except ShouldTuneError as error:
        return str(error)
    listener = _Listener(base, call, len(ids))
    return Request(
        ids,
        options.max_tokens,
        options.temperature,
        options.seed,
        options.stop,
        constraint,
        listener=listener,
    )


class _Listener:
    """The caller's side of one answer: what the engine's thread asks and tells."""

    def __init__(self, base: Base, call: _Call, prompt_tokens: int) -> None:
        self._base, self._call, self._prompt_tokens = base, call, prompt_tokens
        self._spoken = Spoken(base.tokenizer.decode, call.options.stop)

    @property
    def left(self) -> bool:
        return self._call.answer.done()

    def token(self, token: int) -> None:
        if self._call.hear is not None and (said := self._spoken.hear(token)):
            self._tell(said)

    def ended(self, ids: Sequence[int], finish: Literal["stop", "length"]) -> None:
        if self._call.hear is not None:
            text = _cut(self._base.tokenizer.decode(ids), self._call.options.stop)
            self._tell(_answered(self._call, text, self._prompt_tokens, len(ids), finish))

    def _tell(self, what: str | Completion) -> None:
        hear = self._call.hear
        if hear is not None:
            with suppress(RuntimeError):  # the caller's loop has ended
                self._call.answer.get_loop().call_soon_threadsafe(hear, what)


def _cut(text: str, stops: Sequence[str]) -> str:
    for stop in stops:
        text = text.partition(stop)[0]
    return text


def _answered(
    call: _Call, text: str, prompt_tokens: int, completion_tokens: int, finish: Literal["stop", "length"]
) -> Completion:
    return Completion(
        text,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        latency_s=perf_counter() - call.start,
        finish_reason=finish,
        engine=call.identity.engine.name,
    )


def _completion(base: Base, call: _Call, request: Request, made: Generated, rate: float) -> Completion:
    """The answer; `rate` is the batch's seconds for one computed token."""
    text = base.tokenizer.decode(made.ids)
    if made.label_scores:
        text = call.options.choices[max(range(len(made.label_scores)), key=made.label_scores.__getitem__)]
    answered = _answered(call, _cut(text, call.options.stop), len(request.ids), len(made.ids), made.finish_reason)
    return replace(
        answered,
        compute_s=rate * made.computed,
        choice_logprobs=tuple(round(score, 4) for score in made.label_scores),
    )


def _failed(call: _Call, why: str, failure: Failure | None = None) -> Completion:
    return Completion(
        "",
        latency_s=perf_counter() - call.start,
        finish_reason="error",
        engine=call.identity.engine.name,
        error=why,
        failure=failure,
    )
