"""A plan, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from shouldtune.report.aligned import aligned
from shouldtune.report.leaving import leaving_to_lines
from shouldtune.report.words import amount, counted, duration, money, one_line

if TYPE_CHECKING:
    from shouldtune.planning import Plan
    from shouldtune.planning.planned import PlannedRung

HEADINGS = ("calls", "at most", "tokens", "at most", "dollars", "at most", "machine")


def plan_to_json(plan: Plan) -> str:
    """Sorted keys, null for what is unknown."""
    sums = {"usd_most": plan.usd_most, "usd_expected": plan.usd_expected, "machine_s_expected": plan.machine_s_expected}
    return json.dumps({**asdict(plan), **sums}, indent=2, sort_keys=True, allow_nan=False) + "\n"


def plan_to_text(plan: Plan) -> str:
    """The ladder as a table, what can be proven, and what cannot be told."""
    lines = [
        f"Plan of {one_line(plan.task)}: {plan.train_n:,} examples to learn from, {plan.holdout_n:,} held out;"
        f" prompting {one_line(plan.model)}, tuning {one_line(plan.tune or 'nothing')}.",
        "Nothing was asked, nothing is spent by planning.",
        "",
        *_ladder(plan),
        *(["", *leaving_to_lines(plan.leaving)] if plan.leaving is not None else []),
        "",
        *_proof(plan),
        "",
        "Forecast of a fine-tune on more examples: " + _forecast(plan),
        "",
        "What this plan cannot tell:",
        *(f"- {line}" for line in plan.cannot_tell),
        "",
        "How it was estimated:",
        *(f"- {one_line(line)}" for line in plan.methods),
        *(f"- {one_line(line)}" for line in plan.prices),
    ]
    return "\n".join(lines) + "\n"


def _ladder(plan: Plan) -> Iterator[str]:
    if plan.too_few:
        yield f"{plan.train_n + plan.holdout_n} examples are too few to tell approaches apart: a run asks nothing."
        return
    shown = [(one_line(rung.name), _cells(rung)) for rung in plan.rungs if not rung.skipped_because]
    yield from aligned([("", HEADINGS), *shown, ("in all", _total(plan))])
    yield "calls, tokens and dollars as expected, then at most; machine: time of this machine as expected; - unknown"
    trained = [rung for rung in plan.rungs if rung.epochs_most]
    for rung in trained:
        yield f"{one_line(rung.name)} trains for {rung.epochs_most} epochs at most"
    known = sum(rung.calls_known for rung in plan.rungs)
    if known:
        yield f"{counted(known, 'answer')} are in the task's ledger already and cost nothing again"
    if plan.budget is not None:
        yield _budget(plan, plan.budget)
    for rung in plan.rungs:
        if rung.skipped_because:
            yield f"{one_line(rung.name)} skipped: {one_line(rung.skipped_because)}"


def _budget(plan: Plan, budget: float) -> str:
    """Whether the budget will do."""
    if plan.usd_most is None or plan.usd_expected is None or plan.paid is None:
        return f"a budget of ${budget:g} cannot be kept: a price is not known, so a run is refused"
    left = max(0.0, budget - plan.paid)
    said = f"budget: ${budget:g}, of which {money(plan.paid)} is spent"
    if plan.usd_most <= left:
        return f"{said}; the rest is enough for all of it"
    enough = "for what is expected, not for the most" if plan.usd_expected <= left else "not even for what is expected"
    return f"{said}; the rest is enough {enough}"


def _cells(rung: PlannedRung) -> tuple[str, ...]:
    fresh = rung.calls_most - rung.calls_known
    machine = duration(rung.machine_s_expected) if rung.calls_most else "0 s"
    return (
        f"{rung.calls_expected:,.0f}",
        f"{fresh:,}",
        amount(round(rung.prompt_tokens_expected)),
        f"{rung.prompt_tokens_most:,}",
        money(rung.usd_expected),
        money(rung.usd_most),
        machine,
    )


def _total(plan: Plan) -> tuple[str, ...]:
    return (
        f"{sum(rung.calls_expected for rung in plan.rungs):,.0f}",
        f"{sum(rung.calls_most - rung.calls_known for rung in plan.rungs):,}",
        amount(round(sum(rung.prompt_tokens_expected for rung in plan.rungs))),
        f"{sum(rung.prompt_tokens_most for rung in plan.rungs):,}",
        money(plan.usd_expected),
        money(plan.usd_most),
        duration(plan.machine_s_expected),
    )


def _proof(plan: Plan) -> Iterator[str]:
    can = plan.can
    yield (
        f"What {can.n:,} held-out examples can show (look {can.look} at them, which may err {100 * can.alpha:.2g}%;"
        f" {'graded' if can.graded else 'right or wrong'} answers):"
    )
    if can.goal is not None:
        verb, needed = ("would", "") if can.perfect_proves else ("could not", f"; it takes {can.rows_for_goal:,} rows")
        yield f"- a perfect score {verb} prove the goal of {can.goal:g}{needed}"
    if can.visible_gain is None:
        yield f"- no gain of one rung over another can be shown ({can.assumed})"
    else:
        yield f"- a gain over another rung is usually shown from {can.visible_gain:.2f} on ({can.assumed})"
    more = "cannot be shown at all" if can.tuning_gain is None else f"usually from a gain of {can.tuning_gain:.2f} on"
    yield f"- that fine-tuning gains more than the {plan.worthwhile_gain:g} that would be worth it: {more}"
    enough = "; there are enough" if can.rows_to_settle <= can.n else ""
    yield (
        f"- to tell a gain of 0, or of twice the worthwhile one, from {plan.worthwhile_gain:g} takes about"
        f" {can.rows_to_settle:,} rows{enough}"
    )


def _forecast(plan: Plan) -> str:
    if plan.too_few:
        return "none; there are too few rows."
    if plan.no_forecast:
        return f"none; {one_line(plan.no_forecast)}."
    return "a learning curve is measured before a fine-tune; whether it spares one, its points tell."
