"""The charts of the ladder, drawn when the report is written, so that no script is needed to see them.

What a colour says, a shape or a word says too: diamonds are tuned weights, squares need no language model, a filled
mark is the one to ship. Each chart comes with the same facts in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shouldtune.judgement import RungResult
from shouldtune.report import labels, words
from shouldtune.report.drawing import (
    LONGEST_NAME,
    Drawing,
    as_given,
    dashed,
    drawing_library,
    pixel_axis,
    row_labels,
    texts,
)
from shouldtune.report.layout import axis, label_places
from shouldtune.report.markup import together
from shouldtune.report.svg import ACCENT, INK, LINE, MUTED, NARROW, PAPER, WIDE, Shape, draw
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from altair import Chart, LayerChart

    from shouldtune.run import RunRecord

SHAPES = {"no language model": "square", "prompting": "circle", "weights tuned": "diamond"}


def ladder_chart(record: RunRecord) -> Drawing | None:
    """Each rung's quality with its interval, in ladder order, against the goal. None when nothing was measured."""
    shown = [rung for rung in record.verdict.rungs if rung.quality is not None]
    if not shown:
        return None
    goal, shipped, reach = words.goal_quality(record), record.verdict.rung, words.reach(record)
    aim = "no goal was set" if goal is None else f"the goal is {words.score(goal)}"
    aim += "" if reach is None else f", the best score within reach {words.score(reach)}"
    lines = [f"{one_line(r.name)} ({labels.kind(r)}): {words.interval(r.quality, r.low, r.high)}" for r in shown]
    ships = f" The one to ship is {one_line(shipped)}." if shipped else ""
    svg = together(*(draw(_ladder(shown, (goal, reach), shipped, shape), shape) for shape in (WIDE, NARROW)))
    return Drawing(svg, f"Quality of each rung; {aim}. {'; '.join(lines)}.{ships}", _kinds(shown))


def cost_chart(record: RunRecord) -> Drawing | None:
    """Quality against dollars for 1,000 answers where every price is known, else seconds. None for less than two."""
    measured = [rung for rung in record.verdict.rungs if rung.quality is not None]
    if all(rung.cost_per_1k is not None for rung in measured) and any(rung.cost_per_1k for rung in measured):
        taken = [(rung, rung.cost_per_1k) for rung in measured]
        return _against(record, taken, "dollars for 1,000 answers", words.money, "Quality against cost.")
    taken = [(rung, rung.seconds_per_1k) for rung in measured]
    return _against(
        record, taken, "seconds for 1,000 answers", lambda x: f"{words.amount(x)} s", "Quality against time."
    )


def latency_chart(record: RunRecord) -> Drawing | None:
    """Quality against the seconds that half of the answers take at most. None where less than two rungs tell."""
    measured = [rung for rung in record.verdict.rungs if rung.quality is not None]
    taken = [(rung, rung.latency_p50) for rung in measured]
    title = "seconds until an answer, median, waiting included"
    return _against(record, taken, title, words.duration, "Quality against latency.")


def _against(
    record: RunRecord,
    taken: Sequence[tuple[RungResult, float | None]],
    axis_title: str,
    said: Callable[[float], str],
    title: str,
) -> Drawing | None:
    shown = [(rung, value) for rung, value in taken if value is not None]
    if len(shown) < 2:
        return None
    lines = [f"{one_line(r.name)}: {words.score(r.quality)} at {said(x)}" for r, x in shown]
    svg = together(*(draw(_effort(record, shown, axis_title, shape), shape) for shape in (WIDE, NARROW)))
    description = f"Quality against {axis_title}. {'; '.join(lines)}."
    return Drawing(svg, description, _kinds([rung for rung, _ in shown]), title)


def _kinds(rungs: Sequence[RungResult]) -> tuple[str, ...]:
    return tuple(kind for kind in SHAPES if any(labels.kind(rung) == kind for rung in rungs))


# ---------------------------------------------------------------- quality of each rung


