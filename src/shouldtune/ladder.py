"""climb(): from the cheapest rung to the dearest, until the answer is clear."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from shouldtune.asked import Climb, budget_of, look_id, machine, open_models, run_id, what_is_asked
from shouldtune.errors import CannotMeasure, InputError
from shouldtune.inquiring import Inquirer, best_prompt
from shouldtune.judgement import Verdict
from shouldtune.looks import Look, goal_at_look, look_at, looks_path, write_down
from shouldtune.measure import measure
from shouldtune.models.budget import OVER
from shouldtune.models.ledger import Ledger, paying
from shouldtune.models.open import is_simulated, save_fitted
from shouldtune.progress import Progress
from shouldtune.run import (
    RunRecord,
    ledger_path,
    load_run,
    models_folder,
    run_folder,
    save_asked,
    save_inquiry,
    save_measurements,
    save_verdict,
)
from shouldtune.task import LoadedTask
from shouldtune.types import Fitted, Measurement, Models, Prediction, Rung, Skipped
from shouldtune.verdict.case import Case
from shouldtune.verdict.decide import decide, judge
from shouldtune.verdict.inquiry import Inquiry
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.questions import ENDS_THE_CLIMB
from shouldtune.verdict.race import (
    Ask,
    Done,
    Open,
    gather_raced,
    next_step,
    next_step_whole,
    why_stopped,
)
from shouldtune.verdict.sensitivity import flips

FEWEST_ROWS = 40


async def climb(loaded: LoadedTask, how: Climb = Climb(), progress: Progress | None = None) -> RunRecord:
    """Fit and measure one rung after another, decide, and write the run folder.

    A lower rung that meets the goal ends the climb, unless `how.all_rungs`, and a rung is asked no more than could
    change the answer, unless `how.whole_holdout`. Calls come from the task's ledger where it
    has them, so a climb that was cut off goes on, and one that is repeated costs nothing. Where the budget would be
    passed no further call is begun, and what was measured is judged. Raises CannotMeasure when no model can be had,
    InputError for what the user must mend.
    """
    progress = progress or Progress()
    simulated = is_simulated(loaded.file.model) or is_simulated(loaded.file.tune)
    if simulated and not how.allow_simulated:
        raise InputError(
            "a scripted model's answers are simulated: they can lead to no verdict",
            hint="--allow-simulated, to see how a verdict would read",
        )
    ledger = Ledger(ledger_path(loaded.folder), lambda who, completion, new: progress.called(*who, completion, new))
    try:
        ledger.budget = budget_of(loaded)
        models = open_models(loaded, ledger, progress)
        asked = what_is_asked(loaded, how, models)
        folder = run_folder(loaded.folder, loaded.task.name, run_id(asked))
        look = look_at(looks_path(loaded.folder), loaded.holdout, look_id(asked), folder.name)
        save_asked(
            folder, {**asked, "created": datetime.now(UTC).isoformat(timespec="seconds"), **machine()}, loaded.holdout
        )
        try:
            verdict = await _climb(loaded, how, _Climbing(ledger, models, folder, progress, simulated, asked, look))
        finally:
            await models.aclose()
        save_verdict(folder, verdict)
        _save_winner(folder, verdict)
    finally:
        ledger.close()
    return load_run(folder)


@dataclass(frozen=True)
class _Climbing:
    """What one climb works with."""

    ledger: Ledger
    models: Models
    folder: Path
    progress: Progress
    simulated: bool
    asked: dict[str, Any]
    look: Look
    memory: Memory = field(default_factory=Memory)


@dataclass(frozen=True)
class _Opened:
    """A rung that was fitted, and what the holdout's first rows gave so far."""

    rung: Rung
    fitted: Fitted
    predictions: tuple[Prediction, ...] = ()


async def _climb(loaded: LoadedTask, how: Climb, at: _Climbing) -> Verdict:
    """Take the steps that race.py names until there is none left."""
    opened: dict[str, _Opened] = {}
    skipped: dict[str, str] = {}
    if len(loaded.task.train) + len(loaded.holdout) < FEWEST_ROWS:
        save_measurements(at.folder, ())
        return _too_few_rows(loaded, at)
    inquirer = Inquirer(loaded, goal_at_look(loaded.task.goal, at.look.number), how, at.models, at.progress)
    await inquirer.look_at_data()
    if inquirer.nothing_to_climb_for():
        return _conclude(loaded, how, at, opened, skipped, inquirer.inquiry)
    ahead = _fitted_ahead(loaded, how, at)
    try:
        await _take_steps(loaded, how, at, opened, skipped, ahead, inquirer)
    finally:
        for task in ahead.values():
            task.cancel()
        await asyncio.gather(*ahead.values(), return_exceptions=True)
    return _conclude(loaded, how, at, opened, skipped, inquirer.inquiry)


