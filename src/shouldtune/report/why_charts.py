"""Two more charts of the page: what would repair the failures, and what more examples would bring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from shouldtune.causes import Diagnosed, Forecasted
from shouldtune.report import words
from shouldtune.report.drawing import Drawing, as_given, bare_height, dashed, drawing_library, pixel_axis, row_labels
from shouldtune.report.markup import together
from shouldtune.report.svg import ACCENT, INK, LINE, MUTED, NARROW, PAPER, WIDE, Shape, draw
from shouldtune.report.why import SEGMENTS, share_in_words
from shouldtune.report.why import span as span_in_words

if TYPE_CHECKING:
    from altair import LayerChart


def segments_chart(why: Diagnosed) -> Drawing | None:
    """A bar for each segment of the failures, with its interval. None where nothing was probed."""
    if not any(each.share.estimate is not None for each in why.shares):
        return None
    said = "; ".join(f"{SEGMENTS[each.segment]}: {share_in_words(each.share)}" for each in why.shares)
    svg = together(*(draw(_segments(why, shape), shape) for shape in (WIDE, NARROW)))
    return Drawing(svg, f"What would repair the failures. {said}.", ())


def _segments(why: Diagnosed, shape: Shape) -> LayerChart:
    alt = drawing_library()

    known = [each for each in why.shares if each.share.estimate is not None]
    rows = [
        {
            **{"name": SEGMENTS[each.segment], "row": at, "top": at - 0.22, "bottom": at + 0.22, "zero": 0.0},
            **{"estimate": each.share.estimate, "low": each.share.low, "high": each.share.high},
            **{"value": share_in_words(each.share).replace(" to ", "–"), "weight": "normal"},
        }
        for at, each in enumerate(known)
    ]
    top = min(1.0, max(0.2, math.ceil(10 * max(each.share.high for each in known)) / 10))
    ruler = alt.Axis(title=None, tickCount=5, grid=False, format=".0%")
    scale = alt.Scale(domain=[0, top], nice=False)
    down = alt.Scale(domain=[len(rows) - 0.5, -0.5], nice=False, zero=False)
    base = alt.Chart(alt.Data(values=rows)).encode(y=alt.Y("row:Q", scale=down, axis=None))
    bar = base.mark_rect(color=ACCENT).encode(
        x=alt.X("zero:Q", scale=scale, axis=ruler),
        x2="estimate:Q",
        y=alt.Y("top:Q", scale=down, axis=None),
        y2="bottom:Q",
    )
    span = base.encode(x=alt.X("low:Q", scale=scale, axis=ruler), x2="high:Q")
    halo = span.mark_rule(
        color=PAPER, strokeWidth=6
    )  # so that the line is seen on the bar, in the light and in the dark
    layers: list[Any] = [bar, halo, span.mark_rule(color=INK, strokeWidth=2)]
    names, values = row_labels(base, shape)
    layers += [*names, *values]
    chart: LayerChart = alt.layer(*layers)
    return chart.properties(width=shape.plot, height=bare_height(rows, shape))


def forecast_chart(ahead: Forecasted, goal: float | None, measured: float | None) -> Drawing:
    """The points seen and the intervals ahead, against the rung beside; `measured` is the full fine-tune's score."""
    seen = "; ".join(f"{point.size:,} examples: {words.score(point.score)}" for point in ahead.points)
    later = "; ".join(f"{each.size:,} examples: {span_in_words(each.score)}" for each in ahead.ahead)
    svg = together(*(draw(_forecast(ahead, goal, measured, shape), shape) for shape in (WIDE, NARROW)))
    return Drawing(svg, f"Quality by examples learnt from. Seen: {seen}. Ahead: {later}.", ())


def _forecast(ahead: Forecasted, goal: float | None, measured: float | None, shape: Shape) -> LayerChart:
    """Laid out in pixels: a logarithmic axis of examples, and quality from 0 to 1."""
    alt = drawing_library()

    width, height = (660, 280) if shape is WIDE else (290, 300)
    first, last = min(point.size for point in ahead.points), max(each.size for each in ahead.ahead)

    def across(size: float) -> float:
        return 20 + (width - 40) * math.log(size / first) / math.log(last / first)

    points = [{"x": across(p.size), "y": height * p.score, "fill": PAPER, "stroke": INK} for p in ahead.points]
    bands = [
        {"x": across(a.size), "y": height * (a.score.estimate or 0.0), "fill": INK, "stroke": INK}
        | {"low": height * a.score.low, "high": height * a.score.high}
        for a in ahead.ahead
    ]
    if measured is not None:
        points.append({"x": across(ahead.ahead[0].size) - 12, "y": height * measured, "fill": ACCENT, "stroke": ACCENT})
    sizes = [first, *(each.size for each in ahead.ahead)]
    x_axis = pixel_axis({across(size): f"{size:,}" for size in sizes}, title="examples learnt from", grid=False)
    levels = {height * tenth / 10: f"{tenth / 10:.1f}" for tenth in range(0, 11, 2)}
    y_axis = pixel_axis(levels, title="quality", ticks=False, domain=False)
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, width], nice=False), axis=x_axis)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], nice=False), axis=y_axis)
    lines = [(ahead.beside, ahead.rung), (goal, "goal")]
    drawn = [{"y": height * at, "label": f"{name} {words.score(at)}"} for at, name in lines if at is not None]
    rule = alt.Chart(alt.Data(values=drawn)).encode(y=y)
    label = rule.mark_text(color=MUTED, dy=-8, fontSize=13, align="left").encode(x=alt.value(2), text="label:N")
    band = alt.Chart(alt.Data(values=bands)).mark_rule(color=INK, strokeWidth=2).encode(x=x, y="low:Q", y2="high:Q")
    marks = alt.Chart(alt.Data(values=[*points, *bands])).mark_point(size=70, opacity=1, strokeWidth=2)
    dots = marks.encode(x=x, y=y, stroke=as_given("Stroke", "stroke"), fill=as_given("Fill", "fill"))
    frame = alt.Chart(alt.Data(values=[{"y": 0.0}])).mark_rule(color=LINE).encode(y=y)
    chart: LayerChart = alt.layer(frame, dashed(rule), label, band, dots)
    return chart.properties(width=width, height=height)
