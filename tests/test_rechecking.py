"""A run months later: what has changed, what is asked again, whether the verdict stands."""

from __future__ import annotations

import asyncio
import json
import random
import shlex
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.cli import app
from shouldtune.ladder import climb
from shouldtune.progress import Progress
from shouldtune.rechecking import Outcome, Recheck, look_again, measure_again
from shouldtune.rechecking.changes import rows_between
from shouldtune.rechecking.why import why
from shouldtune.run import RunRecord
from shouldtune.task import load_task
from shouldtune.types import Completion
from tests.conftest import MakeTask, Rows, numbered_rows
from tests.test_cli import shouldtune

MODEL = "scripted:base=0.2,shots@4=0.9"
TASK: dict[str, Any] = {"model": MODEL, "tune": "scripted:tuned=0.95", "goal": {"quality": 0.8}}
ROWS = numbered_rows(400)


class Bought(Progress):
    """Counts what was bought, by rung and purpose."""

    def __init__(self) -> None:
        self.calls = Counter[tuple[str, str]]()

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        if new and completion.engine != "training":
            self.calls[rung, purpose if purpose in ("measure", "grade") else "choose"] += 1


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task that was run: few_shot meets the goal."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    folder.mkdir()
    write(folder, ROWS)
    record = asyncio.run(climb(load_task(folder), Climb(allow_simulated=True)))
    assert (record.verdict.reason, record.verdict.rung) == ("goal_met", "few_shot")
    return folder


