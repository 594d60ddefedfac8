"""What would flip the answer: one number changed at a time, and what was measured judged again. No model is asked.

For each number that is known the nearest change either way is looked for on a coarse scale and closed in on by
bisection. A change that lies between two steps of the scale, and is undone at the next, is not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from shouldtune.judgement import Answer, Flip, Price
from shouldtune.verdict.case import Case
from shouldtune.verdict.decide import judge
from shouldtune.verdict.rows import Finding

MOST_FLIPS = 3
FACTORS = (1.05, 1.2, 1.5, 2.0, 4.0, 10.0, 100.0)
CLOSE = 0.002
"""Bisection ends at this relative distance."""


@dataclass(frozen=True)
class Knob:
    """One number that may be changed."""

    key: str
    """As a Flip names it."""
    now: float
    change: Callable[[float], Case]
    words: str
    """What a value is called, with a place for it."""
    most: float = math.inf

    def say(self, value: float) -> str:
        return self.words.format(f"{value:,.0f}" if value >= 1000 else f"{value:g}")


def flips(case: Case) -> tuple[Flip, ...]:
    """At most three changes that flip the answer, the smallest first, relative to what stands there now.

    Errors as `decide`. A flip is another answer (no, yes, not yet), not another reason for the same.
    """
    if not case.measurements:
        return ()
    present = judge(case).finding.answer
    found = [flip for knob in _knobs(case) for flip in _nearest(knob, present)]
    found.sort(key=lambda pair: pair[0])
    return tuple(flip for _, flip in found[:MOST_FLIPS])


def _nearest(knob: Knob, present: Answer) -> Iterator[tuple[float, Flip]]:
    """The knob's smaller change of the two, up and down, with its size."""

    def found(value: float) -> Finding:
        return judge(knob.change(value)).finding

    sizes = []
    for up in (True, False):
        last = knob.now
        for factor in FACTORS:
            value = min(knob.now * factor if up else knob.now / factor, knob.most)
            if value == last:
                break
            if found(value).answer != present:
                at = _rounded(_bisected(last, value, lambda v: found(v).answer != present), up)
                finding = found(at) if at <= knob.most else None
                if finding is not None and finding.answer != present:  # rounding has left it on the far side
                    sizes.append((abs(math.log(at / knob.now)), _flip(knob, at, finding)))
                break
            last = value
    yield from sorted(sizes, key=lambda pair: pair[0])[:1]


def _bisected(near: float, far: float, flipped: Callable[[float], bool]) -> float:
    """The first value on the way from `near` to `far` at which it is flipped, as closely as CLOSE."""
    while abs(far / near - 1) > CLOSE:
        middle = math.sqrt(near * far)
        near, far = (near, middle) if flipped(middle) else (middle, far)
    return far


def _rounded(value: float, up: bool) -> float:
    """Three figures, away from where it came from."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{(math.ceil if up else math.floor)(value / unit) * unit:.3g}")


def _flip(knob: Knob, at: float, finding: Finding) -> Flip:
    answer = finding.answer.replace("_", " ")
    what = finding.reason if finding.rung is None else f"{finding.reason}, {finding.rung}"
    sentence = f"{knob.say(at)} instead of {knob.now:,.6g} would make the answer {answer} ({what})."
    if knob.key.startswith("prices."):
        sentence = sentence.replace(" instead of 1 ", " ")
    return Flip(knob.key, knob.now, at, finding.answer, finding.reason, finding.rung, sentence)


# ---------------------------------------------------------------- what may be changed


def _knobs(case: Case) -> Iterator[Knob]:
    """The numbers of the task that are known and could matter."""
    goal, economics = case.goal, case.economics
    if goal.quality is not None:
        yield Knob("goal.quality", goal.quality, _in_goal(case, "quality"), "A goal of {}", 0.999)
    gain = _in_goal(case, "worthwhile_gain")
    yield Knob("goal.worthwhile_gain", goal.worthwhile_gain, gain, "A worthwhile gain of {}", 0.999)
    if not any(cost.mean for cost in case.money.costs.values()):
        return
    for name, words in (
        ("per_month", "A volume of {} requests a month"),
        ("months", "A horizon of {} months"),
        ("value_per_correct", "A correct answer worth ${}"),
        ("machine_usd_per_hour", "A machine at ${} an hour"),
        ("fine_tune_usd", "A fine-tune at ${}"),
        ("tuned_fixed_usd_per_month", "A machine for the tuned model at ${} a month"),
    ):
        now = getattr(economics, name)
        if now:
            yield Knob(f"economics.{name}", now, _in_economics(case, name), words)
    for name, model in (("prompt_price", "the prompted model"), ("tuned_price", "the tuned model")):
        listed = getattr(economics, name)
        if listed is not None:
            words = f"A price of {model} {{}} times as high"
            yield Knob(f"prices.{name.removesuffix('_price')}", 1.0, _in_prices(case, name, listed), words)


def _in_goal(case: Case, name: str) -> Callable[[float], Case]:
    return lambda value: replace(case, goal=replace(case.goal, **{name: value}))


def _in_economics(case: Case, name: str) -> Callable[[Any], Case]:
    return lambda value: replace(case, economics=replace(case.economics, **{name: value}))


def _in_prices(case: Case, name: str, listed: Price) -> Callable[[float], Case]:
    change = _in_economics(case, name)

    def scaled(factor: float) -> Case:
        cached = None if listed.cached is None else factor * listed.cached
        return change(replace(listed, read=factor * listed.read, written=factor * listed.written, cached=cached))

    return scaled
