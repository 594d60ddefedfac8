"""The verdict as one JSON document, and back: the published shape of `verdict.json`.

Keys are sorted, unknown numbers are null, and times of day stand only under `provenance`, so that two runs
that found the same thing differ nowhere else. Text is written in ASCII with escapes: exact for a program that
reads it, and without a byte that a terminal would obey.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, TypeVar

from shouldtune.types import Comparison, RungResult, Spent, Verdict

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

Noun = TypeVar("Noun")


def to_json(record: RunRecord) -> str:
    """The verdict with what was asked as its provenance. NaN and infinity are refused with ValueError."""
    document = asdict(record.verdict)
    document["spent"]["tokens"] = record.verdict.spent.prompt_tokens + record.verdict.spent.completion_tokens
    document["provenance"] = {**record.asked, **record.verdict.provenance}
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def verdict_from_json(text: str) -> Verdict:
    """The Verdict that `to_json` wrote. Keys that this version does not know are passed over."""
    document = json.loads(text)
    document["because"] = tuple(document["because"])
    document["rungs"] = tuple(_read(RungResult, {**row, "notes": tuple(row["notes"])}) for row in document["rungs"])
    document["comparisons"] = tuple(_read(Comparison, row) for row in document["comparisons"])
    document["spent"] = _read(Spent, document["spent"])
    return _read(Verdict, document)


def _read(noun: type[Noun], row: Mapping[str, Any]) -> Noun:
    known = {field.name for field in fields(noun)}  # type: ignore[arg-type]
    return noun(**{name: value for name, value in row.items() if name in known})
