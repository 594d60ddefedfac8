"""HTML that is escaped by construction: text becomes markup only by going through `element`.

A plain `str` is always escaped; only `Html`, which nothing but this file makes, is written as it stands. So a
model's text cannot reach the page as markup by being forgotten somewhere.
"""

from __future__ import annotations

from html import escape

from shouldtune.report.words import printable

VOID = {"meta", "br", "hr", "input", "link", "wbr"}

Attribute = str | int | bool | None


class Html(str):
    """Markup that is already safe."""

    __slots__ = ()


def element(tag: str, *children: str | None, **attributes: Attribute) -> Html:
    """One element. Children are escaped unless they are Html; None is left out.

    Attribute names lose a trailing underscore and turn the others into hyphens (`class_`, `aria_label`); True writes
    the bare attribute, False and None leave it out.
    """
    written = "".join(_attribute(name, value) for name, value in attributes.items())
    if tag in VOID:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{together(*children)}</{tag}>")


def together(*children: str | None) -> Html:
    """The children side by side, escaped where they need it."""
    return Html("".join(child if isinstance(child, Html) else text(child) for child in children if child is not None))


def text(value: str) -> Html:
    """Text as text, without control characters."""
    return Html(escape(printable(value), quote=True))


def with_code(value: str) -> Html:
    """Text in which what stands between backticks is code."""
    parts = value.split("`")
    if len(parts) % 2 == 0:  # one backtick has no fellow
        return text(value)
    return together(*(element("code", part) if place % 2 else part for place, part in enumerate(parts)))


def trusted(markup: str) -> Html:
    """Markup that this package wrote itself: its style sheet, its script, a chart it has rebuilt."""
    return Html(markup)


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    spelled = name.rstrip("_").replace("_", "-")
    return f" {spelled}" if value is True else f' {spelled}="{text(str(value))}"'