def _fitted_ahead(loaded: LoadedTask, how: Climb, at: _Climbing) -> dict[str, asyncio.Task[Fitted | Skipped]]:
    """The fits that need not wait for their turn: training here while a server answers the rungs before it.

    Only where every rung is tried anyway: training that the answer might do without would be time on the bill.
    """
    prompt, tune = at.models.prompt, at.models.tune
    beside = tune is not None and prompt.spec()["kind"] == "remote" and tune.spec()["kind"] == "local"
    training = [rung for rung in how.rungs if rung.training] if how.all_rungs and beside else []
    return {rung.name: asyncio.create_task(_fit(rung, loaded, at)) for rung in training}


async def _take_steps(
    loaded: LoadedTask,
    how: Climb,
    at: _Climbing,
    opened: dict[str, _Opened],
    skipped: dict[str, str],
    ahead: dict[str, asyncio.Task[Fitted | Skipped]],
    inquirer: Inquirer,
) -> None:
    """Open and ask rungs, which land in `opened` and `skipped`, until race.py is done."""
    asking: str | None = None
    told: dict[str, int] = {}  # how far each rung was when its end was told
    while True:
        looked_at = len(opened) + len(skipped)
        step = _step(loaded, how, at, opened, len(how.rungs) - looked_at)
        if asking is not None and (not isinstance(step, Ask) or step.rung != asking):
            if asking not in told:
                _tell(loaded, at, opened[asking], told)
            save_measurements(at.folder, [_measurement(loaded, at, each) for each in opened.values()])
            asking = None
        if isinstance(step, Done) or at.ledger.budget_ended():
            if not at.ledger.budget_ended() and not _is_settled(loaded, how, at, opened, skipped, inquirer):
                await inquirer.look_at_failures(_fitted(opened))
            break
        if isinstance(step, Open):
            rung = how.rungs[looked_at]
            at.progress.rung_started(rung.name, looked_at + 1, len(how.rungs))
            fitted = await (ahead.pop(rung.name, None) or _open(rung, loaded, at, opened, inquirer))
            if at.ledger.budget_ended():
                break  # its settings were chosen on some answers only: nothing that could be measured
            if isinstance(fitted, Skipped):
                skipped[rung.name] = fitted.because
                at.progress.rung_skipped(rung.name, fitted.because)
            else:
                opened[rung.name] = _Opened(rung, fitted)
            continue
        if step.rung != asking:
            at.progress.measuring(step.rung, len(loaded.holdout))
        asking = step.rung
        opened[asking] = await _ask(opened[asking], step, loaded, at)
    for each in opened.values():
        if told.get(each.rung.name) != len(each.predictions):
            _tell(loaded, at, each, told)


async def _open(
    rung: Rung, loaded: LoadedTask, at: _Climbing, opened: Mapping[str, _Opened], inquirer: Inquirer
) -> Fitted | Skipped:
    """Fit a rung; training only after a look at why prompts fail, and only where nothing is to be mended first."""
    if rung.training:
        await inquirer.look_at_failures(_fitted(opened))
        await inquirer.look_ahead(rung, _fitted(opened))
        why_not = inquirer.why_not_to_train()
        if why_not is not None:
            return Skipped(why_not)
    models = at.models
    if models.strong is not None and not rung.training:
        models = replace(models, best=await best_prompt(loaded.task, _fitted(opened), models))
    return await _fit(rung, loaded, replace(at, models=models))


def _fitted(opened: Mapping[str, _Opened]) -> list[tuple[Rung, Fitted]]:
    return [(each.rung, each.fitted) for each in opened.values()]


def _is_settled(
    loaded: LoadedTask,
    how: Climb,
    at: _Climbing,
    opened: Mapping[str, _Opened],
    skipped: Mapping[str, str],
    inquirer: Inquirer,
) -> bool:
    """Whether a lower rung settles the answer, so that it does not matter why others fail."""
    case = _case(loaded, how, at, opened, skipped, inquirer.inquiry)
    return not how.all_rungs and judge(case).finding.reason in ENDS_THE_CLIMB


def _case(
    loaded: LoadedTask,
    how: Climb,
    at: _Climbing,
    opened: Mapping[str, _Opened],
    skipped: Mapping[str, str],
    inquiry: Inquiry,
) -> Case:
    measured = [_measurement(loaded, at, each) for each in opened.values()]
    planned, ended = tuple(rung.name for rung in how.rungs), at.ledger.budget_ended()
    goal = goal_at_look(loaded.task.goal, at.look.number)
    return Case(goal, measured, skipped, planned, loaded.economics, inquiry, budget_ended=ended)


def _step(
    loaded: LoadedTask, how: Climb, at: _Climbing, opened: Mapping[str, _Opened], waiting: int
) -> Ask | Open | Done:
    case = _case(loaded, how, at, opened, {}, Inquiry())
    step = next_step_whole if how.whole_holdout else next_step
    return step(case.goal, case.columns, waiting, all_rungs=how.all_rungs, money=case.money, memory=at.memory)


