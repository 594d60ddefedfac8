"""Looks at a holdout: how they are counted, and what is left of alpha."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import CannotMeasure, InputError
from shouldtune.ladder import climb
from shouldtune.looks import Look, goal_at_look, look_at, rows_of, write_down
from shouldtune.progress import Progress
from shouldtune.rejudge import judge_again
from shouldtune.report.page import to_html
from shouldtune.report.terminal import plain_lines
from shouldtune.run import RunRecord, load_run
from shouldtune.stats import alpha_at_look, clopper_pearson
from shouldtune.task import load_task
from shouldtune.types import Example, Goal, Prediction
from tests.conftest import MakeTask, numbered_rows

WORLD = "scripted:base=0.2,shots@4=0.95,tuned=0.95"


def examples(*numbers: int) -> list[Example]:
    return [Example(f"row-{i}", f"What is {i}?", str(i)) for i in numbers]


def number(path: Path, holdout: Sequence[Example], asked: str) -> int:
    """Take a look and write it down; its number."""
    look = look_at(path, holdout, asked)
    write_down(path, look)
    return look.number


def test_all_looks_together_may_err_no_more_than_alpha() -> None:
    assert alpha_at_look(0.05, 1) == pytest.approx(0.05 * 6 / math.pi**2)
    assert alpha_at_look(0.05, 3) == pytest.approx(alpha_at_look(0.05, 1) / 9)
    total = sum(alpha_at_look(0.05, look) for look in range(1, 20_000))
    assert 0.04999 < total < 0.05
    with pytest.raises(ValueError, match="counted from 1"):
        alpha_at_look(0.05, 0)


def test_ten_looks_at_one_holdout_find_a_false_goal_no_more_often_than_one_may() -> None:
    """A rung exactly at the goal, looked at ten times on the same rows with ten prompts that are no better."""
    rng, worlds, n, goal = np.random.default_rng(5), 1500, 60, 0.8
    right = rng.binomial(n, goal, (worlds, 10))

    def fooled(alphas: Sequence[float]) -> float:
        lows = [[clopper_pearson(k, n, 2 * alpha).low for k in range(n + 1)] for alpha in alphas]
        wrong = [any(lows[look][right[world, look]] > goal for look in range(10)) for world in range(worlds)]
        return float(np.mean(wrong))

    assert fooled([alpha_at_look(0.05, look) for look in range(1, 11)]) <= 0.05
    assert fooled([0.05] * 10) > 0.12


def test_a_holdout_that_shares_rows_goes_on_counting_and_a_fresh_one_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    assert number(path, examples(1, 2, 3), "a") == 1
    assert number(path, examples(1, 2, 3), "b") == 2
    assert number(path, examples(7, 8), "c") == 1
    assert number(path, examples(3, 4), "d") == 3
    assert number(path, examples(4, 5), "e") == 4  # shares no row with the first, but by way of the one before
    assert number(path, examples(5, 8), "f") == 6  # both families, and all that they have seen
    assert number(path, examples(1, 2, 3), "a") == 1  # the same question of the same rows
    assert len(path.read_text().splitlines()) == 6


def test_a_mended_target_or_another_spacing_makes_no_fresh_row() -> None:
    mended = [Example("other", "  what IS 1? ", "one")]
    assert rows_of(mended) == rows_of(examples(1))
    assert rows_of(examples(1)) != rows_of(examples(2))


def test_a_line_that_is_no_look_is_an_error_that_says_where(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    write_down(path, Look(1, "a", rows_of(examples(1))))
    path.write_text(path.read_text() + "not json\n")
    with pytest.raises(InputError, match="no look") as caught:
        look_at(path, examples(1))
    assert caught.value.where == f"{path}:2"


def test_a_look_whose_rows_are_written_otherwise_is_not_read_as_one_without_rows(tmp_path: Path) -> None:
    path = tmp_path / "looks.jsonl"
    path.write_text('{"look":1,"asked":"a","run":"r","rows":["0123456789abcdef"]}\n')
    with pytest.raises(InputError, match="no look"):
        look_at(path, [Example("a", "b", "c")])


def test_the_goal_of_a_look_is_as_sure_as_its_share_of_alpha() -> None:
    goal = Goal(quality=0.8, confidence=0.9)
    assert goal_at_look(goal, None) == goal
    assert 1 - goal_at_look(goal, 2).confidence == pytest.approx(0.1 * 6 / math.pi**2 / 4)
    assert goal_at_look(goal, 2).quality == 0.8


def run(folder: Path, **how: Any) -> RunRecord:
    return asyncio.run(climb(load_task(folder), Climb(allow_simulated=True, **how)))


class CutOff(Progress):
    """Ends the run when the first model's score has been seen."""

    def predicted(self, name: str, prediction: Prediction) -> None:
        if name == "zero_shot":
            raise RuntimeError("cut off")


