"""The page's section on money: what each rung costs, from which volume on tuning pays, what would flip the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shouldtune.report import costs, money_chart
from shouldtune.report.drawing import can_draw, figure
from shouldtune.report.markup import Html, element
from shouldtune.report.tables import cells_of, data_table
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord


def money(record: RunRecord) -> Html | None:
    """None where neither a cost is known nor anything that would flip the answer."""
    verdict = record.verdict
    table = verdict.economics
    if not costs.known(verdict):
        return None
    named = ((element("th", name, scope="row"), cells) for name, cells in costs.rows(verdict))
    rows = [
        element("tr", name, *cells_of(*cells), class_="shipped" if name == verdict.rung else None)
        for name, cells in named
    ]
    lines = [element("li", one_line(flip.sentence)) for flip in verdict.sensitivity]
    drawing = money_chart.break_even_chart(verdict) if can_draw() else None
    return element(
        "section",
        element("h2", "Money" if table else costs.FLIPS),
        data_table(costs.title(table), ["Rung", *costs.HEADINGS], rows) if table else None,
        element("p", costs.key(verdict), class_="aside") if table else None,
        figure(drawing, "From which volume on tuning pays.", money_chart.SAID) if drawing else None,
        element("h3", costs.FLIPS) if table and lines else None,
        element("ul", *lines) if lines else None,
        id="money",
    )
