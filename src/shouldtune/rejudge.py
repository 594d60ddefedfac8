"""A finished run judged again under another goal, price, volume or horizon: for nothing, no model is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from pydantic import ValidationError

from shouldtune.errors import InputError
from shouldtune.judgement import Economics, Price
from shouldtune.looks import goal_at_look
from shouldtune.run import RunRecord
from shouldtune.task.file import TUNED, EconomicsPart, GoalPart, Part, UsePricePart
from shouldtune.types import Goal
from shouldtune.verdict.case import NOT_REACHED, Case
from shouldtune.verdict.decide import decide
from shouldtune.verdict.sensitivity import flips
from shouldtune.verdict.shelf_life import shelf_life

Settings = dict[str, dict[str, Any]]
"""By part (`goal`, `economics`, `prices.NAME`), the values that stand in it."""

Changed = dict[str, tuple[float | None, float | None]]
"""By key, what it was and what it is now."""


def judge_again(record: RunRecord, changes: Sequence[str]) -> RunRecord:
    """The run under `changes`, each `key=value`; its folder stays as it is.

    The verdict's provenance says what was changed, from what to what. InputError for a key that is not known, a value
    that cannot stand there, or a run in which nothing was measured.

    Is it a look at the holdout? Nothing new is scored, and a limit that holds does so for every line that it is held
    against: each is a single event, whatever goal, gain or price is compared with it. So no alpha is spent, and the
    run's own look gives the level. But a goal that is chosen after the scores were seen was chosen to fit. What comes
    of it explores and confirms nothing, and every form of the report says so.
    """
    if not record.measurements:
        raise InputError(
            "nothing was measured in this run, so there is nothing to judge again",
            where=record.folder,
            hint="`shouldtune run` on its task measures",
        )
    goal, economics, changed = settings_changed(record.asked, changes)
    return _judged(record, goal, economics, changed)


def settings_changed(asked: Mapping[str, Any], changes: Sequence[str]) -> tuple[Goal, Economics, Changed]:
    """Goal and money of a run that was asked this, under `changes`, each `key=value`. InputError."""
    settings = _settings(asked)
    changed: Changed = {}
    for change in changes:
        key, part, name, value = _parsed(change, settings)
        if key in changed:
            raise InputError(f"--set {key} stands twice", hint="give each key once")
        changed[key] = (settings[part].get(name), value)
        settings[part][name] = value
    goal = Goal(**_checked(GoalPart, "goal", settings, changed))
    prompted, tuned, *strong = (part for part in settings if part.startswith("prices."))
    economics = replace(
        Economics(**_checked(EconomicsPart, "economics", settings, changed)),
        prompt_price=_price(asked, "prompt_price", prompted, settings, changed),
        tuned_price=_price(asked, "tuned_price", tuned, settings, changed),
        strong_price=_price(asked, "strong_price", strong[0], settings, changed) if strong else None,
    )
    return goal, economics, changed


def _judged(record: RunRecord, goal: Goal, economics: Economics, changed: Changed) -> RunRecord:
    rungs, asked = record.verdict.rungs, {"goal": asdict(goal), "economics": asdict(economics)}
    unapplied = {rung.name: rung.skipped_because or "" for rung in rungs if not rung.applied}
    skipped = {name: why for name, why in unapplied.items() if why != NOT_REACHED}
    looked = goal_at_look(goal, record.verdict.provenance.get("look"))
    planned = record.verdict.provenance.get("planned") or [rung.name for rung in rungs]
    trains = tuple(record.verdict.provenance.get("trains") or ())
    case = Case(looked, record.measurements, skipped, tuple(planned), trains, economics, record.inquiry)
    if (record.verdict.provenance.get("budget") or {}).get("ended"):
        case = replace(case, budget_ended=True)
    told: dict[str, Any] = {"judged_again": {key: list(pair) for key, pair in changed.items()}}
    if "look" in record.verdict.provenance:
        told["alpha"] = round(1 - looked.confidence, 12)
    verdict = decide(
        case,
        spent=record.verdict.spent,
        simulated=record.verdict.simulated,
        provenance={**record.verdict.provenance, **asked, **told},
    )
    verdict = replace(verdict, sensitivity=flips(case))
    verdict = replace(verdict, shelf_life=shelf_life(verdict, verdict.provenance))
    return replace(record, asked={**record.asked, **asked}, verdict=verdict)


def _settings(asked: Mapping[str, Any]) -> Settings:
    """What the run was asked, as the task file has it; the prompted model's price first, then the tuned one's."""
    money = dict(asked.get("economics") or {})
    prices = [(str(asked.get("model")), money.pop("prompt_price", None)), (TUNED, money.pop("tuned_price", None))]
    strong = money.pop("strong_price", None)
    prices += [(str(asked["strong"]), strong)] if asked.get("strong") else []
    listed = {
        f"prices.{name}": {key: price.get(key) for key in UsePricePart.model_fields} if price else {}
        for name, price in prices
    }
    return {"goal": dict(asked.get("goal") or {}), "economics": money, **listed}


def _parsed(change: str, settings: Settings) -> tuple[str, str, str, float | None]:
    """(key, part, name, value) of one `key=value`; a model's name may itself have an equals sign."""
    key, equals, text = (piece.strip() for piece in change.rpartition("="))
    part, _, name = key.rpartition(".")
    if not equals or part not in settings or name not in _form(part).model_fields:
        raise InputError(f"--set {change}: this is no key=value that can be changed", hint=_keys(settings))
    try:
        return key, part, name, None if text == "null" else float(text)
    except ValueError:
        raise InputError(f"--set {change}: {text!r} is no number", hint=_keys(settings)) from None


def _checked(form: type[Part], part: str, settings: Settings, changed: Changed) -> dict[str, Any]:
    """The part's values, as the task file would take them."""
    try:
        return form.model_validate(settings[part]).model_dump()
    except ValidationError as error:
        problem = error.errors()[0]
        key = f"{part}.{problem['loc'][0]}"
        said = "is missing, a price needs both" if problem["type"] == "missing" else problem["msg"].lower()
        raise InputError(
            f"--set {key}{f'={changed[key][1]}' if key in changed else ''}: {said}", hint=_keys(settings)
        ) from None


def _price(asked: Mapping[str, Any], field: str, part: str, settings: Settings, changed: Changed) -> Price | None:
    """A model's price: the run's own where it was not changed, none where it was taken away."""
    if any(key.startswith(f"{part}.") for key in changed):
        if all(value is None for value in settings[part].values()):
            return None
        return Price(**_checked(UsePricePart, part, settings, changed), source="--set")
    listed = (asked.get("economics") or {}).get(field)
    return Price(**listed) if listed else None


def _form(part: str) -> type[Part]:
    forms: dict[str, type[Part]] = {"goal": GoalPart, "economics": EconomicsPart}
    return forms.get(part, UsePricePart)


def _keys(settings: Settings) -> str:
    names = [f"{part}.{name}" for part in settings for name in _form(part).model_fields]
    return f"the keys are {', '.join(names)}; a value is a number or null"
