"""How an instruction was found, in words and as a page's section: each change as a diff, and what it bought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Literal

from shouldtune.judgement import RungResult
from shouldtune.report import words
from shouldtune.report.markup import Html, element
from shouldtune.report.words import one_line
from shouldtune.types import PromptSearch, Rewriting

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

TITLE = "The instruction"
Mark = Literal[" ", "-", "+"]
SAID: dict[Mark, str] = {" ": "kept", "-": "removed", "+": "added"}
"""For a terminal, where a sign would be taken for a bullet."""
MOST_LINES = 24


def searched(record: RunRecord) -> list[tuple[RungResult, PromptSearch]]:
    """The rungs whose instruction was searched for."""
    return [(rung, rung.search) for rung in record.verdict.rungs if rung.search is not None]


def changes(before: str, after: str) -> list[tuple[Mark, str]]:
    """(mark, line) from the one text to the other: what stays, what goes, what comes. Lines are printable."""
    old, new = (words.printable(text).split("\n") for text in (before, after))
    found: list[tuple[Mark, str]] = []
    for kind, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            found += [(" ", line) for line in old[a:b]]
        else:
            found += [("-", line) for line in old[a:b]] + [("+", line) for line in new[c:d]]
    return found


def whole_change(search: PromptSearch) -> list[tuple[Mark, str]]:
    """From the task's own instruction to the one that is used."""
    return changes(search.kept[0].text, search.kept[search.found].text)


def bought(before: Rewriting, after: Rewriting) -> str:
    """What one change brought."""
    where = words.counted(after.n, "training example")
    return f"{words.score(before.score)} to {words.score(after.score)} on {where}"


def effort(search: PromptSearch) -> str:
    """What it took, and which others were kept on the way."""
    used = {id(step[1]) for step in search.steps} | {id(search.kept[0])}
    others = [words.score(each.score) for each in search.kept if id(each) not in used]
    until = f", until {one_line(search.ended)}" if search.ended else ""
    said = f"{words.counted(search.written, 'instruction')} written, {search.asked:,} answers graded{until}"
    return f"{said}; kept on the way, and not used: {words.listed(others)}" if others else said


def in_words(search: PromptSearch) -> list[str]:
    """Lines for a terminal: what each change bought, the change as a whole, and what it took."""
    steps = [f"{_which(n, search)}: {bought(*step)}" for n, step in enumerate(search.steps, 1)]
    diff = [f"{SAID[mark]}: {one_line(line)}" for mark, line in whole_change(search) if line.strip()]
    more = [f"and {len(diff) - MOST_LINES} more lines, on the page"] if len(diff) > MOST_LINES else []
    return [*steps, *diff[:MOST_LINES], *more, effort(search)]


def _which(number: int, search: PromptSearch) -> str:
    return f"change {number} of {len(search.steps)}" if len(search.steps) > 1 else "the change"


def section(record: RunRecord) -> Html | None:
    """Each change that led to the instruction; None where none was searched for."""
    found = searched(record)
    if not found:
        return None
    return element(
        "section",
        element("h2", TITLE),
        element("p", "Rewritten from its mistakes on the training half; these scores chose it, so they flatter it."),
        *(part for rung, search in found for part in _one(rung, search)),
        id="instruction",
    )


def _one(rung: RungResult, search: PromptSearch) -> Iterator[Html]:
    yield element("h3", one_line(rung.name))
    for number, (before, after) in enumerate(search.steps, 1):
        yield element("p", f"{_which(number, search).capitalize()}: {bought(before, after)}.")
        yield _diff(changes(before.text, after.text))
    if len(search.steps) > 1:
        whole = element("summary", "All changes together")
        yield element("details", whole, _diff(whole_change(search)))
    yield element("p", f"{effort(search)}.", class_="aside")


def _diff(lines: Sequence[tuple[Mark, str]]) -> Html:
    """Marks stand before the lines too: a colour alone would say nothing to many."""
    tags: dict[Mark, str] = {"+": "ins", "-": "del", " ": "span"}
    return element("pre", *(element(tags[mark], f"{mark} {line}\n") for mark, line in lines), class_="diff")
