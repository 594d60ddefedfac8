"""What every server here does before it looks at a route: whose requests it takes, and what goes with every answer.

Loopback is not trust: every page that a browser on this machine shows can send to 127.0.0.1, by a form or a script,
and a name that its owner points there (DNS rebinding) passes for a host. So a request must name the server as its host,
and must not come from another site's page. There is no CORS, so no page may read an answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application."""

HEADERS = {
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""Of every answer."""
SETTINGS: dict[str, Any] = {"access_log": False, "lifespan": "off", "server_header": False, "proxy_headers": False}
"""Of uvicorn: no address is logged, and no header is believed about where a request comes from."""

Stranger = Literal["wrong_host", "foreign_origin"]


@dataclass(frozen=True)
class Door:
    """Whose requests are taken."""

    hosts: frozenset[str]
    """What a request may call this server, in small letters, with the port."""
    schemes: tuple[str, ...] = ("http",)
    """How its own pages may have been fetched."""
    links: bool = False
    """Whether a link on another site's page may lead here."""

    @cached_property
    def _origins(self) -> frozenset[str]:
        return frozenset(f"{scheme}://{host}" for host in self.hosts for scheme in self.schemes)

    def refuses(self, scope: Scope) -> Stranger | None:
        """What speaks against a request; None where it may go on."""
        hosts, origins, sites = (sent(scope, name) for name in (b"host", b"origin", b"sec-fetch-site"))
        if len(hosts) != 1 or hosts[0].lower() not in self.hosts:
            return "wrong_host"
        if any(origin.lower() not in self._origins for origin in origins):
            return "foreign_origin"
        follows_link = self.links and sent(scope, b"sec-fetch-mode") == ["navigate"]
        return "foreign_origin" if {"cross-site", "same-site"} & set(sites) and not follows_link else None


def sent(scope: Scope, name: bytes) -> list[str]:
    """Every value of a request's header."""
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def with_headers(event: Event) -> Event:
    """What is sent, with the headers of every answer where it begins one."""
    if event["type"] != "http.response.start":
        return event
    more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    return {**event, "headers": [*event.get("headers", ()), *more]}


async def answer(send: Send, status: int, body: bytes, headers: Mapping[str, str]) -> None:
    """A whole answer at once."""
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})
