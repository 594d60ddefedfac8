"""Worlds of known truth: what every rung can truly do, how alike the rungs are, what is wrong with the data.

A world is drawn by a class, a function from a generator and a size; every class draws its abilities, the correlation of
the rungs (strong, weak, or negative between some), and whether scores are 0/1 or graded. Eight rungs without training,
of which `guess` asks no model, and one fine-tune. Names say what a rung stands for; only their order matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from curve_worlds import CLASSES as CURVES
from curve_worlds import World as CurveWorld
from curve_worlds import one_tune

from shouldtune.judgement import Economics
from shouldtune.stats import ScoreArray
from shouldtune.types import Goal
from shouldtune.verdict.columns import Column
from shouldtune.verdict.economics import Cost, Each, Money

GAIN = 0.03
GUESS, TUNED = "guess", "fine_tune"
PROMPTS = ("zero_shot", "structured", "instructions", "few_shot", "nearest_shots", "retrieval", "stronger")
Skills = dict[str, float]
Rng = np.random.Generator


@dataclass(frozen=True)
class World:
    """What is true."""

    goal: Goal
    skills: Skills
    """Mean score over all examples there may be, in ladder order; the tuned rung last."""
    n: int
    """Held-out examples."""
    rows: int | None = None
    """Examples in all, where they are too few to be split as usual."""
    wrong: float = 0.0
    """Share of the targets that are wrong."""
    leaked: float = 0.0
    """Share of the held-out examples that nearly repeat a training example."""
    passages: tuple[float, float] | None = None
    """On training examples: mean scores with the passages that were retrieved, and with the right ones."""
    money: Money = Money()
    curve: CurveWorld | None = None
    """Of the tuned rung, where a forecast is made before it is paid for."""

    @property
    def train(self) -> int:
        """Training examples: the holdout is three tenths of all."""
        return round(self.n * 7 / 3)

    @property
    def best(self) -> float:
        """Of the rungs without training."""
        return max(skill for name, skill in self.skills.items() if name != TUNED)

    @property
    def gain(self) -> float:
        return self.skills[TUNED] - self.best


Draw = Callable[[Rng, int], World]


# ---------------------------------------------------------------- abilities


def lower(rng: Rng, low: float, high: float, guess: float | None = None) -> Skills:
    """A floor without a model, and seven rungs that prompt."""
    floor = float(rng.uniform(0.0, low)) if guess is None else guess
    return {GUESS: floor, **{name: float(rng.uniform(low, high)) for name in PROMPTS}}


def some_goal(rng: Rng) -> float:
    return float(rng.choice([0.7, 0.8, 0.9]))


def tuned_to(skills: Skills, score: float) -> Skills:
    return {**skills, TUNED: min(0.995, max(0.005, score))}


def prompt_is_enough(rng: Rng, n: int) -> World:
    """One prompt, anywhere on the ladder, reaches the goal; tuning would at most add a little."""
    goal, skills = some_goal(rng), lower(rng, 0.2, 0.65)
    skills[str(rng.choice(PROMPTS))] = float(rng.uniform(goal + 0.03, 0.99))
    return World(Goal(goal), tuned_to(skills, max(skills.values()) + float(rng.uniform(-0.1, 0.02))), n)


def only_tuning_helps(rng: Rng, n: int) -> World:
    """With a goal that only the tuned rung reaches, or without one and a gain of 0.05 to 0.3."""
    if rng.random() < 0.5:
        goal = some_goal(rng)
        skills = lower(rng, 0.1, goal - 0.08)
        return World(Goal(goal), tuned_to(skills, float(rng.uniform(goal + 0.02, 0.99))), n)
    skills = lower(rng, 0.1, 0.68)
    return World(Goal(), tuned_to(skills, max(skills.values()) + float(rng.uniform(0.05, 0.3))), n)


def tuning_adds_nothing(rng: Rng, n: int) -> World:
    """No goal; the best rung without training is as good as the tuned one, or better by up to 0.2."""
    skills = lower(rng, 0.3, 0.95)
    return World(Goal(), tuned_to(skills, max(skills.values()) - float(rng.uniform(0.0, 0.2))), n)


def tuning_does_not_pay(rng: Rng, n: int) -> World:
    """A gain of 0.06 to 0.3 that is worth a tenth to eight tenths of what it costs."""
    skills = lower(rng, 0.1, 0.65)
    made = World(Goal(), tuned_to(skills, max(skills.values()) + float(rng.uniform(0.06, 0.3))), n)
    requests, fit = 12 * float(rng.choice([2_000.0, 10_000.0])), float(rng.choice([200.0, 2_000.0]))
    value = fit * float(rng.uniform(0.1, 0.8)) / (made.gain * requests)
    asks = {name: 0.0 if name == GUESS else value * float(rng.uniform(0.0, 0.01)) for name in made.skills}
    costs = {
        name: Cost(
            fit=fit if name == TUNED else 0.0,
            labels=0.0,
            fixed=0.0,
            each=Each(lambda: np.arange(32), asks[name] * rng.uniform(0.8, 1.2, 32)),
        )
        for name in made.skills
    }
    return replace(made, money=Money(Economics(requests / 12, 12.0, value), costs))


def retrieval_works(rng: Rng, n: int) -> World:
    """What is asked stands in documents, and is found: the goal is met, or tuning adds nothing to it."""
    skills = lower(rng, 0.05, 0.4)
    skills["retrieval"] = found = float(rng.uniform(0.7, 0.97))
    if rng.random() < 0.5:
        return World(Goal(found - float(rng.uniform(0.03, 0.2))), tuned_to(skills, float(rng.uniform(0.1, 0.6))), n)
    return World(Goal(), tuned_to(skills, found + float(rng.uniform(-0.3, 0.02))), n)


def retrieval_is_broken(rng: Rng, n: int) -> World:
    """What is asked stands in documents, and is not found: the right passage would reach the goal."""
    goal, skills = some_goal(rng), lower(rng, 0.05, 0.4)
    skills["retrieval"] = float(rng.uniform(0.2, 0.5))
    right = float(rng.uniform(goal + 0.04, 0.99))
    passages = skills["retrieval"], right
    return World(Goal(goal), tuned_to(skills, float(rng.uniform(0.1, goal - 0.1))), n, passages=passages)


def format_is_the_problem(rng: Rng, n: int) -> World:
    """Answers are right and badly written: held to its form, the same model does it."""
    skills = lower(rng, 0.02, 0.4)
    skills["structured"] = formed = float(rng.uniform(0.7, 0.97))
    for name in ("few_shot", "nearest_shots"):  # shots show the form, more or less
        skills[name] = formed - float(rng.uniform(0.0, 0.4))
    goal = formed - float(rng.uniform(0.03, 0.2)) if rng.random() < 0.5 else None
    return World(Goal(goal), tuned_to(skills, formed + float(rng.uniform(-0.2, 0.02))), n)


def wrong_targets(rng: Rng, n: int) -> World:
    """Three targets in ten are wrong: whoever knows every answer still scores 0.7."""
    skills = {name: 0.7 * skill for name, skill in lower(rng, 0.3, 0.95).items()}
    goal = float(rng.choice([0.6, 0.7, 0.8])) if rng.random() < 0.5 else None
    tuned = max(skills.values()) + float(rng.uniform(-0.1, 0.1))
    return World(Goal(goal), tuned_to(skills, min(0.7, tuned)), n, wrong=0.3)


def leaked_holdout(rng: Rng, n: int) -> World:
    """Some of the held-out examples nearly stand among the training ones: who has seen them answers them."""
    made = (only_tuning_helps, tuning_adds_nothing, prompt_is_enough)[rng.integers(3)](rng, n)
    return replace(made, leaked=float(rng.uniform(0.06, 0.4)))


def too_few_examples(rng: Rng, n: int) -> World:
    """20 to 79 examples in all."""
    rows = int(rng.integers(20, 80))
    made = (prompt_is_enough, only_tuning_helps, tuning_adds_nothing, nothing_helps)[rng.integers(4)](rng, rows // 2)
    return replace(made, rows=rows)


def nothing_helps(rng: Rng, n: int) -> World:
    """A goal that nothing comes near."""
    skills = lower(rng, 0.1, 0.45)
    return World(Goal(some_goal(rng)), tuned_to(skills, max(skills.values()) + float(rng.uniform(-0.1, 0.15))), n)


def constant_wins(rng: Rng, n: int) -> World:
    """The commonest label is the best answer there is."""
    skills = lower(rng, 0.3, 0.6, guess=float(rng.uniform(0.85, 0.96)))
    return World(Goal(0.8 if rng.random() < 0.5 else None), tuned_to(skills, skills[GUESS] - rng.uniform(0, 0.2)), n)


def rungs_tie(rng: Rng, n: int) -> World:
    """Every rung without training is as good as the next: without a goal, or a hair below one."""
    same = float(rng.uniform(0.3, 0.9))
    skills = dict.fromkeys((GUESS, *PROMPTS), same)
    goal, tuned = (same + 0.001, same - 0.05) if rng.random() < 0.5 else (None, same)
    return World(Goal(goal), tuned_to(skills, tuned), n)


def gain_at_the_margin(rng: Rng, n: int) -> World:
    """The gain is exactly what is worthwhile."""
    skills = lower(rng, 0.3, 0.9)
    return World(Goal(), {**skills, TUNED: max(skills.values()) + GAIN}, n)


def forecast_first(rng: Rng, n: int) -> World:
    """A fine-tune's curve is looked at before it is paid for; it may rise late."""
    curve = CurveWorld(
        CURVES[rng.integers(len(CURVES))](rng),
        n=round(n * 7 / 3),
        rows=int(rng.choice([64, 100, 150, 250])),
        alike=float(rng.uniform(0.1, 0.95)),
        graded=bool(rng.random() < 0.25),
        seed_noise=float(0.02 * np.exp(0.6 * rng.standard_normal())),
        noise_growth=float(rng.uniform(1.0, 1.25)),
    )
    tuned = float(np.clip(one_tune(curve, 0.0, rng), 0.01, 0.99))
    best = float(np.clip(tuned + rng.uniform(-0.3, 0.2), 0.02, 0.97))
    skills = lower(rng, 0.3 * best, 0.95 * best)
    skills[str(rng.choice(PROMPTS))] = best
    return World(Goal(), tuned_to(skills, tuned), n, curve=curve)


