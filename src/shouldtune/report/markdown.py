"""A run in Markdown, for a comment on a pull request: the same words, and no text that would act there.

What a model or a user wrote is escaped, so that it makes no link, picture, mention or heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from shouldtune.judgement import RungResult
from shouldtune.report import costs, labels, words
from shouldtune.report.found import COMPARED, inquiry, ladder_title
from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

_ACTS = re.compile(r"([\\`*_\[\]<>|~$&]|^[-+=#](?=[-=#\s]|$)|:(?=//|\w+:))")
"""What can begin markup: anywhere, at the beginning of a line, in an address or an emoji's name."""
_COUNTS = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
"""A number that would begin a list."""
_CALLS = re.compile(r"(?<=[@#])(?=\w)|(?<=\bwww)(?=\.)|(?<=\w)(?=@\w)")
NOTHING = "\u200b"
"""A space of no width: beside an @ or a # it keeps a name or a number from being looked up."""


def to_markdown(record: RunRecord) -> str:
    """Ends with a newline; every block is separated by an empty line."""
    verdict = record.verdict
    answer, clause = words.headline(verdict)
    notes = [words.SIMULATED] if verdict.simulated else []
    notes += [again] if (again := words.judged_again(verdict)) else []
    blocks = [
        f"### Should you fine-tune? **{answer}:** {plain(clause)}",
        *(f"> {plain(note)}" for note in notes),
        f"**{plain(costs.sentence(record))}**",
        bullets(verdict.because),
        f"**{plain(ladder_title(record))}**" if verdict.rungs else "",
        _ladder(record) if verdict.rungs else "",
    ]
    if verdict.comparisons:
        blocks.append(_folded(COMPARED, bullets(map(words.compared, verdict.comparisons))))
    blocks += [_folded(title, bullets(said)) for title, said in inquiry(record)]
    if verdict.economics is not None:
        table = _table(("", *costs.HEADINGS), [(name, *cells) for name, cells in costs.rows(verdict)])
        blocks.append(_folded(costs.title(verdict.economics), f"{table}\n\n{plain(costs.key(verdict))}"))
    if verdict.sensitivity:
        blocks.append(_folded(costs.FLIPS, bullets(flip.sentence for flip in verdict.sensitivity)))
    blocks.append(f"{plain(words.spent(record))}. {plain(words.how_to_read(record))}")
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain(text: object) -> str:
    """Text as text, on one line."""
    escaped = _ACTS.sub(r"\\\1", _CALLS.sub(NOTHING, one_line(text)))
    return _COUNTS.sub(r"\1\\\2", escaped)


def _ladder(record: RunRecord) -> str:
    heads = ("", "quality (interval)", "answers", "s/1k", "$/1k", "latency", "tried", "")
    return _table(heads, [_row(record, rung) for rung in record.verdict.rungs])


def _row(record: RunRecord, rung: RungResult) -> tuple[str, ...]:
    if not rung.applied:
        return (rung.name, *("-" for _ in range(6)), f"skipped: {labels.why_skipped(rung)}")
    count = f"{rung.n:,}" + (f" + {rung.unmeasured:,} failed" if rung.unmeasured else "")
    return (
        rung.name,
        words.interval(rung.quality, rung.low, rung.high),
        count,
        words.amount(rung.seconds_per_1k),
        words.money(rung.cost_per_1k),
        words.duration(rung.latency_p50),
        str(rung.settings_tried),
        "; ".join(filter(None, (labels.ships(rung, record.verdict.rung), labels.stopped_early(rung)))),
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, the others to the right, the last of a table with words to the left."""
    marks = ["---", *("--:" for _ in heads[1:])]
    if not heads[-1]:
        marks[-1] = "---"
    lines = [heads, marks, *(["-" if each == "-" else plain(each) for each in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(lines: Iterable[object]) -> str:
    """A list, a line each."""
    return "\n".join(f"- {plain(line)}" for line in lines)


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{escape(one_line(title))}</summary>\n\n{body}\n\n</details>"
