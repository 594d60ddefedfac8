"""What tuning made a model forget: asked of the base and of the tuned model alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.causes import Forgetting, Kept
from shouldtune.errors import InputError
from shouldtune.forgetting import GENERAL, MOST_ROWS, forgotten, general_questions
from shouldtune.judgement import Interval
from shouldtune.ladder import climb
from shouldtune.models.doubles import Abilities, Scripted
from shouldtune.models.plain import Constant
from shouldtune.models.prompted import Prompted
from shouldtune.rejudge import judge_again
from shouldtune.report.page import to_html
from shouldtune.report.terminal import plain_lines
from shouldtune.report.words import headline
from shouldtune.run import load_run
from shouldtune.scorers.text import contains, exact
from shouldtune.task import load_task
from shouldtune.types import Completion, Example, Fitted, Goal, Models, Task
from shouldtune.verdict.case import Case
from shouldtune.verdict.decide import decide
from shouldtune.verdict.inquiry import Inquiry
from tests.conftest import MakeTask, numbered_rows
from tests.test_decide import ladder
from tests.test_ladder import GOAL

ANSWERS = {example.input: example.target for example in general_questions()}


def knowing(ability: float) -> Scripted:
    return Scripted(ANSWERS, Abilities(base=ability))


def found(base: float, tuned: float, others: Sequence[Task] = ()):  # type: ignore[no-untyped-def]
    model = knowing(base)
    fitted = Fitted(Prompted(replace(knowing(tuned), is_tuned=True)))
    return asyncio.run(forgotten("fine_tune", fitted, Models(model, model), others))


def test_every_general_question_is_answered_by_its_own_target_and_by_no_constant() -> None:
    questions = general_questions()
    assert len({e.input for e in questions}) == len(questions) == 60
    assert all(contains(Completion(answer), e).value == 1 for e in questions for answer in e.answers)
    for constant in ("", "yes", "no", "I do not know.", *(e.target for e in questions)):
        assert sum(contains(Completion(constant), e).value for e in questions) <= 4


def test_a_model_that_forgot_is_told_from_one_that_did_not() -> None:
    worse, same, better = found(0.9, 0.3), found(0.8, 0.8), found(0.2, 0.9)
    assert worse.kept[0].what == GENERAL
    assert worse.kept[0].change.high < 0 < better.kept[0].change.low
    assert same.kept[0].change.estimate == 0
    assert same.kept[0].change.low < 0 < same.kept[0].change.high
    assert worse.kept[0].tuned < 0.5 < worse.kept[0].base


def test_other_tasks_are_asked_with_their_own_instruction_and_scorer() -> None:
    @dataclass(frozen=True)
    class Listening(Scripted):
        heard: tuple[list[str], ...] = ([],)

        async def complete(self, messages, options=None):  # type: ignore[no-untyped-def]
            self.heard[0].append(messages[0].content)
            return Completion("x")

    other = Task("other", "Say x.", tuple(Example(f"e{i}", f"q{i}", "x") for i in range(100)), exact)
    base = Listening({})
    result = asyncio.run(forgotten("fine_tune", Fitted(Prompted(Constant("y"))), Models(base, base), [other]))
    assert result is not None
    kept = result.kept[1]
    assert (kept.what, kept.base, kept.tuned, kept.change.n) == ("other", 1.0, 0.0, MOST_ROWS)
    assert base.heard[0].count("Say x.") == MOST_ROWS


def test_a_rung_that_is_no_prompt_has_nothing_to_forget() -> None:
    model = knowing(0.5)
    assert asyncio.run(forgotten("guess", Fitted(Constant("a")), Models(model, model))) is None


def test_a_climb_tells_what_was_forgotten_and_keeps_it_when_it_is_judged_again(
    make_task: MakeTask, tmp_path: Path
) -> None:
    other = make_task(numbered_rows(60), name="other", model="scripted:base=0.5")
    moved = other.rename(other.parent / "other-task")
    folder = make_task(
        numbered_rows(200),
        model="scripted:base=0.2,tuned=0.9",
        tune="scripted:base=0.2,tuned=0.9",
        goal=GOAL,
        keep=["../other-task"],
    )
    assert moved.is_dir()
    rungs = chosen_rungs(["few_shot", "fine_tune"])
    record = asyncio.run(climb(load_task(folder), Climb(rungs=rungs, allow_simulated=True)))
    told = record.verdict.forgetting
    assert told is not None
    assert (told.rung, [each.what for each in told.kept]) == ("fine_tune", [GENERAL, "other"])
    assert "What tuning made it forget (fine_tune)" in plain_lines(record)
    assert 'id="forgotten"' in to_html(record)
    again = judge_again(load_run(record.folder), ["goal.quality=0.5"])
    assert again.verdict.forgetting == told
    quiet = asyncio.run(climb(load_task(folder), Climb(rungs=rungs, allow_simulated=True, forgetting=False)))
    assert quiet.verdict.forgetting is None


def test_what_a_shipped_model_forgot_stands_in_the_first_lines() -> None:
    forgot = Forgetting("fine_tune", (Kept(GENERAL, 0.6, 0.017, Interval(-0.583, -0.7, -0.46, 60)),))
    kept = Forgetting("fine_tune", (Kept(GENERAL, 0.6, 0.58, Interval(-0.02, -0.1, 0.06, 60)),))
    other = replace(forgot, rung="distil")

    def told(found: Forgetting) -> tuple[str, tuple[str, ...]]:
        measured = ladder(zero_shot=80, few_shot=100, fine_tune=180)
        verdict = decide(Case(Goal(), measured, inquiry=Inquiry(forgetting=found)))
        assert (verdict.answer, verdict.rung) == ("yes", "fine_tune")
        return headline(verdict)[1], verdict.because

    clause, because = told(forgot)
    assert clause.endswith("; keep its base for everything else, which it forgot.")
    assert any("on general questions it scores 0.017 where its base scores 0.600" in line for line in because)
    for harmless in (kept, other):
        clause, because = told(harmless)
        assert "forgot" not in clause
        assert not any("general questions" in line for line in because)


def test_a_task_cannot_keep_itself(make_task: MakeTask) -> None:
    folder = make_task(numbered_rows(60), keep=["."])
    with pytest.raises(InputError, match="keeps tasks itself"):
        load_task(folder)


def test_a_task_that_a_model_grades_cannot_be_kept(make_task: MakeTask) -> None:
    judged = make_task(
        numbered_rows(60), name="judged", scorer="judge", scoring={"judge": "smollm2", "rubric": "right?"}
    )
    folder = make_task(numbered_rows(60), keep=[f"../{judged.name}"])
    with pytest.raises(InputError, match="graded by a model"):
        load_task(folder)
