"""The routes: chat completions, the model's name, health, metrics, feedback."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Collection, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ShouldTuneError
from shouldtune.serving.guard import Guard, Left
from shouldtune.serving.keeping import Kept, read_feedback
from shouldtune.serving.limits import Limits, Places, too_large
from shouldtune.serving.metrics import Metrics
from shouldtune.serving.reading import read_json, read_request
from shouldtune.serving.refused import Refused, bad, refusal_of
from shouldtune.serving.replies import Reply, event
from shouldtune.serving.winner import Winner
from shouldtune.types import Completion
from shouldtune.web import Receive, Scope, Send

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

CHAT, MODELS, FEEDBACK, HEALTH, METRICS = "/v1/chat/completions", "/v1/models", "/v1/feedback", "/healthz", "/metrics"


@dataclass
class House:
    """What the routes share."""

    winner: Winner
    limits: Limits = field(default_factory=Limits)
    kept: Kept | None = None
    say: Callable[[str], None] = print
    warm: bool = False
    places: Places = field(init=False)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(self.limits)
        self.metrics = Metrics(lambda: self.places.taken)

    async def json_of(self, request: Request) -> dict[str, Any]:
        """A body as an object. Refused; Left."""
        from starlette.requests import ClientDisconnect

        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "the body must be sent as `Content-Type: application/json`", close=True)
        told = request.headers.get("content-length", "")
        if told.isdecimal() and int(told[:20]) > self.limits.body_bytes:
            raise too_large(self.limits)
        try:
            async with asyncio.timeout(self.limits.body_s):
                return read_json(await self.places.body(request.stream()))
        except TimeoutError:
            raise Refused(408, "the body came too slowly", close=True) from None
        except ClientDisconnect:
            raise Left from None

    async def keep(self, reply: Reply, completion: Completion) -> None:
        """Before the client has it. That it cannot be kept is no reason not to answer."""
        if self.kept is None:
            return
        try:
            await self.kept.answer(reply.id, self.winner.rung, reply.asked.text, completion)
        except OSError as error:
            self.metrics.not_kept += 1
            self.say(f"an answer could not be kept: {error.strerror}")


class Chat:
    """POST /v1/chat/completions."""

    def __init__(self, house: House) -> None:
        self.house = house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.requests import Request

        house = self.house
        body = await house.json_of(Request(scope, receive))
        asked = read_request(body, house.winner, house.limits.max_tokens)
        with house.places.one():
            reply = Reply(house.winner, asked)
            work = self._stream(reply, send) if asked.stream else self._answer(reply, scope, receive, send)
            await unless_left(work, receive)

    async def _answer(self, reply: Reply, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.responses import Response

        async with aclosing(self._pieces(reply)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    body = json.dumps(reply.whole(piece), ensure_ascii=False).encode("utf-8", "replace")
                    await Response(body, media_type="application/json")(scope, receive, send)

    async def _stream(self, reply: Reply, send: Send) -> None:
        """Headers go out with the first text: what fails before it is an error with a status of its own."""
        start, begun = time.monotonic(), False

        async def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self.house.metrics.first_token.add(time.monotonic() - start)
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await _more(send, reply.first())

        try:
            async with aclosing(self._pieces(reply)) as pieces:
                async for piece in pieces:
                    await begin()
                    if isinstance(piece, Completion):
                        await _more(send, reply.last(piece))
                    elif not reply.asked.tools:
                        await _more(send, reply.piece(piece))
        except Refused as refused:
            if not begun:
                raise
            await _more(send, event(refused.body()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pieces(self, reply: Reply) -> AsyncGenerator[str | Completion, None]:
        """The answer, counted and kept. Refused where there is none, or none in time."""
        house, asked = self.house, reply.asked
        deadline, start = asyncio.get_running_loop().time() + house.limits.answer_s, time.monotonic()
        async with aclosing(house.winner.answer(asked.text, asked.options)) as pieces:
            while True:
                piece = await self._next(pieces, deadline)
                if isinstance(piece, Completion):
                    break
                yield piece
        house.metrics.answer.add(time.monotonic() - start)
        house.metrics.tokens["prompt"] += piece.prompt_tokens or 0
        house.metrics.tokens["completion"] += piece.completion_tokens or 0
        if piece.failed:
            raise refusal_of(piece, own_words=house.winner.is_here)
        await house.keep(reply, piece)
        yield piece

    async def _next(self, pieces: AsyncGenerator[str | Completion, None], deadline: float) -> str | Completion:
        try:
            async with asyncio.timeout_at(deadline):
                return await anext(pieces)
        except TimeoutError:
            raise Refused(504, f"no whole answer within {self.house.limits.answer_s:g} s", code="timeout") from None
        except RecursionError:
            raise bad("the body is nested too deeply") from None
        except ShouldTuneError as error:
            self.house.say(f"no answer: {type(error).__name__}")
            raise Refused(502, "the model behind this server cannot be asked", code="no_model") from None


async def _more(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def unless_left(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do the work while the client is there. Left where it goes; the work is cancelled then, and has ended."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise Left
        working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


def app_of(house: House, hosts: Collection[str], keys: Sequence[str]) -> Guard:
    """Everything that is served, for requests that name one of `hosts` and bear one of `keys`, where there are any."""
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse, PlainTextResponse
    from starlette.routing import Route, Router

    async def models(request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(house.winner)]})

    async def model(request: Request) -> Response:
        if request.path_params["name"] != house.winner.name:
            raise Refused(404, "the model does not exist here", param="model", code="model_not_found")
        return JSONResponse(_model(house.winner))

    async def health(request: Request) -> Response:
        told = {"status": "ok" if house.warm else "warming up"}
        return JSONResponse(told, status_code=200 if house.warm else 503)

    async def metrics(request: Request) -> Response:
        return PlainTextResponse(house.metrics.text(), media_type="text/plain; version=0.0.4")

    async def feedback(request: Request) -> Response:
        told = read_feedback(await house.json_of(request))
        return JSONResponse({"object": "feedback", "id": told[0], "example": await _feedback(house, *told)})

    routes = [
        Route(CHAT, Chat(house), methods=["POST"]),
        Route(MODELS, models, methods=["GET"]),
        Route(f"{MODELS}/{{name:path}}", model, methods=["GET"]),
        Route(HEALTH, health, methods=["GET"]),
        Route(METRICS, metrics, methods=["GET"]),
        *([Route(FEEDBACK, feedback, methods=["POST"])] if house.kept else []),
    ]
    router = Router(routes, redirect_slashes=False)

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        scope["app"] = router  # so that it raises what it cannot route
        try:
            await router(scope, receive, send)
        except HTTPException as error:
            what = "this route has other methods" if error.status_code == 405 else "there is no such route"
            raise Refused(error.status_code, what, headers=error.headers, close=True) from None

    names = {CHAT, MODELS, f"{MODELS}/", HEALTH, METRICS, FEEDBACK}
    return Guard(routed, hosts, keys, names, {HEALTH, METRICS}, house.metrics, house.say)


async def _feedback(house: House, answer_id: str, answer: str | None, score: float | None) -> bool:
    """Whether a new example has come of it."""
    assert house.kept is not None  # noqa: S101  the route is there only then
    try:
        found = await house.kept.feedback(answer_id, answer, score)
    except OSError as error:
        house.metrics.not_kept += 1
        house.say(f"feedback could not be kept: {error.strerror}")
        raise Refused(507, "the feedback could not be written") from None
    if score is not None:
        house.metrics.feedback[0] += 1
        house.metrics.feedback[1] += score
    return found


def _model(winner: Winner) -> dict[str, Any]:
    return {"id": winner.name, "object": "model", "created": winner.created, "owned_by": "shouldtune"}
