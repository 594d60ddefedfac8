"""JSON answers: field F1 and validity."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from shouldtune.types import Completion, Example, Score


def json_fields(schema: Mapping[str, Any] | None = None) -> Callable[[Completion, Example], Score]:
    """F1 over (path, value) pairs of the JSON answer and the target; 0 when the answer is no JSON.

    Items of a list count whatever their order; strings are compared with case and whitespace aside. Metrics: `valid`
    (the whole answer is one JSON value, and satisfies `schema` where there is one) and `exact`.
    """
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(dict(schema)) if schema is not None else None

    def score(completion: Completion, example: Example) -> Score:
        answer, clean = parse(completion.text)
        if answer is None:
            return Score(0.0, "not JSON", {"valid": 0.0, "exact": 0.0})
        valid = clean and (validator is None or validator.is_valid(answer))
        found = Counter(pairs(answer))
        best, wrong = 0.0, ""
        for accepted in example.answers:
            wanted = Counter(pairs(json.loads(accepted)))
            total = sum(found.values()) + sum(wanted.values())
            value = 2 * sum((found & wanted).values()) / total if total else 1.0
            if value >= best:
                best, wrong = value, _differences(found, wanted)
        return Score(best, wrong, {"valid": float(valid), "exact": float(best == 1.0)})

    return score


def parse(text: str) -> tuple[Any | None, bool]:
    """(the JSON value in an answer, whether it was the whole answer); (None, False) where there is none."""
    bare = text.strip()
    try:
        return json.loads(bare), True
    except (ValueError, RecursionError):
        pass
    fenced = re.search(r"```(?:json)?\s*(.*?)```", bare, re.DOTALL)
    inner = fenced.group(1) if fenced else bare
    start = min((i for i in (inner.find("{"), inner.find("[")) if i >= 0), default=-1)
    if start < 0:
        return None, False
    try:
        return json.JSONDecoder().raw_decode(inner[start:])[0], False
    except (ValueError, RecursionError):
        return None, False


def pairs(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every leaf as (path, value in a normal form); an empty object or list, and null, count as leaves too."""
    if isinstance(value, dict) and value:
        for key in value:
            yield from pairs(value[key], f"{path}.{key}")
    elif isinstance(value, list) and value:
        for item in value:
            yield from pairs(item, f"{path}[]")
    elif isinstance(value, str):
        yield path, " ".join(value.casefold().split())
    else:
        yield path, json.dumps(float(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _differences(found: Counter[tuple[str, str]], wanted: Counter[tuple[str, str]]) -> str:
    missing = sorted({path.lstrip(".") for path, _ in wanted - found})
    invented = sorted({path.lstrip(".") for path, _ in found - wanted} - set(missing))
    parts = [f"wrong or missing: {', '.join(missing[:4])}"] if missing else []
    parts += [f"invented: {', '.join(invented[:4])}"] if invented else []
    return "; ".join(parts)
