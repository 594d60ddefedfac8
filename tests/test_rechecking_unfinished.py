"""A run or a re-check that ended before its answer was clear: the same command goes on with it."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.run import load_run
from shouldtune.task import load_task
from shouldtune.types import Example
from tests.conftest import MakeTask, numbered_rows
from tests.faulty_server import Body, FaultyServer
from tests.test_cli import shouldtune
from tests.test_rechecking import ROWS, looked, measured, told, write

HOW = Climb(allow_simulated=True)


@pytest.fixture(scope="module")
def cut_off(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task whose only run ended after five calls."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    folder.mkdir()
    write(folder, ROWS)
    record = asyncio.run(climb(load_task(folder, max_calls=5), HOW))
    assert record.verdict.reason == "unmeasured"
    return folder


def runs_of(task: Path) -> list[Path]:
    return sorted((task / "runs").glob("toy-*"))


def test_a_run_that_a_budget_ended_goes_on_in_its_own_folder(cut_off: Path, tmp_path: Path) -> None:
    task = shutil.copytree(cut_off, tmp_path / "toy")
    found = looked(task)
    assert not found.same and found.folder == runs_of(task)[0]
    assert sum(told(found).values()) > 5
    done = shouldtune("recheck", task, "--max-calls", "5000", "--junit", task / "junit.xml")
    assert done.returncode == 0, done.stderr  # nothing was said before, so nothing has changed
    assert "nothing: all is as it was" not in done.stdout
    assert "The run had told no verdict; now there is one. No: few_shot" in " ".join(done.stdout.split())
    assert [load_run(run).verdict.reason for run in runs_of(task)] == ["goal_met"]
    assert 'name="verdict stands" time="0" />' in (task / "junit.xml").read_text()
    again = shouldtune("recheck", task, "--json")
    assert (again.returncode, json.loads(again.stdout)["stands"]) == (0, True)


def test_what_cannot_be_told_is_neither_changed_nor_the_same(cut_off: Path, tmp_path: Path) -> None:
    task = shutil.copytree(cut_off, tmp_path / "toy")
    ended = shouldtune("recheck", task, "--max-calls", "5", "--json")
    assert ended.returncode == 3
    assert json.loads(ended.stdout)["stands"] is None


def test_a_recheck_that_a_budget_ended_goes_on_and_stands_beside_the_verdict_that_was_told(tmp_path: Path) -> None:
    task = tmp_path / "toy"
    task.mkdir()
    write(task, ROWS)
    first = asyncio.run(climb(load_task(task), HOW))
    write(task, ROWS, model="scripted:base=0.2,shots@4=0.91")
    ended = shouldtune("recheck", task, "--max-calls", "5")
    assert (ended.returncode, len(runs_of(task))) == (3, 2)
    found = looked(task)
    assert found.before.folder == first.folder  # the newest run is the re-check, and it has told nothing
    assert found.folder in runs_of(task)
    outcome, bought = measured(found)
    assert outcome.stands
    assert sum(bought.values()) > 5
    assert len(runs_of(task)) == 2


def test_a_run_whose_calls_failed_is_measured_when_they_no_longer_do(make_task: MakeTask) -> None:
    answers: dict[str, str] = {}
    with FaultyServer(lambda body: _right(body, answers), faults={"400": 0.5}).running() as server:
        task = make_task(numbered_rows(100), model=server.model_id, tune=None, goal={"quality": 0.8})
        loaded = load_task(task)
        answers |= {example.input: example.target for example in _all(loaded.task.train, loaded.holdout)}
        how = Climb(chosen_rungs(["guess", "zero_shot"]), probing=None)
        assert asyncio.run(climb(loaded, how)).verdict.reason == "unmeasured"
        assert shouldtune("recheck", task).returncode == 4
        server.faults = {}
        done = shouldtune("recheck", task)
    assert done.returncode == 0, done.stderr
    assert [load_run(run).verdict.reason for run in runs_of(task)] == ["goal_met"]


def _right(body: Body, answers: dict[str, str]) -> str:
    asked = str(body["messages"][-1]["content"])
    return next((target for text, target in answers.items() if text in asked), "")


def _all(*halves: tuple[Example, ...]) -> list[Example]:
    return [example for half in halves for example in half]
