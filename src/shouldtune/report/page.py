"""A run as one HTML page: a file that works offline, from a mail attachment, and without its script; or served live.

The file fetches nothing and allows nothing to be fetched: its policy names the one script and the one style sheet
by their hashes, and forbids every other source, form and base. The live page may ask its own server for news, and
nothing else. Text of models and users is escaped by `markup.element` or stands in a JSON block that the script shows
with textContent alone.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from shouldtune.report import again, examples, ladder_section, money_section, prompts, sections, why_section, words
from shouldtune.report.markup import Html, element, together, trusted
from shouldtune.report.under_way import UNKNOWN, UnderWay
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord


SCRIPTS = ("differences.js", "page.js")
LIVE = "live.js"


def to_html(record: RunRecord, now: UnderWay | None = None) -> str:
    """The whole page. Nothing else is needed to read it; `now` is how the run is getting on, where it is served."""
    style, script = _part("page.css"), _script(live=now is not None)
    said, clause = words.headline(record.verdict) if now is None or now.state == "ended" else (UNKNOWN, now.clause)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy(style, script, live=now is not None)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"{said}: {clause} {one_line(record.asked.get('name') or '')}".strip()),
        element("style", trusted(style)),
    )
    parts = (_skip_link(), _main(record, now), examples.data_block(record), element("script", trusted(script)))
    return f"<!doctype html>\n{element('html', head, element('body', *parts), lang='en')}\n"


def policy(style: str, script: str, *, live: bool = False) -> str:
    """The Content-Security-Policy: this style sheet, this script, and nothing from anywhere; live, its own server."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; base-uri 'none'; "
        f"form-action 'none'; {LIVE_ONLY if live else ''}require-trusted-types-for 'script'; trusted-types 'none'"
    )


LIVE_ONLY = "connect-src 'self'; img-src 'self'; "
"""News, and the icon that browsers ask for."""


def live_policy() -> str:
    """For the header of the live page, which a frame cannot be told by the page itself."""
    return f"{policy(_part('page.css'), _script(live=True), live=True)}; frame-ancestors 'none'"


def _script(*, live: bool) -> str:
    return "".join(map(_part, (*SCRIPTS, LIVE) if live else SCRIPTS))


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _part(name: str) -> str:
    return files("shouldtune.report").joinpath(name).read_text(encoding="utf-8")


def _skip_link() -> Html:
    return element("a", "Skip to the examples", class_="skip", href="#examples")


def _main(record: RunRecord, now: UnderWay | None) -> Html:
    made = one_line(record.asked.get("created") or "").partition("T")[0]
    where = "This file fetches nothing." if now is None else "This page is served from this machine, to this machine."
    footer = f"Written by shouldtune{f' from the run of {made}' if made else ''}. {where}"
    return together(
        element(
            "main",
            sections.answer(record, now),
            sections.contents(record),
            ladder_section.ladder(record),
            sections.compared(record),
            prompts.section(record),
            why_section.failures(record),
            why_section.ahead(record),
            why_section.forgotten(record),
            money_section.money(record),
            again.section(record),
            sections.effort(record),
            examples.browser(record),
            sections.asked(record),
        ),
        element("footer", element("p", footer)),
    )
