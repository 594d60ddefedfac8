"""A re-check, as text, Markdown and JSON: what has changed, what must be measured, and whether the verdict stands."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from shouldtune.rechecking.changes import Changes, Rows, Setting
from shouldtune.rechecking.why import why
from shouldtune.report import words
from shouldtune.report.markdown import bullets, plain
from shouldtune.report.words import counted, interval, money, one_line, score, wrapped

if TYPE_CHECKING:
    from shouldtune.judgement import Verdict
    from shouldtune.rechecking import Needed, Outcome, Recheck
    from shouldtune.rechecking.outcome import ThenAndNow

Section = tuple[str, list[str]]
"""A title and its lines."""
WIDTH = 80
ROWS_SHOWN = 5
LONG = 60


def look_to_text(found: Recheck) -> str:
    """Before anything is asked."""
    return _text([*_begin(found), *_what(found)])


def outcome_to_text(found: Recheck, outcome: Outcome) -> str:
    """After it was measured; what `look_to_text` says is said already."""
    return _text(_end(found, outcome))


def recheck_to_markdown(found: Recheck, outcome: Outcome | None) -> str:
    """All of it, for a comment or a summary; the answer first."""
    sections = [*(_end(found, outcome) if outcome is not None else []), *_begin(found), *_what(found)]
    head, *rest = sections
    blocks = [f"### {plain(head[0])}", bullets(head[1])]
    for title, lines in rest:
        blocks += [f"**{plain(title)}**", bullets(lines)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def recheck_to_json(found: Recheck, outcome: Outcome | None) -> str:
    """Sorted keys, null for what is unknown or was not measured."""
    document: dict[str, Any] = {
        "run": str(found.before.folder),
        "made": found.before.asked.get("created"),
        "changes": asdict(found.changes),
        "needed": [{**asdict(each), "calls": each.calls, "why": _why(each, found)} for each in found.needed],
        "calls": found.calls,
        "usd_most": dollars(found),
        "served": None if found.served is None else {**asdict(found.served), "drifted": found.served.drifted},
        "then": _said(found.before.verdict),
        "now": None,
        "stands": None,
        "meets_goal": None,
        "rungs": [],
    }
    if outcome is not None:
        document |= {"now": _said(outcome.now.verdict), "new_run": str(outcome.now.folder)}
        document |= {"stands": outcome.stands, "meets_goal": outcome.meets_goal}
        document["rungs"] = [_plain_rung(each) for each in outcome.rungs]
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False, default=str) + "\n"


def dollars(found: Recheck) -> float | None:
    """The most that all of it can cost; None where a price is unknown."""
    known = [each.usd_most for each in found.needed if each.usd_most is not None]
    return sum(known) if len(known) == len(found.needed) else None


# ---------------------------------------------------------------- before


def _begin(found: Recheck) -> Iterator[Section]:
    made = str(found.before.asked.get("created") or "").partition("T")[0]
    when = f" of {made}" if made else ""
    answer, clause = words.headline(found.before.verdict)
    said = [words.SIMULATED] if found.before.verdict.simulated else []
    yield f"The run {one_line(found.before.folder.name)}{when} said: {answer}: {clause}", said


def _what(found: Recheck) -> Iterator[Section]:
    lines = [*_changed(found.changes), *map(one_line, found.changes.notes)]
    yield "What has changed", lines or ["nothing"]
    if found.served is not None:
        yield "What was served", [_served(found)]
    yield "What must be measured again", _needed(found)


def _changed(found: Changes) -> Iterator[str]:
    for title, rows in (("held-out examples", found.holdout), ("training examples", found.train)):
        if rows is not None and rows.any:
            yield f"{title}: {_rows(rows)}"
    if found.documents is not None and found.documents.any:
        yield f"documents: {_rows(found.documents)}"
    for setting in found.settings:
        yield _setting(setting)


def _rows(rows: Rows) -> str:
    parts = []
    for verb, names in (("changed", rows.changed), ("added", rows.added), ("removed", rows.removed)):
        if names:
            more = ", ..." if len(names) > ROWS_SHOWN else ""
            parts.append(f"{len(names):,} {verb} ({', '.join(map(one_line, names[:ROWS_SHOWN]))}{more})")
    return f"{'; '.join(parts)}; {rows.same:,} as they were"


def _setting(setting: Setting) -> str:
    if isinstance(setting.was, dict) and isinstance(setting.now, dict):
        differ = [key for key in {**setting.was, **setting.now} if setting.was.get(key) != setting.now.get(key)]
        pairs = (f"{key} {_value(setting.was.get(key))} -> {_value(setting.now.get(key))}" for key in differ)
        return f"{one_line(setting.key)}: {', '.join(pairs)}"
    was, now = _value(setting.was), _value(setting.now)
    return f"{one_line(setting.key)}: {was} -> {now}" if was != now else f"{one_line(setting.key)} has changed"


def _value(value: Any) -> str:
    if value is None:
        return "not set"
    text = one_line(f"{value:,.10g}" if isinstance(value, int | float) and not isinstance(value, bool) else value)
    return text if len(text) <= LONG else f"{text[:LONG]}..."


def _needed(found: Recheck) -> list[str]:
    if found.same:
        return ["nothing: all is as it was"]
    if not found.needed:
        return ["nothing: the ledger holds every answer that is asked; 0 calls"]
    lines = []
    for each in found.needed:
        parts = [f"{counted(each.to_measure, 'held-out example')}"] if each.to_measure else []
        parts += [f"{counted(each.to_choose, 'call')} on training examples"] if each.to_choose else []
        parts += [f"{counted(each.to_grade, 'answer')} to grade"] if each.to_grade else []
        parts += [f"{counted(each.epochs, 'epoch')} of training"] if each.epochs else []
        lines.append(f"{one_line(each.name)}: {words.listed(parts)}; {_why(each, found)}")
    cost = dollars(found)
    price = "a price is not known" if cost is None else f"{money(cost)} at most" if cost else "nothing to pay"
    lines.append(
        f"in all {counted(found.calls, 'call')}, {price}; where new answers are like the old ones, else more or fewer"
    )
    return lines


def _why(each: Needed, found: Recheck) -> str:
    return why(each, found.changes, tuple(rung.name for rung in found.how.rungs if rung.training))


def _served(found: Recheck) -> str:
    served = found.served
    assert served is not None  # noqa: S101  asked by the caller
    seen = f"{one_line(served.rung)} scored {interval(served.score.estimate, served.score.low, served.score.high)}"
    told = f"{seen} on {counted(served.score.n, 'kept answer')} whose right answer was told"
    if served.then is None:
        return f"{told}."
    verdict = "another score than" if served.drifted else "which agrees with"
    caution = "; whoever sends feedback sends it on chosen answers, so this is a hint and no proof"
    return f"{told}: {verdict} the {score(served.then)} of the run{caution if served.drifted else ''}."


# ---------------------------------------------------------------- after


def _end(found: Recheck, outcome: Outcome) -> Iterator[Section]:
    verdict = outcome.now.verdict
    answer, clause = words.headline(verdict)
    if not outcome.measured:
        yield f"It cannot be told whether the verdict stands: {answer}: {clause}", list(verdict.because)
    elif outcome.stands is None:
        yield f"The run had told no verdict; now there is one. {answer}: {clause}", list(map(one_line, verdict.because))
    elif outcome.stands:
        same = "" if verdict.reason == outcome.then.verdict.reason else ", for another reason"
        yield f"The verdict stands{same}. {answer}: {clause}", list(map(one_line, verdict.because)) if same else []
    else:
        yield f"The verdict has changed. {answer}: {clause}", list(map(one_line, verdict.because))
    if found.same:
        return
    shown = [each for each in outcome.rungs if each.then is not None or each.now is not None]
    yield "Then and now", [line for each in shown for line in _then_and_now(each)]
    said = [f"New run: {one_line(outcome.now.folder)}", f"Rests on: {words.spent(outcome.now)}"]
    looks = [record.verdict.provenance.get("look") for record in (outcome.then, outcome.now)]
    if looks[0] != looks[1] and isinstance(looks[1], int):
        alpha = verdict.provenance.get("alpha")
        may = f", which may err {100 * alpha:.2g}%" if isinstance(alpha, float) else ""
        said.append(
            f"This is look {looks[1]} at these held-out examples{may}: its limits are wider than those of the first"
            " look, so that a verdict may change for want of certainty alone"
        )
    yield "Beside", said


def _then_and_now(each: ThenAndNow) -> Iterator[str]:
    name = one_line(each.rung)
    if each.then is None or each.now is None:
        there = each.then or each.now
        when = "was measured then and not now" if each.now is None else "is measured now and was not then"
        quality = score(there.quality) if there is not None else "-"
        yield f"{name} {when}: {quality}"
        return
    cost = _cost(each)
    yield f"{name}: {score(each.then.quality)} then, {score(each.now.quality)} now{_gain(each)}{cost}"


def _gain(each: ThenAndNow) -> str:
    if each.gain is None or each.gain.estimate is None:
        return "; no example was answered in both"
    where = f"on the {counted(each.gain.n, 'example')} of both"
    if not each.other:
        return f"; the same scores {where}"
    found = each.gain
    return f"; {found.estimate:+.3f} ({found.low:+.3f} to {found.high:+.3f}) {where}"


def _cost(each: ThenAndNow) -> str:
    assert each.then is not None and each.now is not None  # noqa: S101  asked by the caller
    if each.total_then is not None and each.total_now is not None:
        return f"; {money(each.total_then)} over the horizon then, {money(each.total_now)} now"
    if each.then.cost_per_1k is None and each.now.cost_per_1k is None:
        return ""
    return f"; {money(each.then.cost_per_1k)} for 1,000 answers then, {money(each.now.cost_per_1k)} now"


# ---------------------------------------------------------------- forms


def _text(sections: list[Section] | Iterator[Section]) -> str:
    lines: list[str] = []
    for title, said in sections:
        lines += [*([""] if lines else []), *wrapped(one_line(title), WIDTH)]
        lines += [line for each in said for line in wrapped(one_line(each), WIDTH, "- ")]
    return "\n".join(lines) + "\n"


def _said(verdict: Verdict) -> Mapping[str, Any]:
    return {"answer": verdict.answer, "reason": verdict.reason, "rung": verdict.rung, "because": list(verdict.because)}


def _plain_rung(each: ThenAndNow) -> Mapping[str, Any]:
    def line(rung: Any) -> Any:
        keys = ("quality", "low", "high", "n", "unmeasured", "meets_goal", "cost_per_1k")
        return None if rung is None else {key: getattr(rung, key) for key in keys}

    gain = None if each.gain is None else asdict(each.gain)
    totals = {"total_then": each.total_then, "total_now": each.total_now}
    return {
        "rung": each.rung,
        "then": line(each.then),
        "now": line(each.now),
        "gain": gain,
        "other": each.other,
        **totals,
    }
