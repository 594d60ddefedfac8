"""Why the failures fail and what more examples would bring, in the words that the terminal and the page share."""

from __future__ import annotations

from shouldtune.causes import Diagnosed, Forecasted, Forgetting, Kept, MoreShots, Segment, Share
from shouldtune.judgement import Interval, Verdict
from shouldtune.report.words import counted, one_line, score

TITLE = "Why the failures fail"
AHEAD = "What more examples would bring"
FORGOTTEN = "What tuning made it forget"
SEGMENTS: dict[Segment, str] = {
    "noise": "wrong targets",
    "format": "the answer's form",
    "retrieval": "missing passages",
    "examples": "too few shots shown",
    "capacity": "too weak a model",
    "unexplained": "skill, or beyond all",
}
REPAIRED: dict[Segment, str] = {
    "noise": "another target fits",
    "format": "held to its form, or read leniently",
    "retrieval": "the right passage in the prompt",
    "examples": "the nearest examples, as many as fit",
    "capacity": "the strong model, same prompt",
    "unexplained": "nothing that was tried: what tuning may teach",
}
FLAWS = {
    "leaked": "held-out rows that nearly repeat a training row",
    "contradictory": "inputs with targets that exclude each other",
    "failing": "targets that fail their own scorer",
    "wrong": "wrong targets, as far as like rows can tell",
    "constant": "the scorer is fooled: what a constant scores",
}
COUNTED = "training rows score below"
"""In the note that says what `whose` says."""
READINGS = {
    "again": "Asked again at a temperature, one of several tries passes more often than one by {}.",
    "closed_book": "Without the documents it scores {}: what the weights already know.",
}


def whose(why: Diagnosed) -> str:
    """Whose failures were probed, and how many there are."""
    rows = counted(why.asked, "training-half row")
    return f"{one_line(why.rung)} gets {why.failing:,} of {rows} wrong"


def share_in_words(share: Interval) -> str:
    """`31% (22% to 41%)`; `-` where nothing can be told."""
    return "-" if share.estimate is None else f"{share.estimate:.0%} ({share.low:.0%} to {share.high:.0%})"


def span(interval: Interval) -> str:
    """`0.62 (0.50 to 0.71)`; `-` where there is no estimate."""
    if interval.estimate is None:
        return "-"
    return f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"


def segment(each: Share) -> str:
    """One segment in a line."""
    return f"{share_in_words(each.share):<16} {SEGMENTS[each.segment]}: {REPAIRED[each.segment]}"


def beside(why: Diagnosed) -> list[str]:
    """The readings without a segment, the right passage, the ceiling, and why something was not looked into."""
    said = [READINGS[name].format(span(found)) for name, found in why.readings.items() if name in READINGS]
    if why.passage is not None and why.passage.right.estimate is not None:
        right, gain = span(why.passage.right), span(why.passage.gain)
        said.append(f"On a random sample the right passage scores {right}, a gain of {gain}; {why.missed:,} misses.")
    if why.ceiling.estimate is not None or why.ceiling.high < 1:
        said.append(ceiling(why))
    return said + [f"{one_line(note)}." for note in why.notes if COUNTED not in note]


def ceiling(why: Diagnosed) -> str:
    """The best score within reach."""
    doubted = f"{why.doubted:,} of {counted(why.rows, 'training target')} are doubted"
    probably = "" if why.ceiling.estimate is None else f", probably {why.ceiling.estimate:.2f}"
    return f"The best score within reach is {why.ceiling.high:.2f} at most{probably}: {doubted}."


def more_in_words(verdict: Verdict) -> list[str]:
    """What more examples would bring: to learn from, where a curve was measured, and in the prompt."""
    learnt = [] if verdict.forecast is None else ahead_in_words(verdict.forecast)
    return [*learnt, *map(shots_in_words, verdict.shots)]


def kept_in_words(found: Forgetting) -> list[str]:
    """What a tuned model does at other things, beside its base: a line each."""
    said = []
    for each in found.kept:
        figures = f"{score(each.base)} before tuning, {score(each.tuned)} after"
        said.append(f"{one_line(each.what)}: {figures}; change {span(each.change)}: {told(each)}")
    return said


def told(each: Kept) -> str:
    """What the interval of a change says."""
    return "it forgot" if each.change.high < 0 else "it gained" if each.change.low > 0 else "no change is shown"


def shots_in_words(more: MoreShots) -> str:
    """What more shots would bring, in one line."""
    rung, tried = one_line(more.rung), {point.size: point.score for point in more.points}
    sizes = ", ".join(map(str, sorted(tried)))
    best = f"of {sizes} shots {more.best} did best, {score(tried[more.best])} on the training half"
    if more.size is None or more.score is None:
        return f"{rung}: {best}; more did no better"
    goal = ""
    if more.until is not None:
        end = more.until.estimate
        reached = f"at about {end:,}" if end is not None else f"not within {more.until.most:,}"
        goal = f"; the goal {reached}, as far as can be told"
    return f"{rung}: {best}; {more.size} would score {span(more.score)}{goal}"


def ahead_in_words(ahead: Forecasted) -> list[str]:
    """The forecast at the examples at hand and at ten times as many, and how many the goal takes."""
    said = []
    for each in (ahead.ahead[0], ahead.ahead[-1]):
        size = counted(each.size, "example")
        said.append(f"{size}: quality {span(each.score)}, gain over {one_line(ahead.rung)} {span(each.gain)}")
    until = ahead.until
    if until is not None and until.estimate is None:
        said.append(f"the goal of {score(until.goal)}: not within {until.most:,} examples, as far as can be told")
    elif until is not None and until.estimate is not None and until.estimate <= ahead.points[0].size:
        said.append(f"the goal of {score(until.goal)}: {until.estimate:,} examples or fewer")
    elif until is not None:
        high = "no end" if until.high is None else f"{until.high:,}"
        low = "-" if until.low is None else f"{until.low:,}"
        said.append(f"the goal of {score(until.goal)}: about {until.estimate:,} examples ({low} to {high})")
    return said
