"""The forms in which models write function calls: JSON of several kinds, or Python text."""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shouldtune.scorers.answer_code import python_tree

MOST_CHARACTERS = 20_000
MOST_TRIES = 200
"""Openings of a JSON value that are tried in one answer."""
BROKEN = re.compile(
    r'"(?:name|arguments|parameters|tool_calls|function)"\s*:|<tool_call>|"calls"\s*:\s*(?:\[\s*)?(?:\{|\Z)'
)
"""What an answer that tries to call holds, though its calls cannot be read: it was cut off, say."""
OPENED = re.compile(r"^[ \t`\[-]*(?:\w+\s*=\s*)?([A-Za-z_][\w.]*)\((\s*\w+\s*=(?!=))?", re.MULTILINE)
"""A call in Python at the beginning of a line: its function, and its first argument's name."""


@dataclass(frozen=True)
class FunctionCall:
    """One call: a function's name, and its arguments by name."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """The calls in an answer; none of them in prose and in an empty list."""

    calls: tuple[FunctionCall, ...] = ()
    broken: bool = False
    """It tries to call, but cannot be read."""


def read_answer(text: str, functions: Collection[str] = ()) -> Answer:
    """The calls in an answer.

    JSON: `{"calls": [...]}`, one `{"name", "arguments"}` or a list of them, `tool_calls` as OpenAI writes them; alone,
    in a code block, in <tool_call> tags or among words. Python: `f(a=1)` or `[f(a=1), g()]`, as the whole answer or a
    code block; among words only on a line of its own, and only a function that there is.
    """
    text = text[:MOST_CHARACTERS]
    found = _from_python(text.strip())
    if found:
        return Answer(tuple(found))
    told = False
    for value in _json_values(text):
        try:
            calls = _from_json(value)
        except RecursionError:  # lists in lists in lists
            continue
        told = told or calls is not None
        found += calls or []
    if not found:
        found = next(filter(None, map(_from_python, _blocks(text))), [])
    if not found:
        lines = [_from_python(line.strip().strip("`").removeprefix("- ")) for line in text.splitlines()]
        found = [call for line in lines if all(call.name in functions for call in line) for call in line]
    return Answer(tuple(found), broken=not found and not told and _tries(text, functions))


def _tries(text: str, functions: Collection[str]) -> bool:
    """Whether an answer whose calls cannot be read tries to call: in JSON, a known function, or any with a named
    argument."""
    for match in OPENED.finditer(text):
        rest = text[match.start() :].strip()
        cut_off = rest.count("(") > rest.count(")")
        alone = rest.split("\n", 1)[0].rstrip(" `;").endswith(")")  # and not a word about a function
        if (match[1] in functions or match[2]) and (cut_off or alone):
            return True
    return BROKEN.search(text) is not None


def _json_values(text: str) -> Iterator[Any]:
    decoder, position = json.JSONDecoder(), 0
    for _ in range(MOST_TRIES):
        opening = re.compile(r"[{\[]").search(text, position)
        if opening is None:
            return
        try:
            value, position = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            position = opening.start() + 1
            continue
        yield value


def _from_json(value: Any) -> list[FunctionCall] | None:
    """The calls that a JSON value stands for; None where it stands for none of the known forms."""
    if isinstance(value, list):
        found = [_from_json(item) for item in value]
        if any(calls is None for calls in found):
            return None
        return [call for calls in found if calls for call in calls] if found else []
    if not isinstance(value, dict):
        return None
    for key in ("calls", "tool_calls"):
        if isinstance(value.get(key), list):
            return _from_json(value[key])
    if isinstance(value.get("function"), dict):
        return _from_json(value["function"])
    name = value.get("name")
    if not isinstance(name, str) or not ({"arguments", "parameters"} & set(value)):
        return None
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = {"arguments": arguments}
    return [FunctionCall(name, arguments if isinstance(arguments, dict) else {})]


def _blocks(text: str) -> list[str]:
    return [block.strip() for block in re.findall(r"```(?:\w+\n)?(.*?)(?:```|\Z)", text, re.DOTALL)]


def _from_python(code: str) -> list[FunctionCall]:
    """The calls of a text that consists of calls and nothing else."""
    if "(" not in code:
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = python_tree(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found = []
    for statement in body:
        value = statement.value if isinstance(statement, ast.Expr | ast.Assign) else None
        for node in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            if not isinstance(node, ast.Call):
                return []
            try:
                found.append(_call(node))
            except (RecursionError, MemoryError):  # it could be read, but is too deep to be written again
                return []
    return found


def _call(node: ast.Call) -> FunctionCall:
    arguments = {f"argument {number}": _value(value) for number, value in enumerate(node.args, 1)}  # no such name
    arguments |= {keyword.arg or "**": _value(keyword.value) for keyword in node.keywords}
    return FunctionCall(ast.unparse(node.func), arguments)


def _value(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ast.unparse(node)
    return list(value) if isinstance(value, tuple) else value
