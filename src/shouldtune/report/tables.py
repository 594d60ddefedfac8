"""The page's tables: each has a caption, and scrolls sideways where it must, by the keyboard too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shouldtune.report.markup import Html, element, together


def data_table(caption: str, headings: Iterable[str], rows: Sequence[Html], label: str | None = None) -> Html:
    """A table with one row of headings; `label` is what a screen reader hears in place of a long caption."""
    head = element("thead", element("tr", *(element("th", heading, scope="col") for heading in headings)))
    return scrolling(caption, head, rows, label)


def scrolling(caption: str, head: Html, rows: Sequence[Html], label: str | None = None) -> Html:
    """A table whose head is made by the caller."""
    table = element("table", element("caption", caption), head, element("tbody", together(*rows)))
    return element("div", table, class_="scroll", role="region", tabindex=0, aria_label=label or caption)


def cells_of(*texts: str) -> list[Html]:
    """A row's cells without its heading."""
    return [element("td", text) for text in texts]
