"""Function calls by the rules of the Berkeley Function Calling Leaderboard (Patil et al., ICML 2025), its AST check."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shouldtune.scorers.function_call_forms import FunctionCall, read_answer
from shouldtune.scorers.matching import unplaced
from shouldtune.types import Completion, Example, Score

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (float, int),  # an integer will do for a float, never a float for an integer
    "number": (float, int),
    "boolean": (bool,),
    "array": (list,),
    "tuple": (list,),
    "dict": (dict,),
    "object": (dict,),
}
"""What a described type allows; a type that is not here allows anything."""


@dataclass(frozen=True)
class Wanted:
    """One call that is wanted, with every accepted value of each argument."""

    name: str
    accepted: Mapping[str, Sequence[Any]]
    """The value "" among them says that the argument may be left out."""


@dataclass(frozen=True)
class Function:
    """A function that the model was offered."""

    name: str
    types: Mapping[str, str]
    """The described type of each argument."""
    required: tuple[str, ...]


def function_call(completion: Completion, example: Example) -> Score:
    """1 when the answer makes the wanted calls and no other, in any order; where none is wanted, when it makes none.

    A call is right when its function is the wanted one, every required argument is there, no unknown one is, and each
    value is among the accepted ones and of the described type; strings are compared with case, spaces and
    `, . / - _ * ^` aside. Accepted values stand in `meta.possible_answer` as on the leaderboard, or else are the
    targets' own. Beyond its rules an integer will do for a float inside lists too.
    Metrics: `right_name`; `unknown_function` (not among those offered); `wrongly_called`, of the rows where no call is
    right; `wrongly_silent`, of the others.
    """
    offered = functions(example.input)
    answer = read_answer(completion.text, offered)
    alternatives = _alternatives(example)
    wanted = alternatives[0]
    names = Counter(_plain(call.name) for call in answer.calls)
    called = bool(answer.calls) or answer.broken
    metrics = {"right_name": float(names == Counter(_plain(w.name) for w in wanted) and not answer.broken)}
    if offered:
        known = {_plain(name) for name in offered}
        metrics["unknown_function"] = float(any(name not in known for name in names))
    metrics["wrongly_silent" if wanted else "wrongly_called"] = float(called is not bool(wanted))
    if answer.broken:
        return Score(0.0, "a call that cannot be read", metrics)
    reasons = [_differs(answer.calls, calls, offered) for calls in alternatives]
    return Score(float("" in reasons), "" if "" in reasons else reasons[0], metrics)


def functions(text: str) -> dict[str, Function]:
    """The functions that an input offers, by name: `functions`, or `tools` as OpenAI writes them."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    listed = (value.get("functions") or value.get("tools")) if isinstance(value, dict) else None
    found = {}
    for item in listed if isinstance(listed, list) else ():
        item = item.get("function", item) if isinstance(item, dict) else None  # noqa: PLW2901
        if isinstance(item, dict) and isinstance(item.get("name"), str):
            found[item["name"]] = _function(item)
    return found


def _function(item: Mapping[str, Any]) -> Function:
    parameters = item.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    properties = parameters.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    types = {name: str(part.get("type")) if isinstance(part, dict) else "any" for name, part in properties.items()}
    required = parameters.get("required")
    return Function(item["name"], types, tuple(required) if isinstance(required, list) else ())


def _alternatives(example: Example) -> list[list[Wanted]]:
    """Every right answer as the calls that are wanted, the target's first."""
    own = [
        [Wanted(call.name, {name: [_as_accepted(v)] for name, v in call.arguments.items()}) for call in answer.calls]
        for answer in map(read_answer, example.answers)
    ]
    possible = example.meta.get("possible_answer")
    if not isinstance(possible, list) or not all(isinstance(call, dict) for call in possible):
        return own
    told = [Wanted(name, _lists(values)) for call in possible for name, values in call.items()]
    return [told, *own[1:]]


def _lists(values: Any) -> dict[str, Sequence[Any]]:
    named = values if isinstance(values, dict) else {}
    return {name: value if isinstance(value, list) else [value] for name, value in named.items()}


def _as_accepted(value: Any) -> Any:
    """A target's own value in the form of an accepted one: inside objects each value is a list of choices."""
    if isinstance(value, dict):
        return {name: [_as_accepted(part)] for name, part in value.items()}
    return [_as_accepted(part) for part in value] if isinstance(value, list) else value


def _differs(calls: Sequence[FunctionCall], wanted: Sequence[Wanted], offered: Mapping[str, Function]) -> str:
    """Why the calls are not the wanted ones; empty where they are, in whatever order."""
    if len(calls) != len(wanted):
        return f"{len(calls)} calls in place of {len(wanted)}"
    reasons = [[wrong(call, want, offered.get(want.name)) for call in calls] for want in wanted]
    missed = unplaced([[not reason for reason in of_want] for of_want in reasons])
    if missed is None:
        return ""
    of_name = [reason for reason in reasons[missed] if not reason.startswith("wrong function")]
    return next((reason for reason in (*of_name, *reasons[missed]) if reason), "the same call twice")


def wrong(call: FunctionCall, wanted: Wanted, function: Function | None) -> str:
    """What is wrong with one call; empty where nothing is. `function` is what was offered, where that is known."""
    if _plain(call.name) != _plain(wanted.name):
        return f"wrong function: {call.name}"
    for name in function.required if function is not None else ():
        if name not in call.arguments:
            return f"missing: {name}"
    for name, value in call.arguments.items():
        if name not in wanted.accepted or (function is not None and name not in function.types):
            return f"unknown argument: {name}"
        accepted = wanted.accepted[name]
        if not _typed(value, accepted, function.types[name] if function is not None else "any"):
            return f"wrong type: {name}"
        if not any(_same(value, choice) for choice in accepted):
            return f"wrong value: {name}"
    for name, accepted in wanted.accepted.items():
        if name not in call.arguments and "" not in accepted:
            return f"missing: {name}"
    return ""


def _typed(value: Any, accepted: Sequence[Any], described: str) -> bool:
    """Whether a value has the described type, or that of an accepted value (null, or a name for a number)."""
    allowed = TYPES.get(described)
    kinds = {type(choice) for choice in accepted if choice != ""}
    return allowed is None or type(value) in allowed or type(value) in kinds


def _same(value: Any, choice: Any) -> bool:
    """Whether a value is the accepted one, strings and numbers in normal form."""
    if isinstance(value, str) and isinstance(choice, str):
        return _normal(value) == _normal(choice)
    if isinstance(value, list) and isinstance(choice, list):
        return len(value) == len(choice) and all(_same(v, c) for v, c in zip(value, choice, strict=True))
    if isinstance(value, dict) and isinstance(choice, dict):
        choices = _lists(choice)
        return value == choice or (
            all(name in choices and any(_same(part, c) for c in choices[name]) for name, part in value.items())
            and all(name in value or "" in choices[name] for name in choices)
        )
    return isinstance(value, bool) == isinstance(choice, bool) and bool(value == choice)


def _normal(text: str) -> str:
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')


def _plain(name: str) -> str:
    """Some servers allow no dots in names, so that `math.sum` comes back as `math_sum`."""
    return name.replace(".", "_")
