"""From an altair chart to the SVG in the page: small, without style or script, in colours that CSS can map."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from shouldtune.report.markup import Html, trusted

if TYPE_CHECKING:
    from altair import LayerChart

INK, MUTED, LINE, ACCENT, PAPER = "#1b1f24", "#5b6470", "#d8dce2", "#0b5cad", "#ffffff"
"""The only colours a chart may use; page.css maps each to its own for light, dark and print."""

FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
SPACE = "http://www.w3.org/2000/svg"

_TAGS = {"svg", "g", "path", "line", "rect", "text", "tspan"}
_ATTRIBUTES = {
    *("d", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "viewBox", "transform", "fill", "stroke"),
    *("stroke-width", "stroke-dasharray", "opacity", "text-anchor", "font-size", "font-weight"),
}


@dataclass(frozen=True)
class Shape:
    """One of the two widths at which every chart is drawn, in pixels.

    Two, because text that shrinks with its picture cannot be read on a telephone.
    """

    name: str
    names: int
    """Room for the rungs' names left of the plot; 0 puts each name above its own line."""
    plot: int
    row: int


WIDE = Shape("wide", names=176, plot=404, row=42)
NARROW = Shape("narrow", names=0, plot=326, row=52)


def draw(chart: LayerChart, shape: Shape) -> Html:
    """Draw the chart and keep of the SVG only what is seen."""
    import vl_convert

    whole = chart.configure(font=FONT, background="transparent", padding=2).configure_view(stroke=None)
    whole = whole.configure_axis(
        **{"labelColor": MUTED, "titleColor": MUTED, "domainColor": LINE, "tickColor": LINE, "gridColor": LINE},
        **{
            "labelFontSize": 12,
            "titleFontSize": 13,
            "titleFontWeight": "normal",
            "titlePadding": 10,
            "labelPadding": 6,
        },
    )
    spec = whole.to_dict(validate=False)  # the check takes longer than the drawing, and tests draw every chart
    drawn = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return rebuilt(drawn, shape.name)


def rebuilt(svg: str, name: str) -> Html:
    """The SVG made anew from a short list of tags and attributes, so that nothing else can come along.

    It is hidden from screen readers: the words beside the chart say the same.
    """
    ElementTree.register_namespace("", SPACE)
    root = ElementTree.fromstring(svg)  # noqa: S314 - drawn here a moment ago, not received
    kept = _kept(root)
    kept.attrib.update({"class": name, "font-family": FONT, "aria-hidden": "true", "focusable": "false"})
    return trusted(ElementTree.tostring(kept, encoding="unicode"))


def _kept(node: ElementTree.Element) -> ElementTree.Element:
    fresh = ElementTree.Element(node.tag, {k: _short(v) for k, v in node.attrib.items() if k in _ATTRIBUTES})
    fresh.text = node.text
    fresh.extend(_kept(child) for child in node if _seen(child))
    return fresh


def _seen(node: ElementTree.Element) -> bool:
    tag = node.tag.removeprefix(f"{{{SPACE}}}")
    if tag not in _TAGS or node.get("display") == "none":
        return False
    if tag == "path":
        return bool(node.get("d")) and any(node.get(paint) not in (None, "none") for paint in ("fill", "stroke"))
    return tag != "g" or any(True for _ in _drawn_inside(node))


def _drawn_inside(group: ElementTree.Element) -> Iterator[ElementTree.Element]:
    return (child for child in group if _seen(child))


def _short(value: str) -> str:
    """A coordinate to the hundredth of a pixel is exact enough."""
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
