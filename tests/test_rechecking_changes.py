"""What a re-check says has changed: nothing that decides a verdict is overlooked, and nothing else is named."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.rechecking import Changes, Needed, Recheck
from shouldtune.rechecking.changes import Setting, changes
from shouldtune.rechecking.why import why
from shouldtune.report.rechecks import look_to_text
from shouldtune.run import RunRecord
from shouldtune.task import load_task
from shouldtune.task.contents import contents_of
from tests.conftest import MakeTask, numbered_rows
from tests.provider_training import QUICK
from tests.test_rechecking import TASK, looked, measured, told
from tests.tuning_server import TuningServer, answers_of

FEW = Climb(chosen_rungs(["guess", "zero_shot"]), allow_simulated=True, probing=None)
ROWS = numbered_rows(80)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
TOWN = {"type": "object", "properties": {"town": {"type": "string"}}}


def ran(task: Path, how: Climb = FEW) -> RunRecord:
    return asyncio.run(climb(load_task(task), how))


def said(found: Recheck) -> str:
    return " ".join(look_to_text(found).split())


# ---------------------------------------------------------------- files that a task file names


def schema_task(make_task: MakeTask, schema: Any, indent: int | None = None) -> Path:
    task = make_task(ROWS, **TASK, output={"schema": "form.json", "max_tokens": 64})
    (task / "form.json").write_text(json.dumps(schema, indent=indent))
    return task


@pytest.fixture
def named_schema(make_task: MakeTask) -> Path:
    return schema_task(make_task, CITY)


def test_a_changed_schema_file_is_another_task(make_task: MakeTask, named_schema: Path) -> None:
    before = load_task(named_schema).digest
    then = ran(named_schema)
    schema_task(make_task, CITY, indent=2)
    assert load_task(named_schema).digest == before  # it says the same
    assert looked(then.folder).same
    schema_task(make_task, TOWN)
    assert load_task(named_schema).digest != before
    found = looked(then.folder)
    assert not found.same
    assert [setting.key for setting in found.changes.settings] == ["output.schema"]
    assert "output.schema: form.json " in said(found)
    assert all("the form of answers" in why(need, found.changes, ()) for need in found.needed)


def test_where_no_schema_file_is_named_the_digest_is_what_it_was(make_task: MakeTask) -> None:
    """Runs on disk go on: these are digests from before the file counted."""
    task = make_task(ROWS, **TASK)
    assert load_task(task).digest == "1bb77666165b00851609deaa772e8932b8bd8a4f4663192c2ce32b039d8c3241"
    make_task(ROWS, **TASK, output={"schema": CITY})
    assert load_task(task).digest == "bdfad9edbe91893d8abedb80320656647259f5f1745182229455fe2ea3e00afb"


def test_a_schema_of_which_an_older_run_kept_nothing_is_not_compared(make_task: MakeTask, named_schema: Path) -> None:
    then = ran(named_schema)
    path = then.folder / "contents.json"
    contents = json.loads(path.read_text())
    assert set(contents["files"]) == {"form.json"}
    path.write_text(json.dumps({**contents, "files": {}}))
    schema_task(make_task, TOWN)
    found = looked(then.folder)
    assert found.changes.settings == ()
    assert "form.json was not recorded then: whether it has changed cannot be told" in said(found)


def test_a_changed_task_that_is_kept_is_named(make_task: MakeTask) -> None:
    make_task(numbered_rows(60), name="other")
    task = make_task(ROWS, **TASK, keep=["../other"])
    then = ran(task)
    make_task(numbered_rows(61), name="other")
    found = looked(then.folder)
    assert [setting.key for setting in found.changes.settings] == ["keep"]
    assert "keep: ../other " in said(found)
    contents = json.loads((then.folder / "contents.json").read_text())
    del contents["kept"]
    (then.folder / "contents.json").write_text(json.dumps(contents))
    found = looked(then.folder)
    assert found.changes.settings == ()
    assert "../other was not recorded then: whether it has changed cannot be told" in said(found)


def test_what_was_forgotten_is_asked_again_where_a_kept_task_has_changed(make_task: MakeTask) -> None:
    make_task(numbered_rows(60), name="other")
    both = "scripted:base=0.2,tuned=0.9"
    task = make_task(numbered_rows(200), model=both, tune=both, goal={"quality": 0.8}, keep=["../other"])
    how = Climb(chosen_rungs(["zero_shot", "fine_tune"]), allow_simulated=True, probing=None)
    then = ran(task, how)
    assert then.verdict.forgetting is not None
    rows = [{**row, "input": f"{row['input']} indeed"} for row in numbered_rows(60)]
    make_task(rows, name="other")
    found = looked(then.folder)
    (need,) = found.needed
    assert need.name == "forgetting"
    assert why(need, found.changes, ("fine_tune",)) == "a task that is kept has changed"
    _, bought = measured(found)
    assert bought == told(found)


# ---------------------------------------------------------------- what a provider asks for training


def test_another_price_of_training_is_told_and_weighed_anew(make_task: MakeTask) -> None:
    pytest.importorskip("openai")
    rows = numbered_rows(120)
    with TuningServer(answers_of(rows)).running() as server:

        def priced(**training: float) -> Path:
            price = {"read": 1.0, "written": 2.0}
            prices = {server.tune: {**price, **training}, "tuned": price}
            return make_task(rows, model="scripted:base=0.2", tune=server.tune, prices=prices)

        rungs = chosen_rungs(["zero_shot", "fine_tune"])
        how = Climb(rungs, allow_simulated=True, probing=None, forgetting=False, may_send=True, patience=QUICK)
        then = ran(priced(training=100.0), how)
        assert then.asked["training_price"] == 100.0
        assert looked(then.folder).same
        priced(training=1.0)
        found = looked(then.folder)
        assert [(s.key, s.was, s.now) for s in found.changes.settings] == [("prices.training", 100.0, 1.0)]
        outcome, bought = measured(replace(found, how=replace(found.how, may_send=True, patience=QUICK)))
        assert (found.needed, bought, len(server.jobs)) == ((), Counter(), 1)
        assert outcome.now.verdict.provenance["look"] == 1  # the same answers at another price: no other look
        paid = [next(m.fit.usd or 0.0 for m in r.measurements if m.rung == "fine_tune") for r in (then, outcome.now)]
        assert 0 < paid[1] < paid[0] / 50
        assert [s.now for s in looked(then.folder, priced()).changes.settings] == [None]
        older = ran(priced(), how)
        assert "training_price" not in older.asked  # so that it is the run that it was
        priced(training=100.0)
        found = looked(older.folder)
        assert found.changes.settings == ()
        assert "what training cost was not recorded then: whether its price has changed cannot be told" in said(found)


# ---------------------------------------------------------------- models


def told_of(was: dict[str, Any], now: dict[str, Any], record: RunRecord) -> Changes:
    """What is said to have changed where the model that is prompted, and tuned, says this of itself."""
    contents = contents_of(load_task(record.folder.parent.parent))
    before, after = ({**record.asked, "prompt_model": each, "tuned_model": each} for each in (was, now))
    return changes(replace(record, asked=before), contents, after, contents)


def test_another_engine_is_named_and_the_models_files_are_not(make_task: MakeTask) -> None:
    then = ran(make_task(ROWS, **TASK))
    there = {"kind": "local", "model": "smollm2", "revision": "1" * 40, "engine": "torch-bf16-cuda", "adapter": None}
    found = told_of(there, {**there, "engine": "torch-fp32"}, then)
    assert [(s.key, s.was, s.now) for s in found.settings] == [
        ("model's engine", "torch-bf16-cuda", "torch-fp32"),
        ("tune's engine", "torch-bf16-cuda", "torch-fp32"),
    ]
    assert why(Needed("zero_shot", to_choose=1), found, ("fine_tune",)) == "the model is computed by another engine"
    tuned = why(Needed("fine_tune", epochs=1), found, ("fine_tune",))
    assert tuned == "the model is computed by another engine, the tuned model is computed by another engine"
    other = told_of(there, {**there, "revision": "2" * 40, "engine": "torch-fp32"}, then)
    first = other.settings[0]
    assert (first.key, first.was, first.now) == ("model's own files", "1" * 16, "2" * 16)
    adapted = told_of(there, {**there, "adapter": {"sha256": "3"}}, then)
    assert "adapter" in str(adapted.settings[0].now)


def test_a_judge_of_the_same_name_that_is_another_is_named(make_task: MakeTask) -> None:
    scoring = {"judge": "scripted:judge=honest", "rubric": "The answer is right."}
    then = ran(make_task(ROWS, model="scripted:base=0.9", tune=None, scorer="judge", scoring=scoring))
    contents = contents_of(load_task(then.folder.parent.parent))
    now = {**then.asked, "judge": {**then.asked["judge"], "revision": "2"}}
    assert [s.key for s in changes(then, contents, now, contents).settings] == ["judge's own files"]


def test_a_file_whose_name_begins_like_a_setting_is_no_setting(make_task: MakeTask) -> None:
    task = make_task(ROWS, **TASK | {"scorer": "model_scorer.py:score"})
    code = "from shouldtune.types import Score\n\n\ndef score(completion, example):\n    return Score(0.0)\n"
    (task / "model_scorer.py").write_text(code)
    then = ran(task)
    (task / "model_scorer.py").write_text(f"{code}\n# another word\n")
    found = looked(then.folder).changes
    assert [setting.key for setting in found.settings] == ["model_scorer.py"]
    assert not found.changed("model")
    assert why(Needed("zero_shot", to_choose=1), found, ()) == "your scorer's code has changed"
    assert Changes(found.holdout, None, None, (Setting("goal.quality", 1, 2),)).changed("goal")
    assert Changes(found.holdout, None, None, (Setting("model's own files", 1, 2),)).changed("model")
