"""What a climb is asked: which rungs and models, and the digest that names its run."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shouldtune import __version__
from shouldtune.errors import InputError
from shouldtune.models.ledger import Ledger, Ledgered, LedgeredTunable, identity
from shouldtune.models.open import open_model
from shouldtune.probing import Probing
from shouldtune.progress import Progress
from shouldtune.run import adapters_path
from shouldtune.rungs import LADDER
from shouldtune.task import LoadedTask
from shouldtune.tuning import open_tunable
from shouldtune.types import Models, Rung


@dataclass(frozen=True)
class Climb:
    """How to climb: which rungs, and whether to go on when the answer is already clear."""

    rungs: tuple[Rung, ...] = LADDER
    all_rungs: bool = False
    allow_simulated: bool = False
    whole_holdout: bool = False
    probing: Probing | None = Probing()
    """How much to ask about why failures fail; None asks nothing. So does `probes: false` in the task file."""
    forecast: bool | None = None
    """Whether to measure a learning curve before a fine-tune; None leaves it to the task file."""
    """Ask every rung every held-out example; else it is stopped when more of it could not change the answer."""


def chosen_rungs(names: Sequence[str]) -> tuple[Rung, ...]:
    """The rungs of these names, in ladder order. InputError for a name that is none."""
    known = {rung.name: rung for rung in LADDER}
    for name in names:
        if name not in known:
            raise InputError(f"there is no rung {name!r}", hint=f"one of {', '.join(known)}")
    return tuple(rung for rung in LADDER if rung.name in names)


def open_models(loaded: LoadedTask, ledger: Ledger, progress: Progress) -> Models:
    """The task's models behind its ledger. ModelUnavailable or InputError where one cannot be opened."""
    everything = (*loaded.task.train, *loaded.holdout)  # a scripted model knows the answers; a real one is told nothing
    prompt = Ledgered(open_model(loaded.file.model, everything), ledger)
    strong = None if loaded.file.strong is None else Ledgered(open_model(loaded.file.strong, everything), ledger)
    if loaded.file.tune is None:
        return Models(prompt, strong=strong)
    tunable = open_tunable(loaded.file.tune, adapters_path(loaded.folder), everything, progress.trained)
    return Models(prompt, None if tunable is None else LedgeredTunable(tunable, ledger), strong)


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
        "forecast": loaded.file.forecast if how.forecast is None else how.forecast,
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
        "whole_holdout": how.whole_holdout,
        "shouldtune": __version__,
    }


def machine() -> dict[str, str]:
    """Where the run was made; not part of what it is."""
    return {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
