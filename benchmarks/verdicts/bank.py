"""How often is the verdict wrong, and what does stopping early save? Worlds of known truth, raced and measured whole.

Every world draws its rungs' true abilities, how alike they are, how many held-out examples there are, and whether
scores are 0/1 or graded; the race then runs over the scores as it does in a climb, and once more everything is asked.
A *yes* is false where the tuned rung neither gains more than `worthwhile_gain` over the best rung without training nor
alone meets the goal. A *no* is false where the rung that is said to meet the goal does not, or where tuning would gain
at least `worthwhile_gain`. Prints one Markdown table; the figures in brackets are upper 95% limits.

    python benchmarks/verdicts/bank.py [worlds a class, 60 unless said] [a class's name ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from shouldtune.stats import clopper_pearson
from shouldtune.types import Goal
from shouldtune.verdict.columns import Column
from shouldtune.verdict.race import rehearse
from shouldtune.verdict.rows import Finding

GAIN = 0.03
FREE = ("guess", "classic")
TUNED = "fine_tune"
Skills = dict[str, float]
Rng = np.random.Generator


@dataclass(frozen=True)
class World:
    goal: Goal
    skills: Skills
    n: int


def prompts(rng: Rng, low: float, high: float, guess: float | None = None) -> Skills:
    """A floor, and two to four rungs that prompt."""
    names = ("zero_shot", "few_shot", "nearest_shots", "retrieval")[: rng.integers(2, 5)]
    floor = float(rng.uniform(0.0, low)) if guess is None else guess
    return {"guess": floor, **{name: float(rng.uniform(low, high)) for name in names}}


def some_goal(rng: Rng) -> float:
    return float(rng.choice([0.7, 0.8, 0.9]))


def a_size(rng: Rng) -> int:
    return int(rng.choice([120, 180, 300, 600]))


def prompt_is_enough(rng: Rng) -> World:
    goal, skills = some_goal(rng), prompts(rng, 0.2, 0.6)
    best = float(rng.uniform(goal + 0.04, 0.99))
    return World(Goal(goal), {**skills, "stronger": best, TUNED: min(0.99, best + 0.02)}, a_size(rng))


def only_tuning_helps(rng: Rng) -> World:
    goal, skills = some_goal(rng), prompts(rng, 0.1, 0.6)
    return World(Goal(goal), {**skills, TUNED: float(rng.uniform(goal, 0.99))}, a_size(rng))


def only_tuning_helps_no_goal(rng: Rng) -> World:
    skills = prompts(rng, 0.1, 0.7)
    return World(
        Goal(), {**skills, TUNED: min(0.99, max(skills.values()) + float(rng.uniform(0.05, 0.3)))}, a_size(rng)
    )


def tuning_adds_nothing(rng: Rng) -> World:
    skills = prompts(rng, 0.3, 0.95)
    return World(Goal(), {**skills, TUNED: max(skills.values()) - float(rng.uniform(0.0, 0.2))}, a_size(rng))


def ties(rng: Rng) -> World:
    skills, same = prompts(rng, 0.3, 0.9), float(rng.uniform(0.3, 0.9))
    return World(Goal(), {**dict.fromkeys(skills, same), TUNED: same}, a_size(rng))


def gain_at_the_margin(rng: Rng) -> World:
    """The gain is exactly what would be worth it: neither a yes nor a no is true."""
    skills = prompts(rng, 0.5, 0.9)
    return World(Goal(), {**skills, TUNED: max(skills.values()) + GAIN}, a_size(rng))


def just_below_the_goal(rng: Rng) -> World:
    """Every prompt misses the goal by a hair, tuning by more: the likeliest place to claim falsely that it is met."""
    goal, skills = some_goal(rng), prompts(rng, 0.3, 0.6)
    return World(Goal(goal), {**dict.fromkeys(skills, goal - 0.001), TUNED: goal - 0.05}, a_size(rng))


def nothing_helps(rng: Rng) -> World:
    goal, skills = some_goal(rng), prompts(rng, 0.1, 0.4)
    return World(Goal(goal), {**skills, TUNED: max(skills.values()) + float(rng.uniform(0.0, GAIN))}, a_size(rng))


def constant_wins(rng: Rng) -> World:
    skills = prompts(rng, 0.3, 0.6, guess=float(rng.uniform(0.86, 0.95)))
    return World(Goal(0.8 if rng.random() < 0.5 else None), {**skills, TUNED: skills["guess"] - 0.01}, a_size(rng))


def fifty_rows(rng: Rng) -> World:
    kinds = (prompt_is_enough, only_tuning_helps, tuning_adds_nothing, ties, gain_at_the_margin, just_below_the_goal)
    drawn = kinds[rng.integers(len(kinds))](rng)
    return World(drawn.goal, drawn.skills, 50)


CLASSES: tuple[Callable[[Rng], World], ...] = (
    prompt_is_enough,
    only_tuning_helps,
    only_tuning_helps_no_goal,
    tuning_adds_nothing,
    ties,
    gain_at_the_margin,
    just_below_the_goal,
    nothing_helps,
    constant_wins,
    fifty_rows,
)


def measured(world: World, rng: Rng) -> list[Column]:
    """Every rung's scores: hard examples are hard for all of them, more or less. The mean is the skill, exactly."""
    alike, graded = rng.uniform(0.0, 0.95), rng.random() < 0.25
    hard, columns = rng.standard_normal(world.n), []
    for name, skill in world.skills.items():
        drawn = np.sqrt(alike) * hard + np.sqrt(1 - alike) * rng.standard_normal(world.n)
        scores = (drawn < NormalDist().inv_cdf(min(max(skill, 1e-9), 1 - 1e-9))).astype(float)
        if graded and 0.01 < skill < 0.99:
            scores = np.where(rng.random(world.n) < 0.5, scores, rng.beta(2 * skill, 2 * (1 - skill), world.n))
        trial = float(np.clip(skill + rng.normal(0, 0.06), 0, 1))  # the training half tells nearly the truth
        columns.append(Column(name, name == TUNED, name not in FREE, tuple(map(float, scores)), trial=trial))
    return columns


