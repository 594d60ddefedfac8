"""Who may ask: the page's own browser tab on this machine, to read, and nobody else.

A server on the loopback address can be reached by every page that the same browser shows: by a form, a script, or a
name that its owner points to 127.0.0.1 (DNS rebinding). So a request must name this server as its host, come from its
own page where it says where it comes from, and only read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Refuses before any route is looked at, and puts the same headers on every answer."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket: there is none
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *more]}
            await send(message)

        refused = self._refused(scope)
        if refused is None:
            await self.app(scope, receive, guarded)
            return
        status, why = refused
        headers = [(b"content-type", b"text/plain; charset=utf-8"), *([(b"allow", b"GET, HEAD")] * (status == 405))]
        await guarded({"type": "http.response.start", "status": status, "headers": headers})
        await guarded({"type": "http.response.body", "body": f"{why}\n".encode()})

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        def sent(name: bytes) -> list[str]:
            return [value.decode("latin-1") for key, value in scope["headers"] if key == name]

        hosts, origins, sites, modes = map(sent, (b"host", b"origin", b"sec-fetch-site", b"sec-fetch-mode"))
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return 421, "this server is not that host"
        if any(origin.lower() not in {f"http://{host}" for host in self.hosts} for origin in origins):
            return 403, "this page is not for other sites"
        if any(site in {"cross-site", "same-site"} for site in sites) and modes != ["navigate"]:
            return 403, "this page is not for other sites"
        if scope["method"] not in {"GET", "HEAD"}:
            return 405, "this page can only be read"
        return None
