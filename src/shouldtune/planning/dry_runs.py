"""Rungs, probes and the learning curve run with stand-ins: which calls each would make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from shouldtune.asked import Climb
from shouldtune.doubts import Doubts
from shouldtune.forgetting import PAYER as FORGETTING
from shouldtune.forgetting import forgotten
from shouldtune.inquiring import Inquirer
from shouldtune.models.any_llm import any_of
from shouldtune.models.open import is_local, is_simulated, open_model
from shouldtune.models.past_calls import PastCall
from shouldtune.models.prompted import Prompted
from shouldtune.models.providers import ANY, is_remote
from shouldtune.models.remote import remote_of
from shouldtune.planning.dry import Counted, DryModel, level, mixed, rising
from shouldtune.planning.dry_judge import DryJudge
from shouldtune.probing import PAYER, Probing, probe
from shouldtune.probing.rows import prompt_of
from shouldtune.progress import Progress
from shouldtune.rungs.choosing import FIRST
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.instructions import Instructions
from shouldtune.rungs.learning_curve import learning_curve, parts_of, scores_beside, why_no_curve
from shouldtune.rungs.stronger import Stronger
from shouldtune.rungs.trained import Trained
from shouldtune.scorers import part_of
from shouldtune.scorers.judge import Judge
from shouldtune.task import LoadedTask
from shouldtune.tuning.training_file import TrainingFile
from shouldtune.types import Fitted, Message, Model, Models, ModelSpec, Rung, Scorer, Skipped

Who = Literal["prompt", "tune", "strong", "judge"]
"""Which of the task's models is asked."""
CURVE = "learning curve"
VETTING = "judge"


@dataclass(frozen=True)
class Calls:
    """Some calls of one model, and how many times over."""

    who: Who
    calls: tuple[Counted, ...]
    times: float = 1.0


@dataclass(frozen=True)
class Dry:
    """What one thing would ask."""

    most: tuple[Calls, ...] = ()
    """To choose between its settings, all of them tried, and on all rows at the dearest one."""
    fit: tuple[Calls, ...] = ()
    """What is asked where it is reached at all."""
    rows: tuple[Calls, ...] = ()
    """On the held-out examples, half way between the dearest and the cheapest setting."""
    n: int = 1
    """How many held-out examples `rows` asks."""
    epochs: int = 0
    epochs_most: int = 0
    """Where training got stuck the next setting is tried."""
    trained: tuple[TrainingFile, ...] = ()
    """What is trained on, epoch by epoch."""


@dataclass
class _Stage:
    """The stand-ins of one scenario, and the prompts that were fitted with them."""

    models: Models
    stand_ins: dict[Who, DryModel]
    judge: DryJudge | None = None
    prompts: list[tuple[str, Model, int]] = field(default_factory=list)
    """(rung, fitted, bytes of a prompt)"""

    def scored(self, scorer: Scorer) -> Scorer:
        """A scorer whose grades a model gives, where the task's are such."""
        return scorer if self.judge is None else self.judge.beside(scorer)

    def taken(self) -> dict[Who, tuple[Counted, ...]]:
        return {who: found for who, each in self.stand_ins.items() if (found := each.taken())}


