"""What a climb looks into beside the rungs, each thing once and when it is needed.

The data before anything is spent; why the best prompt's failures fail, before training is paid for; and a learning
curve, where a forecast is asked for. What was found lands in an Inquiry, from which the verdict is worked out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shouldtune.asked import Climb
from shouldtune.checks import Finding, best_constant, count, has_labels
from shouldtune.doubts import doubt
from shouldtune.errors import CannotMeasure, NotTrained
from shouldtune.forgetting import PAYER as FORGETTING
from shouldtune.forgetting import forgotten
from shouldtune.models.open import is_local
from shouldtune.models.paying import paying
from shouldtune.probing import PAYER, NothingFails, Probing, probe
from shouldtune.probing.rows import mean_without_itself, prompt_of
from shouldtune.progress import Progress
from shouldtune.rungs.choosing import FIRST, parted
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.learning_curve import learning_curve, parts_of, scores_beside, why_no_curve
from shouldtune.scorers import model_needed
from shouldtune.task import LoadedTask
from shouldtune.types import Fitted, Goal, Model, Models, Rung, Skipped, Task
from shouldtune.verdict.before_tuning import told_of_data, why_not_to_train
from shouldtune.verdict.diagnosis import DataEvidence, ceiling, trusted, wrong_targets
from shouldtune.verdict.inquiry import MOST_MISSES, CurveEvidence, Inquiry, ProbeEvidence

Opened = Sequence[tuple[Rung, Fitted]]
"""The rungs fitted so far, cheapest first."""


async def look_at_data(loaded: LoadedTask) -> DataEvidence:
    """What can be counted for nothing: wrong, leaked and contradictory rows, and what a constant scores."""
    counted, labelled = await count(loaded), has_labels(loaded.task)
    doubts = await asyncio.to_thread(doubt, loaded.task.train, labelled=labelled)
    free = model_needed(loaded.task.scorer) is None  # a judge is tried beforehand, on a few rows (judging.py)
    best = await best_constant(loaded) if free and not labelled else None
    return DataEvidence(
        doubts=trusted(doubts),
        failing=len(counted.failing),
        rows=counted.rows,
        leaked=counted.leaked,
        holdout=counted.holdout,
        constant=() if best is None else best.scores,
        constants_tried=1 if best is None else best.tried,
        failing_rows=counted.failing[:50],
        leaked_rows=counted.pairs[:50],
        constant_text="" if best is None else best.text,
    )


async def data_findings(loaded: LoadedTask) -> tuple[Finding, ...]:
    """For `check`: what is proven to be wrong with the data, the targets to doubt, and the best score within reach."""
    data, goal = await look_at_data(loaded), loaded.task.goal
    inquiry, best = Inquiry(data), ceiling(data.doubts)
    found = [Finding("problem", "mend first", line) for line in told_of_data(inquiry.flaws(goal))]
    doubts = data.doubts
    rows = tuple(f"{d.example_id}: {d.target!r}, others say {d.instead!r}" for d in doubts.doubts)
    share = wrong_targets(doubts, (1 - goal.confidence) / 5)
    if rows:
        about = "" if share.estimate is None else f"; about {share.estimate:.1%} of all are wrong"
        said = f"{len(rows)} of {doubts.rows} training targets are doubted by like rows{about}"
        found.append(Finding("note", "doubts", said, rows))
    reach = f"at most {best.high:.2f}" + ("" if best.estimate is None else f", probably {best.estimate:.2f}")
    if inquiry.above_ceiling(goal):
        said = f"the goal of {goal.quality:g} lies above the best score within reach, {reach}: some targets are wrong"
        found.append(Finding("problem", "ceiling", said))
    else:
        found.append(Finding("ok", "ceiling", f"the best score within reach is {reach}"))
    return tuple(found)


@dataclass
class Inquirer:
    """Asks each question once; `inquiry` holds what is known so far."""

    loaded: LoadedTask
    goal: Goal
    """The task's, at the alpha of this look at the holdout."""
    how: Climb
    models: Models
    progress: Progress
    inquiry: Inquiry = Inquiry()

    async def look_at_data(self) -> None:
        """Before anything is spent; what is proven is told at once."""
        self.inquiry = replace(self.inquiry, data=await look_at_data(self.loaded))
        for line in told_of_data(self.inquiry.flaws(self.goal)):
            self.progress.noted(line)
        best = self.inquiry.ceiling()
        if best is not None and self.inquiry.above_ceiling(self.goal):
            self.progress.noted(
                f"The goal of {self.goal.quality:g} lies above the best score within reach, {best.high:.2f} at most:"
                " some targets are wrong."
            )

    def nothing_to_climb_for(self) -> bool:
        """Whether the data must be mended first, whatever the rungs would score.

        Targets that are only doubted wait for the probes, where they are to be run: a task that is hard everywhere
        looks the same to two small models, and a language model tells the two apart.
        """
        kinds = {flaw.kind for flaw in self.inquiry.flaws(self.goal)}
        return bool(kinds - ({"wrong"} if self._probing is not None else set())) and not self.how.all_rungs

    async def look_at_failures(self, opened: Opened) -> None:
        """Probe the best prompt's failures on the training half; nothing where that was done, or is not wanted."""
        how, data = self._probing, self.inquiry.data
        if how is None or data is None or self.inquiry.probes is not None or self._noted(PAYER):
            return
        best = await best_prompt(self.loaded.task, opened, self.models, how.chosen_on)
        if best is None:
            self.note(f"{PAYER}: no prompt was fitted")
            return
        rung, model = best
        self.progress.noted(f"probing why {rung} fails, on the training half")
        found = await probe(self.loaded.task, model, how, self.models.strong, data.doubts)
        if isinstance(found, Skipped):
            self.note(f"{PAYER}: {found.because}")
            if isinstance(found, NothingFails):
                self.inquiry = replace(self.inquiry, all_pass=found.asked)
            return
        self.inquiry = replace(
            self.inquiry,
            probes=ProbeEvidence(
                rung=rung,
                diagnosis=found.diagnosis(),
                asked=found.asked,
                failing=found.failing,
                retrieved=found.retrieved,
                right=found.right,
                misses=found.misses[:MOST_MISSES],
                missed=len(found.misses),
                calls=found.calls,
                notes=found.notes,
            ),
        )

    async def look_ahead(self, rung: Rung, opened: Opened) -> None:
        """Measure a learning curve of `rung`, where a forecast is wanted."""
        if not isinstance(rung, FineTune) or not self.forecasting or self.inquiry.curve is not None:
            return
        found = await measure_curve(rung, self.loaded, self.models, opened, self.progress)
        if isinstance(found, Skipped):
            self.note(f"forecast: {found.because}")
        else:
            self.inquiry = replace(self.inquiry, curve=found)

    async def look_at_what_is_forgotten(self, opened: Opened) -> None:
        """Ask the tuned model that may be shipped, the best on the training half, what its base can do."""
        trained = [(rung, fitted) for rung, fitted in opened if rung.training]
        if not trained or not self.how.forgetting or self.inquiry.forgetting is not None:
            return
        rung, fitted = max(trained, key=lambda each: max((t.score or 0.0 for t in each[1].trials), default=0.0))
        self.progress.noted(f"asking what {rung.name} has made the model forget")
        try:
            found = await forgotten(rung.name, fitted, self.models, self.loaded.others)
        except CannotMeasure as error:  # a provider may train a base that it does not let be asked
            self.note(f"{FORGETTING}: not measured: {error}")
            return
        self.inquiry = replace(self.inquiry, forgetting=found)

    def why_not_to_train(self) -> str | None:
        """Why training is not paid for; None where it is to be tried."""
        return None if self.how.all_rungs else why_not_to_train(self.inquiry, self.goal)

    @property
    def _probing(self) -> Probing | None:
        return self.how.probing if self.loaded.file.probes else None

    @property
    def forecasting(self) -> bool:
        """Where it is asked for; else only where the fine-tune is a provider's job with a price."""
        asked = self.how.forecast if self.how.forecast is not None else self.loaded.file.forecast
        if asked is not None:
            return asked
        tune = self.loaded.file.tune
        return tune is not None and not is_local(tune) and self.loaded.economics.fine_tune_usd is not None

    def note(self, text: str) -> None:
        """Tell something, and keep it for the verdict."""
        self.progress.noted(text)
        self.inquiry = replace(self.inquiry, notes=(*self.inquiry.notes, text))

    def _noted(self, about: str) -> bool:
        return any(note.startswith(f"{about}: ") for note in self.inquiry.notes)


