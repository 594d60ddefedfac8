"""climb(): from the cheapest rung to the dearest, until the answer is clear."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from shouldtune.ascent import Ascent
from shouldtune.asked import (
    Climb,
    Ground,
    budget_of,
    look_id,
    machine,
    must_be_allowed,
    open_models,
    run_id,
    what_is_asked,
    with_judge,
)
from shouldtune.conclusion import FEWEST_ROWS, conclude, save_winner, too_few_rows
from shouldtune.errors import InputError
from shouldtune.judgement import Verdict
from shouldtune.judging import vet_judge
from shouldtune.looks import look_at, looks_path
from shouldtune.models.ledger import Ledger
from shouldtune.models.open import HERE, is_simulated
from shouldtune.progress import Progress
from shouldtune.run import (
    RunRecord,
    ledger_path,
    load_run,
    run_folder,
    save_asked,
    save_inquiry,
    save_measurements,
    save_verdict,
)
from shouldtune.scorers import model_needed
from shouldtune.task import LoadedTask
from shouldtune.task.contents import contents_of
from shouldtune.trail import Trail
from shouldtune.types import Fitted, Rung, Skipped
from shouldtune.verdict.case import NOT_REACHED
from shouldtune.verdict.inquiry import Inquiry
from shouldtune.verdict.race import Ask, Done, Open, trained_enough

FitsAhead = Mapping[str, asyncio.Task[Fitted | Skipped]]
"""Rungs that are being fitted before their turn."""


async def climb(
    loaded: LoadedTask, how: Climb = Climb(), progress: Progress | None = None, ground: Ground = Ground()
) -> RunRecord:
    """Fit and measure one rung after another, decide, and write the run folder.

    A lower rung that meets the goal ends the climb, unless `how.all_rungs`, and a rung is asked no more than could
    change the answer, unless `how.whole_holdout`. Calls come from the task's ledger where it
    has them, so a climb that was cut off goes on, and one that is repeated costs nothing. Where the budget would be
    passed no further call is begun, and what was measured is judged. Raises CannotMeasure when no model can be had,
    InputError for what the user must mend.
    """
    trail = Trail(progress or Progress())
    simulated = any(map(is_simulated, (loaded.file.model, loaded.file.tune, model_needed(loaded.task.scorer))))
    if simulated and not how.allow_simulated:
        raise InputError(
            "a scripted model's answers are simulated: they can lead to no verdict",
            hint="--allow-simulated, to see how a verdict would read",
        )
    must_be_allowed(loaded, how)
    task, contents = loaded, contents_of(loaded)
    loaded = loaded if ground.folder is None else replace(loaded, path=ground.folder / loaded.path.name)
    ledger = Ledger(
        ledger_path(loaded.folder), lambda who, completion, new: trail.called(*who, completion, new), ground.beside
    )
    try:
        ledger.budget = budget_of(loaded, how)
        models = (ground.open_models or partial(open_models, on=how.on))(task, ledger, trail, how.patience)
        asked = what_is_asked(loaded, how, models)
        loaded = with_judge(loaded, models)
        folder = run_folder(loaded.folder, loaded.task.name, run_id(asked))
        look = look_at(looks_path(loaded.folder), loaded.holdout, look_id(asked), folder.name)
        told = {**asked, "created": datetime.now(UTC).isoformat(timespec="seconds"), **machine()}
        save_asked(folder, told, loaded.holdout, contents)
        trail.begin(folder, how.rungs, {"look": look.number, "simulated": simulated})
        try:
            verdict = await _climb(Ascent(loaded, how, ledger, models, folder, trail, simulated, asked, look))
        finally:
            await models.aclose()
        save_verdict(folder, verdict)
        save_winner(folder, verdict)
        trail.end()
    finally:
        trail.close()
        ledger.close()
    return load_run(folder)


async def _climb(ascent: Ascent) -> Verdict:
    """Look at the data, take the steps that race.py names until there is none left, and decide."""
    if len(ascent.loaded.task.train) + len(ascent.loaded.holdout) < FEWEST_ROWS:
        save_measurements(ascent.folder, ())
        return too_few_rows(ascent)
    budget = ascent.ledger.budget
    if budget is not None and not budget.holds:
        ascent.inquirer.note(f"the budget of ${budget.usd:g} does not hold: some calls have no known price")
    for line in await vet_judge(ascent.loaded):
        ascent.inquirer.note(line)
    await ascent.inquirer.look_at_data()
    if ascent.inquirer.nothing_to_climb_for():
        return conclude(ascent)
    ahead = _fitted_ahead(ascent)
    try:
        await _take_steps(ascent, ahead)
    finally:
        for task in ahead.values():
            task.cancel()
        await asyncio.gather(*ahead.values(), return_exceptions=True)
    return conclude(ascent)


def _fitted_ahead(ascent: Ascent) -> FitsAhead:
    """The fits that need not wait for their turn: training here while a server answers the rungs before it.

    Only where every rung is tried anyway: training that the answer might do without would be time on the bill.
    """
    prompt, tune = ascent.models.prompt, ascent.models.tune
    beside = tune is not None and prompt.spec()["kind"] in ("remote", "any_llm") and tune.spec()["kind"] in HERE
    training = [rung for rung in ascent.how.rungs if rung.training] if ascent.how.all_rungs and beside else []
    return {rung.name: asyncio.create_task(ascent.fit(rung, ascent.models)) for rung in training[:1]}


async def _take_steps(ascent: Ascent, ahead: FitsAhead) -> None:
    """Open and ask rungs until race.py is done."""
    asking: str | None = None
    told: dict[str, int] = {}  # how far each rung was when its end was told
    while True:
        step = ascent.next_step()
        if asking is not None and (not isinstance(step, Ask) or step.rung != asking):
            if asking not in told:
                _tell(ascent, asking, told)
            save_measurements(ascent.folder, ascent.measured())
            save_inquiry(ascent.folder, ascent.inquirer.inquiry)
            asking = None
        if isinstance(step, Done) or not ascent.ledger.may_go_on():
            if not ascent.ledger.budget_ended() and not ascent.is_settled():
                await ascent.inquirer.look_at_failures(ascent.fitted())
            if not ascent.ledger.budget_ended():
                await ascent.inquirer.look_at_what_is_forgotten(ascent.fitted())
            break
        if isinstance(step, Open):
            await _open_next(ascent, ahead)
            continue
        if step.rung != asking:
            ascent.progress.measuring(step.rung, len(ascent.loaded.holdout))
        asking = step.rung
        await ascent.ask(step)
    for name, each in ascent.opened.items():
        if told.get(name) != len(each.predictions):
            _tell(ascent, name, told)


async def _open_next(ascent: Ascent, ahead: FitsAhead) -> None:
    """Fit the next rung, whose turn it is, or find out why not."""
    rung = ascent.how.rungs[ascent.reached()]
    ascent.progress.rung_started(rung.name, ascent.reached() + 1, len(ascent.how.rungs))
    fitted = await (ahead[rung.name] if rung.name in ahead else _fit(rung, ascent))
    if ascent.ledger.budget_ended():
        return  # its settings were chosen on some answers only: nothing that could be measured
    ascent.open(rung, fitted)


async def _fit(rung: Rung, ascent: Ascent) -> Fitted | Skipped:
    """Fit a rung; training only after a look at why prompts fail, only where nothing is to be mended first, and a
    second kind of it only where the first was not enough."""
    if rung.training:
        enough = None if ascent.how.all_rungs else trained_enough(ascent.goal, ascent.case(Inquiry()).columns)
        if enough is not None:
            return Skipped(enough)
        await ascent.inquirer.look_at_failures(ascent.fitted())
        await ascent.inquirer.look_ahead(rung, ascent.fitted())
        why_not = ascent.inquirer.why_not_to_train()
        if why_not is not None:
            return Skipped(why_not)
        if not ascent.ledger.may_go_on():
            return Skipped(NOT_REACHED)
    return await ascent.fit(rung, await ascent.models_for(rung))


def _tell(ascent: Ascent, name: str, told: dict[str, int]) -> None:
    told[name] = len(ascent.opened[name].predictions)
    ascent.progress.rung_finished(name, ascent.measurement(name))
