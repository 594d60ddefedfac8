"""Why, in two to five plain sentences with figures: what an engineer can defend in a meeting."""

from __future__ import annotations

from collections.abc import Mapping

from shouldtune.causes import Forgetting
from shouldtune.judgement import Interval, MoneyTable
from shouldtune.verdict.before_tuning import above_ceiling, by_forecast, data_first, retrieval_first
from shouldtune.verdict.bounds import Evidence
from shouldtune.verdict.case import NOT_REACHED
from shouldtune.verdict.columns import Column
from shouldtune.verdict.dollars import against, usd, whether_it_pays
from shouldtune.verdict.figures import against_goal, figure, gains, listed, scores
from shouldtune.verdict.rows import Finding, affordable, below_goal, better, lowest_gain, rivals

MOST_SENTENCES = 5


def because(
    e: Evidence,
    finding: Finding,
    hidden: Finding | None,
    needed: int | None,
    untried: Mapping[str, str],
    table: MoneyTable | None = None,
    forgetting: Forgetting | None = None,
) -> tuple[str, ...]:
    """The reasons for `finding`, the most telling first.

    `hidden` is what failed calls or missing prices may hide, `needed` how many holdout rows would settle it, `untried`
    why each rung without a measurement has none, `table` what the rungs cost, `forgetting` what a tuned model lost.
    """
    if finding.reason == "fix_data":
        said = data_first(e)
    elif finding.reason == "fix_retrieval":
        said = retrieval_first(e)
    elif finding.path == "forecast":
        said = [*by_forecast(e), f"{scores(e, finding.rung or '')}, the best rung without training."]
    elif finding.reason in ("goal_met", "no_model_needed"):
        said = _meets(e, finding) + _training_beside(e, finding)
    elif finding.reason == "tune":
        said = _tune(e, finding) + whether_it_pays(e, finding, table)
    elif finding.reason == "tune_to_save":
        said = _to_save(e, finding, table)
    elif finding.reason == "does_not_pay":
        said = _does_not_pay(e, finding, table)
    elif finding.reason == "out_of_reach":
        said = _out_of_reach(e) + ([] if e.trained else by_forecast(e) or [_no_training(untried)])
    elif finding.reason == "no_gain":
        said = _no_gain(e, finding) + ([] if e.trained else [_no_training(untried)])
    elif finding.reason == "unmeasured":
        told = _unmeasured(e, hidden) + ([] if e.trained else [_no_training(untried)])
        said = _budget_ended(e, untried) if finding.path == "budget" else told
    else:
        said = _label_more(e, finding, needed)
    noted = _forgot(finding, forgetting) + above_ceiling(e) + _failures(e) + _limits(e)
    return tuple([*said[: MOST_SENTENCES - min(2, len(noted))], *noted][:MOST_SENTENCES])


# ---------------------------------------------------------------- one reason each


def _meets(e: Evidence, finding: Finding) -> list[str]:
    name, quality = finding.rung or "", e.goal.quality
    if finding.path == "relative" or quality is None:
        worst = min((gap.low for (free, _), gap in e.relative.items() if free == name), default=0.0)
        beside = f"at least {worst:.3f} better than" if worst > 0 else f"at most {-worst:.3f} worse than"
        return [
            f"{scores(e, name)}, without a language model.",
            f"It is {beside} every other rung, the trained one included; a gain under {e.goal.worthwhile_gain:g}"
            " would not be worth a dearer one.",
        ]
    said = [f"{scores(e, name, quality)}: above the goal of {quality:g}."]
    cheaper = [c for c in _before(e, name) if below_goal(e, c)]
    if cheaper:
        said.append(
            f"{listed([c.name for c in cheaper])} stay below the goal."
            if len(cheaper) > 1
            else f"{cheaper[0].name} stays below the goal."
        )
    return said


def _training_beside(e: Evidence, finding: Finding) -> list[str]:
    if not e.trained:
        return ["No rung that trains was measured, and none is needed."]
    beside = [(tuned, gain) for (tuned, lower), gain in e.gains.items() if lower == finding.rung]
    more = "" if finding.path == "relative" else "; the goal does not ask for it"
    return [f"{tuned} {gains(gain)} over {finding.rung}{more}." for tuned, gain in beside]


def _tune(e: Evidence, finding: Finding) -> list[str]:
    tuned, quality, worthwhile = finding.rung or "", e.goal.quality, e.goal.worthwhile_gain
    best = e.best(e.lower)
    said = []
    if best is not None:
        gain = e.gains[tuned, best.name]
        much = "more than the" if gain.low > worthwhile else "not proven to be the"
        said.append(
            f"{tuned} {gains(gain, worthwhile)} over {best.name}, {_best_without_training(e, best)},"
            f" on {gain.n} held-out examples: {much} {worthwhile:g} that would be worth it."
        )
    if finding.path == "beats" and len(e.lower) > 1:
        least = min(e.gains[tuned, c.name].low for c in e.lower)
        said.append(f"It beats each of the {len(e.lower)} rungs without training, by at least {least:.3f}.")
    if quality is not None:
        said.append(f"{scores(e, tuned, quality)}: {against_goal(e.quality[tuned], quality)}.")
        if finding.path == "only_one":
            alone = f"No rung without training reaches the goal of {quality:g}"
            top = max((e.quality[c.name].high for c in e.lower), default=None)
            said.append(f"{alone}." if top is None else f"{alone}: at most {figure(top, quality)} is possible.")
    else:
        said.append(f"{scores(e, tuned)}.")
    return said


