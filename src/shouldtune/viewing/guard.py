"""Who may ask: the page's own browser tab on this machine, to read, and nobody else."""

from __future__ import annotations

from shouldtune.web import App, Door, Event, Receive, Scope, Send, Stranger, answer, with_headers

STRANGERS: dict[Stranger, tuple[int, str]] = {
    "wrong_host": (421, "this server is not that host"),
    "foreign_origin": (403, "this page is not for other sites"),
}


class Guard:
    """Refuses before any route is looked at, and puts the same headers on every answer."""

    def __init__(self, app: App, port: int) -> None:
        self.app = app
        self.door = Door(frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")), links=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a web socket: there is none
            await send({"type": "websocket.close", "code": 1008})
            return

        async def guarded(event: Event) -> None:
            await send(with_headers(event))

        refused = self._refused(scope)
        if refused is None:
            await self.app(scope, receive, guarded)
            return
        status, why = refused
        allowed = {"allow": "GET, HEAD"} if status == 405 else {}
        await answer(guarded, status, f"{why}\n".encode(), {"content-type": "text/plain; charset=utf-8", **allowed})

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        stranger = self.door.refuses(scope)
        if stranger is not None:
            return STRANGERS[stranger]
        return None if scope["method"] in {"GET", "HEAD"} else (405, "this page can only be read")
