"""What the forms that are lines of text share: the ladder's title, and what was found beside the rungs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shouldtune.report import again, prompts, why, words
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

COMPARED = "Compared, where both answered"
LEAST_SHARE = 0.05
"""A segment that is surely smaller is left to the page."""


def ladder_title(record: RunRecord) -> str:
    """How many examples, the goal, and what is to be shipped."""
    goal = words.goal_quality(record)
    line = "no goal was set" if goal is None else f"goal {words.score(goal)}"
    shipped = f"; * is the one to ship: {one_line(record.verdict.rung)}" if record.verdict.rung else ""
    return f"The ladder ({words.counted(len(record.holdout), 'held-out example')}; {line}{shipped})"


def inquiry(record: RunRecord) -> list[tuple[str, list[str]]]:
    """How an instruction was found, and what was found about the data, the failures and the learning curve: a title
    and its lines."""
    verdict, searched = record.verdict, prompts.searched(record)
    found = [(f"{prompts.TITLE} ({one_line(rung.name)})", prompts.in_words(each)) for rung, each in searched]
    looked = verdict.diagnosis
    if looked is not None:
        shown = [each for each in looked.shares if each.share.estimate is None or each.share.high >= LEAST_SHARE]
        said = [why.segment(each) for each in shown] + why.beside(looked)
        flawed = [f"{why.FLAWS[flaw.kind]}: {', '.join(flaw.rows[:3])}" for flaw in looked.flaws]
        title = f"{why.TITLE} ({why.whose(looked)})" if looked.rung else "The data"
        found += [(title, [one_line(line) for line in (*said, *flawed)])] if said or flawed else []
    more = why.more_in_words(verdict)
    if more:
        found.append((why.AHEAD, more))
    if verdict.forgetting is not None:
        title = f"{why.FORGOTTEN} ({one_line(verdict.forgetting.rung)})"
        found.append((title, why.kept_in_words(verdict.forgetting)))
    if verdict.shelf_life is not None:
        found.append((again.TITLE, again.in_words(record)))
    return found
