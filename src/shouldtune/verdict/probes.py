"""Why do the failures fail? What changing one thing did to them, as shares that add up to one. Pure.

Each probe changes one thing about a failed example. In the order of PROBES a failure belongs to the first probe that
repairs it. But asking again repairs some by chance: a rewording that keeps the meaning, the placebo, says how many.

**The correction.** Let the probes be 1 to J, s_j the share of failures whose cause probe j removes, and let every probe
repair a failure whose cause is another one by chance, as often as the placebo repairs that failure. Take those that no
probe before j has repaired: none of them has its cause among 1 to j-1, and the placebo's rate *among them* is c_j (an
example that any rewording repairs is not among them for long, so c_j falls where chance sticks to examples). They stay
failures after probe j when j is not their cause and chance does not repair them either, so of them

    share that stays = (1 - s_j / (s_j + ... + s_J + unexplained)) * (1 - c_j)

    T_j := s_(j+1) + ... + s_J + unexplained = product over k <= j of (share that stays at k) / (1 - c_k).

This holds whether chance is the same for all failures or sticks to some, as long as it does not depend on the cause
(where the cause is taken out first, as wrong targets are, it may). What a later probe would also have repaired plays no
part. T must fall from 1 and stay above 0; noise may lift it, so it is replaced by the nearest falling sequence (least
squares), and the shares are its steps: each within [0, 1], and 1 in all. `label` asks no model: its chance is how often
it doubts the target of an example that was answered rightly.

**Intervals.** The Bayesian bootstrap (Rubin, Annals of Statistics 1981) over failures, a failure with all that was
tried on it being the unit, and a beta posterior for the chance of `label`; each end is moved outwards by one failure,
because no resample holds a cause that the sample has not shown. How often they cover, and how many failures a given
accuracy takes, is in benchmarks/verdicts/probes.py: with 64, the mean error stays within 5 points while the placebo
repairs at most a fifth; with 96, up to three tenths. Probes that repair only some of what they are for make their
segments too small and the unexplained too large.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shouldtune.causes import Probe, Segment, Share
from shouldtune.judgement import Interval
from shouldtune.stats import wilson

Array = NDArray[np.float64]
PROBES: tuple[Probe, ...] = ("label", "form", "passage", "shots", "stronger")
SEGMENTS: Mapping[Probe, Segment] = {
    "label": "noise",
    "form": "format",
    "passage": "retrieval",
    "shots": "examples",
    "stronger": "capacity",
}
LEVEL = 0.9
RESAMPLES = 2_000
BORROWED = 10
"""The placebo's rate among few survivors leans on the rate one probe earlier with the weight of so many."""
TOO_UNSTEADY = 0.8
"""Where the placebo repairs more than this, what a probe repairs says nothing."""


@dataclass(frozen=True)
class Tried:
    """What became of one training-half example under each change."""

    example_id: str
    passes: Mapping[Probe, bool | None]
    """Whether it passes once changed; None where the call failed; absent where the change changes nothing, so that it
    cannot be the cause. `label`: whether it passes under the target that speaks against its own."""
    placebo: tuple[bool | None, ...] = ()
    """Whether it passes under each rewording."""


@dataclass(frozen=True)
class Diagnosis:
    """The failures, split by what would repair them."""

    shares: tuple[Share, ...]
    """In the order of the probes that were run, the unexplained last; their estimates add up to 1."""
    placebo: Interval
    """Share of failures that a rewording repairs by chance."""
    placebo_broken: Interval
    """Share of successes that a rewording breaks by chance."""
    failures: int
    successes: int
    readings: Mapping[str, Interval] = field(default_factory=dict)
    """Without a segment: `again`, how much more often one of k tries at temperature > 0 passes than one try does;
    `closed_book`, how often the answer is right without the documents."""

    def share(self, segment: Segment) -> Interval | None:
        """A segment's share; None where its probe was not run."""
        return next((each.share for each in self.shares if each.segment == segment), None)


