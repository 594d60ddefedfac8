"""Memory of a climb grows with the batch, not with the data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parent.parent / "benchmarks" / "scale" / "many_examples.py"
MOST = 2_000
"""Bytes a row that a climb's peak may grow by. It was 4,000 when rows and answers were held; what is left are blocks
that are not yet full at so few rows, as of the keys by which near-duplicates are found."""


def peak(n: int, tmp_path: Path) -> float:
    """Megabytes at most, of a process that loads a task and climbs it."""
    command = [sys.executable, str(BENCHMARK), "--one", str(n), "--rungs", "guess,zero_shot", "--climb-only"]
    done = subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, check=True)
    assert list(tmp_path.iterdir()) == []  # nothing is left of its scratch files
    return float(json.loads(done.stdout)["climb MB"])


def test_the_peak_of_a_climb_hardly_grows_with_the_rows(tmp_path: Path) -> None:
    few, many = peak(2_500, tmp_path), peak(10_000, tmp_path)
    assert (many - few) * 1024**2 / 7_500 < MOST
