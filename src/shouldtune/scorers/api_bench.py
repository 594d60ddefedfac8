"""The measure published with APIBench (Patil et al., "Gorilla", 2023), flaws and all, for comparison with its figures.

An answer is parsed by tree-sitter. It *is* the first API of the database, in its order, whose function opens one of the
answer's sub-trees and whose arguments all stand somewhere in that sub-tree's text. It is *right* when that API has the
same domain as the reference, and a *hallucination* when it is no API at all. So any API of a large domain is right:
see `shouldtune check`. Three scripts score the paper's three hubs and differ in which arguments must be found.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from shouldtune.errors import InputError
from shouldtune.types import Completion, Document, Example, Score

if TYPE_CHECKING:
    from tree_sitter import Node

PARAMETERS = ("repo_or_dir", "model")
"""On PyTorch Hub only these arguments are looked for."""
MOST_CHARACTERS = 20_000


@dataclass(frozen=True)
class Api:
    """One entry of the database."""

    call: str
    domain: str
    function: str
    arguments: tuple[str, ...]
    """What must stand in an answer's text; an entry without any is never found."""


@dataclass(frozen=True)
class Found:
    """What an answer turned out to be."""

    api: Api | None = None
    no_call: bool = False
    """On PyTorch Hub an answer without the word `api_call` is wrong, and no hallucination."""


class Database:
    """The APIs of one hub, in the order in which they are tried."""

    def __init__(self, apis: Sequence[tuple[str, str]]) -> None:
        """From (call, domain) pairs. The hub is told by the functions that most of them call."""
        trees = [_call_node(call) for call, _ in apis]
        functions = [_text(tree.children[0]) if tree is not None else "" for tree in trees]
        torch = functions.count("torch.hub.load")
        tensor = sum(function.startswith("hub.") for function in functions)
        self.needs_api_call = 2 * torch > len(apis)
        arguments = _named_only if self.needs_api_call else _keyword_text if 2 * tensor > len(apis) else _values
        self.apis = tuple(
            Api(call, domain, function, tuple(map(_bare, arguments(tree))) if tree is not None else ())
            for (call, domain), function, tree in zip(apis, functions, trees, strict=True)
        )
        self._written = {api.call: api for api in reversed(self.apis)}
        self.match = lru_cache(maxsize=1024)(self._match)
        """The first API that fits a piece of code; constants and copied answers are asked for again and again."""

    def find(self, answer: str) -> Found:
        """The first API that fits an answer in any form, the training data's own or a plain call."""
        code, marked = published_part(answer)
        if self.needs_api_call and not marked:
            return Found(no_call=True)
        return Found(self.match(code))

    def _match(self, code: str) -> Api | None:
        openings: dict[str, str] = {}
        last = ""
        for node in _subtrees(_parse(code)):
            last = _text(node)
            if node.children:
                openings.setdefault(_text(node.children[0]), last)
        for api in self.apis:
            # Where no sub-tree opens with the function, the published loop is left with its last one.
            inside = openings.get(api.function, last)
            if api.arguments and all(argument in inside for argument in api.arguments):
                return api
        return None

    def domain_of(self, example: Example) -> str | None:
        """The reference's domain: told by the row, or else that of the entry with the target's call."""
        told = example.meta.get("domain")
        if isinstance(told, str):
            return told
        written = self._written.get(example.target) or self.match(example.target)
        return written.domain if written is not None else None


def api_domain(documents: Sequence[Document]) -> Callable[[Completion, Example], Score]:
    """The published accuracy as the score: 1 when the API that the answer is has the reference's domain.

    Raises InputError where no document carries `meta.api_call` and `meta.domain`, or tree-sitter is not installed.
    """
    score = measures(documents)
    if score is None:
        raise InputError(
            "`api_domain` needs documents with `meta.api_call` and `meta.domain`",
            hint='write {"text": ..., "meta": {"api_call": "f(a=1)", "domain": "..."}}',
        )
    if not available():
        raise InputError("`api_domain` needs tree-sitter", hint='pip install "shouldtune[calls]"')

    def accuracy(completion: Completion, example: Example) -> Score:
        metrics = score(completion, example)
        if not metrics:
            return Score(0.0, "the row has no domain, and its target is no known API")
        reason = "" if metrics["domain_correct"] else "no such API" if metrics["hallucination"] else "another domain"
        return Score(metrics["domain_correct"], reason, metrics)

    return accuracy


