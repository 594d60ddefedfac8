"""How long the limits take that hold at every prefix: many sequences at once, one- and two-sided.

python benchmarks/statistics/sequences.py [sequences, 10000 unless said] [values a sequence, 1000]
"""

from __future__ import annotations

import sys
import time

import numpy as np

from shouldtune.stats.sequences import lower_limits, two_sided_limits


def main() -> None:
    sequences, n = (*map(int, sys.argv[1:]), *(10_000, 1_000)[len(sys.argv) - 1 :])
    rng = np.random.default_rng(0)
    kinds = {
        "0/1 scores": (rng.random((sequences, n)) < 0.7).astype(float),
        "differences of 0/1 scores": rng.choice([0.0, 0.5, 1.0], (sequences, n), p=[0.1, 0.75, 0.15]),
        "graded scores": rng.beta(4, 2, (sequences, n)),
    }
    print(f"| {sequences:,} sequences of {n:,} | one-sided | two-sided |\n|---|---|---|")
    for kind, values in kinds.items():
        start = time.perf_counter()
        lower_limits(values, 0.05)
        middle = time.perf_counter()
        two_sided_limits(values, 0.05)
        print(f"| {kind} | {middle - start:.1f} s | {time.perf_counter() - middle:.1f} s |")


if __name__ == "__main__":
    main()
