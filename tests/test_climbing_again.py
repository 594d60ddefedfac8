"""The climb that a run was, read back from what it wrote down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shouldtune import demo
from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.rechecking.again import climb_again
from shouldtune.run import RunRecord
from shouldtune.rungs import LADDER
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.trained import Setting
from shouldtune.task import load_task
from shouldtune.types import Rung
from tests.conftest import MakeTask, numbered_rows

OTHER: tuple[Rung, ...] = (FineTune(settings=(Setting(None, instructed=True), Setting(1e-4, instructed=False))),)


@pytest.fixture
def record(make_task: MakeTask) -> RunRecord:
    task = make_task(numbered_rows(60), model="scripted:base=0.9", tune=None)
    return asyncio.run(climb(load_task(task), Climb(chosen_rungs(["guess"]), allow_simulated=True, probing=None)))


def written(record: RunRecord, rungs: Sequence[str], names: Sequence[str]) -> RunRecord:
    verdict = replace(record.verdict, provenance={**record.verdict.provenance, "planned": list(names)})
    return replace(record, verdict=verdict, asked={**record.asked, "rungs": list(rungs)})


@pytest.mark.parametrize("rungs", [demo.ladder(), LADDER, OTHER], ids=["demo", "usual", "other"])
def test_every_rung_has_the_settings_that_it_had(record: RunRecord, rungs: tuple[Rung, ...]) -> None:
    again, notes = climb_again(written(record, [repr(rung) for rung in rungs], [rung.name for rung in rungs]))
    assert again.rungs == rungs
    assert notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "FineTune(name='fine_tune', gone=1)",
        "FineTune(settings=(Setting(learning_rate=open('x'), instructed=True),))",
        "FineTune(settings=(Path('x'),))",
        "FineTune(readings=int('12'))",
        "Distil()",
        "FineTune(",
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_is_evaluated(record: RunRecord, text: str) -> None:
    again, notes = climb_again(written(record, [text], ["fine_tune"]))
    assert again.rungs == (FineTune(),)
    assert notes == ("fine_tune: its settings were written by another version; it has those of this one",)


def test_a_rung_that_is_gone_is_told(record: RunRecord) -> None:
    told: dict[str, Any] = {"rungs": ["Oracle()"], "names": ["oracle"]}
    again, notes = climb_again(written(record, **told))
    assert (again.rungs, notes) == ((), ("oracle: this version has no such rung",))
