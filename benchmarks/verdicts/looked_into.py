"""What a climb looks into beside the rungs, simulated from a world's truth: data, failures, a learning curve."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from curve_worlds import row_scores, see
from worlds import PROMPTS, TUNED, Rng, World

from shouldtune.causes import Probe
from shouldtune.doubts import PARTS, Doubts
from shouldtune.probing import Probing
from shouldtune.verdict.diagnosis import DataEvidence
from shouldtune.verdict.inquiry import CurveEvidence, Inquiry, ProbeEvidence
from shouldtune.verdict.probes import Tried, diagnose

ASKED = 256
"""Training rows that the best prompt is asked, at most."""
REPEATED = 0.9
"""How many of the leaked rows a look for near-duplicates finds."""


def data_of(world: World, rng: Rng) -> Inquiry:
    """Leaks, and what two models say of the targets.

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
    repeated = float(rng.uniform(0.0, 0.01)) if world.leaked == 0 else REPEATED * world.leaked
    labels = int(rng.choice([2, 5, 20, 77])) if surest else 0
    doubts = Doubts(rows, int(rng.binomial(rows, 0.002)), rows, surest=tuple(surest), labels=labels)
    return Inquiry(DataEvidence(doubts, 0, rows, int(rng.binomial(world.n, repeated)), world.n))


def failures_of(world: World, known: Inquiry, rng: Rng) -> Inquiry:
    """What probing the best prompt adds, where something hangs on it: doubted targets, or passages."""
    if not known.flaws(world.goal) and world.passages is None:
        return known
    rung = max(PROMPTS, key=lambda name: world.skills[name])
    asked = min(ASKED, world.train)
    failing = int(rng.binomial(asked, 1 - world.skills[rung]))
    if failing == 0:
        return replace(known, all_pass=asked)
    how, repairs = Probing(), float(rng.uniform(0.0, 0.2))
    noisy = min(1.0, world.wrong / (1 - world.skills[rung]))
    failures = [_failure(i, rng.random() < noisy, repairs, rng) for i in range(min(failing, how.failures))]
    successes = [_success(i, rng) for i in range(min(asked - failing, how.successes))]
    probes: tuple[Probe, ...] = ("label", "form")
    retrieved, right = ((), ()) if world.passages is None else _passages(world.passages, how.random, rng)
    found = ProbeEvidence(rung, diagnose(failures, successes, probes), asked, failing, retrieved, right)
    return replace(known, probes=found)


def _failure(number: int, wrong: bool, repairs: float, rng: Rng) -> Tried:
    """One failed row: the other target passes in four of five where its own is wrong, else in one of fifty."""
    placebo = tuple(bool(rng.random() < repairs) for _ in range(2))
    label = bool(rng.random() < (0.8 if wrong else 0.02))
    return Tried(f"failed-{number}", {"label": label, "form": bool(rng.random() < repairs)}, placebo)


def _success(number: int, rng: Rng) -> Tried:
    placebo = tuple(bool(rng.random() < 0.95) for _ in range(2))
    return Tried(f"passed-{number}", {"label": bool(rng.random() < 0.98), "form": True}, placebo)


def _passages(means: tuple[float, float], rows: int, rng: Rng) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """0/1 scores of one sample of training examples, with what was retrieved and with the right passage."""
    hard, alike = rng.random(rows), rng.random(rows) < 0.5
    both = [(np.where(alike, hard, rng.random(rows)) < mean).astype(float).tolist() for mean in means]
    return tuple(both[0]), tuple(both[1])


def curve_of(world: World, known: Inquiry, rng: Rng) -> Inquiry:
    """A learning curve beside the rung that is best on the training half, where the world has one."""
    if world.curve is None:
        return known
    hard = rng.standard_normal(world.curve.rows)
    points = tuple(see(world.curve, hard, rng))
    trials = {name: skill + float(rng.normal(0, 0.06)) for name, skill in world.skills.items() if name != TUNED}
    best = max(trials, key=lambda name: trials[name])
    beside = row_scores(world.curve, world.skills[best], hard, rng)
    return replace(known, curve=CurveEvidence(best, points, beside, world.curve.n))