def is_false(world: World, found: Finding) -> bool:
    """Whether what was found is not so."""
    goal, tuned = world.goal.quality, world.skills[TUNED]
    best = max(skill for name, skill in world.skills.items() if name != TUNED)
    alone = goal is not None and best < goal <= tuned
    if found.answer == "yes":
        return not alone and (tuned - best <= GAIN + 1e-9 or (goal is not None and best >= goal))
    if found.reason == "goal_met" or (found.reason == "no_model_needed" and found.path == "goal"):
        return goal is None or world.skills[found.rung or ""] < goal
    if found.reason == "no_model_needed":
        return max(world.skills.values()) - world.skills[found.rung or ""] >= GAIN - 1e-9
    return found.answer == "no" and (alone or tuned - best >= GAIN - 1e-9)


def calls(columns: list[Column]) -> int:
    return sum(len(c.asked_scores) for c in columns if c.uses_llm)


def row(number: int, draw: Callable[[Rng], World], worlds: int) -> str:
    """One class's line of the table."""
    false = dict.fromkeys(("yes", "no", "goal_met"), 0)
    raced_calls = whole_calls = open_raced = open_whole = agreed = false_whole = 0
    for i in range(worlds):
        rng = np.random.default_rng([number, i])
        world = draw(rng)
        columns = measured(world, rng)
        raced, asked = rehearse(world.goal, columns)
        whole, everything = rehearse(world.goal, columns, stop_early=False)
        if raced and is_false(world, raced):
            false["goal_met" if raced.reason == "goal_met" or raced.path == "goal" else raced.answer] += 1
        false_whole += bool(whole and is_false(world, whole))
        open_raced += raced is None or raced.answer == "not_yet"
        open_whole += whole is None or whole.answer == "not_yet"
        agreed += (raced and raced.reason) == (whole and whole.reason)
        raced_calls += calls(asked)
        whole_calls += calls(everything)
    shares = [f"{k / worlds:.3f} ({clopper_pearson(k, worlds, 0.1).high:.3f})" for k in false.values()]
    shares += [f"{k / worlds:.2f}" for k in (false_whole, open_raced, open_whole, agreed)]
    shares.append(f"{raced_calls / whole_calls:.2f}" if whole_calls else "none needed")
    return f"| {draw.__name__.replace('_', ' ')} | " + " | ".join(shares) + " |"


def main(arguments: list[str]) -> None:
    worlds = int(arguments[0]) if arguments else 60
    print(f"{worlds} worlds a class; worthwhile gain {GAIN}, confidence 0.95\n")
    raced, whole = ("false yes", "false no", "false goal met"), ("false, all asked", "not yet", "not yet, all asked")
    headings = ("worlds", *raced, *whole, "same reason", "calls of all asked")
    print(f"| {' | '.join(headings)} |\n{'|---' * len(headings)}|")
    for number, draw in enumerate(CLASSES):
        if not arguments[1:] or draw.__name__ in arguments[1:]:
            print(row(number, draw, worlds), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
