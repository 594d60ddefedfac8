"""One climb under way: which rungs have been fitted, what the holdout's first rows gave, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from shouldtune.asked import Climb
from shouldtune.errors import NotTrained
from shouldtune.inquiring import Inquirer, best_prompt
from shouldtune.looks import Look, goal_at_look, looks_path, write_down
from shouldtune.measure import measure
from shouldtune.models.ledger import Ledger
from shouldtune.models.open import save_fitted
from shouldtune.models.paying import paying
from shouldtune.progress import Progress
from shouldtune.run import models_folder
from shouldtune.spool import Answers
from shouldtune.task import LoadedTask
from shouldtune.types import Fitted, Goal, Measurement, Models, Prediction, Rung, Skipped
from shouldtune.verdict.case import Case
from shouldtune.verdict.columns import sharers
from shouldtune.verdict.decide import judge
from shouldtune.verdict.inquiry import Inquiry
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.questions import ENDS_THE_CLIMB
from shouldtune.verdict.race import Ask, Done, Open, next_step, next_step_whole


@dataclass(frozen=True)
class Opened:
    """A rung that was fitted, and what the holdout's first rows gave so far."""

    rung: Rung
    fitted: Fitted
    predictions: Answers = field(default_factory=Answers)


@dataclass
class Ascent:
    """What one climb works with, and how far it has come."""

    loaded: LoadedTask
    how: Climb
    ledger: Ledger
    models: Models
    folder: Path
    progress: Progress
    simulated: bool
    asked: dict[str, Any]
    look: Look
    opened: dict[str, Opened] = field(default_factory=dict)
    """By name, in ladder order."""
    skipped: dict[str, str] = field(default_factory=dict)
    """Name: why."""
    memory: Memory = field(default_factory=Memory)

    @cached_property
    def goal(self) -> Goal:
        """The task's, at the alpha of this look at the holdout."""
        return goal_at_look(self.loaded.task.goal, self.look.number)

    @cached_property
    def inquirer(self) -> Inquirer:
        return Inquirer(self.loaded, self.goal, self.how, self.models, self.progress)

    # ------------------------------------------------------------ what is known

    def reached(self) -> int:
        """How many rungs have had their turn."""
        return len(self.opened) + len(self.skipped)

    @property
    def trains(self) -> tuple[str, ...]:
        return tuple(rung.name for rung in self.how.rungs if rung.training)

    def waiting(self) -> int:
        """How many rungs have not, those that train counted as one."""
        return sharers([rung.name for rung in self.how.rungs[self.reached() :]], self.trains)

    def fitted(self) -> list[tuple[Rung, Fitted]]:
        return [(each.rung, each.fitted) for each in self.opened.values()]

    def measurement(self, name: str) -> Measurement:
        """A rung as far as it has been measured."""
        each = self.opened[name]
        return Measurement(
            rung=name,
            predictions=each.predictions,
            training=each.rung.training,
            uses_llm=each.rung.uses_llm,
            trials=each.fitted.trials,
            notes=each.fitted.notes,
            search=each.fitted.search,
            fit=self.ledger.spent(name, "fit"),
            measured=self.ledger.spent(name, "measure"),
            raced_over=len(self.loaded.holdout),
        )

    def measured(self) -> Sequence[Measurement]:
        return [self.measurement(name) for name in self.opened]

    def case(self, inquiry: Inquiry) -> Case:
        """All that a verdict rests on."""
        return Case(
            self.goal,
            self.measured(),
            self.skipped,
            tuple(rung.name for rung in self.how.rungs),
            self.trains,
            self.loaded.economics,
            inquiry,
            budget_ended=self.ledger.budget_ended(),
        )

    def is_settled(self) -> bool:
        """Whether a lower rung settles the answer, so that it does not matter why others fail."""
        reason = judge(self.case(self.inquirer.inquiry)).finding.reason
        return not self.how.all_rungs and reason in ENDS_THE_CLIMB

    def next_step(self) -> Ask | Open | Done:
        case, waiting = replace(self.case(Inquiry()), skipped={}), self.waiting()
        step = next_step_whole if self.how.whole_holdout else next_step
        return step(
            case.goal, case.columns, waiting, all_rungs=self.how.all_rungs, money=case.money, memory=self.memory
        )

    # ------------------------------------------------------------ what is done

    async def models_for(self, rung: Rung) -> Models:
        """The models that a rung is given; with them what was trained so far, or the best prompt so far, where a
        stronger model may take it."""
        if rung.training:
            return replace(self.models, trained={r.name: fitted.model for r, fitted in self.fitted() if r.training})
        if self.models.strong is None:
            return self.models
        return replace(self.models, best=await best_prompt(self.loaded.task, self.fitted(), self.models))

    async def fit(self, rung: Rung, models: Models) -> Fitted | Skipped:
        try:
            with paying(rung.name, "fit"):
                return await rung.fit(self.loaded.task, models)
        except NotTrained as error:
            return Skipped(str(error))

    def open(self, rung: Rung, fitted: Fitted | Skipped) -> None:
        """Write down what fitting has led to."""
        if isinstance(fitted, Skipped):
            self.skipped[rung.name] = fitted.because
            self.progress.rung_skipped(rung.name, fitted.because)
            return
        for trial in fitted.trials:
            self.progress.tried(rung.name, trial)
        save_fitted(fitted.model, models_folder(self.folder, rung.name))
        self.opened[rung.name] = Opened(rung, fitted)

    async def ask(self, step: Ask) -> None:
        """Ask a rung the holdout's next rows."""
        each = self.opened[step.rung]
        unseen = each.rung.uses_llm  # a run that ends before a model has answered, and tells no verdict, saw nothing

        def heard(prediction: Prediction) -> None:
            nonlocal unseen
            if prediction.completion.failure == "not_asked":
                return
            if unseen and not prediction.completion.failed:
                write_down(looks_path(self.loaded.folder), self.look)
                unseen = False
            self.progress.predicted(step.rung, prediction)

        rows = self.loaded.holdout[step.start : step.stop]
        with paying(step.rung, "measure"):
            found = await measure(each.fitted.model, rows, self.loaded.task.scorer, heard, each.predictions)
        new = found[len(each.predictions) :]
        begun = sum(1 for _ in takewhile(lambda prediction: prediction.completion.failure != "not_asked", new))
        self.opened[step.rung] = replace(each, predictions=found[: len(each.predictions) + begun])