def looks_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "runs" / "looks.jsonl").read_text().splitlines()]


def test_a_second_question_of_the_same_holdout_is_a_second_look_and_its_limits_are_wider(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), model=WORLD, tune=WORLD, goal={"quality": 0.8})
    first, again, second = run(folder), run(folder), run(folder, whole_holdout=True)
    third = run(folder, rungs=chosen_rungs(["guess", "zero_shot"]), whole_holdout=True)
    assert [r.verdict.provenance["look"] for r in (first, again, second, third)] == [1, 1, 2, 3]
    assert second.verdict.provenance["alpha"] == pytest.approx(0.05 * 6 / math.pi**2 / 4, abs=1e-10)
    assert second.verdict.provenance["intervals"]["quality_high"] == pytest.approx(
        second.verdict.provenance["alpha"] * 3 / 4
    )
    assert [(row["look"], row["run"]) for row in looks_of(folder)] == [
        (1, first.folder.name),
        (2, second.folder.name),
        (3, third.folder.name),
    ]
    guess = [next(rung for rung in r.verdict.rungs if rung.name == "guess") for r in (second, third)]
    assert guess[0].quality == guess[1].quality
    assert (guess[1].high or 0) > (guess[0].high or 0)
    said = " ".join(plain_lines(second))
    assert "95% confidence for all looks at this holdout together; this is look 2, which may err 0.76%" in said
    assert "this is look 2, which may err 0.76%" in to_html(second)


def test_money_alone_makes_no_new_look_and_another_prompt_does(make_task: MakeTask) -> None:
    def looked(**changes: Any) -> tuple[int, str]:
        record = run(make_task(numbered_rows(400), model=WORLD, tune=WORLD, **changes))
        return record.verdict.provenance["look"], record.folder.name

    first = looked()
    priced = looked(economics={"per_month": 1000, "months": 2}, prices={WORLD: {"read": 1, "written": 2}})
    assert (first[0], priced[0]) == (1, 1)
    assert first[1] != priced[1]
    assert looked(instruction="Answer briefly.")[0] == 2
    assert looked(goal={"quality": 0.8})[0] == 3


def test_a_run_in_which_no_model_answered_is_no_look(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60), model="http://127.0.0.1:9/v1#m", tune=None)
    with pytest.raises(CannotMeasure):
        run(folder)
    assert not (folder / "runs" / "looks.jsonl").exists()
    folder = make_task(numbered_rows(400), model=WORLD, tune=WORLD)
    with pytest.raises(RuntimeError, match="cut off"):
        asyncio.run(climb(load_task(folder), Climb(allow_simulated=True), CutOff()))
    assert [row["look"] for row in looks_of(folder)] == [1]  # a score was seen
    assert run(folder).verdict.provenance["look"] == 1
    folder = make_task(numbered_rows(30), name="few", model="scripted:base=1")
    assert "look" not in run(folder).verdict.provenance
    assert not (folder / "runs" / "looks.jsonl").exists()


def test_judging_again_keeps_the_look_and_says_that_it_explores(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(400), model=WORLD, tune=WORLD, goal={"quality": 0.8})
    run(folder)
    second = run(folder, whole_holdout=True)
    again = judge_again(load_run(second.folder), ["goal.quality=0.7"])
    assert again.verdict.provenance["look"] == 2
    assert again.verdict.provenance["alpha"] == second.verdict.provenance["alpha"]
    assert [rung.low for rung in again.verdict.rungs] == [rung.low for rung in second.verdict.rungs]
    surer = judge_again(load_run(second.folder), ["goal.confidence=0.99"])
    assert surer.verdict.provenance["alpha"] == pytest.approx(0.01 * 6 / math.pi**2 / 4, abs=1e-10)
    assert "explores; it confirms nothing" in " ".join(plain_lines(again))
    assert len(looks_of(folder)) == 2
