"""climb(): from the cheapest rung to the dearest, until the answer is clear."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shouldtune import __version__
from shouldtune.errors import CannotMeasure, InputError
from shouldtune.measure import measure
from shouldtune.models.ledger import Ledger, Ledgered, LedgeredTunable, digest, identity, paying
from shouldtune.models.open import is_simulated, open_model, save_fitted
from shouldtune.progress import Progress
from shouldtune.run import (
    RunRecord,
    adapters_path,
    ledger_path,
    load_run,
    models_folder,
    run_folder,
    save_asked,
    save_measurements,
    save_verdict,
)
from shouldtune.rungs import LADDER
from shouldtune.task import LoadedTask
from shouldtune.tuning import open_tunable
from shouldtune.types import Measurement, Models, Rung, Skipped, Verdict
from shouldtune.verdict.decide import decide
from shouldtune.verdict.sensitivity import flips

FEWEST_ROWS = 40
SETTLED = ("goal_met", "no_model_needed")


@dataclass(frozen=True)
class Climb:
    """How to climb: which rungs, and whether to go on when the answer is already clear."""

    rungs: tuple[Rung, ...] = LADDER
    all_rungs: bool = False
    allow_simulated: bool = False


def chosen_rungs(names: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of these names, in ladder order. InputError for a name that is none."""
    known = {rung.name: rung for rung in LADDER}
    for name in names:
        if name not in known:
            raise InputError(f"there is no rung {name!r}", hint=f"one of {', '.join(known)}")
    return tuple(rung for rung in LADDER if rung.name in names)


async def climb(loaded: LoadedTask, how: Climb = Climb(), progress: Progress | None = None) -> RunRecord:
    """Fit and measure one rung after another, decide, and write the run folder.

    A lower rung that meets the goal ends the climb, unless `how.all_rungs`. Calls come from the task's ledger where it
    has them, so a climb that was cut off goes on, and one that is repeated costs nothing. Raises CannotMeasure when no
    model can be had, InputError for what the user must mend.
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
        models = open_models(loaded, ledger, progress)
        asked = what_is_asked(loaded, how, models)
        folder = run_folder(loaded.folder, loaded.task.name, digest(asked)[:8])
        save_asked(
            folder, {**asked, "created": datetime.now(UTC).isoformat(timespec="seconds"), **machine()}, loaded.holdout
        )
        try:
            verdict = await _climb(loaded, how, _Climbing(ledger, models, folder, progress, simulated, asked))
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


async def _climb(loaded: LoadedTask, how: Climb, at: _Climbing) -> Verdict:
    measurements: list[Measurement] = []
    skipped: dict[str, str] = {}
    planned = tuple(rung.name for rung in how.rungs)

    def verdict() -> Verdict:
        return decide(
            loaded.task.goal,
            measurements,
            skipped,
            planned=planned,
            economics=loaded.economics,
            spent=at.ledger.spent(),
            simulated=at.simulated,
            provenance=at.asked,
        )

    if len(loaded.task.train) + len(loaded.holdout) < FEWEST_ROWS:
        save_measurements(at.folder, measurements)
        return _too_few_rows(loaded, at)
    for position, rung in enumerate(how.rungs, 1):
        at.progress.rung_started(rung.name, position, len(how.rungs))
        found = await _fit_and_measure(rung, loaded, at)
        if isinstance(found, Skipped):
            skipped[rung.name] = found.because
            at.progress.rung_skipped(rung.name, found.because)
            continue
        measurements.append(found)
        save_measurements(at.folder, measurements)
        at.progress.rung_finished(rung.name, found)
        if not how.all_rungs and verdict().reason in SETTLED:
            break
    final = verdict()
    if final.reason not in SETTLED:
        _refuse_when_nothing_answered(measurements)
    others = flips(loaded.task.goal, measurements, skipped, planned=planned, economics=loaded.economics)
    return replace(final, sensitivity=others)


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


async def _fit_and_measure(rung: Rung, loaded: LoadedTask, at: _Climbing) -> Measurement | Skipped:
    with paying(rung.name, "fit"):
        fitted = await rung.fit(loaded.task, at.models)
    if isinstance(fitted, Skipped):
        return fitted
    for trial in fitted.trials:
        at.progress.tried(rung.name, trial)
    save_fitted(fitted.model, models_folder(at.folder, rung.name))
    at.progress.measuring(rung.name, len(loaded.holdout))
    with paying(rung.name, "measure"):
        predictions = await measure(
            fitted.model,
            loaded.holdout,
            loaded.task.scorer,
            lambda prediction: at.progress.predicted(rung.name, prediction),
        )
    return Measurement(
        rung=rung.name,
        predictions=predictions,
        training=rung.training,
        uses_llm=rung.uses_llm,
        trials=fitted.trials,
        notes=fitted.notes,
        fit=at.ledger.spent(rung.name, "fit"),
        measured=at.ledger.spent(rung.name, "measure"),
    )


def open_models(loaded: LoadedTask, ledger: Ledger, progress: Progress) -> Models:
    """The task's models behind its ledger. ModelUnavailable or InputError where one cannot be opened."""
    everything = (*loaded.task.train, *loaded.holdout)  # a scripted model knows the answers; a real one is told nothing
    prompt = Ledgered(open_model(loaded.file.model, everything), ledger)
    if loaded.file.tune is None:
        return Models(prompt)
    tunable = open_tunable(loaded.file.tune, adapters_path(loaded.folder), everything, progress.trained)
    return Models(prompt, None if tunable is None else LedgeredTunable(tunable, ledger))


def what_is_asked(loaded: LoadedTask, how: Climb, models: Models) -> dict[str, Any]:
    """Everything that decides what a run will find; its digest names the run."""
    return {
        "name": loaded.task.name,
        "instruction": loaded.task.instruction,
        "model": loaded.file.model,
        "tune": loaded.file.tune,
        "prompt_model": identity(models.prompt.spec()),
        "tuned_model": None if models.tune is None else identity(models.tune.spec()),
        "scorer": loaded.file.scorer,
        "goal": asdict(loaded.task.goal),
        "economics": asdict(loaded.economics),
        "seed": loaded.file.seed,
        "train_n": len(loaded.task.train),
        "holdout_n": len(loaded.holdout),
        "documents_n": len(loaded.task.documents),
        "task_sha256": loaded.digest,
        "rungs": [repr(rung) for rung in how.rungs],
        "all_rungs": how.all_rungs,
        "shouldtune": __version__,
    }


def machine() -> dict[str, str]:
    """Where the run was made; not part of what it is."""
    return {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}


def _save_winner(folder: Path, verdict: Verdict) -> None:
    """A copy of the model to ship, so that it can be handed on as one folder."""
    winner = folder / "winner"
    shutil.rmtree(winner, ignore_errors=True)
    if verdict.rung is not None and models_folder(folder, verdict.rung).is_dir():
        shutil.copytree(models_folder(folder, verdict.rung), winner)
