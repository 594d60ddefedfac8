"""A run that goes on, as a record that the report can show: what was measured, and no answer yet.

The intervals are those of the verdict: they hold wherever one looks, so that nobody is misled by looking early.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from shouldtune.judgement import Economics, Price, Verdict
from shouldtune.looks import goal_at_look
from shouldtune.report.under_way import UnderWay
from shouldtune.report.words import counted, duration, one_line, score
from shouldtune.run import RunRecord, load_asked, load_inquiry
from shouldtune.types import Example, Goal, Measurement, Prediction, Spent
from shouldtune.verdict.case import Case
from shouldtune.verdict.decide import decide
from shouldtune.verdict.inquiry import Inquiry
from shouldtune.viewing.told import Heard, Told

PRICES = ("prompt_price", "tuned_price", "strong_price")
PURPOSES = {
    "fit": "choosing settings",
    "choose": "choosing the best prompt",
    "probe": "probing failures",
    "forecast": "measuring a learning curve",
    "measure": "asking what was forgotten",
    "grade": "grading",
}


def record_of(folder: Path, told: Told) -> RunRecord:
    """The run as far as it was told. InputError where its folder cannot be read."""
    asked, holdout = load_asked(folder)
    measurements = tuple(
        _measurement(name, rung, holdout) for name, rung in told.rungs.items() if rung.predictions or rung.trials
    )
    measured = tuple(m for m in measurements if m.predictions)
    inquiry = load_inquiry(folder)
    return RunRecord(folder, asked, _verdict(asked, told, measured, inquiry), holdout, measured, inquiry)


def _verdict(asked: Mapping[str, Any], told: Told, measured: Sequence[Measurement], inquiry: Inquiry) -> Verdict:
    """What `decide` says of the rungs one by one and side by side; its answer is not shown while the run goes on."""
    simulated = bool(told.facts.get("simulated"))
    case = Case(
        goal_at_look(Goal(**asked["goal"]), told.facts.get("look")),
        measured,
        told.skipped,
        tuple(told.rungs),
        tuple(name for name, rung in told.rungs.items() if rung.training),
        _economics(asked.get("economics") or {}),
        inquiry,
    )
    spent = _sum([each for m in measured for each in (m.fit, m.measured)])
    verdict = decide(case, spent=spent, simulated=simulated, provenance={"look": told.facts.get("look"), **asked})
    return replace(verdict, rung=None, because=())


def _measurement(name: str, rung: Heard, holdout: Sequence[Example]) -> Measurement:
    """Its predictions on the holdout's first rows without a gap: an answer that came sooner waits for those before."""
    asked = (rung.predictions.get(example.id) for example in holdout)
    first: tuple[Prediction, ...] = tuple(found for found in takewhile(lambda p: p is not None, asked) if found)
    return Measurement(
        name,
        first,
        training=rung.training,
        uses_llm=rung.uses_llm,
        trials=tuple(rung.trials),
        notes=rung.notes,
        fit=rung.fit,
        measured=rung.measured,
        raced_over=len(holdout),
    )


def _economics(asked: Mapping[str, Any]) -> Economics:
    prices = {name: Price(**asked[name]) for name in PRICES if asked.get(name)}
    return Economics(**{**asked, **prices})


def _sum(parts: Sequence[Spent]) -> Spent:
    paid = [part.usd for part in parts if part.calls]
    known = [usd for usd in paid if usd is not None]
    return Spent(
        calls=sum(part.calls for part in parts),
        prompt_tokens=sum(part.prompt_tokens for part in parts),
        completion_tokens=sum(part.completion_tokens for part in parts),
        usd=sum(known) if known and len(known) == len(paid) else None,
        seconds=sum(part.seconds for part in parts),
        cached_tokens=sum(part.cached_tokens for part in parts),
        estimated=sum(part.estimated for part in parts),
        form_missed=sum(part.form_missed for part in parts),
    )


# ---------------------------------------------------------------- what it does now, in words


def under_way(told: Told, *, alive: bool, quiet_for: float) -> UnderWay:
    """What to say beside the record. `quiet_for` is in seconds."""
    if told.ended:
        return UnderWay("ended", "", ())
    lines = [one_line(text) for text in told.noted]
    lines += [f"{one_line(name)} skipped: {one_line(why)}" for name, why in told.skipped.items()]
    if not alive:
        return UnderWay("cut off", "The run was cut off; `shouldtune run` on its task goes on with it.", tuple(lines))
    waited = f" Nothing new for {duration(quiet_for)}." if quiet_for >= 20 else ""
    return UnderWay("going", f"{doing(told)}{waited}", tuple(lines))


def doing(told: Told) -> str:
    """The newest line in words: `[5/14] few_shot: measuring, 34 of at most 180, quality 0.62`."""
    event, head = told.now, _head(told)
    name = one_line(event.get("name") or "")
    match event.get("event"):
        case "predicted" | "measuring":
            given = [p.score.value for p in told.rungs[event["name"]].predictions.values() if p.score]
            quality = f", quality {score(sum(given) / len(given))}" if given else ""
            done = len(told.rungs[event["name"]].predictions)
            return f"{name}: measuring, {done:,} of at most {counted(told.total, 'example')}{quality}."
        case "called":
            return f"{head}: {PURPOSES.get(event['purpose'], 'asking')}, {counted(event['calls'], 'answer')}."
        case "trained":
            return f"{head}: training, step {event['done']:,} of {event['total']:,}, loss {event['loss']:.3f}."
        case "measured":
            return f"{name}: measured for now."
        case "rung" | "tried":
            return f"{head}: fitting on the training half."
        case "skipped":
            return f"{name}: skipped."
    return "Looking at the data."


def _head(told: Told) -> str:
    if told.position is None:
        return "Before the first rung"
    name, position, total = told.position
    return f"[{position}/{total}] {one_line(name)}"
