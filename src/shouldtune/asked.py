"""What a climb is asked: which rungs and models, and the digest that names its run."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shouldtune import __version__
from shouldtune.errors import InputError
from shouldtune.judgement import Price
from shouldtune.models.budget import Budget
from shouldtune.models.keys import digest, identity
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered, LedgeredTunable
from shouldtune.models.open import is_local
from shouldtune.models.past_calls import dollars_paid
from shouldtune.models.paying import PaidBy
from shouldtune.models.prices import price_of
from shouldtune.models.providers import is_remote
from shouldtune.models.remote import Remote, open_remote, remote_of
from shouldtune.probing import Probing
from shouldtune.progress import Progress
from shouldtune.run import adapters_path, jobs_path, ledger_path
from shouldtune.rungs import LADDER
from shouldtune.scorers import model_needed, with_model
from shouldtune.spool import together
from shouldtune.task import LoadedTask
from shouldtune.task.file import TUNED, TaskFile, economics_of, price_table, prices_of, training_price_of
from shouldtune.tuning.jobs_so_far import jobs_paid, tuned_ids
from shouldtune.tuning.provider_client import JobPatience, require_client
from shouldtune.tuning.provider_tunable import ProviderTunable
from shouldtune.types import Example, Model, Models, Rung
from shouldtune.workers import On, Opener


@dataclass(frozen=True)
class Climb:
    """How to climb: which rungs, and whether to go on when the answer is already clear."""

    rungs: tuple[Rung, ...] = LADDER
    all_rungs: bool = False
    allow_simulated: bool = False
    whole_holdout: bool = False
    """Ask every rung every held-out example; else it is stopped when more of it could not change the answer."""
    probing: Probing | None = Probing()
    """How much to ask about why failures fail; None asks nothing. So does `probes: false` in the task file."""
    forecast: bool | None = None
    """Whether to measure a learning curve before a fine-tune; None leaves it to the task file."""
    forgetting: bool = True
    """Whether to ask what a tuned model has forgotten."""
    price_limit: bool = True
    """Whether a budget is refused that cannot be kept, because the price of a model is not known."""
    may_send: bool = False
    """Whether training data may be sent to the provider that `tune` names."""
    patience: JobPatience = JobPatience()
    """How long to wait for a provider's jobs."""
    on: On | None = None
    """Workers on a Ray cluster, for models that run in this process otherwise."""


OpenModels = Callable[[LoadedTask, Ledger, Progress, JobPatience], Models]


@dataclass(frozen=True)
class Ground:
    """Where a climb is made, if not in its task's own folder with its task's own models."""

    folder: Path | None = None
    """In place of the task's, for all that is written."""
    beside: tuple[Path, ...] = ()
    """Ledgers whose answers are used too."""
    open_models: OpenModels | None = None