def _best_without_training(e: Evidence, best: Column) -> str:
    """What `best` is; where another scored higher, on fewer or more uneven rows, that is said."""
    by_score = {c.name: e.quality[c.name].estimate or 0.0 for c in e.lower}
    highest = max(by_score, key=by_score.__getitem__)
    if by_score[highest] <= by_score[best.name]:
        return "the best rung without training"
    scored = figure(by_score[highest], by_score[best.name])
    return f"the rung without training of which most is proven ({highest} scored {scored}, less surely)"


def _to_save(e: Evidence, finding: Finding, table: MoneyTable | None) -> list[str]:
    tuned, worthwhile = finding.rung or "", e.goal.worthwhile_gain
    beside = rivals(e, next(c for c in e.candidates if c.name == tuned))
    rival = max(beside, key=lambda c: e.more[tuned, c.name].high).name  # over which it saves least
    said = against(e, tuned, rival, table)
    said.append(
        f"{tuned} {gains(e.gains[tuned, rival])} over {rival}: not worse by the {worthwhile:g} that would matter."
    )
    return [*said, f"{scores(e, tuned, e.goal.quality)}."]


def _does_not_pay(e: Evidence, finding: Finding, table: MoneyTable | None) -> list[str]:
    ship, worthwhile = finding.rung or "", e.goal.worthwhile_gain
    if finding.path == "limits":
        return [*_over_limits(e), f"{scores(e, ship, e.goal.quality)}, the best rung without training."]
    said = []
    for c in e.candidates[:1]:
        gain = e.gains[c.name, ship]
        small = f": less than the {worthwhile:g} that would be worth it" if gain.high < worthwhile else ""
        if e.money.worth is not None:
            small = f": worth {usd(max(0.0, e.money.worth * gain.high))} at most over that time"
        said = [f"{c.name} {gains(gain, worthwhile)} over {ship} on {e.n} held-out examples{small}."]
        said = [*against(e, c.name, ship, table), *said]
    return [*said, f"{scores(e, ship, e.goal.quality)}."]


def _over_limits(e: Evidence) -> list[str]:
    return [f"{listed([c.name for c in e.trained])} cannot be shipped within the goal's limits on cost and latency."]


def _out_of_reach(e: Evidence) -> list[str]:
    quality = e.goal.quality or 0.0
    within = [c for c in e.columns if c.limits != "broken"]
    if not within:
        return ["No rung keeps the goal's limits on cost and latency."]
    top = max(within, key=lambda c: e.quality[c.name].high)
    said = [
        f"No rung at hand can reach the goal of {quality:g}: the highest upper limit is"
        f" {figure(e.quality[top.name].high, quality)}, of {top.name}, on {e.quality[top.name].n} held-out examples."
    ]
    best = e.best(within)
    if best:
        said.append(f"{scores(e, best.name, quality)}, the best of {len(within)}.")
    if e.trained:
        said.append("This holds for training on the examples at hand; more of them were not tried.")
    return said


def _no_gain(e: Evidence, finding: Finding) -> list[str]:
    worthwhile, ship = e.goal.worthwhile_gain, finding.rung
    if finding.path == "limits":
        said = _over_limits(e)
    elif finding.path == "ceiling":
        said = [f"{scores(e, ship or '')}: no other rung can gain the {worthwhile:g} that would be worth it."]
        said += [f"{c.name} {gains(e.gains[c.name, ship])} over {ship}." for c in e.candidates if ship]
    else:
        said = []
        for c in e.candidates:
            over, gain = lowest_gain(e, c)
            if gain is not None:
                said.append(
                    f"{c.name} {gains(gain, worthwhile)} over {over} on {gain.n} held-out examples:"
                    f" less than the {worthwhile:g} that would be worth it."
                )
    return said + (
        [f"{scores(e, ship)}, the best rung without training."] if ship and finding.path != "ceiling" else []
    )


def _budget_ended(e: Evidence, untried: Mapping[str, str]) -> list[str]:
    waiting = [name for name, why in untried.items() if why == NOT_REACHED]
    said = ["The budget ended before the answer was clear; what was measured is kept, and a higher one goes on."]
    if waiting:
        said.append(f"{listed(waiting)} {'was' if len(waiting) == 1 else 'were'} not reached.")
    best = e.best(e.shippable)
    return said + ([f"{scores(e, best.name, e.goal.quality)}, the best so far."] if best else [])