def _ladder(
    rungs: Sequence[RungResult], aims: tuple[float | None, float | None], shipped: str | None, shape: Shape
) -> LayerChart:
    """`aims` are the goal and the best score within reach."""
    alt = drawing_library()

    goal, reach = aims
    domain = _quality_domain(rungs, max((aim for aim in aims if aim is not None), default=None))
    ruler = alt.Axis(title=None, tickCount=5, grid=False, format=".1f")
    x = alt.X("quality:Q", scale=alt.Scale(domain=domain, nice=False), axis=ruler)
    y = alt.Y("row:Q", scale=alt.Scale(domain=[len(rungs) - 0.5, -0.5], nice=False), axis=None)
    rows = [{**_facts(rung, shipped), "row": at} for at, rung in enumerate(rungs)]
    for row in rows:
        row.update(name_row=row["row"] - 0.17 * bool(row["note"]), note_row=row["row"] + 0.24)
        row.update(goal=goal, goal_top=row["row"] - 0.15, goal_bottom=row["row"] + 0.2)
    base = alt.Chart(alt.Data(values=rows)).encode(y=y)
    layers: list[Any] = [base.mark_rule(color=LINE).encode(x=alt.value(0), x2=alt.value(shape.plot))]
    layers += [] if goal is None else _goal_line(base, goal, domain, shape)
    layers += [] if reach is None else [_reach_line(base, reach, shape)]
    layers += [base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q", color=as_given("Color", "stroke"))]
    layers += [_points(base.encode(x=x))]
    names, values = row_labels(base, shape, above=17)
    if shape.names:
        layers += [each.encode(y=alt.Y("name_row:Q", axis=None)) for each in names]
        layers += [_note(base, shape), *values]
    else:
        layers += [*names, *values]
    chart: LayerChart = alt.layer(*layers)
    return chart.properties(width=shape.plot, height=shape.row * len(rows))


def _note(base: Any, shape: Shape) -> Chart:
    """What is said of a rung below its name."""
    alt = drawing_library()

    under = base.encode(x=alt.value(-shape.names), y=alt.Y("note_row:Q", axis=None), text="note:N")
    note: Chart = under.mark_text(fontSize=12, color=MUTED, align="left", limit=shape.names - 14)
    return note


def _facts(rung: RungResult, shipped: str | None) -> dict[str, Any]:
    ships = rung.name == shipped
    return {
        "name": one_line(rung.name)[:LONGEST_NAME],
        "note": labels.beside(labels.ships(rung, shipped), labels.unusual_kind(rung)),
        "kind": labels.kind(rung),
        "quality": rung.quality,
        "low": rung.quality if rung.low is None else rung.low,
        "high": rung.quality if rung.high is None else rung.high,
        "value": words.interval(rung.quality, rung.low, rung.high).replace(" to ", "–"),
        "stroke": ACCENT if ships else INK,
        "fill": ACCENT if ships else PAPER,
        "weight": "bold" if ships else "normal",
    }


def _quality_domain(rungs: Sequence[RungResult], goal: float | None) -> tuple[float, float]:
    """Whole tenths that hold every interval and the goal, within 0 to 1."""
    held = [value for rung in rungs for value in (rung.quality, rung.low, rung.high) if value is not None]
    held += [] if goal is None else [goal]
    low, high = math.floor(10 * min(held) - 0.2) / 10, math.ceil(10 * max(held) + 0.2) / 10
    return max(0.0, low), min(1.0, high)


def _goal_line(rows: Any, goal: float, domain: tuple[float, float], shape: Shape) -> list[Chart]:
    """Down the whole wide chart; on the narrow one only across each row's own line, clear of the numbers."""
    alt = drawing_library()

    base = alt.Chart(alt.Data(values=[{"goal": goal, "label": f"goal {words.score(goal)}"}])).encode(x="goal:Q")
    align = "right" if goal > domain[1] - 0.1 * (domain[1] - domain[0]) else "center"
    label = base.mark_text(color=MUTED, dy=-8, fontSize=13, align=align, baseline="bottom")
    across = rows.encode(x="goal:Q", y=alt.Y("goal_top:Q", axis=None), y2="goal_bottom:Q")
    line = dashed(base if shape is WIDE else across)
    return [line, label.encode(y=alt.value(0), text="label:N")]


def _reach_line(rows: Any, reach: float, shape: Shape) -> Chart:
    """Dots down the wide chart at the best score within reach; on the narrow one as the goal's line."""
    alt = drawing_library()

    style = {"color": MUTED, "strokeWidth": 1.5, "strokeDash": [1, 4]}
    if shape is WIDE:
        base = alt.Chart(alt.Data(values=[{"reach": reach}]))
        line: Chart = base.mark_rule(**style).encode(x="reach:Q")
        return line
    across = rows.transform_calculate(reach=f"{reach}").mark_rule(**style)
    short: Chart = across.encode(x="reach:Q", y=alt.Y("goal_top:Q", axis=None), y2="goal_bottom:Q")
    return short


# ---------------------------------------------------------------- quality against what an answer takes


def _effort(record: RunRecord, points: Sequence[tuple[RungResult, float]], title: str, shape: Shape) -> LayerChart:
    """Everything is laid out in pixels here, because the names have to be moved out of each other's way."""
    alt = drawing_library()

    width, height = (660, 300) if shape is WIDE else (290, 330)
    goal = words.goal_quality(record)
    low, high = _quality_domain([rung for rung, _ in points], goal)
    asked_a_model = [value for rung, value in points if rung.uses_llm]
    place, ticks = axis([value for _, value in points], asked_a_model, most=7 if shape is WIDE else 4)

    def across(value: float) -> float:
        return 16 + place(value) * (width - 32)

    def up(value: float) -> float:
        return height * (value - low) / (high - low)

    rows = [_facts(rung, record.verdict.rung) for rung, _ in points]
    for row, (_, value) in zip(rows, points, strict=True):
        row.update(x=across(value), y=up(row["quality"]), low=up(row["low"]), high=up(row["high"]))
    full = [(row["x"] - 2, -row["high"], row["x"] + 2, -row["low"]) for row in rows]
    full += (
        [] if goal is None else [(0.0, -up(goal) - 18.0, 80.0, -up(goal)), (0.0, -up(goal) - 2, width, -up(goal) + 2)]
    )
    full.append((0.0, 4.0, width, 60.0))  # the axis
    names = label_places([(row["x"], -row["y"]) for row in rows], [row["name"] for row in rows], width, full)
    for row, (at_x, at_y) in zip(rows, names, strict=True):
        row.update(name_x=at_x, name_y=-at_y)
    tenths = [tenth / 10 for tenth in range(round(10 * low), round(10 * high) + 1)]
    x_axis = pixel_axis({across(tick): f"{tick:,.10g}" for tick in ticks}, title=title, grid=False)
    y_axis = pixel_axis({up(tenth): f"{tenth:.1f}" for tenth in tenths}, title="quality", ticks=False, domain=False)
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, width], nice=False), axis=x_axis)
    y = alt.Y("y:Q", scale=alt.Scale(domain=[0, height], nice=False), axis=y_axis)
    base = alt.Chart(alt.Data(values=rows))
    interval = base.mark_rule(opacity=0.4).encode(x=x, y="low:Q", y2="high:Q", color=as_given("Color", "stroke"))
    layers: list[Any] = [interval]
    layers += [_points(base.encode(x=x, y=y))]
    layers += texts(base.encode(x="name_x:Q", y="name_y:Q", text="name:N"), align="left", fontSize=13)
    if goal is not None:
        line = alt.Chart(alt.Data(values=[{"y": up(goal), "label": f"goal {words.score(goal)}"}])).encode(y="y:Q")
        label = line.mark_text(color=MUTED, dy=-8, fontSize=13, align="left")
        layers = [dashed(line), label.encode(x=alt.value(2), text="label:N"), *layers]
    chart: LayerChart = alt.layer(*layers)
    return chart.properties(width=width, height=height)


# ---------------------------------------------------------------- pieces of both


def _points(base: Any) -> Chart:
    alt = drawing_library()

    shape = alt.Shape("kind:N", scale=alt.Scale(domain=list(SHAPES), range=list(SHAPES.values())), legend=None)
    marks: Chart = base.mark_point(size=110, opacity=1, strokeWidth=2)
    return marks.encode(shape=shape, stroke=as_given("Stroke", "stroke"), fill=as_given("Fill", "fill"))