def chosen_rungs(names: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of these names, in ladder order. InputError for a name that is none."""
    known = {rung.name: rung for rung in LADDER}
    for name in names:
        if name not in known:
            raise InputError(f"there is no rung {name!r}", hint=f"one of {', '.join(known)}")
    return tuple(rung for rung in LADDER if rung.name in names)


def open_models(
    loaded: LoadedTask,
    ledger: Ledger,
    progress: Progress,
    patience: JobPatience = JobPatience(),
    opens: Callable[[str, Sequence[Example]], Model] | None = None,
    on: On | None = None,
) -> Models:
    """The task's models behind its ledger, those of this machine on workers where `on` names some.

    `opens` opens them in another way. ModelUnavailable or InputError where one cannot be opened, CannotMeasure where no
    worker can be had.
    """
    # A scripted model knows the answers; a real one is told nothing.
    everything = together(loaded.task.train, loaded.holdout)
    file, economics = loaded.file, loaded.economics
    opener = Opener(on, everything, (file.model, file.strong, file.tune, model_needed(loaded.task.scorer)))

    def opened(named: str) -> Model:
        return opener.model(named) if opens is None else opens(named, everything)

    prompt = Ledgered(opened(file.model), ledger, price_paid(file.model, economics.prompt_price))
    strong = None
    if file.strong is not None:
        strong = Ledgered(opened(file.strong), ledger, price_paid(file.strong, economics.strong_price))
    judge, budget = _open_judge(loaded, ledger, opened), file.budget
    if loaded.file.tune is None:
        return Models(prompt, strong=strong, judge=judge, budget=budget)
    if is_remote(loaded.file.tune):
        base = open_remote(loaded.file.tune) if opens is None else remote_of(loaded.file.tune)
        elsewhere = _open_elsewhere(loaded, loaded.file.tune, base, ledger, progress, patience)
        return Models(prompt, elsewhere, strong, judge=judge, budget=budget)
    tunable = opener.tunable(loaded.file.tune, adapters_path(loaded.folder), progress.trained)
    tune = None if tunable is None else LedgeredTunable(tunable, ledger)
    return Models(prompt, tune, strong, judge=judge, budget=budget)


def _open_elsewhere(
    loaded: LoadedTask, named: str, base: Remote, ledger: Ledger, progress: Progress, patience: JobPatience
) -> ProviderTunable:
    """A model that its provider trains."""
    return ProviderTunable(
        base,
        ledger,
        price_of(named, price_table(loaded.file)),
        journal_path=jobs_path(loaded.folder),
        training=training_price_of(loaded.file, named),
        tuned_price=loaded.economics.tuned_price,
        progress=progress,
        patience=patience,
    )


def must_be_allowed(loaded: LoadedTask, how: Climb) -> None:
    """InputError where training data would be sent away and nobody said that it may be; ModelUnavailable."""
    named = loaded.file.tune
    if named is None or not is_remote(named) or not any(rung.training for rung in how.rungs):
        return
    require_client()
    if not how.may_send:
        raise InputError(
            f"training {named} sends training data there, and nobody has said that it may be sent",
            where=loaded.path,
            hint="look at `shouldtune plan` for what is sent, then run with --yes; or `tune: smollm2` trains here",
        )


JUDGE = "judge"
"""Who pays for grades that a model gives: they are no part of what a rung costs."""


def _open_judge(loaded: LoadedTask, ledger: Ledger, opened: Callable[[str], Model]) -> Model | None:
    """The model that the scorer asks; None where it asks none."""
    named = model_needed(loaded.task.scorer)
    if named is None:
        return None
    price = price_paid(named, price_of(named, price_table(loaded.file)))
    return PaidBy(Ledgered(opened(named), ledger, price), JUDGE, "grade")


def with_judge(loaded: LoadedTask, models: Models) -> LoadedTask:
    """The task with its judge at hand, where its scorer asks one."""
    if models.judge is None:
        return loaded
    return replace(loaded, task=replace(loaded.task, scorer=with_model(loaded.task.scorer, models.judge)))


def price_paid(model: str, price: Price | None) -> Price | None:
    """What a model's calls are paid at; None where it is not known, or they take machine time alone."""
    return None if is_local(model) else price


def price_at(file: TaskFile, folder: Path) -> Callable[[str], Price | None]:
    """From a model's id to the price of its answers, for those too that jobs of this task have made."""
    listed, tuned, tuned_price = prices_of(file), tuned_ids(jobs_path(folder)), economics_of(file).tuned_price
    return lambda model_id: tuned_price if model_id in tuned else listed(model_id)


def dollars_so_far(loaded: LoadedTask) -> tuple[float, tuple[str, ...]]:
    """(dollars that the calls of all runs of a task cost at list price, models whose price is not known)."""
    answers, unknown = dollars_paid(ledger_path(loaded.folder), price_at(loaded.file, loaded.folder))
    training, unpriced = jobs_paid(jobs_path(loaded.folder), lambda model_id: training_price_of(loaded.file, model_id))
    return answers + training, unknown + unpriced


def budget_of(loaded: LoadedTask, how: Climb = Climb()) -> Budget | None:
    """The wall, less what earlier runs have paid; None where there is none. Its minutes begin now.

    InputError where it cannot be kept, because the price of a model is not known, and `how.price_limit` is.
    """
    file, spent = loaded.file, 0.0
    unknown: tuple[str, ...] = ()
    if file.budget is None and file.max_calls is None and file.max_minutes is None:
        return None
    if file.budget is not None:
        spent, unknown = dollars_so_far(loaded)
        unknown = tuple(dict.fromkeys((*unpriced(loaded), *unknown)))
        if unknown and how.price_limit:
            raise _cannot_be_kept(loaded, file.budget, unknown[0])
    return Budget(file.budget, spent, calls=file.max_calls, minutes=file.max_minutes, holds=not unknown)


def unpriced(loaded: LoadedTask) -> tuple[str, ...]:
    """The models behind an address that a climb asks and whose price nobody has told."""
    asked = [(loaded.file.model, loaded.economics.prompt_price)]
    if loaded.file.strong is not None:
        asked.append((loaded.file.strong, loaded.economics.strong_price))
    judge = model_needed(loaded.task.scorer)
    if judge is not None:
        asked.append((judge, price_of(judge, price_table(loaded.file))))
    remote = tuple(model for model, price in asked if is_remote(model) and price is None)
    return remote + _unpriced_training(loaded)


def _cannot_be_kept(loaded: LoadedTask, usd: float, model: str) -> InputError:
    say = "`--price READ,WRITTEN`, dollars per million tokens, or " if model == loaded.file.model else ""
    named, parts = model.removeprefix("training "), "read: ..., written: ..."
    parts += ", training: ..." if model != named else ""
    return InputError(
        f"a budget of ${usd:g} cannot be kept: no price is known of {model}",
        where=loaded.path,
        hint=f"say it: {say}`prices: {{{named}: {{{parts}}}}}`; or go without: `--no-price-limit`",
    )


def _unpriced_training(loaded: LoadedTask) -> tuple[str, ...]:
    """What has no known price where a provider is to train: the job, and the answers of its base and its result."""
    named = loaded.file.tune
    if named is None or not is_remote(named):
        return ()
    base, tuned = price_of(named, price_table(loaded.file)), loaded.economics.tuned_price
    jobs = () if training_price_of(loaded.file, named) is not None else (f"training {named}",)
    return jobs + tuple(name for name, price in ((named, base), (TUNED, tuned)) if price is None)


def what_is_asked(loaded: LoadedTask, how: Climb, models: Models) -> dict[str, Any]:
    """Everything that decides what a run will find; its digest names the run."""
    return {
        "name": loaded.task.name,
        "instruction": loaded.task.instruction,
        "model": loaded.file.model,
        "tune": loaded.file.tune,
        "strong": loaded.file.strong,
        "strong_model": None if models.strong is None else identity(models.strong.spec()),
        "probing": asdict(how.probing) if how.probing is not None and loaded.file.probes else None,
        "forgetting": how.forgetting,
        "forecast": loaded.file.forecast if how.forecast is None else how.forecast,
        "prompt_model": identity(models.prompt.spec()),
        "tuned_model": None if models.tune is None else identity(models.tune.spec()),
        "scorer": loaded.file.scorer,
        **({} if models.judge is None else {"judge": identity(models.judge.spec())}),
        "goal": asdict(loaded.task.goal),
        "economics": asdict(loaded.economics),
        **_training_price(loaded, how),
        "seed": loaded.file.seed,
        "train_n": len(loaded.task.train),
        "holdout_n": len(loaded.holdout),
        "documents_n": len(loaded.task.documents),
        "task_sha256": loaded.digest,
        "rungs": [repr(rung) for rung in how.rungs],
        "all_rungs": how.all_rungs,
        "whole_holdout": how.whole_holdout,
        "shouldtune": __version__,
    }


def _training_price(loaded: LoadedTask, how: Climb) -> dict[str, float]:
    """Dollars for a million tokens and epoch; nothing where no provider trains or its price is not known, so that such
    a run is the one that it was before there was such a key."""
    named = loaded.file.tune
    if named is None or not is_remote(named) or not any(rung.training for rung in how.rungs):
        return {}
    price = training_price_of(loaded.file, named)
    return {} if price is None else {"training_price": price.usd}


MONEY = ("economics", "training_price")
"""Of what is asked, what changes no answer of a model."""


def run_id(asked: Mapping[str, Any]) -> str:
    """Eight hex digits that name the run. Where a price was found does not matter, what it is does."""
    money = {
        name: {**value, "source": ""} if isinstance(value, dict) else value
        for name, value in asked["economics"].items()
    }
    return digest({**asked, "economics": money})[:8]


def look_id(asked: Mapping[str, Any]) -> str:
    """What makes a run another look at the holdout: everything that is asked but money."""
    return digest({name: value for name, value in asked.items() if name not in MONEY})


def machine() -> dict[str, str]:
    """Where the run was made; not part of what it is."""
    return {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
