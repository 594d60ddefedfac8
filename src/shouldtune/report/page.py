"""A finished run as one HTML file that works offline, from a mail attachment, and without its script.

The page fetches nothing and allows nothing to be fetched: its policy names the one script and the one style sheet
by their hashes, and forbids every other source, form and base. Text of models and users is escaped by
`markup.element` or stands in a JSON block that the script shows with textContent alone.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from shouldtune.report import examples, prompts, sections, why_section, words
from shouldtune.report.markup import Html, element, together, trusted
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord


def to_html(record: RunRecord) -> str:
    """The whole page. Nothing else is needed to read it."""
    style, script = _part("page.css"), _part("page.js")
    said, clause = words.headline(record.verdict)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{said}: {clause} {one_line(record.asked.get('name') or '')}".strip()),
        element("style", trusted(style)),
    )
    body = element("body", _skip_link(), _main(record), examples.data_block(record), element("script", trusted(script)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def policy(style: str, script: str) -> str:
    """The Content-Security-Policy: this style sheet, this script, and nothing from anywhere."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        "form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return files("shouldtune.report").joinpath(name).read_text(encoding="utf-8")


def _skip_link() -> Html:
    return element("a", "Skip to the examples", class_="skip", href="#examples")


def _main(record: RunRecord) -> Html:
    made = one_line(record.asked.get("created") or "").partition("T")[0]
    footer = f"Written by shouldtune{f' from the run of {made}' if made else ''}. This file fetches nothing."
    return together(
        element(
            "main",
            sections.answer(record),
            sections.contents(record),
            sections.ladder(record),
            sections.compared(record),
            prompts.section(record),
            why_section.failures(record),
            why_section.ahead(record),
            why_section.forgotten(record),
            sections.money(record),
            sections.effort(record),
            sections.asked(record),
            examples.browser(record),
        ),
        element("footer", element("p", footer)),
    )