@pytest.fixture
def task(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(finished, tmp_path / "toy")


def write(folder: Path, rows: Rows, **changes: Any) -> None:
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = {"name": "toy", "instruction": "Answer.", "examples": "examples.jsonl", "scorer": "exact", **TASK, **changes}
    (folder / "shouldtune.yaml").write_text(json.dumps(file))


def looked(run: Path, task: Path | None = None, *settings: str, kept: Path | None = None) -> Recheck:
    return asyncio.run(look_again(run, task, lambda path, earlier: load_task(path, earlier=earlier), settings, kept))


def measured(found: Recheck) -> tuple[Outcome, Counter[tuple[str, str]]]:
    bought = Bought()
    return asyncio.run(measure_again(found, bought)), bought.calls


def told(found: Recheck) -> Counter[tuple[str, str]]:
    said = Counter[tuple[str, str]]()
    for each in found.needed:
        said += Counter({(each.name, "measure"): each.to_measure, (each.name, "choose"): each.to_choose})
        said += Counter({(each.name, "grade"): each.to_grade})
    return said


def edited(rows: Rows, share: float) -> Rows:
    chosen = random.Random(1).sample(range(len(rows)), round(share * len(rows)))
    return [{**row, "input": f"{row['input']} indeed"} if i in chosen else row for i, row in enumerate(rows)]


def test_nothing_changed_asks_nothing_and_stands(task: Path) -> None:
    before = {path: path.read_bytes() for path in task.rglob("*") if path.is_file()}
    done = shouldtune("recheck", task)
    assert done.returncode == 0, done.stderr
    assert "nothing: all is as it was" in done.stdout
    assert "The verdict stands" in done.stdout
    assert before == {path: path.read_bytes() for path in task.rglob("*") if path.is_file()}


def test_of_five_percent_changed_rows_only_what_rests_on_them_is_asked(finished: Path, task: Path) -> None:
    write(task, edited(ROWS, 0.05))
    old = load_task(finished)
    found = looked(task)
    new_rows = set(found.changes.holdout.changed)
    assert [e.id for e in found.loaded.holdout] == [e.id for e in old.holdout]
    assert [e.id for e in found.loaded.task.train] == [e.id for e in old.task.train]
    outcome, bought = measured(found)
    asked = {m.rung: {p.example_id for p in m.predictions} for m in outcome.now.measurements if m.uses_llm}
    expected = Counter({(rung, "measure"): len(rows & new_rows) for rung, rows in asked.items()})
    assert new_rows
    assert bought == +expected == told(found)  # one call a rung for each of its changed rows, none on the training half
    assert outcome.stands
    few_shot = next(each for each in outcome.rungs if each.rung == "few_shot")
    assert few_shot.gain is not None and few_shot.gain.n == len(asked["few_shot"] - new_rows)
    assert few_shot.other == 0


def test_added_rows_fall_to_a_side_and_move_nobody(task: Path) -> None:
    write(task, [*ROWS, *({"input": f"zeta {i} omega {i * 13}", "target": f"z {i}"} for i in range(40))])
    found = looked(task)
    before = load_task(task, earlier=None)
    assert [e.id for e in before.holdout] != [e.id for e in found.loaded.holdout]  # a new draw would be another one
    added = set(found.changes.holdout.added)
    assert 0 < len(added) < 40
    assert not found.changes.holdout.removed and not (found.changes.train and found.changes.train.removed)
    places = [place for place, e in enumerate(found.loaded.holdout) if e.id in added]
    assert places != list(range(len(found.loaded.holdout) - len(added), len(found.loaded.holdout)))
    outcome, bought = measured(found)
    said, choosing = told(found), ("few_shot", "choose")
    # How long a setting races hangs on answers that nobody has yet: that part is a guess.
    assert said.pop(choosing) == pytest.approx(bought.pop(choosing), rel=0.2)
    assert bought == said
    assert len(outcome.now.holdout) == 120 + len(added)


def test_a_row_that_only_moved_is_no_change() -> None:
    assert not rows_between((("row-1", "a"), ("row-2", "b")), (("row-1", "b"), ("row-2", "a"))).any
    found = rows_between((("row-1", "a"), ("row-2", "b"), ("x", "c")), (("row-1", "n"), ("row-2", "a"), ("x", "d")))
    assert (found.same, found.added, found.removed, found.changed) == (1, ("row-1",), ("row-2",), ("x",))


def test_another_price_goal_or_volume_asks_nothing(task: Path) -> None:
    write(task, ROWS, economics={"per_month": 1000, "months": 12}, prices={MODEL: {"read": 1, "written": 2}})
    found = looked(task)
    assert {setting.key for setting in found.changes.settings} == {
        "economics.per_month",
        "economics.months",
        "prices.prompt",
    }
    outcome, bought = measured(found)
    assert (found.needed, bought, outcome.stands) == ((), Counter(), True)
    assert outcome.now.folder != outcome.then.folder
    few_shot = next(each for each in outcome.rungs if each.rung == "few_shot")
    assert few_shot.total_now is not None and few_shot.total_then is None
    lower = looked(outcome.then.folder, task, "goal.quality=0.7")
    assert ("goal.quality", 0.8, 0.7) in [(s.key, s.was, s.now) for s in lower.changes.settings]


def test_another_model_can_change_the_verdict_and_the_exit_code_says_so(task: Path) -> None:
    arguments = ("recheck", task, "--model", "scripted:base=0.2,shots@4=0.3")
    dry = shouldtune(*arguments, "--dry", "--json")
    document = json.loads(dry.stdout)
    assert (dry.returncode, document["stands"], document["now"]) == (0, None, None)
    assert document["calls"] > 0
    done = shouldtune(*arguments, "--junit", task / "junit.xml")
    assert done.returncode == 100, done.stderr
    assert "The verdict has changed. Yes" in done.stdout
    assert "another model is prompted" in " ".join(done.stdout.split())
    assert '<failure message="The verdict has changed.' in (task / "junit.xml").read_text()
    first = next(path for path in (task / "runs").glob("toy-*") if "No" in _answer(path))
    again = shouldtune("recheck", first, *arguments[2:], "--fail-on", "nothing", "--markdown")
    assert again.returncode == 0
    assert again.stdout.startswith("### The verdict has changed")


def _answer(run: Path) -> str:
    return {"no": "No", "yes": "Yes"}.get(json.loads((run / "verdict.json").read_text())["answer"], "")


def test_a_missed_goal_and_an_ended_budget_have_codes_of_their_own(task: Path) -> None:
    missed = shouldtune("recheck", task, "--set", "goal.quality=0.99", "--fail-on", "goal_missed")
    assert missed.returncode == 101, missed.stderr
    first = min((task / "runs").glob("toy-*"), key=lambda run: json.loads((run / "run.json").read_text())["created"])
    ended = shouldtune("recheck", first, "--model", "scripted:base=0.5", "--max-calls", "5")
    assert ended.returncode == 3, ended.stderr
    unknown = shouldtune("recheck", task, "--fail-on", "gaol")
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_a_task_that_is_gone_is_said_in_one_line(task: Path, tmp_path: Path) -> None:
    (task / "shouldtune.yaml").unlink()
    done = shouldtune("recheck", task)
    assert (done.returncode, done.stdout) == (2, "")
    assert "the task of this run is gone" in done.stderr.splitlines()[0]
    moved = shutil.move(next((task / "runs").glob("toy-*")), tmp_path / "elsewhere")
    lost = shouldtune("recheck", moved)
    assert "does not lie in its task's folder" in lost.stderr


def test_a_run_that_lies_elsewhere_lends_its_ledger(finished: Path, task: Path, tmp_path: Path) -> None:
    write(task, edited(ROWS, 0.05))
    shutil.rmtree(task / "runs")
    found = looked(next((finished / "runs").glob("toy-*")), task)
    outcome, bought = measured(found)
    assert bought == told(found)
    assert 0 < sum(bought.values()) <= 20
    assert outcome.now.folder.is_relative_to(task)
    assert outcome.now.verdict.provenance["look"] == 2  # the first was taken where the run lies


def test_a_run_from_before_the_data_were_recorded_can_be_rechecked(task: Path) -> None:
    run = next((task / "runs").glob("toy-*"))
    (run / "contents.json").unlink()
    asked = json.loads((run / "run.json").read_text())
    for newer in ("forgetting", "forecast", "probing", "economics", "rungs"):
        del asked[newer]
    (run / "run.json").write_text(json.dumps(asked))
    assert looked(task).changes.train is None
    write(task, edited(ROWS, 0.05))
    found = looked(task)
    assert len(found.changes.holdout.changed) == 10
    assert "cannot be told" in found.changes.notes[0]
    outcome, _ = measured(found)
    assert outcome.stands


def test_what_a_server_was_told_comes_in_as_examples(task: Path) -> None:
    rows = [
        {"id": f"chatcmpl-{i}", "input": f"new {i} thing {i * 31}", "target": "good", "output": out, "rung": "few_shot"}
        for i, out in enumerate(["good", "bad"] * 15)
    ]
    path = task / "kept.told.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = looked(task, None, kept=task / "kept.jsonl")
    assert found.served is not None and found.served.score.estimate == 0.5
    assert found.served.drifted
    assert found.changes.train is not None
    assert len(found.changes.holdout.added) + len(found.changes.train.added) == 30


def test_a_changed_training_row_costs_what_is_made_of_it(make_task: MakeTask) -> None:
    """Of rungs that show or train on training rows: another instruction beside them asks all of them anew."""
    folder = make_task(numbered_rows(100), **TASK)
    rungs = chosen_rungs(["zero_shot", "nearest_shots", "fine_tune"])
    record: RunRecord = asyncio.run(
        climb(load_task(folder), Climb(rungs, all_rungs=True, allow_simulated=True, probing=None, forgetting=False))
    )
    rows, train = numbered_rows(100), {e.id for e in load_task(folder).task.halves()[0]}
    row = next(place for place in range(100) if f"row-{place + 1}" in train)
    rows[row] = {**rows[row], "target": "another answer"}
    make_task(rows, **TASK)
    found = looked(record.folder)
    needs = {each.name: each for each in found.needed}
    assert "zero_shot" not in needs
    assert needs["fine_tune"].epochs > 0
    assert "trained on them" in why(needs["fine_tune"], found.changes, ("fine_tune",))
    outcome, bought = measured(found)
    assert bought == told(found)
    assert not any(name == "zero_shot" for name, _ in bought)
    assert outcome.now.asked["rungs"] == record.asked["rungs"]


def test_the_guides_workflow_is_sound() -> None:
    guide = Path(__file__).parent.parent / "docs" / "guides" / "recheck.yml"
    flow = yaml.safe_load(guide.read_text(encoding="utf-8"))
    assert flow["permissions"] == {"contents": "read"}
    assert flow[True]["schedule"][0]["cron"].count(" ") == 4  # YAML 1.1 reads `on` as true
    steps = [step for job in flow["jobs"].values() for step in job["steps"]]
    for step in steps:
        assert "uses" not in step or (step["uses"].startswith("actions/") and "@v" in step["uses"])
    words = [shlex.split(step["run"]) for step in steps if step.get("run", "").startswith("shouldtune")]
    assert len(words) == 1
    command = get_command(app).commands[words[0][1]]  # type: ignore[attr-defined]
    options = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words[0] if word.startswith("--")} <= options