def measures(documents: Sequence[Document]) -> Callable[[Completion, Example], Mapping[str, float]] | None:
    """The published measures of an answer: `domain_correct`, `hallucination`, and the stricter `same_api`.

    None where documents carry no API with a domain. A plain answer is read like one that says `api_call` before it,
    so that it need not be in the published training data's form. Empty where the reference's domain is not known.
    """
    apis = [(d.meta["api_call"], d.meta["domain"]) for d in documents if _is_entry(d)]
    if not apis:
        return None
    made: list[Database] = []

    def score(completion: Completion, example: Example) -> Mapping[str, float]:
        if not made:  # parsed when first needed: a task is also opened to be read only
            made.append(Database(apis))
        database = made[0]
        wanted = database.domain_of(example)
        if wanted is None:
            return {}
        text = completion.text
        api = database.find(text).api if "api_call" in text else database.match(text)
        return {
            "domain_correct": float(api is not None and api.domain == wanted),
            "hallucination": float(api is None),
            "same_api": float(api is not None and api.call in example.answers),
        }

    return score


def available() -> bool:
    """Whether tree-sitter and its Python grammar are installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("tree_sitter", "tree_sitter_python"))


def published_part(answer: str) -> tuple[str, bool]:
    """(the code that the published scripts read, whether it was marked by `api_call`).

    It stands between `api_call` and `api_provider`: from two characters after the first colon to the last bracket.
    """
    marked = answer.split("api_call")
    if len(marked) == 1:
        return answer, False
    part = marked[1].split("api_provider")[0]
    start = part.find(":") if ":" in part else 0
    end = part.rfind(")") if ")" in part else -2
    return part[start + 2 : end + 1], True


def _is_entry(document: Document) -> bool:
    return all(isinstance(document.meta.get(name), str) for name in ("api_call", "domain"))


def _parse(code: str) -> Node:
    import tree_sitter
    import tree_sitter_python

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_python.language()))
    return parser.parse(code[:MOST_CHARACTERS].encode("utf-8", "replace")).root_node


def _call_node(code: str) -> Node | None:
    """The call that an entry consists of; None where it is no plain call."""
    root = _parse(code)
    first = root.children[0].children[0] if root.children and root.children[0].children else None
    return first if first is not None and first.type == "call" else None


def _subtrees(root: Node) -> Iterator[Node]:
    """The root, and every node with children, in the published order: depth first, the last child first."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [child for child in node.children if child.children]


def _values(call: Node) -> Iterator[str]:
    """Hugging Face: every argument; of a keyword argument its value."""
    for child in call.children[1].children:
        if child.type == "keyword_argument":
            yield _text(child.children[2])
        elif child.type not in ("(", ")", ","):
            yield _text(child)


def _keyword_text(call: Node) -> Iterator[str]:
    """TensorFlow Hub: every argument as it is written; of `model=` its value."""
    for child in call.children[1].children:
        if child.type == "keyword_argument" and _text(child.children[0]) == "model":
            yield _text(child.children[2])
        elif child.type not in ("(", ")", ","):
            yield _text(child)


def _named_only(call: Node) -> Iterator[str]:
    """PyTorch Hub: the values of `repo_or_dir=` and `model=`."""
    for child in call.children[1].children:
        if child.type == "keyword_argument" and any(name in _text(child) for name in PARAMETERS):
            yield _text(child.children[2])


def _bare(argument: str) -> str:
    return argument.strip("'")


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
