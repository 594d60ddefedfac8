"""The code in an answer: all of it, a fenced block, or a function among prose."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
import warnings
from collections.abc import Collection, Iterable, Iterator

LONGEST = 50_000
"""Characters; a longer answer is not read as code."""
MOST_CUTS = 200
_BEGINS = re.compile(r"^(?:def|class|import|from|async def|@)\b|^@", re.MULTILINE)
_FENCE = re.compile(r"```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)


def code_of(text: str, wanted: Collection[str] = ()) -> str | None:
    """The first reading of the answer that is Python and has all `wanted` names in it; else the first that is Python.

    None where no reading is Python: a syntax error. A first fence that is cut off runs to the end. In prose, code goes
    from the first line that begins a definition or an import as far as it is Python.
    """
    if len(text) > LONGEST:
        return None
    readings = [reading for reading in _readings(text.replace("\r\n", "\n")) if parsed(reading) is not None]
    return next((reading for reading in readings if has_names(reading, wanted)), next(iter(readings), None))


def has_names(code: str, wanted: Collection[str]) -> bool:
    """Whether all names stand in the code as words."""
    return all(re.search(rf"\b{re.escape(name)}\b", code) for name in wanted)


def names_needed(setup: str, tests: Iterable[str]) -> tuple[str, ...]:
    """Names that tests use and neither they, nor the setup, nor Python itself define: what an answer must bring."""
    used: dict[str, None] = {}
    known = set(dir(builtins))
    for source in (setup, *tests):
        tree = parsed(source)
        for node in () if tree is None else ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                used.setdefault(node.id)
            elif isinstance(node, ast.Name):
                known.add(node.id)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                known.add(node.name)
            elif isinstance(node, ast.arg):
                known.add(node.arg)
            elif isinstance(node, ast.alias):
                known.add((node.asname or node.name).partition(".")[0])
    return () if "*" in known else tuple(name for name in used if name not in known)


def parsed(code: str) -> ast.Module | None:
    """The tree of the code; None where it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an answer may hold invalid escapes; that is its own affair
            return python_tree(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def python_tree(code: str) -> ast.Module:
    """ast.parse; CPython 3.11 counts the depth of all threads in one place, and can lose count once."""
    try:
        return ast.parse(code)
    except SystemError:  # "AST constructor recursion depth mismatch": nothing is wrong with the code
        return ast.parse(code)


def _readings(text: str) -> Iterator[str]:
    yield textwrap.dedent(text).strip("\n")
    blocks = [textwrap.dedent(block).strip("\n") for block in _FENCE.findall(text)]
    yield from blocks
    if len(blocks) > 1:
        yield "\n\n".join(blocks)
    for place in (*blocks, text):
        begin = _BEGINS.search(place)
        if begin is not None:
            cut = _as_far_as_python(place[begin.start() :])
            if cut:
                yield cut


def _as_far_as_python(text: str) -> str:
    """The longest beginning, in whole lines, that is Python; found by cutting where the parser stumbles."""
    lines = text.splitlines()
    for _ in range(MOST_CUTS):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                python_tree("\n".join(lines))
        except SyntaxError as error:
            lines = lines[: min(len(lines), error.lineno or len(lines)) - 1]
        except (ValueError, RecursionError, MemoryError):
            return ""
        else:
            return "\n".join(lines)
    return ""
