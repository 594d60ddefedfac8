"""What probes and doubts decide: mend the data first, mend retrieval first, and how good anything can get. Pure.

- `fix_data` (row 1): leaked, contradictory, wrong or self-contradicting targets in a share of rows whose *lower* limit
  exceeds `worthwhile_gain`, or a scorer that a constant fools.
- `fix_retrieval` (row 5): on a random sample of the training half the right passage in the prompt meets the goal, and
  gains at least `worthwhile_gain` over what was retrieved. Both must hold, so each is tested at the whole alpha (an
  intersection-union test). A row without a known right passage, or whose call failed, is the worst case.
- `ceiling`: the best score within reach where some targets are wrong: whoever knows every answer still misses those.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from shouldtune.causes import Flaw, FlawKind, RetrievalGain
from shouldtune.doubts import Doubts
from shouldtune.judgement import Interval
from shouldtune.stats import MaybeScores, clopper_pearson, mean_limits, paired_limits
from shouldtune.types import Goal

FOOLED = 0.5
"""A constant that scores this much, where answers are no labels, says that the scorer cannot tell answers apart."""
MOST_ROWS = 50
CLUELESS = 0.5
"""A share of disagreement among the surest rows from which on two models know too little to judge a target."""
CHANCE = 0.4
"""The same, as a share of the disagreement of those who guess: with few labels it is soon reached."""


@dataclass(frozen=True)
class DataEvidence:
    """What was counted before any model was asked."""

    doubts: Doubts
    failing: int = 0
    """Rows whose target does not score 1.0 by the task's own scorer; of `rows`."""
    rows: int = 0
    leaked: int = 0
    """Held-out rows that nearly repeat a training row; of `holdout`."""
    holdout: int = 0
    constant: tuple[float, ...] = ()
    """Scores of the best constant answer; empty where answers are labels, for there it is imbalance."""
    constants_tried: int = 1
    failing_rows: tuple[str, ...] = ()
    """What to look at of the failing rows, of the leaked ones, and the constant that wins; a line each."""
    leaked_rows: tuple[str, ...] = ()
    constant_text: str = ""


def fix_data(evidence: DataEvidence, goal: Goal, heard: Interval | None = None) -> tuple[Flaw, ...]:
    """The flaws that are proven; alpha is shared over the kinds.

    `heard` is the share of rows whose target is wrong by the probes, where a language model was asked: the segment
    *noise* times the share of rows that fail. Where its upper limit is no more than `worthwhile_gain`, the model gets
    the doubted rows right as often as others: they are hard, not wrong.
    """
    level = (1 - goal.confidence) / 5
    d = evidence.doubts
    shares: Mapping[FlawKind, Interval] = {
        "leaked": clopper_pearson(evidence.leaked, evidence.holdout, 2 * level),
        "contradictory": clopper_pearson(d.contradictory, d.inputs, 2 * level),
        "failing": clopper_pearson(evidence.failing, evidence.rows, 2 * level),
        "wrong": wrong_targets(d, level),
    }
    proven = [(kind, share) for kind, share in shares.items() if share.low > goal.worthwhile_gain]
    found = [Flaw(kind, share, _rows(kind, evidence)) for kind, share in proven]
    if heard is not None and heard.high <= goal.worthwhile_gain:
        found = [flaw for flaw in found if flaw.kind != "wrong"]
    if evidence.constant:
        fooled = mean_limits(evidence.constant, level / max(1, evidence.constants_tried), level)
        line = FOOLED if goal.quality is None else min(FOOLED, goal.quality)
        found += [Flaw("constant", fooled, (evidence.constant_text,))] if fooled.low >= line else []
    return tuple(found)


def _rows(kind: FlawKind, evidence: DataEvidence) -> tuple[str, ...]:
    """What to look at, a line each."""
    if kind in ("leaked", "failing"):
        return (evidence.leaked_rows if kind == "leaked" else evidence.failing_rows)[:MOST_ROWS]
    contradictory = kind == "contradictory"
    found = [each for each in evidence.doubts.doubts if (each.margin == 1.0) == contradictory]
    return tuple(
        f"{each.example_id}: {each.target!r}, but {each.instead!r} by {', '.join(each.because[:4])}"
        for each in found[:MOST_ROWS]
    )


