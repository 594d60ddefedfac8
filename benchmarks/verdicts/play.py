"""One world played: a climb over its arrays by the race's own stepper, beside everything measured.

What a climb learns outside the holdout is simulated from the world's truth and judged by the product's own functions:
doubts about the data, the right passage on training examples, a forecast of the fine-tune.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from curve_worlds import row_scores, see
from truth import is_false, true_finding
from worlds import GAIN, TUNED, Rng, World, measured

from shouldtune.doubts import PARTS, Doubts
from shouldtune.ladder import FEWEST_ROWS
from shouldtune.stats import smallest_visible_gain
from shouldtune.verdict.bounds import gather
from shouldtune.verdict.columns import Column
from shouldtune.verdict.diagnosis import DataEvidence, fix_data, fix_retrieval
from shouldtune.verdict.forecast import may_skip
from shouldtune.verdict.memory import Memory
from shouldtune.verdict.race import Ask, Done, gather_raced, next_step
from shouldtune.verdict.rows import Finding, findings

SETTLED_BEFORE = ("no_model_needed", "tune_to_save", "goal_met")
"""The rows that come before `fix_retrieval`."""
PROBED = (64, 129)
"""How many training examples are asked with the right passage, from and up to."""


@dataclass(frozen=True)
class Game:
    """What came of one world."""

    found: str
    """Answer and reason, `not_yet open` where nothing is."""
    whole: str
    """The same, with everything measured."""
    true: str
    false: str | None
    """The answer, where it is false."""
    false_goal_met: bool
    false_whole: bool
    calls: float
    """Share of asking every rung on every held-out example."""
    clear: bool
    """The true gain exceeds what is worthwhile by twice the smallest visible gain."""


def play(world: World, rng: Rng) -> Game:
    """Race through one world, and measure all of it."""
    columns = measured(world, rng)
    before = _known_before(world, rng)
    raced, asked = climb(world, columns, before)
    whole = _everything(world, columns, before)
    false = raced is not None and is_false(world, raced)
    visible = smallest_visible_gain(world.n, 1 - world.goal.confidence)
    return Game(
        found=_said(raced),
        whole=_said(whole),
        true=_said(true_finding(world)),
        false=raced.answer if raced and false else None,
        false_goal_met=false and raced is not None and raced.path == "goal" and raced.answer == "no",
        false_whole=whole is not None and is_false(world, whole),
        calls=sum(len(c.asked_scores) for c in asked if c.uses_llm) / (world.n * sum(c.uses_llm for c in columns)),
        clear=visible is not None and world.gain > GAIN + 2 * visible,
    )


@dataclass(frozen=True)
class Before:
    """What is known before the tuned rung is opened."""

    data: Finding | None = None
    retrieval: Finding | None = None
    forecast: Finding | None = None


def climb(world: World, whole: list[Column], before: Before) -> tuple[Finding | None, list[Column]]:
    """Take the race's steps over scores that are all known, and what is decided between them."""
    columns: list[Column] = []
    if before.data or (world.rows is not None and world.rows < FEWEST_ROWS):
        return before.data, columns
    memory = Memory()
    while True:
        waiting = len(whole) - len(columns)
        step = next_step(world.goal, columns, waiting, memory=memory, money=world.money)
        if isinstance(step, Ask):
            at = [c.name for c in columns].index(step.rung)
            columns[at] = _first_rows(whole[at], step.stop)
            continue
        if isinstance(step, Done) or whole[len(columns)].training:
            found = findings(gather_raced(world.goal, columns, waiting, memory=memory, money=world.money))
            first = found[0] if found else None
            early = before.retrieval or before.forecast
            if early and (first is None or first.reason not in SETTLED_BEFORE):
                return early, columns
            if isinstance(step, Done):
                return first, columns
        columns.append(_first_rows(whole[len(columns)], 0))


def _everything(world: World, columns: list[Column], before: Before) -> Finding | None:
    if before.data or (world.rows is not None and world.rows < FEWEST_ROWS):
        return before.data
    found = findings(gather(world.goal, columns, len(columns) - 1, 0, money=world.money))
    first = found[0] if found else None
    if before.retrieval and (first is None or first.reason not in SETTLED_BEFORE):
        return before.retrieval
    return first


def _said(found: Finding | None) -> str:
    return f"{found.answer} {found.reason}" if found else "not_yet open"


def _first_rows(c: Column, asked: int) -> Column:
    return replace(c, scores=c.scores[:asked] + (None,) * (len(c.scores) - asked), asked=asked)


# ---------------------------------------------------------------- what is learnt outside the holdout


def _known_before(world: World, rng: Rng) -> Before:
    data = Finding("not_yet", "fix_data", None, "none") if fix_data(_data(world, rng), world.goal) else None
    retrieval = None
    if world.passages is not None:
        retrieved, right = _passages(world.passages, rng)
        if fix_retrieval(retrieved, right, world.goal):
            retrieval = Finding("not_yet", "fix_retrieval", None, "none")
    return Before(data, retrieval, _forecast(world, rng))


def _data(world: World, rng: Rng) -> DataEvidence:
    """Leaks that a look for near-duplicates finds nine times in ten, and what two models say of the targets.

    Of what both are surest of they get a thirtieth wrong at most, of the rest up to a sixth more; seven tasks in ten
    have labels.
    """
    rows, surest = world.train, []
    error, more = float(rng.uniform(0.0, 0.03)), float(rng.uniform(0.0, 0.15))
    seen = against = 0
    for part in PARTS if rng.random() < 0.7 else ():
        wrong = error + more * part
        odds = world.wrong * (1 - wrong) + (1 - world.wrong) * wrong
        against += int(rng.binomial(round(part * rows) - seen, odds))
        seen = round(part * rows)
        if seen >= 20:
            surest.append((seen, against))
    repeated = float(rng.uniform(0.0, 0.01)) if world.leaked == 0 else 0.9 * world.leaked
    labels = int(rng.choice([2, 5, 20, 77])) if surest else 0
    doubts = Doubts(rows, int(rng.binomial(rows, 0.002)), rows, surest=tuple(surest), labels=labels)
    return DataEvidence(doubts, 0, rows, int(rng.binomial(world.n, repeated)), world.n)


def _passages(means: tuple[float, float], rng: Rng) -> tuple[list[float], list[float]]:
    """0/1 scores of one sample of training examples, with what was retrieved and with the right passage."""
    hard = rng.random(int(rng.integers(*PROBED)))
    alike = rng.random(hard.size) < 0.5
    both = [(np.where(alike, hard, rng.random(hard.size)) < mean).astype(float).tolist() for mean in means]
    return both[0], both[1]


def _forecast(world: World, rng: Rng) -> Finding | None:
    """The finding where a forecast says that the fine-tune need not be paid for."""
    if world.curve is None:
        return None
    hard = rng.standard_normal(world.curve.rows)
    points = see(world.curve, hard, rng)
    trials = {name: skill + float(rng.normal(0, 0.06)) for name, skill in world.skills.items() if name != TUNED}
    best = max(trials, key=lambda name: trials[name])
    scores = row_scores(world.curve, world.skills[best], hard, rng)
    level = (1 - world.goal.confidence) / 4
    skip = may_skip(points, scores, world.curve.n, world.goal, level)
    return Finding("no", "no_gain", best, "gain") if skip else None
