"""What each rung costs, and from which volume or value on a dearer one pays. Pure: dollars in, dollars out.

    total(rung) = fit + labels + months * (fixed + volume * each) + refits * fit

A price that is not known is None, and so is all that rests on it: nothing here is ever taken to be free. Prices and
plans are the user's and taken as they are; what was measured (tokens, machine time, quality) is uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shouldtune.judgement import BreakEven, Economics, Interval, Pays, Price, RungCost
from shouldtune.spool import Figure, figure, keys_of
from shouldtune.types import Measurement, Prediction

Array = NDArray[np.float64]
DRAWS = 4000
STRONGER = "stronger"
"""The rung that asks another model than the one that is prompted."""
TOKENS: tuple[Figure, ...] = ("prompt_tokens", "completion_tokens", "cached_tokens")
FIXED = "a machine kept for it, by the month"


Gap = tuple[float, float, int]
"""How many dollars more an answer costs, the standard error of that, and on how many examples."""


@dataclass(frozen=True, eq=False)
class Each:
    """A number for each answer that was graded."""

    keys: Callable[[], NDArray[np.int64]]
    """Of the examples (`spool.keys_of`): on disk until two rungs are set side by side."""
    usd: Array

    def __len__(self) -> int:
        return len(self.usd)

    def less(self, other: Each) -> Array:
        """How much more each answer took than the other to the same example, where there is one."""
        own, others = self.keys(), other.keys()
        if np.array_equal(own, others):
            return np.asarray(self.usd - other.usd)
        order = np.argsort(others)
        near = np.searchsorted(others, own, sorter=order).clip(max=len(order) - 1)
        there = others[order[near]] == own
        found: Array = self.usd[there] - other.usd[order[near[there]]]
        return found


@dataclass(frozen=True)
class Cost:
    """What one rung costs, in dollars."""

    fit: float | None
    labels: float | None
    fixed: float | None
    """By the month, however many answers."""
    each: Each | None
    """What each answer took beyond that; None where one answer's price is unknown."""
    source: str = ""
    """Where the price of an answer comes from."""

    @property
    def mean(self) -> float | None:
        """One answer, without a share of what is fixed."""
        return float(np.mean(self.each.usd)) if self.each else None