def _tell(loaded: LoadedTask, at: _Climbing, each: _Opened, told: dict[str, int]) -> None:
    told[each.rung.name] = len(each.predictions)
    at.progress.rung_finished(each.rung.name, _measurement(loaded, at, each))


def _conclude(
    loaded: LoadedTask,
    how: Climb,
    at: _Climbing,
    opened: Mapping[str, _Opened],
    skipped: Mapping[str, str],
    inquiry: Inquiry,
) -> Verdict:
    case = _case(loaded, how, at, opened, skipped, inquiry)
    measured, ended = list(case.measurements), case.budget_ended
    if how.whole_holdout and not ended:
        measured = [replace(m, raced_over=None) for m in measured]
    else:
        evidence = gather_raced(case.goal, case.columns, len(case.planned) - len(opened) - len(skipped))
        stopped = (why_stopped(evidence, c, budget_ended=ended) for c in case.columns)
        measured = [replace(m, stopped_because=why) for m, why in zip(measured, stopped, strict=True)]
    save_measurements(at.folder, measured)
    save_inquiry(at.folder, inquiry)
    case = replace(case, measurements=measured)
    if measured:
        write_down(looks_path(loaded.folder), at.look)
    alpha = round(1 - case.goal.confidence, 12)
    told = {**at.asked, "planned": list(case.planned), "look": at.look.number, "alpha": alpha}
    if at.ledger.budget is not None:
        told["budget"] = {"usd": at.ledger.budget.usd, "ended": ended}
    verdict = decide(case, spent=at.ledger.spent(), simulated=at.simulated, provenance=told)
    if verdict.reason not in ENDS_THE_CLIMB:
        _refuse_when_nothing_answered(measured)
    return replace(verdict, sensitivity=flips(case))


def _measurement(loaded: LoadedTask, at: _Climbing, each: _Opened) -> Measurement:
    """A rung as far as it has been measured."""
    return Measurement(
        rung=each.rung.name,
        predictions=each.predictions,
        training=each.rung.training,
        uses_llm=each.rung.uses_llm,
        trials=each.fitted.trials,
        notes=each.fitted.notes,
        fit=at.ledger.spent(each.rung.name, "fit"),
        measured=at.ledger.spent(each.rung.name, "measure"),
        raced_over=len(loaded.holdout),
    )


def _refuse_when_nothing_answered(measurements: Sequence[Measurement]) -> None:
    """A verdict needs at least one answer of a model: with none, what is broken is the model, not the approach."""
    asked = [p for m in measurements if m.uses_llm for p in m.predictions]
    if asked and all(p.completion.failed for p in asked):
        raise CannotMeasure(
            f"every call failed; the first: {asked[0].completion.error}",
            hint="what was measured is kept; run again when the model answers",
        )


def _too_few_rows(loaded: LoadedTask, at: _Climbing) -> Verdict:
    """The verdict that needs no measuring."""
    n = len(loaded.task.train) + len(loaded.holdout)
    return Verdict(
        answer="not_yet",
        reason="label_more",
        rung=None,
        because=(
            f"There are {n} examples; with fewer than {FEWEST_ROWS} no approach can be told from another,"
            " so nothing was asked.",
            f"Label {FEWEST_ROWS - n} more, better a few hundred.",
        ),
        rungs=(),
        simulated=at.simulated,
        provenance=at.asked,
    )


async def _fit(rung: Rung, loaded: LoadedTask, at: _Climbing) -> Fitted | Skipped:
    with paying(rung.name, "fit"):
        fitted = await rung.fit(loaded.task, at.models)
    if isinstance(fitted, Skipped):
        return fitted
    for trial in fitted.trials:
        at.progress.tried(rung.name, trial)
    save_fitted(fitted.model, models_folder(at.folder, rung.name))
    return fitted


async def _ask(each: _Opened, step: Ask, loaded: LoadedTask, at: _Climbing) -> _Opened:
    unseen = each.rung.uses_llm  # a run that ends before a model has answered, and tells no verdict, has seen nothing

    def heard(prediction: Prediction) -> None:
        nonlocal unseen
        if prediction.completion.error == OVER:
            return
        if unseen and not prediction.completion.failed:
            write_down(looks_path(loaded.folder), at.look)
            unseen = False
        at.progress.predicted(step.rung, prediction)

    with paying(step.rung, "measure"):
        predictions = await measure(
            each.fitted.model,
            loaded.holdout[step.start : step.stop],
            loaded.task.scorer,
            heard,
        )
    begun = tuple(takewhile(lambda prediction: prediction.completion.error != OVER, predictions))
    return replace(each, predictions=each.predictions + begun)


def _save_winner(folder: Path, verdict: Verdict) -> None:
    """A copy of the model to ship, so that it can be handed on as one folder."""
    winner = folder / "winner"
    shutil.rmtree(winner, ignore_errors=True)
    if verdict.rung is not None and models_folder(folder, verdict.rung).is_dir():
        shutil.copytree(models_folder(folder, verdict.rung), winner)
