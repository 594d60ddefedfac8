"""Measures of all answers together: worked out once, kept, shown, and known again when a run is judged again."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sklearn.metrics import f1_score

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import InputError
from shouldtune.ladder import climb
from shouldtune.measure import overall
from shouldtune.rejudge import judge_again
from shouldtune.report.page import to_html
from shouldtune.run import RunRecord, load_run
from shouldtune.scorers import weighted
from shouldtune.scorers.label import Alert, Label, macro_f1
from shouldtune.task import load_task
from shouldtune.types import Completion, Example, Graded, Prediction, Score
from tests.test_ladder import lamp_rows

HOW = Climb(chosen_rungs(["guess", "zero_shot"]), allow_simulated=True, all_rungs=True, probing=None)


def graded(scorer: Label, pairs: Sequence[tuple[str, str]]) -> list[Graded]:
    """(right, named) pairs as graded rows."""
    rows = [(Example(str(i), "q", told), Completion(said)) for i, (told, said) in enumerate(pairs)]
    return [(example, completion, scorer(completion, example)) for example, completion in rows]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    folder = tmp_path_factory.mktemp("lamps")
    (folder / "examples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lamp_rows()))
    model = "scripted:base=0.6,fails=0.05"
    task = {"name": "lamps", "instruction": "Answer.", "examples": "examples.jsonl", "scorer": "label"}
    goal = {"scoring": {"positive": "stop", "miss_cost": 5}, "model": model, "tune": None, "goal": {"quality": 0.99}}
    (folder / "shouldtune.yaml").write_text(json.dumps({**task, **goal}))
    return asyncio.run(climb(load_task(folder), HOW))


def test_a_run_keeps_what_the_scorer_says_of_all_answers(finished: RunRecord) -> None:
    rung = next(rung for rung in finished.verdict.rungs if rung.name == "zero_shot")
    measured = next(m for m in finished.measurements if m.rung == "zero_shot")
    targets = {example.id: example.target for example in finished.holdout}
    answered = [p for p in measured.predictions if p.score is not None]
    assert 0 < len(answered) < len(measured.predictions)  # failed calls are left out, and counted
    assert rung.unmeasured == len(measured.predictions) - len(answered)
    wanted = f1_score(
        [targets[p.example_id] for p in answered],
        [p.completion.text for p in answered],
        average="macro",
        labels=["go", "stop"],
    )
    assert rung.metrics["macro_f1"] == pytest.approx(wanted)
    assert {"miss_rate", "false_alarm_rate", "error_cost", "not_a_label"} <= set(rung.metrics)
    document = json.loads((finished.folder / "verdict.json").read_text())
    assert next(r for r in document["rungs"] if r["name"] == "zero_shot")["metrics"] == dict(rung.metrics)
    assert "macro_f1" in to_html(finished)


def test_judged_again_it_is_still_known(finished: RunRecord) -> None:
    again = judge_again(load_run(finished.folder), ["goal.quality=0.5"]).verdict
    assert [rung.metrics for rung in again.rungs] == [rung.metrics for rung in finished.verdict.rungs]


def test_the_same_run_again_writes_the_same_bytes(finished: RunRecord) -> None:
    names = ("measurements.json", "predictions.jsonl", "verdict.json")
    before = [(finished.folder / name).read_bytes() for name in names]
    again = asyncio.run(climb(load_task(finished.folder.parent.parent), HOW))
    assert again.folder == finished.folder
    assert [(finished.folder / name).read_bytes() for name in names] == before


def test_a_run_from_before_there_was_such_a_thing_can_be_read(finished: RunRecord, tmp_path: Path) -> None:
    folder = shutil.copytree(finished.folder, tmp_path / "old")
    heads = json.loads((folder / "measurements.json").read_text())
    for head in heads:
        del head["overall"]
    (folder / "measurements.json").write_text(json.dumps(heads))
    old = load_run(folder)
    assert [m.overall for m in old.measurements] == [{} for _ in heads]
    assert "not_a_label" in judge_again(old, ["goal.quality=0.5"]).verdict.rungs[0].metrics


def test_nothing_answered_has_no_overall_measure() -> None:
    example = Example("e", "q", "a")
    failed = Prediction("e", Completion("", error="no answer"), None)
    assert overall(Label(["a", "b"]), [example], [failed]) == {}
    assert overall(lambda completion, example: Score(1.0), [example], [failed]) == {}


def test_a_users_overall_measure_must_be_a_number() -> None:
    @dataclass(frozen=True)
    class Mine:
        value: float

        def __call__(self, completion: Completion, example: Example) -> Score:
            return Score(1.0)

        def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
            return {"mine": self.value}

    example, answered = Example("e", "q", "a"), Prediction("e", Completion("a"), Score(1.0))
    assert overall(Mine(0.25), [example], [answered]) == {"mine": 0.25}
    with pytest.raises(InputError, match="'mine' is nan"):
        overall(Mine(float("nan")), [example], [answered])


def test_macro_f1_is_scikit_learns() -> None:
    pairs = [("a", "a"), ("a", "b"), ("b", "b"), ("c", "none of them"), ("c", "c"), ("b", "a"), ("d", "a")]
    told, said = zip(*pairs, strict=True)
    wanted = f1_score(told, said, average="macro", labels=sorted(set(told)), zero_division=0.0)
    assert macro_f1(pairs) == pytest.approx(wanted)


def test_misses_and_false_alarms_are_rates_of_their_own_rows() -> None:
    scorer = Label(["attack", "noise"], "attack", 5.0)
    pairs = [("attack", "attack"), ("attack", "noise"), ("attack", "?"), ("attack", "Attack.")]
    pairs += [("noise", "attack"), ("noise", "noise"), ("noise", "noise"), ("noise", "well")]
    found = scorer.overall(graded(scorer, pairs))
    assert (found["miss_rate"], found["false_alarm_rate"]) == (0.5, 0.5)
    assert found["error_cost"] == pytest.approx((2 * 5 + 2) / 8)
    assert "miss_rate" not in scorer.overall(graded(scorer, pairs[4:]))


def test_an_alert_that_is_missed_scores_below_a_false_one() -> None:
    scorer = Alert(["attack", "noise"], "attack", 5.0)
    values = [s.value for _, _, s in graded(scorer, [("attack", "noise"), ("noise", "attack"), ("noise", "?")])]
    assert values == [0.0, 0.8, 0.0]
    assert graded(scorer, [("attack", "attack")])[0][2].value == 1.0
    cheap = replace(scorer, miss_cost=0.5)
    assert [s.value for _, _, s in graded(cheap, [("attack", "noise"), ("noise", "attack")])] == [0.5, 0.0]


def test_of_several_scorers_each_says_its_own() -> None:
    scorer = weighted({"label": (Label(["a", "b"]), 0.5), "exact": (lambda c, e: Score(0.0), 0.5)})
    example, completion = Example("e", "q", "a"), Completion("a")
    score = asyncio.run(scorer(completion, example))
    assert score.value == 0.5
    assert scorer.overall([(example, completion, score)]) == {"macro_f1": 1.0}
