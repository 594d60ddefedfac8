"""Who may ask: hosts, origins and keys, looked at before any route is; every answer is counted and told in one line."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from shouldtune.serving.metrics import Metrics
from shouldtune.serving.refused import Refused
from shouldtune.web import App, Door, Event, Receive, Scope, Send, Stranger, answer, sent, with_headers

OPEN = "/healthz"
"""The one route that needs no key."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STRANGERS: dict[Stranger, tuple[int, str]] = {
    "wrong_host": (421, "this server is not that host; `--allow-host` names more"),
    "foreign_origin": (403, "pages of other sites may not ask this server"),
}


class Left(Exception):
    """The client is gone: there is nobody to answer."""


class Guard:
    """The outermost of the app: nothing is raised beyond it."""

    def __init__(
        self,
        app: App,
        hosts: Collection[str],
        keys: Sequence[str],
        routes: Collection[str],
        quiet: Collection[str],
        metrics: Metrics,
        say: Callable[[str], None],
    ) -> None:
        """`routes` may be told in logs; those in `quiet` are asked by machines, and told only when they fail."""
        self.app, self.metrics, self.say = app, metrics, say
        self.door = Door(frozenset(host.lower() for host in hosts), ("http", "https"))
        self._keys = tuple(_digest(key.encode()) for key in keys)
        self._routes, self._quiet = frozenset(routes), frozenset(quiet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # there is no web socket, and no lifespan
            return
        start, status = time.monotonic(), "left"
        begun = False

        async def guarded(event: Event) -> None:
            nonlocal begun, status
            if event["type"] == "http.response.start":
                begun, status = True, str(event["status"])
            await send(with_headers(event))

        try:
            self._let_in(scope)
            await self.app(scope, receive, guarded)
        except Left:
            status = "left"
        except Refused as refused:
            if not begun:
                await _send(refused, guarded)
        except Exception as error:  # a bug: told by its place alone, since its words may hold what was asked
            self.say(f"bug: {type(error).__name__} at {_place(error)}")
            if not begun:
                await _send(Refused(500, "this server failed; its log says where"), guarded)
        finally:
            route = _route(scope["path"], self._routes)
            self.metrics.requests[route, status] += 1
            method = scope["method"] if scope["method"] in METHODS else "?"
            if route not in self._quiet or status != "200":
                self.say(f"{method} {route} {status} {time.monotonic() - start:.2f} s")

    def _let_in(self, scope: Scope) -> None:
        """Nothing where the request may go on. Refused otherwise; what is left of its body is not read."""
        stranger = self.door.refuses(scope)
        if stranger is not None:
            raise Refused(*STRANGERS[stranger], code=stranger, close=True)
        if self._keys and scope["path"] != OPEN:
            self._check_key(sent(scope, b"authorization"))

    def _check_key(self, borne: Sequence[str]) -> None:
        scheme, _, key = borne[0].partition(" ") if len(borne) == 1 else ("", "", "")
        told = _digest(key.strip().encode("latin-1"))
        matches = [hmac.compare_digest(told, known) for known in self._keys]  # all of them, whichever fits
        if scheme.lower() != "bearer" or not any(matches):
            raise Refused(
                401,
                "this server needs its key: `Authorization: Bearer KEY`",
                code="invalid_api_key",
                headers={"www-authenticate": "Bearer"},
                close=True,
            )


def _digest(key: bytes) -> bytes:
    """Of one length whatever the key, so that comparing tells nothing of it."""
    return hashlib.sha256(key).digest()


def _route(path: str, routes: Collection[str]) -> str:
    """The path as it may be told: one of ours, or `other`."""
    if path in routes:
        return path
    return next((f"{route}*" for route in routes if route.endswith("/") and path.startswith(route)), "other")


async def _send(refused: Refused, send: Send) -> None:
    body = json.dumps(refused.body()).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    await answer(send, refused.status, body, {**headers, **refused.headers})


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
