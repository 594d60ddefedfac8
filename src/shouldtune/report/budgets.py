"""How a run ended that a budget ended: which limit, and what the rest would take."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ShouldTuneError
from shouldtune.report.words import counted, duration, money

if TYPE_CHECKING:
    from shouldtune.asked import Climb
    from shouldtune.planning import Plan
    from shouldtune.task import LoadedTask


def ended(budget: Mapping[str, Any], spent: float) -> tuple[str, str]:
    """(what ended, what to do) for the budget in a verdict's provenance, and the dollars spent on the task so far."""
    by = budget.get("ended_by", "dollars")
    said = {
        "dollars": (
            f"the budget ended: ${spent:,.4g} of ${budget.get('usd') or 0.0:,.4g} is spent on this task, and the next"
            " call may not fit",
            "the same command with a higher --budget goes on from there",
        ),
        "calls": (
            f"the budget ended: {counted(budget.get('max_calls') or 0, 'new call')} were allowed",
            "the same command goes on from there",
        ),
        "minutes": (
            f"the budget ended: {duration(60 * (budget.get('max_minutes') or 0.0))} are over",
            "the same command goes on from there",
        ),
    }
    because, then = said[by]
    return because, f"what was measured is kept; {then}"


def rest(loaded: LoadedTask, how: Climb) -> str:
    """What a plan says of the calls that the ledger does not hold; nothing where it cannot tell."""
    from shouldtune.planning import plan

    try:
        found = asyncio.run(plan(loaded, how))
    except ShouldTuneError:
        return ""
    most = sum(rung.calls_most - rung.calls_known for rung in found.rungs if not rung.skipped_because)
    return f"; for all of it that would be {counted(most, 'call')} more at most{_dollars(found)}" if most else ""


def _dollars(found: Plan) -> str:
    return "" if not found.usd_most else f", {money(found.usd_most)}"