def diagnose(
    failures: Sequence[Tried],
    successes: Sequence[Tried],
    probes: Sequence[Probe],
    *,
    certain: Sequence[Probe] = (),
    readings: Mapping[str, Interval] | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Diagnosis:
    """Split the failures by the first probe that repairs them, less what chance repairs; see the top of the file.

    `probes` are those that were run, in any order: a segment whose probe was not run is not there, and its failures are
    in the unexplained. `certain` ones ask no model again (an answer read leniently), so that chance repairs nothing.
    A failure whose call failed at one probe leaves the sample from there on, as a censored one
    does. With no failures, or where the placebo repairs more than TOO_UNSTEADY of them, every share is unknown.
    Raises ValueError where an example stands twice or a probe's name is none.
    """
    ids = [tried.example_id for tried in (*failures, *successes)]
    if len(set(ids)) < len(ids):
        raise ValueError("an example was probed twice")
    order = tuple(probe for probe in PROBES if probe in probes)
    if len(order) < len(probes):
        raise ValueError(f"no such probes, or one twice: {', '.join(probes)}")
    placebo = _rate([_mean(tried.placebo) for tried in failures], level)
    known = placebo.estimate is not None and placebo.estimate <= TOO_UNSTEADY
    shares = _intervals(failures, successes, order, certain, level, seed) if known else _unknown(order, len(failures))
    segments: list[tuple[Segment, Probe | None]] = [(SEGMENTS[probe], probe) for probe in order]
    return Diagnosis(
        shares=tuple(
            _share(segment, probe, share, failures, successes, level)
            for (segment, probe), share in zip([*segments, ("unexplained", None)], shares, strict=True)
        ),
        placebo=placebo,
        placebo_broken=_rate([None if (p := _mean(tried.placebo)) is None else 1 - p for tried in successes], level),
        failures=len(failures),
        successes=len(successes),
        readings=dict(readings or {}),
    )


# ---------------------------------------------------------------- the estimate


@dataclass(frozen=True)
class _Table:
    """The failures as arrays; one row each."""

    stays: Array
    """(failures, probes): 1 where it stays a failure, also where the change changes nothing."""
    changed: Array
    """(failures, probes): 1 where the change changes something, so that chance may repair."""
    known: Array
    """(failures, probes): 1 where it is known whether it stays one."""
    chance: Array
    """(failures,): how often the placebo repairs it; the others' mean where that is not known."""


def _table(failures: Sequence[Tried], order: Sequence[Probe], certain: Sequence[Probe]) -> _Table:
    cells = [[(probe in tried.passes, tried.passes.get(probe)) for probe in order] for tried in failures]
    by_chance = np.array([probe not in certain for probe in order], dtype=np.float64)
    shape = (len(failures), len(order))
    rates = [_mean(tried.placebo) for tried in failures]
    mean = float(np.mean([rate for rate in rates if rate is not None]))
    return _Table(
        stays=np.array([[passes is not True for _, passes in row] for row in cells], dtype=np.float64).reshape(shape),
        changed=np.array([[there for there, _ in row] for row in cells], dtype=np.float64).reshape(shape) * by_chance,
        known=np.array([[not (there and p is None) for there, p in row] for row in cells], dtype=float).reshape(shape),
        chance=np.array([mean if rate is None else rate for rate in rates]),
    )


def _shares(table: _Table, order: Sequence[Probe], weights: Array, doubted: Array) -> Array:
    """Shares (draws, probes + 1) under weights (draws, failures); `doubted` (draws,) is the chance of `label`."""
    at_risk = np.ones(table.chance.shape)
    left = [np.ones(len(weights))]
    rate = weights @ table.chance / weights.sum(axis=1)
    for place, probe in enumerate(order):
        at_risk = at_risk * table.known[:, place]
        changed = weights @ (at_risk * table.changed[:, place])
        if probe == "label":
            chance = doubted
        else:
            repaired = weights @ (at_risk * table.changed[:, place] * table.chance)
            rate = chance = (repaired + BORROWED * rate) / (changed + BORROWED)
        by_chance = weights @ at_risk - changed * chance  # what would stay were this probe nobody's cause
        stay = weights @ (at_risk * table.stays[:, place])
        told = by_chance > 1e-6 * weights.sum(axis=1)
        left.append(left[-1] * np.where(told, stay / np.where(told, by_chance, 1.0), 1.0))
        at_risk = at_risk * table.stays[:, place]
    falling = (
        np.concatenate([left[0][:, None], _falling(np.stack(left[1:], axis=1))], axis=1) if order else left[0][:, None]
    )
    return np.concatenate([falling[:, :-1] - falling[:, 1:], falling[:, -1:]], axis=1)


def _falling(rows: Array) -> Array:
    """The nearest falling sequence to each row by least squares, within [0, 1].

    Its i-th value is the least, over starts a <= i, of the greatest mean of row[a..b] over ends b >= i (Robertson,
    Wright & Dykstra, "Order Restricted Statistical Inference", 1988).
    """
    size = rows.shape[1]
    sums = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    made = np.empty_like(rows)
    for i in range(size):
        means = [[(sums[:, b + 1] - sums[:, a]) / (b + 1 - a) for b in range(i, size)] for a in range(i + 1)]
        made[:, i] = np.min([np.max(ends, axis=0) for ends in means], axis=0)
    return np.clip(made, 0.0, 1.0)


def _intervals(
    failures: Sequence[Tried],
    successes: Sequence[Tried],
    order: Sequence[Probe],
    certain: Sequence[Probe],
    level: float,
    seed: int,
) -> list[Interval]:
    table, n = _table(failures, order, certain), len(failures)
    rng = np.random.default_rng(seed)
    judged = [not tried.passes["label"] for tried in successes if tried.passes.get("label") is not None]
    wrong, right = sum(judged), len(judged) - sum(judged)
    estimates = _shares(table, order, np.ones((1, n)), np.array([wrong / len(judged) if judged else 0.0]))[0]
    weights = rng.exponential(size=(RESAMPLES, n))
    draws = _shares(
        table, order, n * weights / weights.sum(axis=1, keepdims=True), rng.beta(0.5 + wrong, 0.5 + right, RESAMPLES)
    )
    lows, highs = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return [
        Interval(float(share), max(0.0, min(float(low), share) - 1 / n), min(1.0, max(float(high), share) + 1 / n), n)
        for share, low, high in zip(map(float, estimates), lows, highs, strict=True)
    ]


def _unknown(order: Sequence[Probe], n: int) -> list[Interval]:
    return [Interval(None, 0.0, 1.0, n)] * (len(order) + 1)


# ---------------------------------------------------------------- what each change did, by itself


def _share(
    segment: Segment,
    probe: Probe | None,
    share: Interval,
    failures: Sequence[Tried],
    successes: Sequence[Tried],
    level: float,
) -> Share:
    if probe is None:
        return Share(segment, None, share)
    tried = [passes for each in failures if (passes := each.passes.get(probe)) is not None]
    kept = [passes for each in successes if (passes := each.passes.get(probe)) is not None]
    broken = wilson(len(kept) - sum(kept), len(kept), 1 - level) if kept else None
    return Share(segment, probe, share, sum(tried), len(tried), broken)


def _rate(values: Sequence[float | None], level: float) -> Interval:
    """Wilson's interval of a mean of values in [0, 1], those known."""
    known = [value for value in values if value is not None]
    return wilson(sum(known), len(known), 1 - level)


def _mean(passed: Sequence[bool | None]) -> float | None:
    known = [float(each) for each in passed if each is not None]
    return sum(known) / len(known) if known else None
