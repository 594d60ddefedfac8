"""A fifth of all replies is faulty, and the verdict is the same."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.run import RunRecord
from shouldtune.task import load_task
from tests.conftest import MakeTask, numbered_rows
from tests.faulty_server import FaultyServer, scripted

FAULTS = dict.fromkeys(("429", "500", "timeout", "malformed", "truncated", "error_in_200"), 0.2 / 6)
WORLDS: tuple[tuple[str, str | None], ...] = (
    ("base=0.2,shots@4=0.98", None),
    ("base=0.1", None),
    ("base=0.2", "scripted:base=0.2,tuned=0.98"),
)
"""What the model behind the server can do, and what may be tuned. An answer that is cut off is wrong in truth: the
goal lies further from what they can do than the share of those."""
HOW = Climb(chosen_rungs(["guess", "zero_shot", "few_shot", "fine_tune"]), allow_simulated=True, forgetting=False)
ROWS = 500


def climbs(make_task: MakeTask, seeds: Sequence[int], faults: dict[str, float]) -> tuple[list[RunRecord], Counter[str]]:
    """A climb for each seed, all at once, each against a server of its own; with the faults that there were."""

    async def go(folders: list[Path]) -> list[RunRecord]:
        return await asyncio.gather(*(climb(load_task(folder), HOW) for folder in folders))

    with ExitStack() as stack:
        servers, folders = [], []
        for seed in seeds:
            abilities, tune = WORLDS[seed % len(WORLDS)]
            rows = numbered_rows(ROWS)
            answers = {row["input"]: row["target"] for row in rows}
            double = Scripted(answers, Abilities.parse(abilities), seed=seed)
            server = FaultyServer(scripted(double), faults, seed=seed, hang_s=2.5)
            servers.append(stack.enter_context(server.running()))
            what: dict[str, Any] = {"goal": {"quality": 0.8}, "seed": seed, "probes": False}
            name = f"w{seed}-{len(faults)}"
            folders.append(make_task(rows, name, model=server.model_id, tune=tune, **what))
        records = asyncio.run(go(folders))
    return records, sum((server.gone_wrong for server in servers), Counter[str]())


@pytest.mark.parametrize(
    "seeds",
    [range(1), *(pytest.param(range(at, at + 10), marks=pytest.mark.slow) for at in range(0, 50, 10))],
    ids=lambda seeds: f"{seeds[0]}-{seeds[-1]}",
)
def test_a_fifth_of_all_replies_faulty_and_the_same_verdict(
    seeds: range, make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOULDTUNE_TIMEOUT_S", "0.7" if len(seeds) == 1 else "2")  # a busy machine is slow by itself
    sound, none = climbs(make_task, seeds, {})
    faulty, faults = climbs(make_task, seeds, FAULTS)
    assert not none and len(faults) >= 4
    told = [(record.verdict.answer, record.verdict.reason, record.verdict.rung) for record in sound]
    assert [(record.verdict.answer, record.verdict.reason, record.verdict.rung) for record in faulty] == told
    assert len(set(told)) == min(len(WORLDS), len(seeds))
    answers = [p.completion for record in faulty for rung in record.measurements for p in rung.predictions]
    assert any(completion.lost for completion in answers)
    assert any(completion.finish_reason == "length" for completion in answers)
