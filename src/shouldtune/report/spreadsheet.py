"""Every example with every rung's answer as CSV, which no spreadsheet takes for a formula.

A cell that a program might calculate (it begins with = + - @, a tab or a line end) is given an apostrophe in front, and
every text is quoted; numbers are numbers. https://owasp.org/www-community/attacks/CSV_Injection
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from shouldtune.report.words import one_line, printable
from shouldtune.spool import AnswersTo

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def to_csv(record: RunRecord) -> str:
    """A row an example: id, input, target, and three columns a rung. A failed call has an empty score and its error."""
    heads = ["id", "input", "target"]
    for measurement in record.measurements:
        heads += [f"{one_line(measurement.rung)} {what}" for what in ("answer", "score", "reason")]
    given = [AnswersTo(record.holdout, m.predictions) for m in record.measurements]
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    writer.writerow(map(cell, heads))
    for place, example in enumerate(record.holdout):
        row: list[str | float] = [cell(example.id), cell(example.input), cell(example.target)]
        for answers in given:
            found = answers.at(place)
            if found is None:
                row += ["", "", cell("not asked")]
            elif found.score is None:
                row += [cell(found.completion.text), "", cell(f"failed: {found.completion.error or 'no score'}")]
            else:
                row += [cell(found.completion.text), found.score.value, cell(found.score.reason)]
        writer.writerow(row)
    return out.getvalue()


def cell(text: object) -> str:
    """The text, harmless. What a spreadsheet strips before it looks for a formula is looked through."""
    whole = printable(text)
    bare = whole.lstrip(" \u00a0\u200b\ufeff")
    return f"'{whole}" if bare.startswith(STARTS) or whole.startswith(STARTS) else whole
