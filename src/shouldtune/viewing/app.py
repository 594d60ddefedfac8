"""The page over HTTP, and a stream that says when there is more to see."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from shouldtune.errors import ShouldTuneError
from shouldtune.report.page import live_policy, to_html
from shouldtune.report.under_way import UnderWay
from shouldtune.run import load_run
from shouldtune.trail import is_alive
from shouldtune.viewing.guard import Guard
from shouldtune.viewing.partial import record_of, under_way
from shouldtune.viewing.told import Follower

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOOK_EVERY = 0.4
"""Seconds between two looks at the run's folder."""
AT_MOST = 0.2
"""Share of one core that drawing the page anew may take: the run beside it needs the machine."""
LEAST_PAUSE = 1.0
BEAT = 15.0
"""Seconds after which a stream says something although nothing is new, so that a dead connection is noticed."""


class Watched:
    """A run's folder as the page shows it, drawn when it is asked for and there is something new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.version = 0
        self._follower = Follower(folder)
        self._lock = threading.Lock()
        self._drawn: tuple[int, str] = (-1, "")
        self._took = 0.0
        self._since = time.monotonic()
        self._dirty = True
        self._seen: tuple[float, ...] = ()

    def look(self) -> UnderWay:
        """Read on, and say how the run is getting on. The version counts up where a page drawn now would show more."""
        with self._lock:
            now = self._read_on()
            if self._dirty and time.monotonic() - self._since >= max(LEAST_PAUSE, self._took / AT_MOST):
                self._count_up()
            return replace(now, version=self.version)

    def page(self) -> str:
        """The whole page as of now. ShouldTuneError where the folder cannot be read."""
        with self._lock:
            now = self._read_on()
            if self._dirty:
                self._count_up()
            if self._drawn[0] == self.version:
                return self._drawn[1]
            started = time.monotonic()
            finished = now.state == "ended" and (self.folder / "verdict.json").exists()
            record = load_run(self.folder) if finished else record_of(self.folder, self._follower.told)
            drawn = to_html(record, replace(now, version=self.version))
            if self._drawn[0] >= 0:  # the first time loads the drawing library too
                self._took = time.monotonic() - started
            self._drawn = self.version, drawn
            return drawn

    def _read_on(self) -> UnderWay:
        read, alive = self._follower.read_on(), is_alive(self.folder)
        seen = (alive, *self._signs())
        self._dirty |= read or seen != self._seen
        self._seen = seen
        told = self._follower.told
        if not told.facts and (self.folder / "verdict.json").exists():
            return UnderWay("ended", "")  # a run from before runs told of themselves
        return under_way(told, alive=alive, quiet_for=self._quiet())

    def _count_up(self) -> None:
        self.version, self._since, self._dirty = self.version + 1, time.monotonic(), False

    def _quiet(self) -> float:
        try:
            return max(0.0, time.time() - self._follower.path.stat().st_mtime)
        except OSError:
            return 0.0

    def _signs(self) -> tuple[float, ...]:
        """When the files that the page rests on were last written."""
        paths = (self.folder / name for name in ("verdict.json", "inquiry.json"))
        return tuple(path.stat().st_mtime if path.exists() else 0.0 for path in paths)


def app_of(folder: Path, key: str, port: int, stopping: Callable[[], bool] = lambda: False) -> Guard:
    """The page of a run at `/KEY/`: nothing else on this machine can guess where it is."""
    from starlette.applications import Starlette
    from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
    from starlette.routing import Route

    watched = Watched(folder)

    async def page(request: Request) -> Response:
        try:
            drawn = await asyncio.to_thread(watched.page)
        except ShouldTuneError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return HTMLResponse(drawn, headers={"content-security-policy": live_policy()})

    async def events(request: Request) -> Response:
        return StreamingResponse(_told(watched, stopping), media_type="text/event-stream")

    async def no_icon(request: Request) -> Response:
        return Response(status_code=204)

    async def no_page(request: Request, error: Exception) -> Response:
        return PlainTextResponse("there is no such page\n", status_code=404)

    routes = [
        Route(f"/{key}/", page, methods=["GET"]),
        Route(f"/{key}/events", events, methods=["GET"]),
        Route("/favicon.ico", no_icon, methods=["GET"]),
    ]
    made = Starlette(routes=routes, exception_handlers={404: no_page})
    made.router.redirect_slashes = False
    return Guard(made, port)


async def _told(watched: Watched, stopping: Callable[[], bool]) -> AsyncIterator[str]:
    """Server-sent events: how the run is getting on, whenever that has changed."""
    before, since = "", time.monotonic()
    while not stopping():
        now = await asyncio.to_thread(watched.look)
        said = json.dumps({"state": now.state, "said": now.said, "version": now.version})
        if said != before:
            yield f"data: {said}\n\n"
            before, since = said, time.monotonic()
        elif time.monotonic() - since > BEAT:
            yield ": still here\n\n"
            since = time.monotonic()
        await asyncio.sleep(LOOK_EVERY)
