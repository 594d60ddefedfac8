"""The money table in words, the same for the terminal and the page: what each rung costs, and when tuning pays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from shouldtune.judgement import BreakEven, MoneyTable, Verdict
from shouldtune.report.words import amount, money, one_line, tuned_and_untuned
from shouldtune.verdict.dollars import cents, usd, whole

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

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


def known(verdict: Verdict) -> bool:
    """Whether anything can be said of what the rungs cost or of what would flip the answer."""
    return verdict.economics is not None or bool(verdict.sensitivity)


def sentence(record: RunRecord) -> str:
    """The money in one sentence: the best tuned rung beside the best without training, as far as each is known."""
    verdict = record.verdict
    told = [name for name in tuned_and_untuned(verdict) if name is not None]
    table = verdict.economics
    lines = {line.rung: line for line in table.costs} if table else {}
    rungs = {rung.name: rung for rung in verdict.rungs}
    totals = {name: lines[name].total for name in told if name in lines}
    each = {name: rungs[name].cost_per_1k for name in told}
    seconds = {name: rungs[name].seconds_per_1k for name in told}
    if table and table.months and table.per_month and _all_known(totals, told):
        first, *rest = (f"{one_line(name)} costs {usd(total or 0.0)}" for name, total in totals.items())
        bill = " and ".join([first, *(each.replace(" costs ", " ") for each in rest)])
        over = f"Over {table.months:g} months at {whole(table.per_month)} requests a month"
        return f"{over}, {bill}{_pays(verdict, told)}."
    if _all_known(each, told):
        bill = " and ".join(f"{money(value)} with {one_line(name)}" for name, value in each.items())
        return f"1,000 answers cost {bill}."
    if _all_known(seconds, told):
        taken = " and ".join(f"{amount(value)} s with {one_line(name)}" for name, value in seconds.items())
        return f"No price is known; 1,000 answers take {taken}."
    return "What it would cost is not known."


def _all_known(values: Mapping[str, float | None], names: Sequence[str]) -> bool:
    return bool(names) and all(values.get(name) is not None for name in names)


def _pays(verdict: Verdict, told: Sequence[str]) -> str:
    """From which volume on tuning is the better bargain of the two."""
    table = verdict.economics
    found = [each for each in (table.break_even if table else ()) if [each.rung, each.against] == list(told)]
    if not table or not found:
        return ""
    verb, verbs = ("costs less", "cost less") if table.value_per_correct is None else ("pays", "pay")
    pays, at = found[0].pays, found[0].per_month
    if at is None:
        return f"; tuning {verb} at every volume" if pays == "always" else f"; tuning does not {verbs} at any volume"
    return f"; tuning {verb} {pays} about {whole(at)} requests a month"


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
                crossing(crossings.get(line.rung)),
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


def crossing(found: BreakEven | None) -> str:
    """`5,800 (3,350-22,400)`, `below 900`, `always`, `-` where it is not known."""
    if found is None:
        return "-"
    if found.per_month is None:
        return found.pays
    low, high = whole(found.low), "any" if found.high is None else whole(found.high)
    band = "" if low == high else f" ({low}-{high})"
    return f"{'below ' if found.pays == 'below' else ''}{whole(found.per_month)}{band}"


def _or_dash(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)
