"""The sentences and number formats that every form of the report shares.

Kept in one place so that the terminal and the page cannot tell the same run differently. Every string that
may have come from a model or a user passes `printable` before it reaches a terminal or a page.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from shouldtune.judgement import Comparison, Reason, Verdict
from shouldtune.models.providers import is_remote
from shouldtune.types import Spent

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

ANSWERS = {"no": "No", "yes": "Yes", "not_yet": "Not yet"}
CLAUSES: dict[Reason, str] = {
    "fix_data": "the data must be mended first",
    "no_model_needed": "{rung} is good enough and needs no language model",
    "tune_to_save": "{rung} does as well for less",
    "goal_met": "{rung} already meets the goal",
    "fix_retrieval": "the search for passages must be mended first",
    "tune": "no cheaper rung does as well as {rung}",
    "does_not_pay": "fine-tuning does not pay beside {rung}",
    "out_of_reach": "no rung that was measured can reach the goal",
    "no_gain": "fine-tuning is not worth it over {rung}",
    "unmeasured": "too much went unmeasured to tell",
    "label_more": "there are too few held-out examples to tell{needed}",
}
SIMULATED = (
    "Simulated: the answers come from a scripted model. This shows how the report reads, not what a model can do."
)

_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\]|\x9d).*?(?:\x07|\x1b\\|\x9c|$)"  # OSC: titles, links, clipboard
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f]).*?(?:\x1b\\|\x9c|$)"  # DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"  # CSI: colours, cursor, erase
    r"|\x1b[ -/]*[0-~]?",  # the two-byte rest
    re.DOTALL,
)
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: object) -> str:
    """The text without anything that a terminal or a page would obey: escape sequences, controls, bidi overrides.

    Newlines and tabs stay; the Unicode line separators become newlines; a lone surrogate, which no file
    can hold, becomes U+FFFD.
    """
    whole = str(text)
    if whole.replace("\n", "").replace("\t", "").isprintable():
        return whole  # nearly all texts, and ten times as quick
    plain = _BIDI.sub("", _ESCAPE_SEQUENCE.sub("", whole))
    plain = plain.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    return "".join(_kept(character) for character in plain)


def _kept(character: str) -> str:
    if character in "\n\t":
        return character
    category = unicodedata.category(character)
    return "" if category == "Cc" else "\ufffd" if category == "Cs" else character


def one_line(text: object) -> str:
    """`printable`, with every run of white space made one space."""
    return " ".join(printable(text).split())


# ---------------------------------------------------------------- the answer


def headline(verdict: Verdict) -> tuple[str, str]:
    """The answer (`No`) and the clause after it (`few_shot already meets the goal.`)."""
    clause = CLAUSES[verdict.reason].format(rung=verdict.rung or "anything cheaper", needed=_needed(verdict))
    return ANSWERS[verdict.answer], f"{one_line(clause)}{_at_the_price_of(verdict)}."


def _at_the_price_of(verdict: Verdict) -> str:
    """That what is to be shipped has unlearnt other things, where it surely has."""
    forgot = verdict.forgetting
    if forgot is None or forgot.rung != verdict.rung or not forgot.lost:
        return ""
    return "; keep its base for everything else, which it forgot"


def _needed(verdict: Verdict) -> str:
    if verdict.examples_needed is None:
        return ""
    return f"; about {verdict.examples_needed:,} would probably settle it"


def judged_again(verdict: Verdict) -> str | None:
    """That this is not the run's own verdict, and what was changed; None where it is."""
    changed = verdict.provenance.get("judged_again")
    if not isinstance(changed, dict) or not changed:
        return None
    told = [f"{one_line(key)} = {_setting(now)} (was {_setting(was)})" for key, (was, now) in changed.items()]
    said = f"Judged again with {listed(told)}, from what was measured; no model was asked, nothing was written."
    return f"{said} What is chosen after the scores were seen explores; it confirms nothing."


def _setting(value: object) -> str:
    return "not set" if value is None else f"{value:,.10g}" if isinstance(value, int | float) else one_line(value)


def goal_quality(record: RunRecord) -> float | None:
    """The mean score to reach, or None when the run had no goal."""
    return _goal(record, "quality")


def reach(record: RunRecord) -> float | None:
    """The best score within reach where some targets are wrong; None where nothing lowers it."""
    why = record.verdict.diagnosis
    return None if why is None or why.ceiling.high >= 1 else why.ceiling.high


def confidence(record: RunRecord) -> float:
    """The run's confidence, 0 to 1."""
    return _goal(record, "confidence") or 0.95


def _goal(record: RunRecord, name: str) -> float | None:
    goal = record.asked.get("goal")
    value = goal.get(name) if isinstance(goal, dict) else None
    return float(value) if isinstance(value, int | float) else None


def how_to_read(record: RunRecord) -> str:
    """What an interval says, with this run's own numbers where it has any."""
    measured = [rung for rung in record.verdict.rungs if rung.quality is not None and rung.low is not None]
    level = f"{_level(record)}, so wider than an interval that stands alone"
    if not measured:
        return f"An interval says where the score on examples like these probably lies ({level})."
    shown = max(measured, key=lambda rung: (rung.name == record.verdict.rung, rung.quality))
    return (
        f"Read {interval(shown.quality, shown.low, shown.high)} as: {score(shown.quality)} on the examples measured; "
        f"on examples like them the score probably lies between {score(shown.low)} and {score(shown.high)} ({level}). "
        "Failed calls widen the interval."
    )


