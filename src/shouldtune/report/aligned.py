"""Tables in plain text: names to the left, figures to the right, one column under the other."""

from __future__ import annotations

from collections.abc import Sequence

from shouldtune.report.words import wrapped

NAME = 16
"""Characters that a name keeps where there is little room."""

Table = Sequence[tuple[str, Sequence[str]]]
"""(name, cells) of each row, the headings first."""


def aligned(table: Table) -> list[str]:
    """A line a row, as wide as it must be."""
    room, widths = max(len(name) for name, _ in table), _widths(table)
    return [_line(name, cells, room, widths, between="  ") for name, cells in table]


def fitted(table: Table, width: int) -> list[str]:
    """Lines of at most `width` characters: without the last columns where there is no room, a long name on its own."""
    longest, widths = max(len(name) for name, _ in table), _widths(table)
    while len(widths) > 1 and sum(widths) + len(widths) + min(longest, NAME) > width:
        widths.pop()  # a narrow terminal: the page has the rest
    room = min(longest, max(NAME, width - sum(widths) - len(widths)))
    lines = []
    for name, cells in table:
        fits = len(name) <= room
        lines += [] if fits else wrapped(name, width)
        lines.append(_line(name if fits else "", cells, room, widths, between=" "))
    return lines


def _widths(table: Table) -> list[int]:
    return [max(map(len, column)) for column in zip(*(cells for _, cells in table), strict=True)]


def _line(name: str, cells: Sequence[str], room: int, widths: Sequence[int], between: str) -> str:
    """Cells without a width are left out."""
    figures = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))
    return between.join((f"{name:<{room}}", *figures))
