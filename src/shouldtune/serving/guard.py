"""Who may ask: hosts, origins and keys, looked at before any route is; every answer is counted and told in one line.

Loopback is not trust: every page that a browser on this machine shows can send to 127.0.0.1, and a name that its
owner points there (DNS rebinding) passes for a host. So a request must name this server as its host, must not come from
another site's page, and must bear the key where there is one. There is no CORS, so no page may read an answer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Collection, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from shouldtune.serving.metrics import Metrics
from shouldtune.serving.refused import Refused
from shouldtune.viewing.guard import HEADERS, App, Receive, Scope, Send

OPEN = "/healthz"
"""The one route that needs no key."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


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
        self.hosts = frozenset(host.lower() for host in hosts)
        self.origins = frozenset(f"{scheme}://{host}" for host in self.hosts for scheme in ("http", "https"))
        self._keys = tuple(_digest(key.encode()) for key in keys)
        self._routes, self._quiet = frozenset(routes), frozenset(quiet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # there is no web socket, and no lifespan
            return
        start, status = time.monotonic(), "left"
        begun = False

        async def guarded(message: MutableMapping[str, Any]) -> None:
            nonlocal begun, status
            if message["type"] == "http.response.start":
                begun, status = True, str(message["status"])
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

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

        def sent(name: bytes) -> list[str]:
            return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

        hosts, origins, sites = map(sent, (b"host", b"origin", b"sec-fetch-site"))
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            raise Refused(421, "this server is not that host; `--allow-host` names more", code="wrong_host", close=True)
        if any(o.lower() not in self.origins for o in origins) or {"cross-site", "same-site"} & set(sites):
            raise Refused(403, "pages of other sites may not ask this server", code="foreign_origin", close=True)
        if self._keys and scope["path"] != OPEN:
            self._check_key(sent(b"authorization"))

    def _check_key(self, sent: Sequence[str]) -> None:
        scheme, _, key = sent[0].partition(" ") if len(sent) == 1 else ("", "", "")
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
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in refused.headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "?" if trace is None else f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