# ---------------------------------------------------------------- which rung, by the training half alone


async def ranked(task: Task, opened: Opened, models: Models, rows: int = FIRST) -> list[tuple[float, Rung, Fitted]]:
    """The rungs without training by their scores on the part of the training half that settings are chosen on.

    The best first, the cheapest of equals. A prompt that had no settings to choose from is asked the first `rows` of
    it now, each row without itself among its shots. Another model's rungs (`stronger`) are left out, and so are those
    without a score.
    """
    beside = [
        (rung, fitted)
        for rung, fitted in opened
        if not rung.training and (models.strong is None or _asks(fitted.model) is not models.strong)
    ]
    with paying(PAYER, "choose"):
        scores = await asyncio.gather(*(_score_on_training(task, fitted, rows) for _, fitted in beside))
    found = [(score, rung, fitted) for score, (rung, fitted) in zip(scores, beside, strict=True) if score is not None]
    return sorted(found, key=lambda each: -each[0])


def _asks(fitted: Model) -> Model | None:
    """The model that a fitted prompt is for."""
    prompt = prompt_of(fitted)
    return None if prompt is None else prompt.model


async def _score_on_training(task: Task, fitted: Fitted, rows: int) -> float | None:
    score = max((trial.score for trial in fitted.trials if trial.score is not None), default=None)
    if score is not None or prompt_of(fitted.model) is None:
        return score
    return await mean_without_itself(task, fitted.model, parted(task)[1][:rows])


