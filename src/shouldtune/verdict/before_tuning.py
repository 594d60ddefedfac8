"""What comes before a fine-tune, in sentences: mend the data, mend retrieval, or see by forecast that it is vain."""

from __future__ import annotations

from collections.abc import Sequence

from shouldtune.causes import Flaw, FlawKind
from shouldtune.types import Goal
from shouldtune.verdict.bounds import Evidence
from shouldtune.verdict.inquiry import Inquiry

SHARES: dict[FlawKind, str] = {
    "leaked": "of the held-out inputs nearly repeat a training input: a rung may remember instead of know",
    "contradictory": "of the inputs stand with targets that exclude each other: no model can get both right",
    "failing": "of the targets do not score 1.0 by the task's own scorer: the best answer there is counts as wrong",
    "wrong": "of the training targets are wrong, as far as the rows can tell of which two models are surest",
}
WHERE = "the rows to look at stand in the report"


def data_first(e: Evidence) -> list[str]:
    """Each flaw with its figures, and what to do."""
    said = told_of_data(e.flaws)
    return [*said, f"Mend that first ({WHERE}): a score on such data says little, and training would learn the faults."]


def told_of_data(flaws: Sequence[Flaw]) -> list[str]:
    """A sentence a flaw."""
    return [_flaw(flaw) for flaw in flaws]


def why_not_to_train(inquiry: Inquiry, goal: Goal) -> str | None:
    """Why a fine-tune is not worth its price before something else is done, in a clause; None where it may be."""
    if inquiry.flaws(goal):
        return "the data come first"
    if inquiry.retrieval(goal) is not None:
        return "retrieval comes first: with the right passage a prompt meets the goal"
    skip = inquiry.skip(goal)
    if skip is not None and inquiry.curve is not None:
        return f"by forecast it would gain {skip.gain.high:.3f} over {inquiry.curve.rung} at most"
    return None


def _flaw(flaw: Flaw) -> str:
    share, line = flaw.share, SHARES.get(flaw.kind)
    if line is None:
        constant = "".join(flaw.rows)
        shown = repr(constant if len(constant) <= 60 else f"{constant[:57]}...")
        return (
            f"The scorer is fooled by a constant: always answering {shown} scores {share.estimate:.2f}"
            f" ({share.low:.2f} to {share.high:.2f})."
        )
    return f"{share.estimate:.1%} ({share.low:.1%} to {share.high:.1%}) {line}."


def retrieval_first(e: Evidence) -> list[str]:
    """What the right passage would do, and that tuning was not what was missing."""
    found = e.right_passage
    if found is None:
        return []
    right, gain = found.right, found.gain
    return [
        f"With the right passage in the prompt {_span(right.estimate)} ({right.low:.2f} to {right.high:.2f}) is reached"
        f" on {right.n} training-half examples: that meets the goal of {e.goal.quality:g}.",
        f"It gains {_span(gain.estimate)} ({gain.low:.2f} to {gain.high:.2f}) over the passages that were found, so"
        " retrieval is what is missing.",
        "Mend the search first (the misses stand in the report, with the ranks of the right passages).",
    ]


def by_forecast(e: Evidence) -> list[str]:
    """Why a full fine-tune was not paid for; nothing where none was spared."""
    if e.skip is None or e.trained:
        return []
    rung, skip = e.skip
    said = (
        f"By a learning curve of small fine-tunes, one on all examples would gain {_span(skip.gain.estimate)}"
        f" ({skip.gain.low:.2f} to {skip.gain.high:.2f}) over {rung}: less than the {e.goal.worthwhile_gain:g} that"
        " would be worth it, so it was not paid for."
    )
    if e.goal.quality is None:
        return [said]
    return [said, f"Nor would it reach the goal of {e.goal.quality:g}: {skip.score.high:.2f} at most."]


def above_ceiling(e: Evidence) -> list[str]:
    """That the goal asks for more than the targets allow."""
    if e.above is None:
        return []
    goal, most = e.goal.quality, e.above.high
    return [f"The goal of {goal:g} lies above what the targets allow, {most:.2f} at most: some of them are wrong."]


def _span(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
