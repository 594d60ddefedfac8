"""What every chart is made of: the drawing library, the labels of its rows, its lines, its axes, and its caption."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shouldtune.report.markup import Html, element
from shouldtune.report.svg import INK, MUTED, Shape

if TYPE_CHECKING:
    from altair import Chart

LONGEST_NAME = 80
"""Characters of a rung's name that are handed to the drawing, which shortens them to the room there is."""
NARROW_NAME = 180
"""Pixels of a name that stands above its own line."""


@dataclass(frozen=True)
class Drawing:
    """One chart, at every width, and the same in words."""

    svg: Html
    description: str
    kinds: tuple[str, ...] = ()
    """Which kinds of rung are in it, for the key."""
    title: str = ""


def figure(drawing: Drawing, title: str, said: str) -> Html:
    """A chart with its caption; a screen reader hears the description instead."""
    caption = element("figcaption", element("b", title), f" {said}")
    return element("figure", element("div", drawing.svg, role="img", aria_label=drawing.description), caption)


def can_draw() -> bool:
    """Whether the drawing packages (the `report` extra) are installed."""
    try:
        import altair
        import vl_convert
    except ImportError:
        return False
    return bool(altair and vl_convert)


def drawing_library() -> Any:
    """The drawing library, imported only to draw; as Any, because its types do not follow keywords in a dict."""
    import altair

    return altair


def row_labels(base: Any, shape: Shape, above: int = 20) -> tuple[list[Chart], list[Chart]]:
    """(names, values) of a chart's rows: beside the plot where there is room, else so many pixels above each line."""
    alt = drawing_library()

    left, right = alt.value(-shape.names), alt.value(shape.plot + 14 if shape.names else shape.plot)
    named, valued = base.encode(x=left, text="name:N"), base.encode(x=right, text="value:N")
    if shape.names:
        names = texts(named, align="left", fontSize=14, limit=shape.names - 14)
        return names, texts(valued, align="left", fontSize=13)
    names = texts(named, dy=-above, fontSize=13, align="left", limit=NARROW_NAME)
    return names, texts(valued, dy=-above, fontSize=12, align="right")


def bare_height(rows: Sequence[object], shape: Shape) -> int:
    """Pixels of a chart whose rows have nothing below their names."""
    return (34 if shape.names else shape.row) * len(rows)


def texts(base: Any, **style: Any) -> list[Chart]:
    """The text twice, each for its own rows: what ships is bold."""
    return [
        base.transform_filter(f"datum.weight == '{weight}'").mark_text(fontWeight=weight, color=INK, **style)
        for weight in ("normal", "bold")
    ]


def dashed(base: Any) -> Chart:
    line: Chart = base.mark_rule(color=MUTED, strokeWidth=1.5, strokeDash=[5, 4])
    return line


def as_given(channel: str, field: str) -> Any:
    """A colour that stands in the data, taken as it is."""
    alt = drawing_library()

    return getattr(alt, channel)(f"{field}:N", scale=None, legend=None)


def pixel_axis(labels: dict[float, str], **style: Any) -> Any:
    """An axis over pixels whose ticks say something else."""
    alt = drawing_library()

    said = json.dumps({f"{at:.2f}": label for at, label in labels.items()})
    return alt.Axis(values=list(labels), labelExpr=f"{said}[format(datum.value, '.2f')]", **style)
