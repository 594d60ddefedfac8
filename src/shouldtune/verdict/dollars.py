"""What a bargain comes to, in plain sentences with dollars."""

from __future__ import annotations

from shouldtune.judgement import BreakEven, MoneyTable
from shouldtune.verdict.bounds import Evidence
from shouldtune.verdict.rows import Finding

DAYS = 365 / 12
"""Days in a month."""


def against(e: Evidence, rung: str, other: str, table: MoneyTable | None) -> list[str]:
    """What a rung costs beside another over the horizon, and from which volume on it is the better bargain."""
    money = e.money
    costs, others = money.total(rung), money.total(other)
    if costs is None or others is None:
        return []
    months, per_month = money.economics.months or 0.0, money.economics.per_month or 0.0
    said = [
        f"Over {months:g} months at {volume(per_month)} {rung} costs {usd(costs)} in all, {other} {usd(others)}"
        f"{_valued(e)}."
    ]
    found = bargain(table, rung, other)
    return said + ([_where(found, alone=money.economics.value_per_correct is None)] if found else [])


def whether_it_pays(e: Evidence, finding: Finding, table: MoneyTable | None) -> list[str]:
    """For a rung that is better: what its gain must be worth, beside the rung over which that is most."""
    found = [pair for pair in table.break_even if pair.rung == finding.rung] if table else []
    valued = [(pair.value, pair) for pair in found if pair.value is not None]
    if not valued:
        return []
    value, pair = max(valued, key=lambda both: both[0])
    if value == 0:
        return [
            f"It also costs less than {pair.against}." if len(valued) == 1 else "It also costs less than each of them."
        ]
    band = f" ({cents(pair.value_low)} to {cents(pair.value_high)})" if pair.value_low != pair.value_high else ""
    line = f"a correct answer is worth {cents(value)}{band} or more, beside {pair.against}"
    worth = e.money.economics.value_per_correct
    return [
        f"It pays where {line}."
        if worth is None
        else f"At {cents(worth)} a correct answer it pays: it does where {line}."
    ]


def bargain(table: MoneyTable | None, rung: str, other: str) -> BreakEven | None:
    """The break-even of two rungs, where it is known."""
    found = (pair for pair in (table.break_even if table else ()) if (pair.rung, pair.against) == (rung, other))
    return next(found, None)


def _where(found: BreakEven, *, alone: bool) -> str:
    """From which volume on it pays; costs alone are weighed where the value of an answer is not known."""
    verb, verbs = ("costs less", "cost less") if alone else ("pays", "pay")
    if found.pays == "always":
        return f"{found.rung} {verb} at every volume."
    if found.pays == "never" or found.per_month is None:
        return f"{found.rung} does not {verbs} at any volume."
    band = ""
    if found.low != found.high:
        band = f", between {whole(found.low)} and {'no limit' if found.high is None else whole(found.high)}"
    return f"{found.rung} {verb} {found.pays} about {volume(found.per_month)}{band}."


def _valued(e: Evidence) -> str:
    worth = e.money.economics.value_per_correct
    return "" if worth is None else f"; a correct answer is worth {cents(worth)}"


def volume(per_month: float) -> str:
    """`368,000 requests a month (12,100 a day)`."""
    return f"{whole(per_month)} requests a month ({whole(per_month / DAYS)} a day)"


def whole(value: float | None) -> str:
    """Three figures, in full."""
    if value is None:
        return "-"
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 10 else f"{value:.2g}"


def usd(value: float) -> str:
    """Dollars, with cents where they say something."""
    return f"${value:,.0f}" if value >= 100 else f"${value:,.2f}" if value >= 0.01 or value == 0 else f"${value:.2g}"


def cents(value: float | None) -> str:
    """Dollars in two figures, however few; `any price` where there is no end."""
    if value is None:
        return "any price"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${float(f'{value:.2g}'):f}".rstrip("0")