class DryRuns:
    """Runs each thing once at its dearest and once at its cheapest; things come in the order of a climb."""

    def __init__(self, loaded: LoadedTask, how: Climb, past: Sequence[PastCall]) -> None:
        self.loaded, self.how = loaded, how
        known = frozenset(call.key for call in past)
        self.dear, self.cheap = (_stage(loaded, known) for _ in range(2))

    async def rung(self, rung: Rung) -> Dry | Skipped:
        """Fit a rung, and ask it every held-out example's input. Errors as the rung's own."""
        if isinstance(rung, Instructions):
            return await self._search(rung)
        found: list[
            tuple[dict[Who, tuple[Counted, ...]], dict[Who, tuple[Counted, ...]], tuple[TrainingFile, ...]]
        ] = []
        for stage, scorer, best in ((self.dear, rising(), max), (self.cheap, level, min)):
            models = stage.models
            if stage.prompts:
                models = replace(models, best=best(stage.prompts, key=lambda each: each[2])[:2])
            fitted = await rung.fit(replace(self.loaded.task, scorer=stage.scored(scorer)), models)
            if isinstance(fitted, Skipped):
                if not found:
                    return fitted
                found.append(found[0])  # with answers that are all alike there is nothing that it could learn from
                stage.taken()
                continue
            if not rung.uses_llm and stage.judge is None:
                return Dry()
            fit = stage.taken()
            rows = await self._ask_holdout(stage, fitted)
            read = stage.stand_ins["tune"].read if "tune" in stage.stand_ins else []
            self._remember(stage, rung, fitted, rows)
            found.append((fit, rows, tuple(read)))
            read.clear()
        (fit, dear, trained), (_, cheap, _) = found
        epochs = len(trained)
        settings = len(rung.settings_for(self.dear.stand_ins["tune"])) if isinstance(rung, Trained) else 1
        return Dry(
            most=(*_calls(fit, settings), *_calls(dear)),
            fit=_calls(fit),
            rows=(*_calls(dear, 0.5), *_calls(cheap, 0.5)),
            n=len(self.loaded.holdout),
            epochs=epochs,
            epochs_most=epochs * settings,
            trained=trained,
        )

    async def probes(self) -> Dry | Skipped:
        """Ask why failures fail, with a stand-in that fails two times in three."""
        how = self.how.probing
        if how is None or not self.loaded.file.probes:
            return Skipped("they are not wanted")
        if not self.dear.prompts:
            return Skipped("no prompt was fitted")
        found = []
        for stage in (self.dear, self.cheap):
            task = replace(self.loaded.task, scorer=stage.scored(mixed()))
            model = max(stage.prompts or self.dear.prompts, key=lambda each: each[2])[1]
            looked = await probe(task, model, how, stage.models.strong, Doubts(len(task.train)))
            if isinstance(looked, Skipped):
                return looked
            found.append(stage.taken() or self.dear.taken())
        asked, cheap = found
        choosing = FIRST * len(self.dear.prompts)  # a prompt without settings is asked some rows, to see which is best
        most = min(how.most_calls, self._most_probes(how)) + choosing
        told = len(asked.get("prompt", ()))
        scaled = (
            replace(each, times=most / max(1, told)) if each.who in ("prompt", "judge") else each
            for each in _calls(asked)
        )
        return Dry(most=tuple(scaled), fit=(*_calls(asked, 0.5), *_calls(cheap, 0.5)))

    async def curve(self) -> Dry | Skipped:
        """Small fine-tunes and what they are compared with, where a forecast is wanted."""
        stage = self.dear
        task = replace(self.loaded.task, scorer=stage.scored(level))
        rung = next((rung for rung in self.how.rungs if isinstance(rung, FineTune)), None)
        if rung is None:
            return Skipped("no rung is trained")
        why_not = why_no_curve(task, stage.models, self.loaded.economics.fine_tune_usd, self.loaded.file.budget)
        if why_not is not None:
            return Skipped(why_not)
        if not Inquirer(self.loaded, task.goal, self.how, stage.models, Progress()).forecasting:
            return Skipped("it was not asked for (`--forecast`)")
        parts = parts_of(task)
        async for _ in learning_curve(task, stage.models, rung, parts):
            pass
        beside = next((each for each in reversed(self.how.rungs) if each.uses_llm and not each.training), None)
        if beside is not None:
            await scores_beside(beside, stage.models, parts, task)
        asked, read = stage.taken(), stage.stand_ins["tune"].read
        trained, epochs = tuple(read), len(read)
        read.clear()
        return Dry(most=_calls(asked), fit=_calls(asked), epochs=epochs, epochs_most=epochs, trained=trained)

    async def vetting(self) -> Dry | Skipped:
        """Try a judge before anything rests on it."""
        if self.dear.judge is None:
            return Skipped("no model grades the answers")
        await self.dear.judge.vetted(self.loaded)
        asked = self.dear.taken()
        return Dry(most=_calls(asked), fit=_calls(asked))

    async def forgetting(self) -> Dry | Skipped:
        """Ask a tuned stand-in and its base what has nothing to do with the task."""
        tune = self.dear.stand_ins.get("tune")
        if not self.how.forgetting:
            return Skipped("it is not wanted")
        if tune is None or not any(rung.training for rung in self.how.rungs):
            return Skipped("no rung is trained")
        tuned = Fitted(Prompted(replace(tune, plain={**tune.plain, "trained": 0})))
        await forgotten("", tuned, self.dear.models, self.loaded.others)
        asked = self.dear.taken()
        return Dry(most=_calls(asked), fit=_calls(asked))

    async def _search(self, rung: Instructions) -> Dry | Skipped:
        """The search for an instruction: half way between one where each is better than the last, and one in vain.

        The writer, where it is the prompted model itself, is told apart by a stand-in of its own.
        """
        found: list[tuple[Calls, Calls]] = []
        rows: dict[Who, tuple[Counted, ...]] = {}
        who: Who = "strong" if "strong" in self.dear.stand_ins else "prompt"
        for stage, scorer in ((self.dear, rising()), (self.cheap, level)):
            answering = stage.stand_ins["prompt"]
            writer = replace(answering, asked={}) if who == "prompt" else stage.stand_ins[who]
            fitted = await rung.fit(
                replace(self.loaded.task, scorer=stage.scored(scorer)), replace(stage.models, strong=writer)
            )
            found.append((Calls("prompt", answering.taken(), 0.5), Calls(who, writer.taken(), 0.5)))
            if isinstance(fitted, Fitted):
                rows = await self._ask_holdout(stage, fitted)
                self._remember(stage, rung, fitted, rows)
            elif not rows:
                return fitted
        limits = rung.most(self.loaded.task, alone=who == "prompt")
        most = [replace(part, times=n / max(1, len(part.calls))) for part, n in zip(found[0], limits, strict=True)]
        fit = tuple(part for parts in found for part in parts)
        return Dry((*most, *_calls(rows)), fit, _calls(rows, 0.5), n=len(self.loaded.holdout))

    async def _ask_holdout(self, stage: _Stage, fitted: Fitted) -> dict[Who, tuple[Counted, ...]]:
        for example in self.loaded.holdout:
            await fitted.model.complete([Message("user", example.input)])
            if stage.judge is not None:
                await stage.judge.grade(example)
        return stage.taken()

    def _remember(self, stage: _Stage, rung: Rung, fitted: Fitted, rows: dict[Who, tuple[Counted, ...]]) -> None:
        """A prompt, for what builds on the best one."""
        if not rung.training and not isinstance(rung, Stronger) and prompt_of(fitted.model) is not None:
            size = sum(call.bytes_read for calls in rows.values() for call in calls)
            stage.prompts.append((rung.name, fitted.model, size))

    def _most_probes(self, how: Probing) -> int:
        """No more than there are rows for: each as it is, each failure and success changed, and the two readings."""
        pool, output = len(self.loaded.task.train), self.loaded.task.output
        kinds = 2 + sum([bool(output.labels or output.schema), bool(self.loaded.task.documents)])
        changed = (min(how.failures, pool) + min(how.successes, pool)) * kinds
        return pool + changed + 2 * min(how.random, pool) + how.tries * how.tried_again


