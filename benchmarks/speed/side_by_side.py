"""Two or more programs on the same work, turn by turn, so that a busy minute hits all of them.

A side is a process that loads what it needs, prints `ready`, and for every line it reads does the work once and prints
one JSON object with `seconds` and whatever else it wants to tell.
"""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PEERS = HERE.parent / ".peers" / "bin" / "python"
OURS = Path(sys.executable)


class Side:
    """One program of a comparison."""

    def __init__(self, python: Path, script: str, *arguments: str) -> None:
        if not python.exists():
            sys.exit(f"{python} is missing; hint: make bench-peers")
        command = [str(python), str(HERE / "sides" / script), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read("ready")

    def turn(self) -> dict[str, Any]:
        """Do the work once."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self._read('{"seconds"'))
        return found

    def close(self) -> None:
        """End the process."""
        self.process.stdin and self.process.stdin.close()
        self.process.wait(timeout=60)

    def _read(self, start: str) -> str:
        """The next line that begins so; libraries may talk in between."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise SystemExit(f"{self.process.args!r} ended early")


def compare(subject: str, sides: Mapping[str, Side], rounds: int, **about: Any) -> dict[str, Any]:
    """Take turns and print the medians, and how many times as fast the first side is as each other one."""
    turns: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            turns[name].append(side.turn())
    for side in sides.values():
        side.close()
    seconds = {name: statistics.median(turn["seconds"] for turn in each) for name, each in turns.items()}
    first = next(iter(sides))
    result = {
        "subject": subject,
        **about,
        "machine": f"{platform.machine()}, {processor()}",
        "date": datetime.now(UTC).date().isoformat(),
        "rounds": rounds,
        "median_seconds": {name: round(value, 3) for name, value in seconds.items()},
        "all_seconds": {name: [round(turn["seconds"], 3) for turn in each] for name, each in turns.items()},
        "times_as_fast": {name: round(value / seconds[first], 2) for name, value in seconds.items() if name != first},
        "told": {name: {k: v for k, v in each[-1].items() if k != "seconds"} for name, each in turns.items()},
    }
    print(json.dumps(result), flush=True)
    return result


def processor() -> str:
    """The CPU's name and what it can do with short floats."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    name = next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "?")
    has = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f" {flag} " in text.replace("\n", " ")]
    return f"{name} ({', '.join(has) or 'no avx2'})"
