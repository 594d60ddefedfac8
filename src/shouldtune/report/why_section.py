"""The page's section on why failures fail: the bar of segments, the readings beside it, and the rows to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shouldtune.causes import Diagnosed, Forecasted, Miss
from shouldtune.report import why_charts, words
from shouldtune.report.drawing import can_draw, figure
from shouldtune.report.markup import Html, element
from shouldtune.report.tables import data_table
from shouldtune.report.why import (
    AHEAD,
    FLAWS,
    FORGOTTEN,
    REPAIRED,
    SEGMENTS,
    TITLE,
    beside,
    more_in_words,
    span,
    told,
    whose,
)
from shouldtune.report.why import ceiling as ceiling_in_words
from shouldtune.report.why import share_in_words as share
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

MOST_ROWS = 20


def failures(record: RunRecord) -> Html | None:
    """What is wrong with the data and why answers fail; None where neither was looked at."""
    why = record.verdict.diagnosis
    if why is None:
        return None
    found = why.rung or why.flaws or why.doubts or why.misses or beside(why)
    nothing = f"Nothing was found that speaks against the {words.counted(why.rows, 'training row')}."
    return element(
        "section",
        element("h2", TITLE if why.rung else "The data"),
        None if found else element("p", nothing),
        element("p", f"{whose(why)}. One thing was changed about them at a time.") if why.rung else None,
        _figure(why),
        _segments(why) if why.shares else None,
        element("ul", *(element("li", line) for line in beside(why))) if beside(why) else None,
        _flaws(why),
        _folded(f"Targets to look at ({why.doubted:,})", _doubts(why)) if why.doubts else None,
        _folded(f"Passages that were missed ({why.missed:,})", _misses(why.misses)) if why.misses else None,
        id="why",
    )


def _figure(why: Diagnosed) -> Html | None:
    drawing = why_charts.segments_chart(why) if can_draw() else None
    caption = "Each failure counts for the first change that repairs it, less what a mere rewording repairs."
    return figure(drawing, "What would repair the failures.", caption) if drawing else None


def _segments(why: Diagnosed) -> Html:
    rows = [
        element(
            "tr",
            element("th", SEGMENTS[each.segment], element("small", REPAIRED[each.segment]), scope="row"),
            element("td", share(each.share)),
            element("td", f"{each.repaired:,} of {each.asked:,}" if each.asked else "-"),
            element("td", "-" if each.broken is None else share(each.broken)),
        )
        for each in why.shares
    ]
    if why.placebo is not None:
        name = element("th", "a mere rewording", element("small", "chance: taken off the rest"), scope="row")
        rows.append(element("tr", name, element("td", share(why.placebo)), element("td", "-"), element("td", "-")))
    headings = ["Cause", "Share of failures (interval)", "Repaired", "Breaks of what was right"]
    return data_table("The failures by what repairs them", headings, rows)


def _flaws(why: Diagnosed) -> Html | None:
    rows = [
        element("li", f"{FLAWS[flaw.kind]}: {share(flaw.share)}", _listed(flaw.rows[:MOST_ROWS])) for flaw in why.flaws
    ]
    return element("div", element("h3", "To be mended first"), element("ul", *rows)) if rows else None


def _listed(rows: Sequence[str]) -> Html:
    return element("ul", *(element("li", one_line(row)) for row in rows), class_="rows")


def _folded(summary: str, body: Html) -> Html:
    return element("details", element("summary", summary), body)


def _doubts(why: Diagnosed) -> Html:
    rows = [
        element(
            "tr",
            element("th", one_line(each.example_id), scope="row"),
            element("td", one_line(each.target), class_="words"),
            element("td", one_line(each.instead), class_="words"),
            element("td", ", ".join(map(one_line, each.because[:4])), class_="words"),
        )
        for each in why.doubts
    ]
    return data_table(
        ceiling_in_words(why), ["Row", "Its target", "What speaks against it says", "Rows that say so"], rows
    )


def _misses(misses: Sequence[Miss]) -> Html:
    rows = [
        element(
            "tr",
            element("th", one_line(each.example_id), scope="row"),
            element("td", ", ".join(map(one_line, each.documents)), class_="words"),
            element("td", "not at all" if each.rank is None else f"{each.rank:,}"),
            element("td", ", ".join(map(one_line, each.found)), class_="words"),
        )
        for each in misses
    ]
    return data_table("Failures first", ["Row", "Right passage", "Its rank", "What was found instead"], rows)


# ---------------------------------------------------------------- more examples


def ahead(record: RunRecord) -> Html | None:
    """What more examples would bring; None where nothing was tried that tells."""
    found, lines = record.verdict.forecast, more_in_words(record.verdict)
    if not lines:
        return None
    return element(
        "section",
        element("h2", AHEAD),
        element("ul", *(element("li", line) for line in lines)),
        *(_learnt(found, record) if found is not None else ()),
        id="ahead",
    )


def forgotten(record: RunRecord) -> Html | None:
    """What the tuned model does at other things; None where nothing was tuned."""
    found = record.verdict.forgetting
    if found is None:
        return None
    said = f"{one_line(found.rung)} beside its base, both without any prompt of the ladder. This decides nothing."
    rows = [
        element(
            "tr",
            element("th", one_line(each.what), scope="row"),
            element("td", words.score(each.base)),
            element("td", words.score(each.tuned)),
            element("td", span(each.change), element("small", told(each))),
        )
        for each in found.kept
    ]
    headings = ["Asked", "Before tuning", "After", "Change (95% interval)"]
    table = data_table("Mean scores at what it was not tuned for", headings, rows)
    return element("section", element("h2", FORGOTTEN), element("p", said), table, id="forgotten")


def _learnt(found: Forecasted, record: RunRecord) -> list[Html | None]:
    """The forecast of a fine-tune."""
    measured = next((rung.quality for rung in record.verdict.rungs if rung.training), None)
    drawing = why_charts.forecast_chart(found, words.goal_quality(record), measured) if can_draw() else None
    said = "Open marks are small fine-tunes that were made; lines are where one on so many examples would lie."
    said += " The filled mark in colour is the full one, as measured." if measured is not None else ""
    return [
        element("p", "The full fine-tune was not paid for because of it.") if found.spared else None,
        figure(drawing, "Quality by examples learnt from.", said) if drawing else None,
        _ahead_table(found),
    ]


def _ahead_table(found: Forecasted) -> Html:
    rows = [
        element(
            "tr",
            element(
                "th",
                f"{each.size:,}",
                element("small", "those at hand" if each.times == 1 else f"{each.times} times that"),
                scope="row",
            ),
            element("td", span(each.score)),
            element("td", span(each.gain)),
        )
        for each in found.ahead
    ]
    over = f"Gain over {one_line(found.rung)}"
    return data_table("A single fine-tune on so many examples", ["Examples", "Quality (interval)", over], rows)
