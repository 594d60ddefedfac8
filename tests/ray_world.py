"""A Ray cluster of two nodes on this machine, in a process of its own: Ray talks to more than the loopback.

    python tests/ray_world.py TASK kills|node|nothing

prints one line of JSON: what the verdict was, how many calls were lost with workers, how many workers were killed.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

from shouldtune.asked import Climb
from shouldtune.ladder import climb
from shouldtune.progress import Progress
from shouldtune.task import load_task
from shouldtune.types import Completion
from shouldtune.workers import On
from shouldtune.workers.pool import Pool

KILLS = 20


class Watched(Progress):
    """What was answered, and what was lost on the way."""

    def __init__(self) -> None:
        self.new = self.lost = 0

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self.new += new
        self.lost += completion.lost if new else 0


def pools() -> list[Pool]:
    return [each for each in gc.get_objects() if isinstance(each, Pool)]


async def killing(watched: Watched) -> int:
    """Kill workers that have calls under way, at random over the run, from outside; how many were killed.

    By answers, not by the clock: where every worker dies within the time that a call takes, no call is ever answered,
    and one that was lost six times is rightly given up.
    """
    import ray

    rng, killed, next_at = random.Random(0), 0, 0
    while killed < KILLS:
        await asyncio.sleep(0.005)
        if watched.new < next_at:
            continue
        busy = [lane for pool in pools() for lane in pool._open if lane.under_way]
        if busy:
            lane = rng.choice(busy)
            ray.kill(lane.worker, no_restart=True)
            killed += 1
            next_at = watched.new + rng.randint(1, 120)
    return killed


async def losing(cluster: Any, node: Any) -> int:
    """Take a node away while most workers are busy."""
    while sum(bool(lane.under_way) for pool in pools() for lane in pool._open) < 4:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    await asyncio.to_thread(cluster.remove_node, node, False)
    return 0


async def main(folder: Path, how: str) -> dict[str, Any]:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    other = cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    watched = Watched()
    asked = Climb(allow_simulated=True, whole_holdout=True, on=On(workers=4))
    climbing = asyncio.create_task(climb(load_task(folder), asked, watched))
    beside = {"kills": lambda: killing(watched), "node": lambda: losing(cluster, other), "nothing": nothing}[how]
    harming = asyncio.create_task(beside())
    record = await climbing
    done = harming.done()
    harming.cancel()
    result = {
        "verdict": (record.folder / "verdict.json").read_text(),
        "new": watched.new,
        "lost": watched.lost,
        "harm_done": done,
        "killed": harming.result() if done else None,
    }
    ray.shutdown()
    cluster.shutdown()
    return result


async def nothing() -> int:
    return 0


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))))  # noqa: T201
