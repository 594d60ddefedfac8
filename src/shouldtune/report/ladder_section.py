"""The page's section on the ladder: its charts, the same as a table, and what the scorer reported beside the score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from shouldtune.judgement import RungResult
from shouldtune.report import charts, labels, words
from shouldtune.report.drawing import Drawing, can_draw, figure
from shouldtune.report.markup import Html, element, together
from shouldtune.report.tables import cells_of, data_table
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

KEY = {"no language model": "□", "prompting": "○", "weights tuned": "◇"}
TRADE = "Up is better, left takes less. Marks as above."
INSTALL = 'pip install "shouldtune[report]"'


def ladder(record: RunRecord) -> Html:
    """Two charts, the same as a table, and how to read them."""
    measured = any(rung.quality is not None for rung in record.verdict.rungs)
    drawn: list[Html] = []
    if measured and can_draw():
        first = charts.ladder_chart(record)
        drawn += [figure(first, "Quality of each rung.", _key(first, record))] if first else []
        against = (charts.cost_chart(record), charts.latency_chart(record))
        drawn += [figure(each, each.title, TRADE) for each in against if each is not None]
    elif measured:
        drawn = [element("p", "To see charts here, ", element("code", INSTALL), " and write the report again.")]
    return element(
        "section",
        element("h2", "The ladder"),
        element(
            "p",
            "From the cheapest approach to the dearest, on the same held-out examples, as many as the answer needed.",
        ),
        *drawn,
        _ladder_table(record) if record.verdict.rungs else element("p", "No rung was tried."),
        element("p", words.how_to_read(record), class_="aside") if measured else None,
        _metrics_table(record.verdict.rungs),
        id="ladder",
    )


def _key(drawing: Drawing, record: RunRecord) -> str:
    kinds = ", ".join(f"{KEY[kind]}\u00a0{kind}" for kind in drawing.kinds)
    shipped = " The filled mark is the one to ship." if record.verdict.rung else ""
    goal = " The dashed line is the goal." if words.goal_quality(record) is not None else ""
    goal += " Beyond the line of dots no score is within reach: some targets are wrong." if words.reach(record) else ""
    return f"{kinds}.{shipped}{goal} The line through a mark is its interval."


def _ladder_table(record: RunRecord) -> Html:
    goal = words.goal_quality(record)
    priced = any(rung.cost_per_1k is not None for rung in record.verdict.rungs)
    timed = any(rung.latency_p50 is not None for rung in record.verdict.rungs)
    headings = ["Quality (interval)", *(["Goal"] if goal is not None else []), "Answers", "Seconds per 1,000"]
    headings += [*(["Cost per 1,000"] if priced else []), *(["Latency"] if timed else [])]
    headings += ["Prompt tokens"]
    shipped, rows = record.verdict.rung, []
    for rung in record.verdict.rungs:
        cells = _ladder_cells(rung, goal, priced, timed)
        if not rung.applied:
            cells = [element("td", f"Skipped: {labels.why_skipped(rung)}", colspan=len(headings), class_="words")]
        note = labels.beside(labels.ships(rung, shipped), labels.unusual_kind(rung), labels.stopped_early(rung))
        name = element("th", one_line(rung.name), _small(note), scope="row")
        style = "shipped" if rung.name == shipped else None if rung.applied else "skipped"
        rows.append(element("tr", name, *cells, class_=style))
    unpriced = (
        None
        if priced or record.verdict.economics
        else element("p", "No price is known for any rung, so cost is left out.", class_="aside")
    )
    return together(data_table("Every rung in numbers", ["Rung", *headings], rows), unpriced)


def _ladder_cells(rung: RungResult, goal: float | None, priced: bool, timed: bool) -> list[Html]:
    slow = f"95%: {words.duration(rung.latency_p95)}" if rung.latency_p95 is not None else ""
    failed = f"{rung.unmeasured:,} failed" if rung.unmeasured else ""
    tokens = "-" if rung.prompt_tokens_mean is None else f"{rung.prompt_tokens_mean:,.0f}"
    cells: list[tuple[str, str]] = [(words.interval(rung.quality, rung.low, rung.high), "")]
    cells += [(_against(rung, goal), "")] if goal is not None else []
    cells += [(f"{rung.n:,}", failed), (words.amount(rung.seconds_per_1k), "")]
    cells += [(words.money(rung.cost_per_1k), "")] if priced else []
    cells += [(words.duration(rung.latency_p50), slow)] if timed else []
    cells += [(tokens, "")]
    return [element("td", text, _small(below)) for text, below in cells]


def _against(rung: RungResult, goal: float) -> str:
    """Where the whole interval stands."""
    if rung.meets_goal:
        return "met"
    return "-" if rung.high is None else "below" if rung.high < goal else "not proven"


def _small(text: str) -> Html | None:
    return element("small", text) if text else None


def _metrics_table(rungs: Sequence[RungResult]) -> Html | None:
    """A rung a row and a metric a column; the other way round where there are more metrics than rungs."""
    applied = [rung for rung in rungs if rung.applied]
    names = sorted({name for rung in applied for name in rung.metrics})
    if not names:
        return None
    cells = {(r.name, n): words.score(r.metrics.get(n)) for r in applied for n in names}
    lines, columns, corner = [r.name for r in applied], names, "Rung"
    if len(names) > len(applied):
        lines, columns, corner = names, lines, "Metric"
        cells = {(name, rung): value for (rung, name), value in cells.items()}
    rows = [
        element("tr", element("th", one_line(line), scope="row"), *cells_of(*(cells[line, each] for each in columns)))
        for line in lines
    ]
    return data_table("What the scorer reported beside the score", [corner, *map(one_line, columns)], rows)