def _level(record: RunRecord) -> str:
    """How sure the run is: alone, or as one of the looks at its holdout."""
    sure = f"{100 * confidence(record):g}% confidence"
    look, alpha = (record.verdict.provenance.get(name) for name in ("look", "alpha"))
    if not isinstance(look, int) or not isinstance(alpha, float):
        return f"{sure} for the whole run"
    return f"{sure} for all looks at this holdout together; this is look {look}, which may err {100 * alpha:.2g}%"


# ---------------------------------------------------------------- rungs and comparisons


def tuned_and_untuned(verdict: Verdict) -> tuple[str | None, str | None]:
    """The two rungs that `fixed by tuning` compares, tuned and untuned: of each kind the one to ship, else the best."""

    def best(training: bool) -> str | None:
        rungs = [rung for rung in verdict.rungs if rung.training == training and rung.quality is not None]
        shipped = [rung for rung in rungs if rung.name == verdict.rung]
        chosen = max(shipped or rungs, key=lambda rung: rung.quality or 0.0, default=None)
        return chosen.name if chosen else None

    return best(True), best(False)


def compared(comparison: Comparison) -> str:
    """One comparison as a sentence that claims no more than its interval."""
    better, worse = one_line(comparison.better), one_line(comparison.worse)
    gain, low, high = comparison.gain, comparison.low, comparison.high
    if gain is None:
        return f"{better} and {worse} have no example that both answered, so nothing can be said."
    where = f"on {counted(comparison.n, 'example')}{_p_value(comparison)}"
    if low > 0:
        return f"{better} is better than {worse} by {interval(gain, low, high)} {where}."
    if high < 0:
        return f"{better} is worse than {worse} by {interval(-gain, -high, -low)} {where}."
    return f"{better} and {worse} cannot be told apart: {gain:+.3f} ({low:+.3f} to {high:+.3f}) {where}."


def _p_value(comparison: Comparison) -> str:
    if comparison.p_value is None:
        return ""
    value = "p < 0.001" if comparison.p_value < 0.001 else f"p = {comparison.p_value:.3f}"
    return f"; {value}, {one_line(comparison.method)}" if comparison.method else f"; {value}"


def spent(record: RunRecord) -> str:
    """The bill in one line; a model that runs here sends none."""
    spending = record.verdict.spent
    cached = f" ({spending.cached_tokens:,} of them cached)" if spending.cached_tokens else ""
    tokens = f"{spending.prompt_tokens:,} prompt{cached} and {spending.completion_tokens:,} answer tokens"
    tokens += f" (those of {counted(spending.estimated, 'call')} estimated)" if spending.estimated else ""
    tokens += f", {counted(spending.form_missed, 'answer')} not in the form asked for" if spending.form_missed else ""
    models = [record.verdict.provenance.get(key) for key in ("model", "tune", "strong")]
    billed = models[0] is None or any(model and is_remote(model) for model in models)
    unknown = "cost unknown" if billed else "nothing to pay"
    cost = unknown if spending.usd is None else money(spending.usd)
    took = f", {duration(spending.seconds)}" if spending.seconds else ""
    said = f"{counted(spending.calls, 'call')}, {tokens}, {cost}{took}"
    return said + (f"; {unknown_outcomes(spending)}" if spending.unknown_calls else "")


def unknown_outcomes(spending: Spent) -> str:
    """Calls that may have been billed although nobody knows what came of them, at the most that they can have cost."""
    most = "cost unknown" if spending.unknown_usd is None else f"{money(spending.unknown_usd)} at most"
    return f"unknown outcomes: {counted(spending.unknown_calls, 'call')}, {most}"


def report_path(record: RunRecord) -> Path:
    """Where the page of a run lies."""
    return record.folder / "report.html"


# ---------------------------------------------------------------- numbers


def score(value: float | None) -> str:
    """A score with three decimals, so that 0.897 is never printed as a goal of 0.90 met; `-` when unknown."""
    return "-" if value is None else f"{value:.3f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """`0.912 (0.884 to 0.934)`, or as much of it as is known."""
    return score(value) if low is None or high is None else f"{score(value)} ({score(low)} to {score(high)})"


def amount(value: float | None) -> str:
    """A plain number in three significant digits, never in exponent form; `-` when unknown."""
    if value is None:
        return "-"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{decimals}f}" if abs(value) >= 0.001 else "<0.001" if value > 0 else f"{value:.1g}"


def money(value: float | None) -> str:
    """Dollars; `-` when no price is known, which is not the same as free."""
    if value is None:
        return "-"
    if value == 0:
        return "$0"
    return f"${value:,.2f}" if value >= 1 else f"${value:.3f}" if value >= 0.001 else "<$0.001"


def duration(seconds: float | None) -> str:
    """Seconds as people say them; `-` when unknown."""
    if seconds is None:
        return "-"
    if seconds == 0:
        return "0 s"
    if seconds < 0.0995:
        return f"{max(1, round(1000 * seconds))} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def counted(count: int, noun: str) -> str:
    """`1 call`, `1,240 calls`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def wrapped(text: str, width: int, bullet: str = "") -> list[str]:
    """The text in lines of at most `width` characters, the first behind a bullet."""
    indent = " " * len(bullet)
    return textwrap.wrap(text, width, initial_indent=bullet, subsequent_indent=indent) or [bullet.rstrip()]


def listed(words: Iterable[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    *head, last = list(words) or [""]
    return f"{', '.join(head)} and {last}" if head else last
