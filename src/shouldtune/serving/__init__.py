"""`shouldtune serve`: a fitted rung behind an OpenAI-compatible server."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import shlex
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.serving.keeping import Kept
from shouldtune.serving.limits import Limits
from shouldtune.serving.winner import Winner, open_winner
from shouldtune.web import SETTINGS

if TYPE_CHECKING:
    from shouldtune.serving.app import House

SHORTEST_KEY = 16
Ready = Callable[[str, Callable[[], None]], None]
"""Is given the server's address, and what ends the server."""


@dataclass(frozen=True)
class Address:
    """Where to listen, and by which names one may ask."""

    host: str = "127.0.0.1"
    port: int = 8000
    more_hosts: tuple[str, ...] = ()
    """Names, with or without a port, that a request's Host may give beside this machine's own."""

    def hosts(self, port: int) -> frozenset[str]:
        """What a request's Host may be, once the port is known."""
        own = ("127.0.0.1", "localhost", "[::1]", f"[{self.host}]" if ":" in self.host else self.host)
        usual = own if port == 80 else ()
        return frozenset({*(f"{name}:{port}" for name in own), *usual, *self.more_hosts})


def read_keys(variable: str | None, file: Path | None) -> tuple[str, ...]:
    """The keys in an environment variable, or one a line in a file. InputError."""
    if variable is not None and file is not None:
        raise InputError("keys come from one place", hint="give --key-env or --key-file")
    if variable is not None:
        told, where = os.environ.get(variable, ""), f"${variable}"
    elif file is not None:
        try:
            told, where = file.read_text(encoding="utf-8"), str(file)
        except (OSError, ValueError):
            raise InputError("the keys cannot be read", where=file) from None
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise InputError("others may read this file", where=file, hint=f"chmod 600 {file}")
    else:
        return ()
    keys = tuple(filter(None, map(str.strip, told.splitlines())))
    if not keys or any(len(key) < SHORTEST_KEY or not key.isprintable() or " " in key for key in keys):
        raise InputError(
            f"a key has at least {SHORTEST_KEY} characters, without spaces",
            where=where,
            hint='make one: python -c "import secrets; print(secrets.token_urlsafe(32))"',
        )
    return keys


def start(
    run: Path,
    rung: str | None,
    name: str | None,
    address: Address,
    keys: Sequence[str],
    limits: Limits,
    keep: Path | None,
    say: Callable[[str], None],
) -> None:
    """Serve the model that a run would ship, or another of its rungs, until interrupted. ShouldTuneError."""
    winner = open_winner(run, rung, name)

    def ready(url: str, end: Callable[[], None]) -> None:
        behind = winner.engine.get("name") or winner.engine.get("model") or winner.engine["kind"]
        say(f"serves {winner.name} (rung {winner.rung}, {behind}) at {url}/v1; Ctrl-C ends it")
        say(f"try: {_curl(winner, url, with_key=bool(keys))}")

    serve(winner, address, keys, limits, keep, ready, say)


def _curl(winner: Winner, url: str, *, with_key: bool) -> str:
    body = {"model": winner.name, "messages": [{"role": "user", "content": winner.sample[:60]}]}
    key = ' -H "Authorization: Bearer $KEY"' if with_key else ""
    told = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} -d {told}"


def serve(
    winner: Winner,
    address: Address,
    keys: Sequence[str],
    limits: Limits,
    keep: Path | None,
    ready: Ready,
    say: Callable[[str], None],
) -> None:
    """Serve until interrupted; `ready` is given the address once requests are taken, `say` a line for each.

    InputError where the address or the file cannot be had, or anybody could ask; CannotMeasure without the packages.
    """
    try:
        import uvicorn  # noqa: F401

        from shouldtune.serving.app import House
    except ImportError:
        raise CannotMeasure("starlette and uvicorn are needed", hint='pip install "shouldtune[serve]"') from None
    if keep is not None and not keys:
        raise InputError("what is kept may become training data, so --keep needs a key", hint="--key-env NAME")
    with _listening(address, keys) as listening:
        kept = Kept(keep) if keep is not None else None
        try:
            asyncio.run(_serve(House(winner, limits, kept, say), address, keys, listening, ready))
        except KeyboardInterrupt:
            pass
        finally:
            if kept is not None:
                kept.close()


async def _serve(house: House, address: Address, keys: Sequence[str], listening: socket.socket, ready: Ready) -> None:
    import uvicorn

    from shouldtune.serving.app import app_of
    from shouldtune.serving.connections import impatient

    port = listening.getsockname()[1]
    app = app_of(house, address.hosts(port), keys)
    server = uvicorn.Server(uvicorn.Config(app, http=impatient(house.limits), **_settings(house.limits)))
    warming = asyncio.create_task(_warm(house, server))
    name = f"[{address.host}]" if ":" in address.host else address.host
    ready(f"http://{name}:{port}", partial(setattr, server, "should_exit", True))
    try:
        await server.serve([listening])
        if warming.done():
            warming.result()
    finally:
        warming.cancel()
        try:  # an interrupt is raised here once more
            await asyncio.gather(warming, return_exceptions=True)
        finally:
            await house.winner.aclose()


async def _warm(house: House, server: Any) -> None:
    """Ready once the model has answered; a model that cannot be loaded ends the server."""
    try:
        await house.winner.warm()
    except Exception:
        server.should_exit = True
        raise
    house.warm = True
    house.say("warm: ready for requests")


def _settings(limits: Limits) -> dict[str, Any]:
    return {
        **SETTINGS,
        "log_level": "error",
        "ws": "none",
        "timeout_keep_alive": limits.idle_s,
        "timeout_graceful_shutdown": limits.shutdown_s,
    }


def _listening(address: Address, keys: Sequence[str]) -> socket.socket:
    """A socket that listens. InputError, also where others than this machine could ask without a key."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise InputError(f"{address.host!r} is no address of this machine") from None
    if not keys and not ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback:
        raise InputError(
            f"{address.host} can be reached from other machines, so it needs a key",
            hint="--key-env NAME or --key-file FILE; or leave --host out",
        )
    listening = socket.socket(family, kind)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(place)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise InputError(
            f"{address.host}:{address.port} cannot be had: {error.strerror}", hint="--port 0 takes a free one"
        ) from None
    return listening
