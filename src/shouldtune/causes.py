"""The nouns of why: what is wrong with the data, why answers fail, and what more examples would bring.

Found by doubts.py, probing/ and verdict/; a verdict carries them. As in types.py, all are frozen and unknown is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from shouldtune.judgement import Interval

# ---------------------------------------------------------------- the data


@dataclass(frozen=True)
class Doubt:
    """One row whose target something speaks against."""

    example_id: str
    target: str
    instead: str
    """What speaks against it says this."""
    margin: float
    """How much likelier the classifier finds that, 0 to 1; 1 for contradictions."""
    because: tuple[str, ...]
    """Ids of the neighbours, or of the same input, that have the other target."""


FlawKind = Literal["leaked", "contradictory", "failing", "wrong", "constant"]


@dataclass(frozen=True)
class Flaw:
    """A reason to mend the data first."""

    kind: FlawKind
    share: Interval
    """Of the rows (of different inputs for contradictions); for `constant` the score that it reaches."""
    rows: tuple[str, ...] = ()
    """What to look at, a line each; the first of them."""


# ---------------------------------------------------------------- the failures

Probe = Literal["label", "form", "passage", "shots", "stronger"]
Segment = Literal["noise", "format", "retrieval", "examples", "capacity", "unexplained"]


@dataclass(frozen=True)
class Share:
    """One segment of the failures."""

    segment: Segment
    probe: Probe | None
    """None for what no probe repaired."""
    share: Interval
    """Of all failures; the estimate is None where nothing can be told."""
    repaired: int = 0
    """Failures that the change repaired, whether chance, another probe or not; of `asked`."""
    asked: int = 0
    broken: Interval | None = None
    """Share of the successes that the change breaks; None for what was not tried on any."""


@dataclass(frozen=True)
class Miss:
    """A row whose right passage did not stand in its prompt."""

    example_id: str
    documents: tuple[str, ...]
    """The right ones."""
    rank: int | None
    """Where the retriever puts the first of them, 1 for the top."""
    found: tuple[str, ...]
    """The documents that stood in the prompt."""


@dataclass(frozen=True)
class RetrievalGain:
    """What the right passage would do."""

    right: Interval
    """Mean score with the right passage in the prompt."""
    gain: Interval
    """Over what was retrieved."""


@dataclass(frozen=True)
class Diagnosed:
    """What stands in the way of better answers, as a verdict tells it."""

    flaws: tuple[Flaw, ...]
    """Those proven."""
    ceiling: Interval
    """The best mean score within reach, where some targets are wrong."""
    goal_above_ceiling: bool
    doubts: tuple[Doubt, ...]
    """The surest first, at most 50; how many there are is `doubted`."""
    doubted: int
    rows: int
    """Of so many training rows."""
    rung: str | None = None
    """Whose failures were probed; None where none were."""
    shares: tuple[Share, ...] = ()
    placebo: Interval | None = None
    """Share of failures that a rewording repairs by chance."""
    failing: int = 0
    """How many of `asked` training rows the rung gets wrong."""
    asked: int = 0
    readings: Mapping[str, Interval] = field(default_factory=dict)
    """`again`: how much more often one of several tries passes than one; `closed_book`: score without documents."""
    passage: RetrievalGain | None = None
    """On a random sample of the training half; None without documents."""
    misses: tuple[Miss, ...] = ()
    """Failures first, at most 20; how many there are is `missed`."""
    missed: int = 0
    calls: int = 0
    notes: tuple[str, ...] = ()


# ---------------------------------------------------------------- more examples


@dataclass(frozen=True)
class ExamplesUntil:
    """How many examples a goal takes."""

    goal: float
    estimate: int | None
    """The median; None where it is beyond what can be looked at."""
    low: int | None
    high: int | None
    """None where the interval has no end: the goal may never be reached."""
    chance: float
    """That the goal is reached at all, as far as can be looked ahead."""
    most: int
    """How far that is."""


@dataclass(frozen=True)
class Seen:
    """One point that the forecast rests on."""

    size: int
    """Examples learnt from."""
    score: float
    rows: int


@dataclass(frozen=True)
class Ahead:
    """What one fine-tune on so many examples would score, and gain over the rung beside it."""

    size: int
    times: int
    """The examples at hand, times this."""
    score: Interval
    gain: Interval


@dataclass(frozen=True)
class MoreShots:
    """What more examples in the prompt would bring, as far as the numbers that were tried tell."""

    rung: str
    points: tuple[Seen, ...]
    """Scores on the training half by the number of shots."""
    best: int
    """The number that did best."""
    size: int | None = None
    """A number beyond those tried; None where the most that was tried did worse than fewer."""
    score: Interval | None = None
    """What the prompt with so many would score; on the training half, and taken by itself."""
    until: ExamplesUntil | None = None
    """How many shots the goal takes; None without one."""


@dataclass(frozen=True)
class Forecasted:
    """What more examples would bring."""

    rung: str
    """The best rung without training, on the training half: gains are over it."""
    beside: float | None
    """Its mean score on the rows of the points."""
    points: tuple[Seen, ...]
    ahead: tuple[Ahead, ...]
    level: float
    """Two-sided, of the intervals ahead."""
    until: ExamplesUntil | None = None
    """Until the goal; None without one."""
    spared: bool = False
    """Whether a full fine-tune was not paid for because of it."""


# ---------------------------------------------------------------- what tuning made a model forget


@dataclass(frozen=True)
class Kept:
    """How a tuned model does at something that it was not tuned for, beside its base: mean scores."""

    what: str
    base: float | None
    tuned: float | None
    change: Interval
    """Tuned less base; 95%, for itself, and no part of what decides."""


@dataclass(frozen=True)
class Forgetting:
    """What one rung's changed weights still do."""

    rung: str
    kept: tuple[Kept, ...]

    @property
    def lost(self) -> tuple[Kept, ...]:
        """What it is surely worse at than its base."""
        return tuple(each for each in self.kept if each.change.high < 0)