def fifty_rows(rng: Rng, n: int) -> World:
    """Fifty held-out examples, whatever the matter."""
    kinds = (
        prompt_is_enough,
        only_tuning_helps,
        tuning_adds_nothing,
        retrieval_works,
        format_is_the_problem,
        nothing_helps,
        constant_wins,
        rungs_tie,
        gain_at_the_margin,
    )
    return kinds[rng.integers(len(kinds))](rng, 50)


CLASSES: Mapping[str, Draw] = {
    draw.__name__: draw
    for draw in (
        prompt_is_enough,
        only_tuning_helps,
        tuning_adds_nothing,
        tuning_does_not_pay,
        retrieval_works,
        retrieval_is_broken,
        format_is_the_problem,
        wrong_targets,
        leaked_holdout,
        too_few_examples,
        nothing_helps,
        constant_wins,
        rungs_tie,
        gain_at_the_margin,
        forecast_first,
        fifty_rows,
    )
}
SIZED = ("too_few_examples", "fifty_rows")
"""Classes whose number of examples is their own."""


# ---------------------------------------------------------------- what is seen of them


def measured(world: World, rng: Rng) -> list[Column]:
    """Every rung's scores on the whole holdout: hard examples are hard for all, more or less, or for some alone.

    A Gaussian copula: the latent ability on a row is a loading times what is common to all rungs, and noise. Strong
    and weak correlations have loadings of one sign; where some are negative, the loadings' signs are drawn. A leaked
    row is answered right by what has learnt from the training half.
    """
    loading, kind = _loadings(rng, len(world.skills)), rng.random()
    common = rng.standard_normal(world.n)
    repeated = rng.random(world.n) < world.leaked
    columns = []
    for place, ((name, skill), share) in enumerate(zip(world.skills.items(), loading, strict=True), 1):
        noise = rng.standard_normal((4, world.n))
        latent = share * common + np.sqrt(1 - share * share) * noise
        passed = (latent < NormalDist().inv_cdf(min(max(skill, 1e-9), 1 - 1e-9))).astype(float)
        scores = passed[0]
        if 0.7 < kind <= 0.85:  # four parts of an answer, each right or wrong
            scores = passed.mean(axis=0)
        elif kind > 0.85 and 0.01 < skill < 0.99:
            scores = np.where(rng.random(world.n) < 0.5, scores, rng.beta(2 * skill, 2 * (1 - skill), world.n))
        if name in (TUNED, "few_shot", "nearest_shots", GUESS):
            scores = np.where(repeated, 1.0, scores)
        trial = float(np.clip(skill + rng.normal(0, 0.06), 0, 1))  # what the training half shows
        behind = len(world.skills) - place
        columns.append(Column(name, name == TUNED, name != GUESS, ScoreArray(scores), trial=trial, behind=behind))
    return columns


def _loadings(rng: Rng, rungs: int) -> np.ndarray:
    how = rng.integers(3)
    alike = float(rng.uniform(*((0.6, 0.95), (0.0, 0.3), (0.2, 0.8))[how]))
    signs = rng.choice([-1.0, 1.0], rungs) if how == 2 else np.ones(rungs)
    return np.sqrt(alike) * signs
