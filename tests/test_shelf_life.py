from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from shouldtune.judgement import Flip, ShelfLife
from shouldtune.report.found import inquiry
from shouldtune.report.markup import with_code
from shouldtune.report.page import to_html
from shouldtune.verdict.plain import verdict_from_json, verdict_to_json
from shouldtune.verdict.shelf_life import shelf_life
from tests.report_worlds import a_yes

HERE = {"model": "smollm2", "tune": "smollm2", "train_n": 200, "holdout_n": 100}


def test_a_day_is_named_only_where_somebody_else_serves_a_model(tmp_path: Path) -> None:
    verdict = a_yes(tmp_path).verdict
    assert shelf_life(verdict, HERE).days is None
    served = shelf_life(verdict, {**HERE, "model": "openai:gpt-4.1-mini"})
    assert served.days == 30
    assert served.when[0] == "a provider changes or retires openai:gpt-4.1-mini"


def test_a_judge_may_be_retired_too(tmp_path: Path) -> None:
    verdict = a_yes(tmp_path).verdict
    judge = {"kind": "remote", "name": "gpt-4.1", "base_url": "https://api.openai.com/v1", "key_variable": "K"}
    graded = shelf_life(verdict, {**HERE, "judge": judge})
    assert (graded.days, graded.when[0]) == (30, "a provider changes or retires openai:gpt-4.1")
    both = shelf_life(verdict, {**HERE, "model": "openai:gpt-4.1", "judge": judge})
    assert both.when[0] == "a provider changes or retires openai:gpt-4.1"
    assert shelf_life(verdict, {**HERE, "judge": {"kind": "local", "model": "smollm2"}}).days is None


def test_more_examples_are_a_fifth_of_those_there_were_or_those_that_would_settle_it(tmp_path: Path) -> None:
    verdict = a_yes(tmp_path).verdict
    assert "there are 60 more labelled examples than the 300 of this run" in shelf_life(verdict, HERE).when
    unsettled = replace(verdict, examples_needed=1200)
    assert "there are 1,200 held-out examples" in shelf_life(unsettled, HERE).when


def test_documents_the_served_answers_and_the_nearest_flip_are_told_where_there_are_any(tmp_path: Path) -> None:
    verdict = a_yes(tmp_path).verdict
    said = "\n".join(shelf_life(verdict, {**HERE, "documents_n": 3}).when)
    shipped = next(rung for rung in verdict.rungs if rung.name == verdict.rung)
    assert "the documents have changed" in said
    assert f"below {shipped.low:.3f}, the lower limit of {shipped.name}" in said
    assert "what it costs, changes" not in said
    said_of = "At 5 requests a month the answer is no."
    flip = Flip("economics.per_month", 9.0, 5.0, "no", "goal_met", "few_shot", said_of)
    flips = shelf_life(replace(verdict, sensitivity=(flip,)), HERE).when
    assert flips[-1] == f"what you need, or what it costs, changes: {said_of}"
    assert "documents" not in "".join(shelf_life(replace(verdict, rung=None), HERE).when)
    assert "serve --keep" not in "".join(shelf_life(replace(verdict, rung=None), HERE).when)


def test_every_form_of_the_report_says_when_to_look_again(tmp_path: Path) -> None:
    record = a_yes(tmp_path)
    kept = ShelfLife(30, ("the documents have changed",))
    record = replace(
        record,
        verdict=replace(record.verdict, shelf_life=kept),
        asked={**record.asked, "created": "2026-11-26T12:00:00+00:00"},
    )
    assert verdict_from_json(verdict_to_json(record.verdict)).shelf_life == kept
    told = dict(inquiry(record))["When to look again"]
    assert told == ["On 2026-12-26 at the latest", "When the documents have changed"]
    assert '<section id="again"><h2>When to look again</h2>' in to_html(record)
    assert "When to look again" not in to_html(replace(record, verdict=replace(record.verdict, shelf_life=None)))


def test_a_command_is_code_on_the_page_and_a_lone_backtick_is_a_backtick() -> None:
    assert with_code("do `a <b>` now") == "do <code>a &lt;b&gt;</code> now"
    assert with_code("a ` <b>") == "a ` &lt;b&gt;"
