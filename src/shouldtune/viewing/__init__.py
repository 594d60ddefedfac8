"""`shouldtune view`: the report's page, served to this machine's browser while the run goes on."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.web import SETTINGS

HOST = "127.0.0.1"
LIMITS: dict[str, Any] = {"log_level": "warning", "timeout_graceful_shutdown": 2, "limit_concurrency": 64}


def view(folder: Path, port: int, ready: Callable[[str], None]) -> None:
    """Serve the page of a run until interrupted; `ready` is given its address once it can be opened.

    Port 0 takes a free one. InputError where the port is taken, CannotMeasure where the packages are not installed.
    """
    try:
        import uvicorn

        from shouldtune.viewing.app import app_of
    except ImportError:
        raise CannotMeasure("starlette and uvicorn are needed", hint='pip install "shouldtune[serve]"') from None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
        except OSError as error:
            raise InputError(f"port {port} cannot be had: {error.strerror}", hint="--port 0 takes a free one") from None
        port, key = listening.getsockname()[1], secrets.token_urlsafe(16)
        listening.listen()
        server: uvicorn.Server
        app = app_of(folder, key, port, lambda: server.should_exit)
        server = uvicorn.Server(uvicorn.Config(app, **SETTINGS, **LIMITS))
        ready(f"http://{HOST}:{port}/{key}/")
        server.run([listening])
