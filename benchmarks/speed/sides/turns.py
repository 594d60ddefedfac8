"""What every side does: say `ready`, then work once a line."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def take_turns(work: Callable[[], dict[str, Any] | None]) -> None:
    """Run `work` once for every line read, and print its seconds, the peak memory and what it returns."""
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        told = work() or {}
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak, **told}), flush=True)