def _calls(found: dict[Who, tuple[Counted, ...]], times: float = 1.0) -> tuple[Calls, ...]:
    return tuple(Calls(who, calls, times) for who, calls in found.items())


def _stage(loaded: LoadedTask, known: frozenset[str]) -> _Stage:
    stand_ins: dict[Who, DryModel] = {"prompt": DryModel(_spec(loaded.file.model), known)}
    tune = loaded.file.tune
    if tune is not None and can_tune(loaded):
        stand_ins["tune"] = DryModel(_spec(tune) if is_remote(tune) else {"kind": "tuned"})
    if loaded.file.strong is not None:
        stand_ins["strong"] = DryModel(_spec(loaded.file.strong), known)
    models = Models(stand_ins["prompt"], stand_ins.get("tune"), stand_ins.get("strong"))
    judge = part_of(loaded.task.scorer, Judge)
    if judge is None:
        return _Stage(models, stand_ins)
    stand_ins["judge"] = DryModel(_spec(judge.needs_model), known)
    return _Stage(models, stand_ins, DryJudge(judge, stand_ins["judge"]))


def can_tune(loaded: LoadedTask) -> bool:
    """Whether a model is named that can be fine-tuned here."""
    named = loaded.file.tune
    return named is not None and (is_local(named) or is_simulated(named) or is_remote(named))


def _spec(named: str) -> ModelSpec:
    """What a model says of itself, so that its answers in the ledger are known.

    A local one is not opened for that, which could take minutes the first time: its answers count as new.
    """
    if named.startswith(ANY):
        return any_of(named).spec()
    if is_remote(named):
        return remote_of(named).spec()
    return open_model(named).spec() if is_simulated(named) else {"kind": "unopened", "model": named}


__all__ = ["CURVE", "FORGETTING", "PAYER", "VETTING", "Calls", "Dry", "DryRuns", "Who", "can_tune"]
