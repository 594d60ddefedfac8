"""A Python call against the right call: same function, same arguments."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shouldtune.types import Completion, Document, Example, Score


@dataclass(frozen=True)
class Call:
    """A parsed call: its function's dotted name and its arguments, each in Python's own normal form."""

    function: str
    positional: tuple[str, ...]
    named: frozenset[tuple[str, str]]

    @property
    def api(self) -> tuple[str, tuple[str, ...]]:
        """What names the API: the function, and its literal strings (a hub's `load` names the model in one)."""
        values = [*self.positional, *(value for _, value in sorted(self.named))]
        return self.function, tuple(value for value in values if value[:1] in "'\"")


def call(documents: Iterable[Document] = ()) -> Callable[[Completion, Example], Score]:
    """1 when the first call in the answer has the right function and the same arguments, order of keywords aside.

    Stricter than the sub-tree match published with APIBench (Patil et al., "Gorilla", 2023), which lets a constant
    answer score 85% on one of its hubs. Where documents carry `meta.api_call`, a wrong answer is told apart as
    `wrong_api` (another of those) or `no_such_api` (none of them: invented); `no_call` is an answer without any call.
    """
    listed = (document.meta.get("api_call") for document in documents)
    known = {found.api for text in listed if isinstance(text, str) and (found := first_call(text)) is not None}

    def score(completion: Completion, example: Example) -> Score:
        answer = first_call(completion.text)
        if answer is None:
            return _score("no_call", "no call", known=bool(known))
        right = [first_call(accepted) for accepted in example.answers]
        if answer in right:
            return _score("right", "", known=bool(known))
        if any(wanted is not None and wanted.api == answer.api for wanted in right):
            return _score("wrong_arguments", "right function, wrong arguments", known=bool(known))
        if known and answer.api not in known:
            return _score("no_such_api", f"no such API: {answer.function}", known=True)
        return _score("wrong_api", f"wrong API: {answer.function}", known=bool(known))

    return score


_KINDS = ("right", "wrong_arguments", "wrong_api", "no_such_api", "no_call")


def _score(kind: str, reason: str, *, known: bool) -> Score:
    kinds = _KINDS if known else tuple(name for name in _KINDS if name != "no_such_api")
    return Score(float(kind == "right"), reason, {name: float(name == kind) for name in kinds})


def first_call(text: str) -> Call | None:
    """The first outermost call in an answer: plain, in a code block, or on a line of its own among words."""
    for candidate in _candidates(text):
        tree = _parse(candidate)
        if tree is None:
            continue
        found = _outermost(tree)
        if found is not None:
            return found
    return None


def _candidates(text: str) -> Iterable[str]:
    yield textwrap.dedent(text).strip()
    for block in re.findall(r"```(?:\w+\n)?(.*?)(?:```|\Z)", text, re.DOTALL):
        yield textwrap.dedent(block).strip()
    for line in text.splitlines():
        yield line.strip().strip("`").removeprefix(">>> ").rstrip(":;,.")
    yield from re.findall(r"`([^`\n]+)`", text)
    opening = re.search(r"[A-Za-z_][\w.]*\(", text)
    if opening is not None:  # a call in the middle of a sentence
        yield _balanced(text[opening.start() :])


def _balanced(text: str) -> str:
    """The text up to the bracket that closes its first one; all of it when none does."""
    depth = 0
    for index, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in ")]}":
            return text[: index + 1]
    return text


def _parse(code: str) -> ast.AST | None:
    if "(" not in code or len(code) > 20_000:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # model text may hold invalid escapes; that is its own affair
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _outermost(tree: ast.AST) -> Call | None:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    inside = {id(child) for node in calls for child in ast.walk(node) if child is not node}
    outer = [node for node in calls if id(node) not in inside]
    if not outer:
        return None
    first = min(outer, key=lambda node: (node.lineno, node.col_offset))
    try:
        return Call(
            function=ast.unparse(first.func),
            positional=tuple(ast.unparse(argument) for argument in first.args),
            named=frozenset((keyword.arg or "**", ast.unparse(keyword.value)) for keyword in first.keywords),
        )
    except RecursionError:
        return None
