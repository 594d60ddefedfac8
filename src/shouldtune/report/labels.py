"""What stands beside a rung's name, in every form of the report: whether to ship it, its kind, why it stopped early."""

from __future__ import annotations

from shouldtune.judgement import RungResult
from shouldtune.report.words import one_line


def ships(rung: RungResult, shipped: str | None) -> str:
    """That it is the one to ship; nothing where it is not."""
    return "ship this" if rung.name == shipped else ""


def kind(rung: RungResult) -> str:
    """What sort of approach it is, in words: shown wherever a shape or a colour says it too."""
    return "weights tuned" if rung.training else "prompting" if rung.uses_llm else "no language model"


def unusual_kind(rung: RungResult) -> str:
    """Its kind where that is not prompting, which most are."""
    return "" if kind(rung) == "prompting" else kind(rung)


def stopped_early(rung: RungResult) -> str:
    """Why it was asked the first examples only; nothing where it was asked all."""
    return f"stopped early: {one_line(rung.stopped_because)}" if rung.stopped_because else ""


def stopped(rung: RungResult, size: int) -> str:
    """The same as a sentence: how many of the `size` held-out examples it was asked."""
    asked = f"{rung.n + rung.unmeasured:,} of {size:,}"
    return f"{one_line(rung.name)} stopped after {asked}: {one_line(rung.stopped_because or '')}"


def why_skipped(rung: RungResult) -> str:
    """Why it did not apply."""
    return one_line(rung.skipped_because or "no reason was given")


def beside(*said: str) -> str:
    """What there is to say, in one small line."""
    return " · ".join(filter(None, said))