def _unmeasured(e: Evidence, hidden: Finding | None) -> list[str]:
    if not any(c.failed < len(c.scores) for c in e.columns):
        return ["Nothing was measured: no call was answered."]
    if hidden:
        which = f"{hidden.answer.replace('_', ' ')} ({hidden.reason}" + (f", {hidden.rung})" if hidden.rung else ")")
        said = [f"What is missing could settle it: with the best luck the answer would be {which}."]
        if any(c.failed for c in e.columns):
            said.append("Run again for the failed calls; what was answered is not paid twice.")
        return said
    if not e.lower:
        said = [f"{scores(e, c.name)}." for c in e.trained[:1]]
        return [*said, "No rung without training was measured within the limits, so there is nothing to compare with."]
    return ["What was measured does not settle it."]


def _open(e: Evidence, tuned: Column, best: Column, gain: Interval) -> str:
    """Why a gain over the best rung without training does not settle it."""
    worthwhile, goal = e.goal.worthwhile_gain, e.goal.quality is not None
    if gain.low > worthwhile and better(e, tuned) and not affordable(e, tuned):
        return "whether that is worth what it costs is open"
    if gain.low > worthwhile:
        return f"it counts only if {best.name} stays below the goal" if goal else "not proven over every other rung"
    if gain.high < worthwhile and goal:
        return f"less than {worthwhile:g}, but it may be what reaches the goal"
    return f"too wide to say whether that is worth {worthwhile:g}"


def _label_more(e: Evidence, finding: Finding, needed: int | None) -> list[str]:
    said, worthwhile, quality = [], e.goal.worthwhile_gain, e.goal.quality
    best = e.best(e.lower)
    if quality is not None and best and not below_goal(e, best):
        said.append(f"{scores(e, best.name, quality)}: the goal of {quality:g} lies within.")
    for tuned in e.candidates[:1]:
        if best:
            gain = e.gains[tuned.name, best.name]
            said.append(
                f"{tuned.name} {gains(gain, worthwhile)} over {best.name} on {gain.n} held-out examples:"
                f" {_open(e, tuned, best, gain)}."
            )
            most = max(0.0, gain.high)
            ship = (
                f"Until then ship {best.name}" if finding.rung == best.name else f"Until then {best.name} is the best"
            )
            said.append(f"{ship}: fine-tuning could add at most {most:.3f}.")
    if needed is None:
        said.append("The estimates lie on the line, so no number of rows can be named that would settle it.")
    elif needed > 10 * e.n:
        said.append(
            f"It would take about {needed} held-out examples, over ten times the {e.n} there are:"
            " take it that it cannot be settled."
        )
    else:
        said.append(f"About {needed} held-out examples instead of {e.n} would probably settle it.")
    return said


def _before(e: Evidence, name: str) -> list[Column]:
    """The rungs cheaper than one."""
    names = [c.name for c in e.columns]
    return list(e.columns[: names.index(name)]) if name in names else []


# ---------------------------------------------------------------- said beside every reason


def _no_training(untried: Mapping[str, str]) -> str:
    reasons = {name: why for name, why in untried.items() if "tune" in name or name == "distil"} or untried
    told = "; ".join(f"{name}: {why.rstrip('.')}" for name, why in list(reasons.items())[:3])
    return (
        f"Fine-tuning was not tried ({told}), so this speaks only of the rungs at hand."
        if told
        else ("No rung that trains was measured, so this speaks only of the rungs at hand.")
    )


def _forgot(finding: Finding, forgetting: Forgetting | None) -> list[str]:
    """What the tuned model that is to be shipped can no longer do: whoever ships it has to know."""
    if forgetting is None or forgetting.rung != finding.rung:
        return []
    told = [
        f"on {each.what} it scores {each.tuned:.3f} where its base scores {each.base:.3f}"
        for each in forgetting.lost
        if each.tuned is not None and each.base is not None
    ]
    if not told:
        return []
    return [f"It is good for this task alone: {listed(told)}. Let the base answer everything else."]


def _failures(e: Evidence) -> list[str]:
    failed = [(c.name, c.failed) for c in e.columns if c.failed]
    if not failed:
        return []
    told = ", ".join(f"{name} {count}" for name, count in failed[:4]) + (", ..." if len(failed) > 4 else "")
    each = f", of {e.n} each" if all(c.whole for c in e.columns if c.failed) else ""
    return [f"Calls failed ({told}{each}): lower limits count them as 0 and upper limits as 1."]


def _limits(e: Evidence) -> list[str]:
    said = []
    for state, words in (("broken", "break"), ("unknown", "are not known to keep")):
        names = [c.name for c in e.columns if c.limits == state]
        if names:
            asked = [
                text
                for limit, text in (
                    (e.goal.max_cost_per_1k, "${:g} per 1,000 answers"),
                    (e.goal.max_latency_s, "{:g} s per answer"),
                )
                if limit is not None
                for text in [text.format(limit)]
            ]
            verb = words if len(names) > 1 else words.replace("break", "breaks").replace("are", "is")
            said.append(f"{listed(names)} {verb} the limit of {listed(asked)}.")
    return said
