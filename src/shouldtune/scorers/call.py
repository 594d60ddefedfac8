"""A Python call against the right call: same function, same arguments."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from shouldtune.scorers import api_bench
from shouldtune.scorers.answer_code import python_tree
from shouldtune.types import Completion, Document, Example, Score

Api = tuple[str, tuple[str, ...]]


@dataclass(frozen=True)
class Call:
    """A parsed call: its function's dotted name and its arguments, each in Python's own normal form."""

    function: str
    positional: tuple[str, ...]
    named: frozenset[tuple[str, str]]

    @property
    def api(self) -> Api:
        """What names the API: the function, and its literal strings (a hub's `load` names the model in one)."""
        values = [*self.positional, *(value for _, value in sorted(self.named))]
        return self.function, tuple(value for value in values if value[:1] in "'\"")


def call(documents: Iterable[Document] = ()) -> Callable[[Completion, Example], Score]:
    """1 when the first call in the answer has the right function and the same arguments, order of keywords aside.

    Stricter than the sub-tree match published with APIBench (Patil et al., "Gorilla", 2023), which lets a constant
    answer score 85% on one of its hubs. Where documents carry `meta.api_call`, a wrong answer is told apart as
    `wrong_api` (another of those) or `no_such_api` (none of them: invented); `no_call` is an answer without any call.
    Where they carry `meta.domain` too, and tree-sitter is installed, the published measures stand among the metrics.
    """
    documents = tuple(documents)
    listed = (document.meta.get("api_call") for document in documents)
    known = frozenset(found.api for text in listed if isinstance(text, str) and (found := first_call(text)) is not None)
    published = api_bench.measures(documents) if api_bench.available() else None

    def score(completion: Completion, example: Example) -> Score:
        kind, reason = _judge(completion.text, example, known)
        kinds = _KINDS if known else tuple(name for name in _KINDS if name != "no_such_api")
        metrics = {name: float(name == kind) for name in kinds}
        also = published(completion, example) if published is not None else {}
        return Score(float(kind == "right"), reason, {**metrics, **also})

    return score


_KINDS = ("right", "wrong_arguments", "wrong_api", "no_such_api", "no_call")


def _judge(text: str, example: Example, known: frozenset[Api]) -> tuple[str, str]:
    """(one of _KINDS, the reason in words) for an answer."""
    answer = first_call(text)
    right = [first_call(accepted) for accepted in example.answers]
    for accepted, wanted in zip(example.answers, right, strict=True):
        if wanted is None and (odd := as_written(accepted)) is not None and odd == as_written(text):
            return "right", ""
    if answer is None:
        return "no_call", "no call"
    if answer in right:
        return "right", ""
    if any(wanted is not None and wanted.api == answer.api for wanted in right):
        return "wrong_arguments", "right function, wrong arguments"
    if known and answer.api not in known:
        return "no_such_api", f"no such API: {answer.function}"
    return "wrong_api", f"wrong API: {answer.function}"


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


def as_written(text: str) -> Call | None:
    """A call that is not quite Python, read by its brackets and commas alone.

    Data sets hold such targets: a positional argument after a named one, a string without quotes.
    """
    opening = re.search(r"([A-Za-z_][\w.]*)\(", text)
    if opening is None:
        return None
    inside = _balanced(text[opening.end() - 1 :])[1:-1]
    positional, named = [], set()
    for argument in _split(inside):
        keyword = re.match(r"(\w+)\s*=(?!=)(.*)", argument, re.DOTALL)
        if keyword is not None:
            named.add((keyword[1], _normal(keyword[2])))
        elif argument:
            positional.append(_normal(argument))
    return Call(opening[1], tuple(positional), frozenset(named))


def _split(inside: str) -> Iterator[str]:
    """The arguments between two brackets, cut at the commas that stand in no quotes and no inner brackets."""
    depth, quote, start = 0, "", 0
    for index, character in enumerate(inside):
        if quote or character in "'\"":
            quote = "" if quote == character else quote or character
        elif character == "," and depth == 0:
            yield inside[start:index].strip()
            start = index + 1
        else:
            depth += (character in "([{") - (character in ")]}")
    yield inside[start:].strip()


def _normal(value: str) -> str:
    tree = _parse(f"({value})")
    return ast.unparse(tree) if tree is not None else value.strip()


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
            return python_tree(code)
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