def wrong_targets(doubts: Doubts, level: float) -> Interval:
    """The share of wrong targets, each end at a one-sided `level`; unknown where two models know too little to say.

    Among the rows that both are surest of, disagreement is wrong targets and what difficulty is left. Every nested
    set's rate is an upper estimate, the smallest the best. Difficulty falls as sets get surer, wrong targets do not; so
    as much as the rate falls from the largest set to the surest is taken off the estimate and the lower limit once
    more. Who disagrees with CLUELESS of what they are surest of, or on few labels nearly as often as chance, knows
    nothing. A task that is hard everywhere alike still looks like noise: there a language model should be heard too.
    """
    limits = [clopper_pearson(against, rows, 2 * level) for rows, against in doubts.surest]
    rates = [against / rows for rows, against in doubts.surest]
    if not limits or min(rates) > min(CLUELESS, CHANCE * (1 - 1 / doubts.labels)):
        return Interval(None, 0.0, 1.0, 0)
    fall = max(0.0, rates[-1] - rates[0])
    low = max(0.0, min(each.low for each in limits) - fall)
    estimate = max(low, min(rates) - fall / 4)
    highs = [clopper_pearson(against, rows, 2 * level / len(limits)).high for rows, against in doubts.surest]
    return Interval(estimate, low, max(estimate, min(highs)), doubts.surest[-1][0])


def trusted(doubts: Doubts, level: float = 0.05) -> Doubts:
    """The doubts without those of two models that know too little to say; contradictions stay."""
    if wrong_targets(doubts, level).estimate is not None:
        return doubts
    kept = tuple(each for each in doubts.doubts if each.margin == 1.0)
    return replace(doubts, doubts=kept, ids=frozenset(each.example_id for each in kept))


def fix_retrieval(retrieved: MaybeScores, right: MaybeScores, goal: Goal) -> RetrievalGain | None:
    """What the right passage would do, where it is proven to meet the goal and to gain what is worthwhile; else None.

    `retrieved` and `right` are scores of one random sample in the same order. Without a goal there is no such answer.
    """
    if goal.quality is None or not retrieved:
        return None
    found = retrieval_gain(retrieved, right, goal)
    proven = found.right.low >= goal.quality and found.gain.low >= goal.worthwhile_gain
    return found if proven else None


def retrieval_gain(retrieved: MaybeScores, right: MaybeScores, goal: Goal) -> RetrievalGain:
    """The same limits, proven or not, for showing."""
    alpha = 1 - goal.confidence
    return RetrievalGain(
        mean_limits(right, alpha, alpha),
        paired_limits(right, retrieved, alpha, alpha),
    )


def ceiling(doubts: Doubts, agreeing: tuple[int, int] | None = None, alpha: float = 0.1) -> Interval:
    """The best mean score within reach where targets are as doubtful as they look.

    From what is known of them: inputs that contradict each other (a lower limit of what is lost), the disagreement of
    two models with the targets of the rows that they are surest of, and `agreeing`, on how many of how many rows the
    strongest model and the one at hand agree against the target (that counts mistakes that both make, so it is an
    upper estimate of what is lost). The estimate is None where only contradictions could be looked for.
    """
    level = alpha / 4
    lost = clopper_pearson(round(doubts.unreachable * doubts.rows), doubts.rows, 2 * level)
    wrong = wrong_targets(doubts, level)
    known = [each for each in (wrong,) if each.estimate is not None]
    high = min((each.high for each in known), default=1.0)
    if agreeing is not None:
        both = clopper_pearson(*agreeing, 2 * level)
        known, high = [*known, both], min(high, both.high)
    estimates = [each.estimate for each in known if each.estimate is not None]
    low = max(lost.low, wrong.low)
    estimate = None if not estimates else min(1.0, max(min(estimates), lost.estimate or 0.0, low))
    high = max(high, low, estimate or 0.0)
    return Interval(None if estimate is None else 1 - estimate, 1 - high, 1 - low, doubts.rows)


def goal_is_out_of_reach(goal: Goal, best: Interval) -> bool:
    """Whether the goal lies above even the upper limit of the best score within reach."""
    return goal.quality is not None and goal.quality > best.high
