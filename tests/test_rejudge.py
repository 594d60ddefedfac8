"""A finished run under another goal, price or volume: judged again from its folder, no model asked."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shouldtune.asked import Climb
from shouldtune.errors import InputError
from shouldtune.ladder import climb
from shouldtune.rejudge import judge_again
from shouldtune.report.page import to_html
from shouldtune.report.terminal import plain_lines
from shouldtune.run import RunRecord, load_run
from shouldtune.task import load_task
from tests.conftest import numbered_rows
from tests.test_cli import shouldtune

MODEL = "scripted:base=0.2,shots@4=0.9"
MONEY = {
    "economics": {"per_month": 300_000, "months": 12, "tuned_fixed_usd_per_month": 335, "fine_tune_usd": 10},
    "prices": {MODEL: {"read": 1.0, "written": 4.0}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """Every rung measured: few_shot and fine_tune both meet the goal, and tuning costs more."""
    folder = tmp_path_factory.mktemp("toy")
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in numbered_rows(400)))
    task = {"name": "toy", "instruction": "Answer.", "examples": "examples.jsonl", "scorer": "exact"}
    models = {"model": MODEL, "tune": "scripted:tuned=0.95", "goal": {"quality": 0.8}}
    (folder / "shouldtune.yaml").write_text(json.dumps({**task, **models, **MONEY}))
    return asyncio.run(climb(load_task(folder), Climb(all_rungs=True, allow_simulated=True)))


def test_nothing_changed_gives_the_verdict_of_the_run(finished: RunRecord) -> None:
    again = judge_again(finished, ["goal.quality=0.8"]).verdict
    provenance = {name: value for name, value in again.provenance.items() if name != "judged_again"}
    assert again.sensitivity
    assert replace(again, provenance=provenance) == finished.verdict


def test_another_goal_price_or_volume_gives_another_verdict(finished: RunRecord) -> None:
    def reason(*changes: str) -> str:
        return judge_again(finished, changes).verdict.reason

    assert finished.verdict.reason == "goal_met"
    assert reason("goal.quality=0.99") != "goal_met"
    assert reason("economics.tuned_fixed_usd_per_month=0", "economics.fine_tune_usd=0") == "tune_to_save"
    assert reason("economics.per_month=100_000_000") == "tune_to_save"
    assert reason(f"prices.{MODEL}.read=1000") == "tune_to_save"
    assert reason("economics.per_month=100_000_000", "economics.months=null") == "goal_met"


def test_it_says_what_was_changed_and_leaves_the_folder_alone(finished: RunRecord) -> None:
    before = {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}
    again = judge_again(finished, ["goal.quality=0.95", "economics.months=null"])
    said = (
        "Judged again with goal.quality = 0.95 (was 0.8) and economics.months = not set (was 12), from what was"
        " measured; no model was asked, nothing was written."
    )
    assert said in " ".join(plain_lines(again))
    assert said in to_html(again)
    assert "goal 0.950" in "\n".join(plain_lines(again))
    assert again.verdict.provenance["goal"]["quality"] == 0.95
    assert "Judged again" not in "\n".join(plain_lines(load_run(finished.folder)))
    assert before == {path: path.read_bytes() for path in finished.folder.rglob("*") if path.is_file()}


def test_the_price_of_cached_tokens_can_be_set_and_the_money_is_reckoned_anew(finished: RunRecord) -> None:
    again = judge_again(finished, [f"prices.{MODEL}.cached=0.1", "economics.per_month=1000"])
    assert again.asked["economics"]["prompt_price"]["cached"] == 0.1
    assert again.verdict.economics is not None and again.verdict.economics.per_month == 1000
    assert judge_again(finished, [f"prices.{MODEL}.cached=null"]).asked["economics"]["prompt_price"]["cached"] is None
    for key, value in (("usd_per_label", 0.5), ("labels_bought", 10), ("refits", 3), ("machine_usd_per_hour", 2)):
        assert judge_again(finished, [f"economics.{key}={value}"]).asked["economics"][key] == value


def test_a_price_can_be_given_where_there_was_none(finished: RunRecord) -> None:
    again = judge_again(finished, ["prices.tuned.read=2", "prices.tuned.written=8"])
    assert again.verdict.economics is not None
    assert {line.rung: line.price for line in again.verdict.economics.costs}["fine_tune"] == "--set"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("goal.qualty=0.8", "no key=value"),
        ("goal.quality", "no key=value"),
        ("quality=0.8", "no key=value"),
        ("prices.openai:other.read=1", "no key=value"),
        ("goal.quality=high", "'high' is no number"),
        ("goal.quality=1.5", "less than 1"),
        ("goal.quality=nan", "finite"),
        ("goal.worthwhile_gain=null", "valid number"),
        ("economics.per_month=-1", "greater than 0"),
        ("economics.refits=1.5", "integer"),
        ("prices.tuned.read=1", "needs both"),
    ],
)
def test_a_bad_change_is_refused_with_the_keys(finished: RunRecord, change: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        judge_again(finished, [change])
    assert says in str(caught.value)
    assert "goal.quality" in caught.value.hint
    assert f"prices.{MODEL}.read" in caught.value.hint


def test_a_run_without_measurements_or_a_key_given_twice_is_refused(finished: RunRecord) -> None:
    with pytest.raises(InputError, match="nothing was measured"):
        judge_again(replace(finished, measurements=()), ["goal.quality=0.9"])
    with pytest.raises(InputError, match="stands twice"):
        judge_again(finished, ["goal.quality=0.9", "goal.quality=0.8"])


def test_a_run_from_before_there_was_money_can_be_judged_again(finished: RunRecord, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "old")
    path = folder / "run.json"
    asked = json.loads(path.read_text())
    del asked["economics"]
    path.write_text(json.dumps(asked))
    old = json.loads((folder / "verdict.json").read_text())
    del old["economics"], old["sensitivity"]
    (folder / "verdict.json").write_text(json.dumps(old))
    assert judge_again(load_run(folder), ["goal.quality=0.7"]).verdict.reason == "goal_met"


def test_the_command_judges_again(finished: RunRecord) -> None:
    done = shouldtune("report", finished.folder, "--set", "goal.quality=0.999", "--set", "economics.months=24")
    assert done.returncode == 0, done.stderr
    assert "Judged again with goal.quality = 0.999 (was 0.8) and economics.months = 24" in " ".join(done.stdout.split())
    document = json.loads(shouldtune("report", finished.folder, "--json", "--set", "goal.quality=0.999").stdout)
    assert document["provenance"]["judged_again"] == {"goal.quality": [0.8, 0.999]}
    bad = shouldtune("report", finished.folder, "--set", "gaol.quality=0.9")
    assert (bad.returncode, bad.stdout) == (2, "")
    assert [line.split(":")[0] for line in bad.stderr.splitlines()] == ["error", "hint"]
