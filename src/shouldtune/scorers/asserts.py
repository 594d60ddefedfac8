"""Unit tests taken apart: what the sandbox is asked for, and what is checked out here.

`assert median([1, 3, 2]) == 2` is asked as `median([1, 3, 2])`; the value comes back as plain data and is compared
here with 2, which the process that runs the code never gets to see. So leaving early, a patched `assert`, an object
that equals everything, or words on the output pass no such test: only the right value does. So it is with `assert
abs(f(1) - 3.14) < 0.01`, asked as `f(1)`. What else stands around a call (`round(f(1), 2) == 3.14`) is worked out
inside, by functions that the answer may have made its own: it must still bring forth the right value. A test that
compares with nothing literal (`assert is_sorted(f(x))`, a `check(candidate)` function) must be worked out inside, and
there code that is bent on it can forge an answer.
"""

from __future__ import annotations

import ast
import functools
import json
import marshal
import operator
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from shouldtune.errors import CannotMeasure
from shouldtune.scorers.sandbox import Limits, Ran, run_python

Passes = Callable[[Any], bool]

_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}


@dataclass(frozen=True)
class Step:
    """One thing that the sandbox is asked to do."""

    source: str
    kind: Literal["eval", "exec"]
    passes: Passes
    """Whether the value that came back is right."""
    seen_from_outside: bool = False
    """Whether the right value stays out here."""


@dataclass(frozen=True)
class Opaque:
    """An object that is no plain data: it equals nothing, and is true or false."""

    truth: bool

    def __bool__(self) -> bool:
        return self.truth


@dataclass(frozen=True)
class Outcome:
    """What came of running code and its tests."""

    passed: tuple[bool, ...]
    """One for each test."""
    values: tuple[Any, ...]
    """What each step's expression gave; an Opaque where it is no plain data, None also where nothing came back."""
    errors: tuple[str, ...]
    """What the code, or a step, raised; the first first."""
    timed_out: bool
    crashed: bool
    """Whether it ended before all steps were told, by no limit of time: killed, out of memory, or it left."""


def steps_of(test: str) -> tuple[Step, ...]:
    """The steps of one test, which is one statement or several. SyntaxError where it is no Python."""
    return tuple(_step(statement) for statement in ast.parse(test).body)


def _step(statement: ast.stmt) -> Step:
    if not isinstance(statement, ast.Assert):
        return Step(ast.unparse(statement), "exec", lambda value: value is True)
    asked, wanted = statement.test, True
    while isinstance(asked, ast.UnaryOp) and isinstance(asked.op, ast.Not):
        asked, wanted = asked.operand, not wanted
    if isinstance(asked, ast.Compare) and len(asked.ops) == 1:
        compare, left, right = _COMPARED[type(asked.ops[0])], asked.left, asked.comparators[0]
        if (literal := _literal(right)) is not None:
            left, worked_out = _apart(left)
            return Step(ast.unparse(left), "eval", _compared(compare, wanted, worked_out, right=literal[0]), True)
        if (literal := _literal(left)) is not None:
            right, worked_out = _apart(right)
            return Step(ast.unparse(right), "eval", _compared(compare, wanted, worked_out, left=literal[0]), True)
    return Step(ast.unparse(asked), "eval", lambda value: bool(value) is wanted)


def _literal(node: ast.expr) -> tuple[Any] | None:
    """The value of an expression that is plain data, in a tuple of one."""
    try:
        return (ast.literal_eval(node),)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None


def _apart(node: ast.expr) -> tuple[ast.expr, Callable[[Any], Any]]:
    """(what the sandbox is asked for, what is made of its value out here). For `abs(X - literal)` that is X alone:
    inside, an `abs` of the answer's own would bring everything near to everything."""
    match node:
        case ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(left=left, op=ast.Sub(), right=right)], keywords=[]):
            if (literal := _literal(right)) is not None:
                return left, lambda value: abs(value - literal[0])
            if (literal := _literal(left)) is not None:
                return right, lambda value: abs(literal[0] - value)
    return node, lambda value: value


def _compared(
    compare: Callable[[Any, Any], Any], wanted: bool, worked_out: Callable[[Any], Any], **literal: Any
) -> Passes:
    def passes(value: Any) -> bool:
        value = worked_out(value)
        return bool(compare(literal.get("left", value), literal.get("right", value))) is wanted

    return passes