@dataclass(frozen=True)
class Money:
    """The user's side of it, and what each measured rung costs."""

    economics: Economics = Economics()
    costs: Mapping[str, Cost] = field(default_factory=dict)
    _gaps: dict[tuple[str, str], Gap | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Those asked for so far: each takes two columns from disk."""

    @property
    def requests(self) -> float | None:
        """How many answers are asked for over the horizon."""
        return _times(self.economics.months, self.economics.per_month)

    @property
    def worth(self) -> float | None:
        """Dollars that a gain of 1 in quality brings over the horizon."""
        return _times(self.economics.value_per_correct, self.requests)

    def per_1k(self, rung: str) -> float | None:
        """Dollars for 1,000 answers, with their share of what is fixed."""
        cost = self.costs[rung]
        share = 0.0 if cost.fixed == 0 else _over(cost.fixed, self.economics.per_month)
        return _times(1000.0, _plus(cost.mean, share))

    def before(self, rung: str) -> float | None:
        """Dollars over the horizon that do not grow with the volume: fits, labels and what is fixed."""
        cost, months = self.costs[rung], self.economics.months
        fits = _times(1.0 + self.economics.refits, cost.fit)
        return _plus(fits, cost.labels, 0.0 if cost.fixed == 0 else _times(months, cost.fixed))

    def total(self, rung: str) -> float | None:
        """Dollars over the horizon."""
        return _plus(self.before(rung), _times(self.requests, self.costs[rung].mean))

    def more(self, rung: str, other: str, low_level: float, high_level: float) -> Interval | None:
        """How many dollars more a rung costs than another over the horizon, with one-sided limits; None if unknown.

        The limits stand for the tokens and the machine time, whose means were measured on the same examples.
        """
        if rung not in self.costs or other not in self.costs:
            return None
        more, requests, gap = _less(self.total(rung), self.total(other)), self.requests, self.gap(rung, other)
        if more is None or requests is None or gap is None:
            return None
        arm, normal = requests * gap[1], NormalDist()
        low, high = (more + sign * arm * normal.inv_cdf(1 - at) for sign, at in ((-1, low_level), (1, high_level)))
        return Interval(more, low, high, gap[2])

    def gap(self, rung: str, other: str) -> Gap | None:
        """How much more an answer of `rung` costs; None where fewer than two examples say so."""
        if (rung, other) not in self._gaps:
            self._gaps[rung, other] = self._gap(rung, other)
        return self._gaps[rung, other]

    def _gap(self, rung: str, other: str) -> Gap | None:
        a, b = self.costs[rung].each, self.costs[other].each
        if not a or not b:
            return None
        paired = a.less(b)
        if len(paired) < 2:
            return None
        error = float(np.std(paired, ddof=1) / np.sqrt(len(paired)))
        return float(np.mean(a.usd) - np.mean(b.usd)), error, len(paired)


def price(economics: Economics, measurements: Sequence[Measurement]) -> Money:
    """What every measured rung costs."""
    return Money(economics, {m.rung: cost_of(economics, m) for m in measurements})


def cost_of(economics: Economics, m: Measurement) -> Cost:
    """One rung's cost; docs/reference/task-file.md says which price is taken where there are several."""
    answers = _Answered(m.predictions)
    each, source = _each(economics, m, answers)
    labels = _times(float(economics.labels_bought), economics.usd_per_label)
    return Cost(
        fit=_fit(economics, m, answers),
        labels=labels if m.training and economics.labels_bought else 0.0,
        fixed=(economics.tuned_fixed_usd_per_month or 0.0) if m.training else 0.0,
        each=each,
        source=source if each else "",
    )


class _Answered:
    """What is counted of the answers that were graded."""

    def __init__(self, predictions: Sequence[Prediction]) -> None:
        self._predictions = predictions
        self._there = ~np.isnan(figure(predictions, "score"))

    def __len__(self) -> int:
        return int(self._there.sum())

    def figure(self, name: Figure) -> Array:
        """NaN where it is not known."""
        return figure(self._predictions, name)[self._there]

    def each(self, usd: Array) -> Each | None:
        """Their prices, where every one is known."""
        return None if np.isnan(usd).any() else Each(self._keys, usd)

    def free(self) -> Each | None:
        return self.each(np.broadcast_to(0.0, len(self)))  # one zero, however many

    def _keys(self) -> NDArray[np.int64]:
        return keys_of(self._predictions)[self._there]

    def listed(self, price: Price) -> Each | None:
        """At a price for tokens."""
        counts = [self.figure(name) for name in TOKENS]
        usd = (price.of(*(None if math.isnan(n) else int(n) for n in of_one)) for of_one in zip(*counts, strict=True))
        known = (math.nan if value is None else value for value in usd)
        return self.each(np.fromiter(known, dtype=np.float64, count=len(self)))


def _each(e: Economics, m: Measurement, answers: _Answered) -> tuple[Each | None, str]:
    """The price of every answer, and where it comes from."""
    if not m.uses_llm:
        return answers.free(), "no language model"
    listed = e.tuned_price if m.training else _prompted(e, m)
    if listed is not None:
        return answers.listed(listed), listed.source
    if m.training and e.tuned_fixed_usd_per_month is not None:
        return answers.free(), FIXED
    told = answers.each(answers.figure("cost_usd"))
    if told is not None:
        return told, "told by the model"
    hourly, took = _hourly(e), answers.figure("compute_s")
    return answers.each(took * math.nan if hourly is None else hourly * took), "machine time"


def _fit(e: Economics, m: Measurement, answers: _Answered) -> float | None:
    """What fitting the rung once takes, the search for its settings included."""
    if m.training and e.fine_tune_usd is not None:
        return e.fine_tune_usd
    if not m.uses_llm or m.fit.calls == 0:
        return 0.0
    counted = m.fit.prompt_tokens + m.fit.completion_tokens > 0
    prompted = _prompted(e, m)
    if not m.training and prompted is not None:
        of_sums = replace(prompted, up_to=None)  # `up_to` is of one prompt
        return of_sums.of(m.fit.prompt_tokens, m.fit.completion_tokens, m.fit.cached_tokens) if counted else None
    if m.fit.usd is not None:
        return m.fit.usd
    local = len(answers) > 0 and not np.isnan(answers.figure("compute_s")).any()
    return _times(_hourly(e), m.fit.seconds) if local else None


def _prompted(e: Economics, m: Measurement) -> Price | None:
    return e.strong_price if m.rung == STRONGER else e.prompt_price


def _hourly(e: Economics) -> float | None:
    """Dollars for a second of the machine."""
    return None if e.machine_usd_per_hour is None else e.machine_usd_per_hour / 3600


# ---------------------------------------------------------------- said in the verdict


def rung_cost(money: Money, rung: str, quality: float | None) -> RungCost:
    """A rung's line in the money table; `quality` is its mean score."""
    cost, total = money.costs[rung], money.total(rung)
    return RungCost(
        rung=rung,
        fit=cost.fit,
        labels=cost.labels,
        fixed_per_month=cost.fixed,
        each=cost.mean,
        per_1k=money.per_1k(rung),
        total=total,
        per_correct=_over(total, _times(money.requests, quality)),
        price=cost.source,
    )


def break_even(
    money: Money, rung: str, other: str, gain: Interval, levels: tuple[float, float], alpha: float, seed: int
) -> BreakEven | None:
    """From which volume, and from which value of a correct answer, `rung` is the better bargain than `other`.

    `gain` is how much better it is, its ends at the one-sided `levels`. The bands hold all but alpha / 2 of the draws
    on either side, over what was measured: both prices of an answer (normal, paired by example) and the gain (two
    half normals that meet at the estimate). None where not even the volume can be told.
    """
    before, gap, months = _less(money.before(rung), money.before(other)), money.gap(rung, other), money.economics.months
    if before is None or gap is None or months is None:
        return None
    rng = np.random.default_rng(seed)
    more = np.concatenate([[gap[0]], rng.normal(gap[0], gap[1], DRAWS)])
    gains = np.concatenate([[gain.estimate or 0.0], _split_normal(gain, levels, rng)])
    worth = money.economics.value_per_correct or 0.0
    advantage = worth * gains - more if gain.estimate is not None or not worth else -more
    pays, volumes = _volumes(before / months, advantage)
    volume, low, high = _band(volumes, alpha)
    if pays in ("always", "never"):
        volume = low = high = None
    value: tuple[float | None, float | None, float | None] = (None, None, None)
    if money.requests is not None and gain.estimate is not None:
        dearer = np.maximum(0.0, before / money.requests + more)
        value = _band(np.where(gains > 0, dearer / np.where(gains > 0, gains, 1.0), np.inf), alpha)
    return BreakEven(rung, other, pays, volume, low, high, *value)


def _volumes(before: float, advantage: NDArray[np.float64]) -> tuple[Pays, NDArray[np.float64]]:
    """Where the lines cross, in requests a month, infinite where they do not; the first value is the estimate.

    `before` is what the rung costs more by the month whatever the volume, `advantage` what each request brings.
    """
    first = float(advantage[0])
    if before > 0:
        crossing = np.where(advantage > 0, before / np.where(advantage > 0, advantage, 1.0), np.inf)
        return ("above" if first > 0 else "never"), crossing
    crossing = np.where(advantage < 0, before / np.where(advantage < 0, advantage, 1.0), np.inf)
    return ("always" if first >= 0 else "below" if before < 0 else "never"), crossing


def _band(values: NDArray[np.float64], alpha: float) -> tuple[float | None, float | None, float | None]:
    """(estimate, low, high): the first value, and the ends that hold all but alpha / 2 of the rest on either side."""
    low, high = np.quantile(values[1:], [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    estimate, low, high = (float(v) if np.isfinite(v) else None for v in (values[0], low, high))
    return estimate, low, high


def _split_normal(gain: Interval, levels: tuple[float, float], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draws whose ends lie where the interval's do: a half normal on either side of the estimate."""
    middle, normal = gain.estimate or 0.0, NormalDist()
    below, above = ((gain.low, levels[0]), (gain.high, levels[1]))
    arms = [abs(end - middle) / max(1e-9, normal.inv_cdf(1 - level)) for end, level in (below, above)]
    sign = rng.random(DRAWS) < arms[0] / max(1e-300, sum(arms))
    drawn = np.abs(rng.standard_normal(DRAWS))
    return np.clip(middle + np.where(sign, -arms[0], arms[1]) * drawn, -1.0, 1.0)


# ---------------------------------------------------------------- arithmetic on what may be unknown


def _plus(*values: float | None) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _less(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _times(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a * b


def _over(a: float | None, b: float | None) -> float | None:
    return None if a is None or not b else a / b
