"""When to look at a run's question again."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from shouldtune.report.markup import Html, element, with_code
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

TITLE = "When to look again"


def in_words(record: RunRecord) -> list[str]:
    """A line each; the day first, where there is one."""
    found = record.verdict.shelf_life
    if found is None:
        return []
    last = _day(record, found.days)
    return [*([f"On {last} at the latest"] if last else []), *(f"When {one_line(event)}" for event in found.when)]


def section(record: RunRecord) -> Html | None:
    """The same on the page."""
    lines = [element("li", with_code(line)) for line in in_words(record)]
    return element("section", element("h2", TITLE), element("ul", *lines), id="again") if lines else None


def _day(record: RunRecord, days: int | None) -> date | None:
    try:
        made = date.fromisoformat(str(record.asked.get("created"))[:10])
    except ValueError:
        return None
    return None if days is None else made + timedelta(days=days)
