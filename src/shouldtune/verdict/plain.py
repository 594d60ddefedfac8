"""The verdict as one JSON document, and back: the published shape of `verdict.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from shouldtune.causes import Diagnosed, Forecasted, Forgetting, MoreShots
from shouldtune.judgement import BreakEven, Comparison, Flip, MoneyTable, RungCost, RungResult, ShelfLife, Verdict
from shouldtune.types import Spent
from shouldtune.verdict.inquiry import Inquiry

Noun = TypeVar("Noun")


def verdict_to_json(verdict: Verdict) -> str:
    """Sorted keys, null for the unknown, ASCII with escapes (no byte that a terminal would obey), no time of day.

    Two runs that found the same give the same bytes. NaN and infinity are refused with ValueError.
    """
    document = asdict(verdict)
    document["spent"]["tokens"] = verdict.spent.prompt_tokens + verdict.spent.completion_tokens
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def verdict_from_json(text: str) -> Verdict:
    """The Verdict that `verdict_to_json` wrote. Keys that this version does not know are passed over."""
    document = json.loads(text)
    document["because"] = tuple(document["because"])
    document["rungs"] = tuple(from_plain(RungResult, row) for row in document["rungs"])
    document["comparisons"] = tuple(_read(Comparison, row) for row in document["comparisons"])
    document["spent"] = _read(Spent, document["spent"])
    document["economics"] = _money(document.get("economics"))
    document["diagnosis"] = from_plain(Diagnosed, document.get("diagnosis"))
    document["forecast"] = from_plain(Forecasted, document.get("forecast"))
    document["forgetting"] = from_plain(Forgetting, document.get("forgetting"))
    document["shots"] = tuple(from_plain(MoreShots, row) for row in document.get("shots", ()))
    document["sensitivity"] = tuple(_read(Flip, row) for row in document.get("sensitivity", ()))
    document["shelf_life"] = from_plain(ShelfLife, document.get("shelf_life"))
    return _read(Verdict, document)


def _money(table: Mapping[str, Any] | None) -> MoneyTable | None:
    if table is None:
        return None
    costs = tuple(_read(RungCost, row) for row in table["costs"])
    crossings = tuple(_read(BreakEven, row) for row in table["break_even"])
    return _read(MoneyTable, {**table, "costs": costs, "break_even": crossings})


def _read(noun: type[Noun], row: Mapping[str, Any]) -> Noun:
    known = {field.name for field in fields(noun)}  # type: ignore[arg-type]
    return noun(**{name: value for name, value in row.items() if name in known})


def inquiry_to_json(inquiry: Inquiry) -> str:
    """What was looked into, so that a run can be judged again; sorted, for the same bytes from the same findings."""
    return json.dumps(asdict(inquiry), indent=1, sort_keys=True, allow_nan=False, default=sorted) + "\n"


def inquiry_from_json(text: str) -> Inquiry:
    """The Inquiry that `inquiry_to_json` wrote."""
    found: Inquiry = from_plain(Inquiry, json.loads(text))
    return found


def from_plain(kind: Any, value: Any) -> Any:
    """The value of this type that `asdict` and JSON made plain. Unknown keys are passed over."""
    if value is None:
        return None
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return from_plain(next(each for each in inside if each is not type(None)), value)
    if origin is tuple:
        kinds = inside[:1] * len(value) if inside[-1] is Ellipsis else inside
        return tuple(from_plain(each, item) for each, item in zip(kinds, value, strict=True))
    if origin is frozenset:
        return frozenset(value)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {key: from_plain(inside[1], item) for key, item in value.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        return kind(**{f.name: from_plain(hints[f.name], value[f.name]) for f in fields(kind) if f.name in value})
    return value