async def best_prompt(task: Task, opened: Opened, models: Models, rows: int = FIRST) -> tuple[str, Model] | None:
    """The prompt that did best on the training half, and its rung; None where there is none. `rows` as `ranked`."""
    prompts = [(rung, fitted) for rung, fitted in opened if rung.uses_llm and prompt_of(fitted.model) is not None]
    if not prompts:
        return None
    best = await ranked(task, prompts, models, rows) if len(prompts) > 1 else []
    rung, fitted = best[0][1:] if best else prompts[0]
    return rung.name, fitted.model


async def measure_curve(
    rung: FineTune, loaded: LoadedTask, models: Models, opened: Opened, progress: Progress
) -> CurveEvidence | Skipped:
    """Small fine-tunes, and the best rung without training beside them; all on the bill of `rung`."""
    task = loaded.task
    reason = why_no_curve(task, models, loaded.economics.fine_tune_usd, loaded.file.budget)
    beside = await ranked(task, opened, models) if reason is None else []
    if reason is not None or not beside:
        return Skipped(reason or "no rung without training was fitted that it could be compared with")
    best, parts = beside[0][1], parts_of(task)
    progress.noted(f"measuring a learning curve of {rung.name}, beside {best.name}")
    with paying(rung.name, "forecast"):
        scores = await scores_beside(best, models, parts, task)
        if scores is None:
            return Skipped(f"{best.name} cannot be fitted on fewer examples")
        try:
            points = [point async for point in learning_curve(task, models, rung, parts)]
        except NotTrained as error:
            return Skipped(str(error))
    return CurveEvidence(best.name, tuple(points), scores, len(task.halves()[0]))
