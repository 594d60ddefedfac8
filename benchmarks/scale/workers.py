"""How calls a second grow with workers, what the driver takes for a call, and where the one writer is full.

python benchmarks/scale/workers.py [--workers 1,2,4,8] [--takes 1.0] [--rounds 8] [--ledger-calls 20000]

Workers hold a scripted model whose every call takes `--takes` seconds and hardly any computing, so that what is
measured is ours. Each worker is asked as many calls, however many there are. The second table is a ledger with and
without a budget and no workers and no waiting: what one writer can take. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from time import perf_counter, process_time

from shouldtune.judgement import Price
from shouldtune.measure import measure
from shouldtune.models.budget import Budget
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.scorers.text import exact
from shouldtune.types import Example, Model
from shouldtune.workers.cluster import Cluster
from shouldtune.workers.lane import BATCHES
from shouldtune.workers.on import On
from shouldtune.workers.pool import BATCH, Pool
from shouldtune.workers.spread import Spread
from shouldtune.workers.wire import Recipe

Figures = tuple[int, float, float]
"""(calls, seconds on the clock, seconds of the driver's processor)."""


def examples(n: int) -> list[Example]:
    return [Example(str(i), f"request number {i} about the way to the harbour", f"answer {i}") for i in range(n)]


async def timed(model: Model, rows: list[Example], folder: Path, price: Price | None = None) -> Figures:
    """Ask a model behind a ledger of its own."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.budget = None if price is None else Budget(1e9, 0.0)
        start, computed = perf_counter(), process_time()
        predictions = await measure(Ledgered(model, ledger, price), rows, exact)
        seconds, cpu = perf_counter() - start, process_time() - computed
    assert all(prediction.score is not None for prediction in predictions)
    return len(rows), seconds, cpu


async def on_workers(cluster: Cluster, count: int, takes: float, rounds: int) -> Figures:
    """Warm all workers up, then ask each as often as the others."""
    cluster.on = On(workers=count, cpus=0.01)
    rows = examples(count * BATCH * BATCHES * rounds)
    warm = [Example(f"warm {i}", f"warm up {i}", f"answer {i}") for i in range(count * BATCH * BATCHES)]
    pairs = [(row.input, row.target) for row in (*rows, *warm)]
    pool = Pool(cluster, Recipe(f"scripted:base=1,takes={takes:g}"), count, pairs)
    cluster.users += 1  # the next count of workers goes on with this cluster
    try:
        model = Spread(pool)
        while len(pool._open) < count:
            await measure(model, warm, exact)
        with tempfile.TemporaryDirectory() as folder:
            return await timed(model, rows, Path(folder))
    finally:
        await pool.aclose()


def scaling(counts: list[int], takes: float, rounds: int) -> None:
    cluster = Cluster(On(cpus=0.01))
    print("| workers | calls | calls/s | efficiency | driver's CPU, ms a call | load |\n|---|---|---|---|---|---|")
    for count in counts:
        calls, seconds, cpu = asyncio.run(on_workers(cluster, count, takes, rounds))
        ideal = count * BATCH * BATCHES / takes
        print(
            f"| {count} | {calls:,} | {calls / seconds:,.0f} | {calls / seconds / ideal:.2f}"
            f" | {1000 * cpu / calls:.2f} | {os.getloadavg()[0]:.1f} |",
            flush=True,
        )
    cluster.leave()


def writer(calls: int) -> None:
    print("\n| the one writer | calls/s | CPU, ms a call | load |\n|---|---|---|---|")
    for name, price in (
        ("answers alone", None),
        ("a budget kept: each call written down before it is sent", Price(1, 1)),
    ):
        rows = examples(calls)
        model = Scripted.knowing(rows, Abilities(base=1.0))
        with tempfile.TemporaryDirectory() as folder:
            done, seconds, cpu = asyncio.run(timed(model, rows, Path(folder), price))
        print(f"| {name} | {done / seconds:,.0f} | {1000 * cpu / done:.2f} | {os.getloadavg()[0]:.1f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", default="1,2,4,8")
    parser.add_argument("--takes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--ledger-calls", type=int, default=20_000)
    chosen = parser.parse_args()
    scaling([int(count) for count in chosen.workers.split(",")], chosen.takes, chosen.rounds)
    writer(chosen.ledger_calls)


if __name__ == "__main__":
    main()
