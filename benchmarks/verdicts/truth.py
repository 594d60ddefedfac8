"""What the answer would be were everything known: the rows of the table on true means, and when an answer is false."""

from __future__ import annotations

from worlds import GAIN, GUESS, TUNED, World

from shouldtune.judgement import Interval
from shouldtune.stats import ScoreArray
from shouldtune.verdict.alpha import share_alpha
from shouldtune.verdict.bounds import Evidence, choose_candidates
from shouldtune.verdict.columns import Column
from shouldtune.verdict.rows import Finding, findings

SLACK = 1e-9
"""A gain exactly at the margin is worthwhile, a score exactly at the goal reaches it, however they are rounded."""
FIRST = ("no_model_needed", "tune_to_save", "goal_met")
"""The rows above `fix_retrieval`."""


def true_finding(world: World) -> Finding | None:
    """The first row that holds of the true means."""
    if world.wrong > GAIN or world.leaked > GAIN:
        return Finding("not_yet", "fix_data", None, "none")
    found = next(iter(findings(_known(world))), None)
    if passages_help(world) and (found is None or found.reason not in FIRST):
        return Finding("not_yet", "fix_retrieval", None, "none")
    return found


def is_false(world: World, found: Finding) -> bool:
    """Whether an answer's own *when* is untrue; for a yes, also whether a rung without training meets the goal."""
    goal, tuned, rung = world.goal.quality, world.skills[TUNED], world.skills.get(found.rung or "", 0.0)
    alone = goal is not None and world.best < goal - SLACK <= tuned
    gains = world.gain >= GAIN - SLACK
    if found.reason == "fix_data":
        return max(world.wrong, world.leaked) <= GAIN
    if found.reason == "fix_retrieval":
        return not passages_help(world) or (goal is not None and tuned >= goal)
    if found.reason == "out_of_reach":
        return goal is None or max(world.skills.values()) >= goal
    if found.reason == "goal_met" or (found.reason == "no_model_needed" and found.path == "goal"):
        return goal is None or rung < goal - SLACK
    if found.reason == "no_model_needed":
        return max(world.skills.values()) - rung >= GAIN - SLACK
    if found.reason == "does_not_pay":
        return pays(world) or not (alone or gains)
    if found.reason == "tune":
        return not (alone or gains) or (goal is not None and world.best >= goal) or pays(world) is False
    return alone or gains  # no_gain


def passages_help(world: World) -> bool:
    """Whether the right passage would meet the goal, and gain what is worthwhile."""
    if world.passages is None or world.goal.quality is None:
        return False
    retrieved, right = world.passages
    return right >= world.goal.quality and right - retrieved >= GAIN


def pays(world: World) -> bool | None:
    """Whether the gain is worth its price beside every rung without training; None where no price is known."""
    worth = world.money.worth
    if worth is None:
        return None
    totals = {name: world.money.total(name) or 0.0 for name in world.skills}
    net = {name: worth * skill - totals[name] for name, skill in world.skills.items()}
    return all(net[TUNED] > net[name] for name in net if name != TUNED)


def _known(world: World) -> Evidence:
    """Evidence without any doubt."""
    nothing = ScoreArray.of(())
    columns = tuple(Column(name, name == TUNED, name != GUESS, nothing, trial=s) for name, s in world.skills.items())
    lower = [name for name in world.skills if name != TUNED]
    gains = {(TUNED, name): _point(world.gain + world.best - world.skills[name] + SLACK) for name in lower}
    relative = {}
    if world.goal.quality is None:
        gaps = {name: world.skills[GUESS] - score for name, score in world.skills.items() if name != GUESS}
        relative = {(GUESS, name): _point(gap - SLACK) for name, gap in gaps.items()}
    money = world.money
    more = {(TUNED, name): money.more(TUNED, name, 0.5, 0.5) for name in lower}
    return Evidence(
        world.goal,
        columns,
        choose_candidates(columns),
        share_alpha(world.goal, columns, 1, len(lower)),
        {name: _point(score + SLACK) for name, score in world.skills.items()},
        gains,
        relative,
        money,
        {pair: interval for pair, interval in more.items() if interval is not None},
    )


def _point(value: float) -> Interval:
    return Interval(value, value, value, 1)
