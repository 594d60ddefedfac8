"""Keep a vLLM server running for as long as whoever wanted it is there, and no longer.

    python -m shouldtune.models.vllm_keeper LOG COMMAND ...

A process between the two, because a server that outlived a killed run would hold a GPU's memory: when this one's
standard input ends, which the system sees to however its parent ended, the server and all that it started are stopped.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

GRACE_S = 10.0
"""To end in order."""
OURS_ALONE = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
"""Variables of this Python that a server in an environment of its own must not see."""


def main() -> int:
    """The server's exit status."""
    log, *command = sys.argv[1:]
    environment = {name: value for name, value in os.environ.items() if name not in OURS_ALONE}
    with Path(log).open("ab") as out:
        try:
            server = subprocess.Popen(  # noqa: S603  the user says how vLLM is started
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            out.write(f"{command[0]}: {error.strerror}\n".encode())
            return 127
    left = threading.Event()
    threading.Thread(target=_stop_when_left, args=(server, left), daemon=True).start()
    status = server.wait()
    if left.is_set():
        _wait_for_the_others(server.pid)
    with suppress(ProcessLookupError):  # of one that ended by itself, what it started holds memory that the next needs
        os.killpg(server.pid, signal.SIGKILL)
    return status


def _stop_when_left(server: subprocess.Popen[bytes], left: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 1024):  # not through a buffer, whose lock would be held as this process ends
        pass
    left.set()
    for how in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(server.pid, how)
        time.sleep(GRACE_S)


def _wait_for_the_others(group: int) -> None:
    """What a server started may take longer to end than itself."""
    until = time.monotonic() + GRACE_S
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
