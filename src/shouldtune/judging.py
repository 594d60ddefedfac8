"""A model as judge, vetted before anything rests on it. Its calls are in the ledger, within the budget."""

from __future__ import annotations

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.judgement import Interval
from shouldtune.scorers import part_of
from shouldtune.scorers.judge import Judge
from shouldtune.scorers.people import Agreement, beside_people
from shouldtune.scorers.trials import Trial, tried
from shouldtune.spool import together
from shouldtune.task import LoadedTask


async def vet_judge(loaded: LoadedTask) -> tuple[str, ...]:
    """Try the task's judge, where it has one, on training rows: what is to be told of it.

    Raises InputError for a judge that is fooled, and CannotMeasure where none of its calls came back.
    """
    judge = part_of(loaded.task.scorer, Judge)
    if judge is None:
        return ()
    trial = await tried(judge, loaded.task.train)
    if trial.ungraded == trial.calls:
        raise CannotMeasure(
            f"the judge {judge.needs_model} gave no verdict on any of {trial.calls} answers",
            hint="is it reachable, and within the budget? a judge must reply with one word",
        )
    if trial.because:
        raise InputError(
            f"the judge {judge.needs_model} is refused: {'; '.join(trial.because)}",
            where=loaded.path,
            hint="take a stronger judge, or say in `scoring.rubric` more exactly what a good answer holds",
        )
    return (_told(judge, trial), *await _beside_people(judge, loaded))


def _told(judge: Judge, trial: Trial) -> str:
    empty = ", ".join(f"{kind} {value:.2f} at most" for kind, value in trial.worst.items())
    if judge.pairwise:
        return f"judge: both orders agree on {trial.agree or 0:.2f} of pairs; beside the target {empty}"
    return f"judge: targets score {trial.targets or 0:.2f}, {empty}"


async def _beside_people(judge: Judge, loaded: LoadedTask) -> tuple[str, ...]:
    alpha = 1 - loaded.task.goal.confidence
    found = await beside_people(judge, together(loaded.task.train, loaded.holdout), alpha)
    if found is None:
        return ("judge: no row has `meta.human`, so how far it agrees with people is not known",)
    return (_agreement(found),)


def _agreement(found: Agreement) -> str:
    mean = found.mean.mean
    lost = f"; {found.ungraded} got no verdict" if found.ungraded else ""
    return (
        f"judge: agrees with people on {_shown(found.share)} of {found.share.n} answers, kappa {_shown(found.kappa)}"
        f"{lost}; people would give those answers {_shown(mean)} on average"
    )


def _shown(interval: Interval) -> str:
    middle = "-" if interval.estimate is None else f"{interval.estimate:.2f}"
    return f"{middle} ({interval.low:.2f} to {interval.high:.2f})"
