"""What is to leave the machine to be trained on, in words."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shouldtune.report.words import counted, one_line

if TYPE_CHECKING:
    from shouldtune.planning.leaving import Leaving, Upload


def leaving_to_lines(leaving: Leaving) -> list[str]:
    """Where to, what, at which price, and what to look at before."""
    lines = [
        f"To be sent to {one_line(leaving.host)}, to train {one_line(leaving.model)} there"
        " (a rung that is not reached sends nothing):"
    ]
    lines += [f"  {one_line(each.rung)}: {_size(each)}, {_price(each)}" for each in leaving.uploads]
    lines += [f"  {one_line(each.rung)}: not sent: {problem}" for each in leaving.uploads for problem in each.problems]
    if any(each.rung == "distil" for each in leaving.uploads):
        lines.append(
            "  distil sends answers of `strong:`, here told by the targets; its provider's terms may forbid it"
        )
    found: Counter[str] = Counter()
    for each in leaving.uploads:
        found |= Counter(each.personal)
    personal = ", ".join(f"{kind} in {counted(rows, 'row')}" for kind, rows in found.most_common())
    lines.append(f"Personal data by its form: {personal or 'none found, which does not prove that there is none'}.")
    lines.append(f"Price of training: {leaving.price or 'not known'}.")
    lines.append("Does the licence of your data, and what you agreed with the people in it, let you send it there?")
    return lines


def _size(each: Upload) -> str:
    return f"{counted(each.rows, 'row')}, about {each.tokens:,.0f} tokens ({each.size:,} bytes), {each.epochs} epochs"


def _price(each: Upload) -> str:
    if each.usd is None or each.usd_most is None:
        return "at a price that is not known"
    return f"about ${each.usd:,.2f}, at most ${each.usd_most:,.2f}"
