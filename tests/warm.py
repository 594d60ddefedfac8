"""`shouldtune` commands in processes of their own that start in a moment: forked from one that has imported everything.

Each is a process like any other: it can be killed, interrupted, and asked for its exit code.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_FORKS = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import sklearn.linear_model
import shouldtune.ladder, shouldtune.planning, shouldtune.probing, shouldtune.report.live, shouldtune.report.page
import aiohttp
from shouldtune.cli import main
print("ready", flush=True)
for line in sys.stdin:
    wanted = json.loads(line)
    if "wait" in wanted:
        print(os.waitstatus_to_exitcode(os.waitpid(wanted["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(wanted[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = ["shouldtune", *wanted["arguments"]]
    code = 1
    try:
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""


@dataclass
class Running:
    """One command that was begun."""

    pid: int
    out: Path
    parent: Warm

    def kill(self, how: int = signal.SIGKILL) -> None:
        """Send a signal; a command that has ended by itself is still there to be waited for, so this is safe."""
        os.kill(self.pid, how)

    def wait(self) -> int:
        """The exit code; negative is the signal that ended it."""
        return int(self.parent.say({"wait": self.pid}))

    @property
    def stdout(self) -> str:
        return (self.out / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.out / "stderr").read_text()


class Warm:
    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def begin(self, out: Path, *arguments: object) -> Running:
        """Begin a command; what it prints lies in `out`."""
        out.mkdir(exist_ok=True)
        said = {name: str(out / name) for name in ("stdout", "stderr")}
        for name in said:
            (out / name).write_text("")
        return Running(int(self.say({"arguments": [*map(str, arguments)], **said})), out, self)

    def say(self, wanted: dict[str, object]) -> str:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
