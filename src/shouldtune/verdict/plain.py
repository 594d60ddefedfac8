"""The verdict as one JSON document, and back: the published shape of `verdict.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, TypeVar

from shouldtune.judgement import BreakEven, Comparison, Flip, MoneyTable, RungCost, RungResult, Verdict
from shouldtune.types import Spent

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
    document["rungs"] = tuple(_read(RungResult, {**row, "notes": tuple(row["notes"])}) for row in document["rungs"])
    document["comparisons"] = tuple(_read(Comparison, row) for row in document["comparisons"])
    document["spent"] = _read(Spent, document["spent"])
    document["economics"] = _money(document.get("economics"))
    document["sensitivity"] = tuple(_read(Flip, row) for row in document.get("sensitivity", ()))
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