def run_steps(sources: Mapping[str, str], tests: Sequence[Sequence[Step]], limits: Limits = Limits()) -> Outcome:
    """Run `sources` (name: Python) one after another in one namespace, then the tests' steps, in a sandbox of its own.

    A test passes when all of its steps do. Blocks: call it from a thread. Raises InputError where there is no sandbox
    and CannotMeasure where it does not start.
    """
    steps = [step for test in tests for step in test]
    tokens = [secrets.token_hex(8) for _ in steps]
    given = b"".join(
        map(_packed, (list(sources.items()), [(t, s.kind, s.source) for t, s in zip(tokens, steps, strict=True)]))
    )
    ran = _started(given, limits)
    told, errors = _told(ran.output)
    found = [decoded(told[token]) if token in told else None for token in tokens]
    right = {token: _right(step, value) for token, step, value in zip(tokens, steps, found, strict=True)}
    of_tests, start = [], 0
    for test in tests:
        of_tests.append(all(right[token] for token in tokens[start : start + len(test)]))
        start += len(test)
    return Outcome(
        passed=tuple(of_tests),
        values=tuple(None if value is None else value[0] for value in found),
        errors=errors,
        timed_out=ran.timed_out or ran.exit_code in OUT_OF_TIME,
        crashed=ran.too_much or (ran.exit_code not in (0, None, *OUT_OF_TIME)) or _left_early(ran, len(steps)),
    )


OUT_OF_TIME = (128 + 24, 128 + 9)
"""Ended by the limit of processor time: SIGXCPU, or SIGKILL where that was caught."""


def _packed(value: Any) -> bytes:
    written = marshal.dumps(value)
    return len(written).to_bytes(4, "big") + written


def _started(given: bytes, limits: Limits) -> Ran:
    """Run it; once more where the sandbox itself did not start, as on a machine that is short of something."""
    for _ in range(2):
        ran = run_python(_inside(), given, limits)
        if ran.output.startswith(b"ready\n"):
            return ran
    raise CannotMeasure(f"the sandbox does not start: {ran.said.strip()[:300] or 'it says nothing'}")


@functools.cache
def _inside() -> str:
    return Path(__file__).with_name("inside.py").read_text(encoding="utf-8")


def _told(output: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    """(JSON by token, errors) of what the sandbox wrote; lines of another form are nobody's."""
    told: dict[str, str] = {}
    errors: list[str] = []
    for line in output.decode("ascii", "replace").splitlines():
        token, mark, rest = [*line.split(" ", 2), "", ""][:3]
        if mark == "=":
            told.setdefault(token, rest)
        elif mark == "!":
            errors.append(rest[:200])
    return told, tuple(errors)


def _left_early(ran: Ran, steps: int) -> bool:
    """Whether it ended of itself with steps untold: the code raised nothing and called the exit."""
    lines = ran.output.count(b" = ") + ran.output.count(b" ! ")
    return ran.exit_code == 0 and b"code ! " not in ran.output and lines < steps


def _right(step: Step, value: tuple[Any] | None) -> bool:
    if value is None:
        return False
    try:
        return step.passes(value[0])
    except (TypeError, ValueError, ArithmeticError, RecursionError):
        return False  # as an assert that raises


def decoded(text: str) -> tuple[Any] | None:
    """The value in a tuple of one; None where it is not of the form that inside.py writes."""
    try:
        return (_plain(json.loads(text)),)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        return None


MOST_DIGITS, MOST_EXPONENT, MOST_ALIKE = 4000, 5000, 100
"""What is read of a number, and how many members of one set may have the same hash. The lines come from code that
nobody has read, so nothing in a short one may take long out here, as `1e30000000` does where it becomes a Fraction."""


def _short(digits: str) -> str:
    if len(digits) > MOST_DIGITS:
        raise ValueError("too many digits")
    return digits


def _decimal(part: str) -> Decimal:
    value = Decimal(_short(part))
    if abs(value.adjusted()) > MOST_EXPONENT:
        raise ValueError("too large, or too near to 0")
    return value


def _fraction(part: str) -> Fraction:
    numerator, denominator = (int(_short(each), 16) for each in part.split("/"))
    return Fraction(numerator, denominator)


def _hashed(kind: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    """Makes a set, or a dict of pairs; ValueError for members that were chosen to have the same hash."""

    def made(parts: list[Any]) -> Any:
        keys = [part[0] for part in parts] if kind is dict else parts
        if parts and max(Counter(map(hash, keys)).values()) > MOST_ALIKE:
            raise ValueError("too many of one hash")
        return kind(parts)

    return made


_MADE: dict[str, Callable[[Any], Any]] = {
    "int": lambda part: int(part, 16),
    "float": lambda part: float(_short(part)),
    "complex": lambda part: complex(_short(part)),
    "bytes": bytes.fromhex,
    "Decimal": _decimal,
    "Fraction": _fraction,
    "object": Opaque,
}
_MANY: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": _hashed(set),
    "frozenset": _hashed(frozenset),
    "dict": _hashed(dict),
}


def _plain(part: Any) -> Any:
    if part is None or isinstance(part, bool | str):
        return part
    if not isinstance(part, list) or len(part) != 2:
        raise ValueError("no value")
    kind, inner = part
    if kind in _MANY:
        return _MANY[kind]([_plain(each) for each in inner])
    if kind not in _MADE or not isinstance(inner, str | bool):
        raise ValueError("no value")
    return _MADE[kind](inner)
