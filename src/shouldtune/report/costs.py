"""The money table in words, the same for the terminal and the page: what each rung costs, and when tuning pays."""

from __future__ import annotations

from collections.abc import Callable

from shouldtune.judgement import BreakEven, MoneyTable, Verdict
from shouldtune.report.words import money, one_line
from shouldtune.verdict.dollars import cents, usd, whole

HEADINGS = ("$/1k", "in all", "$/correct", "break-even")
FLIPS = "What would flip the answer"


def title(table: MoneyTable) -> str:
    """What the totals are over."""
    if table.months is None:
        return "Money (no horizon is known, so no totals)"
    months = f"{table.months:g} months"
    if table.per_month is None:
        return f"Money ({months}; no volume is known, so no totals)"
    return f"Money ({months} at {whole(table.per_month)} requests a month)"


def rows(verdict: Verdict) -> list[tuple[str, tuple[str, str, str, str]]]:
    """(rung, cells) of each rung, in the order of the headings; `-` for what is not known."""
    table = verdict.economics
    if table is None:
        return []
    crossings = {each.against: each for each in table.break_even if each.rung == candidate(verdict)}
    return [
        (
            one_line(line.rung),
            (
                money(line.per_1k),
                _or_dash(line.total, usd),
                _or_dash(line.per_correct, cents),
                _crossing(crossings.get(line.rung)),
            ),
        )
        for line in table.costs
    ]


def candidate(verdict: Verdict) -> str:
    """The trained rung that the break-evens are about: the one to ship, else the first."""
    names = [each.rung for each in verdict.economics.break_even] if verdict.economics else []
    return verdict.rung if verdict.rung in names and verdict.rung else next(iter(names), "")


def key(verdict: Verdict) -> str:
    """How to read the table, and where its prices come from."""
    table, said = verdict.economics, "in all: fit, labels and running; $/correct: that, for each right answer."
    if table is None:
        return ""
    if table.break_even:
        name = one_line(candidate(verdict))
        what = "costs less" if table.value_per_correct is None else "brings more than it costs"
        said += f" break-even: requests a month from which {name} {what}, beside that rung (its band in brackets)."
    sources: dict[str, list[str]] = {}
    for line in table.costs:
        sources.setdefault(line.price or "not known", []).append(one_line(line.rung))
    told = "; ".join(f"{one_line(source)} ({', '.join(rungs)})" for source, rungs in sources.items())
    return f"{said} Prices: {told}."


def _crossing(found: BreakEven | None) -> str:
    if found is None:
        return "-"
    if found.per_month is None:
        return found.pays
    low, high = whole(found.low), "any" if found.high is None else whole(found.high)
    band = "" if low == high else f" ({low}-{high})"
    return f"{'below ' if found.pays == 'below' else ''}{whole(found.per_month)}{band}"


def _or_dash(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)
