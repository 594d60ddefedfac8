"""A finished run on a terminal: the answer first, then the ladder, what beat what, and the bill.

Two forms of the same words: with colour, bars and a table for a person at a terminal, and plain lines that fit
80 columns for a pipe, a log or a small window. No text is parsed as markup, and control characters are
taken out of everything that a model or a user may have written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from shouldtune.judgement import RungResult
from shouldtune.report import costs, labels, words
from shouldtune.report.aligned import fitted
from shouldtune.report.found import COMPARED, inquiry, ladder_title
from shouldtune.report.words import one_line, wrapped

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

PLAIN_WIDTH = 80
ROOM_FOR_TABLE = 96
ROOM_FOR_BAR = 116
BAR = 22


def show(record: RunRecord, console: Console) -> None:
    """Print the run: drawn for a terminal with room, as plain lines anywhere else."""
    if console.is_terminal and not console.is_dumb_terminal and console.width >= ROOM_FOR_TABLE:
        _show_drawn(record, console)
        return
    width = min(PLAIN_WIDTH, console.width) if console.is_terminal else PLAIN_WIDTH
    for line in plain_lines(record, width):
        readable = line.encode(console.encoding, "backslashreplace").decode(console.encoding)
        console.print(Text(readable), soft_wrap=True)


# ---------------------------------------------------------------- plain lines


def plain_lines(record: RunRecord, width: int = PLAIN_WIDTH) -> list[str]:
    """The whole report as lines of at most `width` characters, without colour or drawn boxes."""
    verdict = record.verdict
    answer, clause = words.headline(verdict)
    lines = wrapped(f"Should you fine-tune? {answer}: {clause}", width)
    if verdict.simulated:
        lines += wrapped(words.SIMULATED, width)
    lines += wrapped(again, width) if (again := words.judged_again(verdict)) else []
    lines += wrapped(costs.sentence(record), width)
    lines += [line for sentence in verdict.because for line in wrapped(one_line(sentence), width, "- ")]
    lines += ["", *_plain_ladder(record, width)]
    if verdict.comparisons:
        lines += ["", COMPARED]
        lines += [line for each in verdict.comparisons for line in wrapped(words.compared(each), width, "- ")]
    for title, said in inquiry(record):
        lines += ["", *wrapped(title, width), *(line for each in said for line in wrapped(each, width, "- "))]
    lines += _plain_money(record, width)
    if verdict.sensitivity:
        lines += ["", costs.FLIPS]
        lines += [line for flip in verdict.sensitivity for line in wrapped(one_line(flip.sentence), width, "- ")]
    lines.append("")
    for label, text in _closing(record):
        lines += wrapped(f"{label}: {text}", width)
    return lines


def _plain_ladder(record: RunRecord, width: int) -> list[str]:
    applied = [rung for rung in record.verdict.rungs if rung.applied]
    lines = wrapped(ladder_title(record), width)
    if applied:
        lines += fitted([("", HEADINGS), *((_starred(record, rung), _cells(rung)) for rung in applied)], width)
        lines += wrapped(KEY, width)
    return lines + [line for note in _notes(record) for line in wrapped(note, width)]


def _plain_money(record: RunRecord, width: int) -> list[str]:
    table = record.verdict.economics
    if table is None:
        return []
    rows = fitted([("", costs.HEADINGS), *costs.rows(record.verdict)], width)
    return ["", *wrapped(costs.title(table), width), *rows, *wrapped(costs.key(record.verdict), width)]


# ---------------------------------------------------------------- said in both forms


HEADINGS = ("quality", "n", "s/1k", "$/1k", "prompt", "fit", "tried")
KEY = "n: answers + failed calls; s/1k, $/1k: for 1,000 answers; prompt: mean tokens."


def _cells(rung: RungResult) -> tuple[str, ...]:
    """The rung in numbers, as short as they can be said."""
    quality = words.interval(rung.quality, rung.low, rung.high).replace(" to ", "-")
    count = f"{rung.n}+{rung.unmeasured}" if rung.unmeasured else f"{rung.n}"
    tokens = "-" if rung.prompt_tokens_mean is None else f"{rung.prompt_tokens_mean:.0f}"
    fit = words.duration(rung.fit_seconds).replace(" min", "m").replace(" ", "")
    each, cost = words.amount(rung.seconds_per_1k), words.money(rung.cost_per_1k)
    return quality, count, each, cost, tokens, fit, str(rung.settings_tried)


def _starred(record: RunRecord, rung: RungResult) -> str:
    return f"{one_line(rung.name)} *" if rung.name == record.verdict.rung else one_line(rung.name)


def _notes(record: RunRecord) -> list[str]:
    """Why a rung was not measured on all held-out examples, or not at all: one line each."""
    rungs = record.verdict.rungs
    return [labels.stopped(rung, len(record.holdout)) for rung in rungs if rung.stopped_because] + [
        f"{one_line(rung.name)} skipped: {labels.why_skipped(rung)}" for rung in rungs if not rung.applied
    ]


def _closing(record: RunRecord) -> list[tuple[str, str]]:
    path = words.report_path(record)
    page = str(path) if path.exists() else f"not written yet; shouldtune report {record.folder} --html"
    closing = [("Spent", words.spent(record)), ("Page", one_line(page))]
    if any(rung.quality is not None for rung in record.verdict.rungs):
        closing.append(("Intervals", words.how_to_read(record)))
    return closing


# ---------------------------------------------------------------- drawn


def _show_drawn(record: RunRecord, console: Console) -> None:
    verdict = record.verdict
    answer, clause = words.headline(verdict)
    console.print(Text.assemble("\nShould you fine-tune? ", (answer, "bold"), ": ", (clause, "bold"), overflow="fold"))
    if verdict.simulated:
        console.print(Text(words.SIMULATED, style="yellow"))
    if again := words.judged_again(verdict):
        console.print(Text(again, style="yellow"))
    console.print(Text(costs.sentence(record), overflow="fold"))
    console.print()
    for sentence in verdict.because:
        _bullet(console, one_line(sentence))
    console.print(Text(f"\n{ladder_title(record)}", style="bold"))
    if any(rung.applied for rung in verdict.rungs):
        console.print(_table(record, bar=BAR if console.width >= ROOM_FOR_BAR else 0))
        console.print(Padding(Text(KEY, style="dim"), (0, 1)))
    for note in _notes(record):
        console.print(Padding(Text(note, style="dim"), (0, 1)))
    _show_found(record, console)
    if verdict.economics is not None:
        console.print(Text(f"\n{costs.title(verdict.economics)}", style="bold"))
        console.print(_money(record))
        console.print(Padding(Text(costs.key(verdict), style="dim"), (0, 1)))
    if verdict.sensitivity:
        console.print(Text(f"\n{costs.FLIPS}", style="bold"))
        for flip in verdict.sensitivity:
            _bullet(console, one_line(flip.sentence))
    console.print()
    for label, text in _closing(record):
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=9)
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, style="bold"), Text(text, style="dim" if label == "Intervals" else ""))
        console.print(grid)


def _show_found(record: RunRecord, console: Console) -> None:
    """What beat what, why failures fail, and what more examples would bring."""
    compared = [words.compared(each) for each in record.verdict.comparisons]
    for title, said in ((COMPARED, compared), *inquiry(record)):
        if said:
            console.print(Text(f"\n{title}", style="bold"))
        for line in said:
            _bullet(console, line)


def _bullet(console: Console, sentence: str) -> None:
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text("•", style="dim"), Text(sentence))
    console.print(Padding(grid, (0, 1)))


def _table(record: RunRecord, bar: int) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("", overflow="fold")
    for number, heading in enumerate(HEADINGS):
        table.add_column(heading, justify="right", no_wrap=True)
        if bar and number == 0:
            table.add_column(Text(f"0{'1':>{bar - 1}}"), no_wrap=True)
    for rung in record.verdict.rungs:
        if rung.applied:
            quality, *rest = (Text(cell) for cell in _cells(rung))
            drawn = [_bar(rung, words.goal_quality(record), bar)] if bar else []
            style = "bold" if rung.name == record.verdict.rung else ""
            table.add_row(Text(_starred(record, rung)), quality, *drawn, *rest, style=style)
    return table


def _money(record: RunRecord) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    table.add_column("", overflow="fold")
    for heading in costs.HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cells in costs.rows(record.verdict):
        table.add_row(Text(name), *map(Text, cells), style="bold" if name == record.verdict.rung else "")
    return table


def _bar(rung: RungResult, goal: float | None, width: int) -> Text:
    """0 to 1 in `width` cells: the interval as a line, the estimate as a dot, the goal as an upright bar."""

    def cell(value: float) -> int:
        return min(width - 1, max(0, int(value * width)))

    cells = [(" ", "")] * width
    if rung.low is not None and rung.high is not None:
        for at in range(cell(rung.low), cell(rung.high) + 1):
            cells[at] = ("─", "cyan")
    if goal is not None:
        cells[cell(goal)] = ("│", "yellow")
    if rung.quality is not None:
        cells[cell(rung.quality)] = ("●", "cyan")
    return Text.assemble(*cells)
