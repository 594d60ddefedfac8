"""One line of a plan: the calls that a dry run counted, how many of them are to be expected, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum

from shouldtune.models.bill import sum_known
from shouldtune.planning.costs import Costs, Trainer, times
from shouldtune.planning.dry_runs import Calls, Dry, Who
from shouldtune.planning.measured import Rates
from shouldtune.planning.rehearsals import Rehearsed
from shouldtune.types import Skipped


@dataclass(frozen=True)
class PlannedRung:
    """What one rung would ask, or what is looked into beside the rungs.

    Tokens are estimated, and dollars and machine time with them; None is unknown.
    """

    name: str
    training: bool
    skipped_because: str | None = None
    calls_most: int = 0
    """To choose its settings and on every held-out example, at its dearest setting."""
    calls_known: int = 0
    """Of these, answers that the task's ledger holds: they cost nothing again."""
    calls_expected: float = 0.0
    opened: float = 0.0
    """In which share of the rehearsals it was reached."""
    prompt_tokens_most: int = 0
    prompt_tokens_expected: float = 0.0
    usd_most: float | None = None
    usd_expected: float | None = None
    machine_s_expected: float | None = None
    epochs_most: int = 0
    training_usd: float | None = None
    """Of the two above what a provider would ask for training, estimated; 0 where it is trained here."""


def planned_rung(
    name: str,
    training: bool,
    dry: Dry | Skipped,
    expected: Rehearsed | None,
    costs: Mapping[Who, Costs],
    trainer: Trainer,
) -> PlannedRung:
    """The line of one rung, or of one look beside the rungs."""
    if isinstance(dry, Skipped) or expected is None:
        return PlannedRung(name, training, getattr(dry, "because", None))
    if not dry.most:
        return PlannedRung(name, training, opened=expected.opened, usd_most=0.0, usd_expected=0.0)
    share = expected.rows / max(1, dry.n)
    likely = [(expected.opened * part.times, part) for part in dry.fit] + [(share * c.times, c) for c in dry.rows]
    most = [(part.times, part) for part in dry.most]
    rates = costs["prompt"].rates
    calls = fsum(weight * _fresh(part) for weight, part in likely)
    tokens = [(part.who, weight * _read(part, rates), weight * _fresh(part) * rates.written) for weight, part in likely]
    at_most = [(part.who, weight * _read(part, rates), weight * _written(part)) for weight, part in most]
    epochs = expected.opened * dry.epochs
    training_usd, training_most = trainer.usd(dry.trained)
    clock = [costs[who].seconds(read + written) for who, read, written in tokens]
    return PlannedRung(
        name=name,
        training=training,
        calls_most=round(fsum(weight * len(part.calls) for weight, part in most)),
        calls_known=round(fsum(weight * (len(part.calls) - _fresh(part)) for weight, part in most)),
        calls_expected=calls,
        opened=expected.opened,
        prompt_tokens_most=round(fsum(read for _, read, _ in at_most)),
        prompt_tokens_expected=fsum(read for _, read, _ in tokens),
        usd_most=sum_known([training_most, *(costs[who].usd(read, written) for who, read, written in at_most)]),
        usd_expected=sum_known(
            [times(training_usd, expected.opened), *(costs[who].usd(read, written) for who, read, written in tokens)]
        ),
        machine_s_expected=sum_known([*clock, trainer.seconds(epochs)]),
        epochs_most=dry.epochs_most,
        training_usd=training_usd if dry.trained else None,
    )


def _fresh(part: Calls) -> int:
    return sum(not call.known for call in part.calls)


def _read(part: Calls, rates: Rates) -> float:
    """Prompt tokens of those that would be new."""
    return fsum(rates.tokens(call.bytes_read, call.messages) for call in part.calls if not call.known)


def _written(part: Calls) -> int:
    return sum(call.most_written for call in part.calls if not call.known)
