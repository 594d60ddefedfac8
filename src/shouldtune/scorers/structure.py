"""JSON answers: field F1, validity and types."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shouldtune.types import Completion, Example, Graded, Score

FIELDS_SHOWN = 20
"""At most so many paths have an F1 of their own, the most frequent."""
MOST_NESTED = 100


@dataclass(frozen=True)
class JsonFields:
    """F1 over (path, value) pairs of the JSON answer and the target; 0 when the answer is no JSON.

    Items of a list count whatever their order; strings are compared with case and whitespace aside. Metrics: `valid`
    (the whole answer is one JSON value, and satisfies `schema` where there is one), `exact`, and `type_errors`, the
    share of the paths in both whose values are of different JSON types (`"1"` for `1`). Overall: `field_f1` over the
    pairs of all answers, by path too, and `nested_f1` over those inside another object or list. An answer that is no
    JSON has no pair.
    """

    schema: Mapping[str, Any] | None = None

    @cached_property
    def _validator(self) -> Any:
        from jsonschema import Draft202012Validator

        return None if self.schema is None else Draft202012Validator(dict(self.schema))

    def __call__(self, completion: Completion, example: Example) -> Score:
        read = parse(completion.text)
        if read is None:
            return Score(0.0, "not JSON", {"valid": 0.0, "exact": 0.0})
        answer, clean = read
        valid = clean and (self._validator is None or self._validator.is_valid(answer))
        right = nearest(answer, example)
        if right is None:
            return Score(0.0, "no right answer is JSON", {"valid": float(valid), "exact": 0.0})
        wanted, value = right
        wrong = _differences(Counter(pairs(answer)), Counter(pairs(wanted)))
        metrics = {"valid": float(valid), "exact": float(value == 1.0), "type_errors": _type_errors(answer, wanted)}
        return Score(value, wrong, metrics)

    def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
        told, said, right = Counter[str](), Counter[str](), Counter[str]()
        for example, completion, _ in rows:
            read = parse(completion.text)
            given = Counter[tuple[str, str]]() if read is None else Counter(pairs(read[0]))
            wanted = nearest(None if read is None else read[0], example)
            gold = Counter[tuple[str, str]]() if wanted is None else Counter(pairs(wanted[0]))
            for counts, each in ((told, gold), (said, given), (right, given & gold)):
                for (path, _), times in each.items():
                    counts[path] += times
        nested = {path for path in (*told, *said) if path.lstrip(".[]").count(".") or "[]" in path}
        scores = {"field_f1": _f1(told, said, right, {*told, *said})}
        scores |= {"nested_f1": _f1(told, said, right, nested)} if nested else {}
        for path, _ in told.most_common(FIELDS_SHOWN):
            scores[f"field_f1 {path.lstrip('.') or 'value'}"] = _f1(told, said, right, {path})
        return scores


def json_fields(schema: Mapping[str, Any] | None = None) -> JsonFields:
    """The scorer `json`, which knows the answer's schema where the task has one."""
    return JsonFields(schema)


def nearest(answer: Any, example: Example) -> tuple[Any, float] | None:
    """(the right answer that an answer comes nearest to, the F1 of their pairs); the last of equals.

    Right answers that are no JSON are passed over; None where none is left.
    """
    found = Counter(pairs(answer))
    best: tuple[Any, float] | None = None
    for accepted in example.answers:
        right = _loaded(accepted)
        if right is None:
            continue
        wanted = Counter(pairs(right[0]))
        total = found.total() + wanted.total()
        value = 2 * (found & wanted).total() / total if total else 1.0
        if best is None or value >= best[1]:
            best = right[0], value
    return best


def _f1(told: Counter[str], said: Counter[str], right: Counter[str], paths: Set[str]) -> float:
    total = sum(told[path] + said[path] for path in paths)
    return 2 * sum(right[path] for path in paths) / total if total else 0.0


def _type_errors(found: Any, wanted: Any) -> float:
    """The share of the paths in both where no value of the one is of a type that the other has."""
    kinds = [defaultdict[str, set[str]](set), defaultdict[str, set[str]](set)]
    for value, of in zip((found, wanted), kinds, strict=True):
        for path, kind in _types(value):
            of[path].add(kind)
    both = kinds[0].keys() & kinds[1].keys()
    return sum(not kinds[0][path] & kinds[1][path] for path in both) / len(both) if both else 0.0


def _types(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(path, JSON type) of every value, containers too."""
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "array"}
    yield path, names.get(type(value), "null")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _types(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _types(inner, f"{path}[]")


def parse(text: str) -> tuple[Any, bool] | None:
    """(the JSON value in an answer, whether it was the whole answer); None where there is none, or one nested too deep
    to be read."""
    bare = text.strip()
    if (whole := _loaded(bare)) is not None:
        return whole[0], True
    fenced = re.search(r"```(?:json)?\s*(.*?)```", bare, re.DOTALL)
    inner = fenced.group(1) if fenced else bare
    start = min((i for i in (inner.find("{"), inner.find("[")) if i >= 0), default=-1)
    if start < 0:
        return None
    try:
        found = json.JSONDecoder().raw_decode(inner[start:])[0]
    except (ValueError, RecursionError):
        return None
    return None if _deeper(found, MOST_NESTED) else (found, False)


def _loaded(text: str) -> tuple[Any] | None:
    """A JSON text's value in a tuple of one, so that `null` is a value."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return None if _deeper(found, MOST_NESTED) else (found,)


def _deeper(value: Any, most: int) -> bool:
    """Whether objects and lists are nested more than `most` deep."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return most < 0 or any(_deeper(each, most - 1) for each in inner)


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
        yield path, json.dumps(_number(value) if isinstance(value, int) and not isinstance(value, bool) else value)


def _number(value: int) -> float | str:
    """1 and 1.0 are one number; an integer that no float holds stays as it is written."""
    try:
        return float(value)
    except OverflowError:
        return str(value)


def _differences(found: Counter[tuple[str, str]], wanted: Counter[tuple[str, str]]) -> str:
    missing = sorted({path.lstrip(".") for path, _ in wanted - found})
    invented = sorted({path.lstrip(".") for path, _ in found - wanted} - set(missing))
    parts = [f"wrong or missing: {', '.join(missing[:4])}"] if missing else []
    parts += [f"invented: {', '.join(invented[:4])}"] if invented else []
    return "; ".join(parts)
