"""What a provider's jobs have cost and made so far, as the journal tells. Nobody is asked."""

from __future__ import annotations

from collections.abc import Callable
from math import fsum
from pathlib import Path

from shouldtune.models.training_prices import TrainingPrice
from shouldtune.tuning.job_journal import JobJournal


def jobs_paid(path: Path, price: Callable[[str], TrainingPrice | None]) -> tuple[float, tuple[str, ...]]:
    """(dollars of all jobs, models whose price of training is not known).

    A job that is under way, or does not tell what it has trained on, is in it at the most that it can cost.
    """
    paid, unknown = [0.0], set()
    for line, ended in JobJournal.open(path).jobs():
        tokens = line["most_tokens"] if ended is None or ended.trained_tokens is None else ended.trained_tokens
        found = price(line["base"])
        if found is None:
            unknown.add(f"training {line['base']}")
        else:
            paid.append(found.of(tokens))
    return fsum(paid), tuple(sorted(unknown))


def tuned_ids(path: Path) -> frozenset[str]:
    """The ids of the models that jobs have made so far, as task files name them."""
    found = set()
    for line, ended in JobJournal.open(path).jobs():
        head, at_address, _ = line["base"].partition("#")
        before = f"{head}#" if at_address else f"{head.partition(':')[0]}:"
        found |= {f"{before}{name}" for name in ((*ended.checkpoints, ended.model) if ended else ()) if name}
    return frozenset(found)
