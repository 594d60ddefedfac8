"""uvicorn's HTTP connection with an end to its patience: slow headers, readers who stall, and too many at once."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from shouldtune.serving.limits import Limits
from shouldtune.serving.refused import Refused

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol


class Deadline:
    """The time by which a connection must have moved on; one runs at a time."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None

    def start(self, seconds: float, transport: asyncio.Transport) -> None:
        """End the connection after so long, what is still to be sent included; where it runs already it runs on."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, transport.abort)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def impatient(limits: Limits) -> type[H11Protocol]:
    """The connection class with these limits."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self._headers, self._reading = Deadline(), Deadline()
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.write(_FULL)
                transport.close()
                return
            self._headers.start(limits.headers_s, transport)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._headers.stop()
            else:  # the beginning of a request
                self._headers.start(limits.headers_s, self.transport)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._reading.start(limits.stall_s, self.transport)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._reading.stop()

        def connection_lost(self, exc: Exception | None) -> None:
            self._headers.stop()
            self._reading.stop()
            super().connection_lost(exc)

    return Connection


def _written(refused: Refused) -> bytes:
    body = json.dumps(refused.body()).encode()
    head = f"HTTP/1.1 {refused.status} Full\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return f"{head}\r\nretry-after: 5\r\nconnection: close\r\n\r\n".encode() + body


_FULL = _written(Refused(429, "this server has as many connections as it takes", code="rate_limit_exceeded"))
