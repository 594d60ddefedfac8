"""A run that does not lie in its task's folder lends what it has: looks, what was trained, a provider's jobs."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.looks import Look, looks_path, rows_of, write_down
from shouldtune.models.local import PACKAGES
from shouldtune.run import jobs_path
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.task import load_task
from tests.conftest import MakeTask, numbered_rows
from tests.provider_training import QUICK
from tests.test_rechecking import ROWS, TASK, edited, looked, measured, told
from tests.tiny_llama import write_tiny_gguf
from tests.tuning_server import TuningServer, answers_of

TRAINED = Climb(chosen_rungs(["fine_tune"]), all_rungs=True, allow_simulated=True, probing=None, forgetting=False)


def moved(run: Path, there: Path) -> Path:
    """The run and all that lies beside it, taken away from its task's folder."""
    runs = shutil.move(run.parent, there)
    return Path(runs) / run.name


def test_looks_that_were_taken_where_the_run_lies_count_before_anything_is_asked(
    make_task: MakeTask, tmp_path: Path
) -> None:
    task = make_task(ROWS, **TASK)
    loaded = load_task(task)
    for number in range(1, 41):
        write_down(looks_path(task), Look(number, f"asked {number}", rows_of(loaded.holdout)))
    then = asyncio.run(climb(loaded, Climb(allow_simulated=True)))
    assert then.verdict.provenance["look"] == 41
    make_task(edited(ROWS, 0.05), **TASK)
    in_place = told(looked(then.folder))
    lent = moved(then.folder, tmp_path / "lent")
    found = looked(lent, task)
    assert told(found) == in_place
    assert measured(found)[0].now.verdict.provenance["look"] == 42


def test_a_job_that_a_provider_has_done_is_not_told_as_training(make_task: MakeTask, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    rows = numbered_rows(120)
    with TuningServer(answers_of(rows)).running() as server:
        named = {"model": "scripted:base=0.2", "tune": server.tune}
        task = make_task(rows, **named)
        how = replace(TRAINED, may_send=True, patience=QUICK)
        then = asyncio.run(climb(load_task(task), how))
        lent = moved(then.folder, tmp_path / "lent")
        make_task(rows, **named, economics={"per_month": 1000})
        found = looked(lent, task)
        assert found.needed == ()
        assert not jobs_path(task).exists()  # nothing was written
        measured(replace(found, how=replace(found.how, may_send=True, patience=QUICK)))
        assert len(server.jobs) == 1


def test_a_job_that_must_be_done_again_is_told_with_its_price(make_task: MakeTask) -> None:
    pytest.importorskip("openai")
    rows = numbered_rows(120)
    with TuningServer(answers_of(rows)).running() as server:
        price = {"read": 1.0, "written": 2.0}
        named = {"model": "scripted:base=0.2", "tune": server.tune}
        named |= {"prices": {server.tune: {**price, "training": 100.0}, "tuned": price}}
        task = make_task(rows, **named)
        how = replace(TRAINED, may_send=True, patience=QUICK)
        then = asyncio.run(climb(load_task(task), how))
        train = {example.id for example in load_task(task).task.halves()[0]}
        place = next(place for place in range(120) if f"row-{place + 1}" in train)
        rows[place] = {**rows[place], "target": "another answer"}
        make_task(rows, **named)
        (need,) = looked(then.folder).needed
        assert (need.name, need.epochs) == ("fine_tune", 3)
        paid = next(m.fit.usd for m in then.measurements if m.rung == "fine_tune")
        assert need.usd_most is not None and paid is not None and need.usd_most > paid
        assert len(server.jobs) == 1


def test_an_adapter_that_was_trained_is_not_told_as_training(
    make_task: MakeTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in PACKAGES:
        pytest.importorskip(name)
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))
    gguf = f"gguf:{write_tiny_gguf(tmp_path / 'tiny.gguf')}"
    rows = [{"input": f"{row['input']}", "target": f"{place % 3}"} for place, row in enumerate(numbered_rows(64))]
    task = make_task(rows, model=gguf, tune=gguf, output={"max_tokens": 2})
    then = asyncio.run(climb(load_task(task), replace(TRAINED, rungs=(FineTune(readings=100),))))
    lent = moved(then.folder, tmp_path / "lent")
    make_task(rows, model=gguf, tune=gguf, output={"max_tokens": 2}, economics={"per_month": 1000})
    found = looked(lent, task)
    assert found.needed == ()
    _, bought = measured(found)
    assert not bought
