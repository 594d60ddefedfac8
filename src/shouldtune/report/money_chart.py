"""From which volume on tuning pays: each break-even with its band, against the requests that are expected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shouldtune.judgement import BreakEven, Verdict
from shouldtune.report import costs
from shouldtune.report.drawing import (
    LONGEST_NAME,
    Drawing,
    as_given,
    bare_height,
    dashed,
    drawing_library,
    pixel_axis,
    row_labels,
)
from shouldtune.report.markup import together
from shouldtune.report.svg import ACCENT, INK, LINE, NARROW, WIDE, Shape, draw
from shouldtune.report.words import one_line
from shouldtune.verdict.dollars import whole

if TYPE_CHECKING:
    from altair import LayerChart

SAID = (
    "Beside each rung: the requests a month from which tuning is the better bargain (or up to which: below) "
    "and the band that what was measured leaves. The dashed line is the volume that was told."
)


def break_even_chart(verdict: Verdict) -> Drawing | None:
    """None where no break-even has a volume."""
    rung = costs.candidate(verdict)
    table = verdict.economics
    found = [each for each in table.break_even if each.rung == rung] if table else []
    if not table or not any(each.per_month for each in found):
        return None
    said = "; ".join(f"beside {one_line(each.against)}: {costs.crossing(each)}" for each in found)
    told = "" if table.per_month is None else f" {whole(table.per_month)} are expected."
    svg = together(*(draw(_chart(found, table.per_month, shape), shape) for shape in (WIDE, NARROW)))
    return Drawing(svg, f"Requests a month from which {one_line(rung)} pays. {said}.{told}")


def _chart(found: list[BreakEven], told: float | None, shape: Shape) -> LayerChart:
    """A logarithmic axis of requests a month, laid out in pixels; a rung a row."""
    alt = drawing_library()

    ends = [v for each in found for v in (each.per_month, each.low, each.high) if v] + ([told] if told else [])
    first, last = math.floor(math.log10(min(ends))), math.ceil(math.log10(max(ends)))
    last = max(last, first + 1)

    def across(volume: float) -> float:
        return shape.plot * (math.log10(max(volume, 10.0**first)) - first) / (last - first)

    rows = []
    for at, each in enumerate(found):
        known = each.per_month is not None
        rows.append(
            {
                **{
                    "name": one_line(each.against)[:LONGEST_NAME],
                    "row": at,
                    "weight": "normal",
                    "value": costs.crossing(each),
                },
                **{"x": across(each.per_month) if each.per_month else None, "stroke": ACCENT, "fill": ACCENT},
                **{"low": across(each.low) if known and each.low is not None else None},
                **{"high": (shape.plot if each.high is None else across(each.high)) if known else None},
                **{"top": at - 0.14, "bottom": at + 0.25},
            }
        )
    powers = range(first, last + 1, max(1, math.ceil((last - first) / (6 if shape is WIDE else 4))))
    axis = pixel_axis({across(10.0**p): f"{10.0**p:,.10g}" for p in powers}, title="requests a month", grid=False)
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, shape.plot], nice=False), axis=axis)
    y = alt.Y("row:Q", scale=alt.Scale(domain=[len(rows) - 0.5, -0.5], nice=False, zero=False), axis=None)
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    layers: list[Any] = [base.mark_rule(color=LINE).encode(x=alt.value(0), x2=alt.value(shape.plot))]
    if told:
        if shape is WIDE:
            line = dashed(alt.Chart(alt.Data(values=[{"x": across(told)}]))).encode(x=x)
        else:
            line = dashed(base.transform_calculate(x=f"{across(told)}")).encode(
                x=x, y=alt.Y("top:Q", axis=None), y2="bottom:Q"
            )
        layers.append(line)
    layers.append(base.mark_rule(color=INK, strokeWidth=2).encode(x=alt.X("low:Q", axis=axis), x2="high:Q"))
    dots = base.mark_point(size=90, opacity=1, strokeWidth=2, shape="circle")
    layers.append(dots.encode(x=x, stroke=as_given("Stroke", "stroke"), fill=as_given("Fill", "fill")))
    names, values = row_labels(base, shape)
    layers += [*names, *values]
    chart: LayerChart = alt.layer(*layers)
    return chart.properties(width=shape.plot, height=bare_height(rows, shape))
