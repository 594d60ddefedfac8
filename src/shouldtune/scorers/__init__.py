"""From a name in the task file to a scorer: (Completion, Example) -> Score between 0 and 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.scorers import api_bench, function_call, structure, text
from shouldtune.scorers import call as calls
from shouldtune.scorers import command as commands
from shouldtune.scorers import label as labels_module
from shouldtune.types import Completion, Document, Example, Output, Score, Scorer
from shouldtune.user_code import is_code, load_code


@dataclass(frozen=True)
class Setting:
    """What a scorer may be made from."""

    documents: Sequence[Document] = ()
    output: Output = Output()


SCORERS: dict[str, Callable[[Setting], Scorer]] = {
    "exact": lambda task: text.exact,
    "contains": lambda task: text.contains,
    "number": lambda task: text.number,
    "f1": lambda task: text.f1,
    "chrf": lambda task: text.chrf(),
    "label": lambda task: labels_module.label(task.output.labels),
    "json": lambda task: structure.json_fields(task.output.schema),
    "call": lambda task: calls.call(task.documents),
    "command": lambda task: commands.command,
    "function_call": lambda task: function_call.function_call,
    "api_domain": lambda task: api_bench.api_domain(task.documents),
}
"""Every scorer that a task file can name. A new one is a line here and a function in its family's file."""


def load_scorer(
    named: str | Mapping[str, float],
    folder: Path,
    where: str,
    documents: Sequence[Document] = (),
    output: Output = Output(),
) -> Scorer:
    """The scorer that a task file names: one of SCORERS, `file.py:name`, or several with weights. Raises InputError."""
    task = Setting(documents, output)
    if isinstance(named, str):
        return _one(named, folder, where, task)
    parts = {name: _one(name, folder, where, task) for name in named}
    total = sum(named.values())
    return weighted({name: (part, named[name] / total) for name, part in parts.items()})


def weighted(parts: Mapping[str, tuple[Scorer, float]]) -> Scorer:
    """The weighted mean of several scorers; each one's value stands among the metrics under its name."""

    async def score(completion: Completion, example: Example) -> Score:
        value, reasons, metrics = 0.0, [], {}
        for name, (scorer, weight) in parts.items():
            part = await grade(scorer, completion, example)
            value += weight * part.value
            metrics[name] = part.value
            reasons += [f"{name}: {part.reason}"] if part.reason else []
        return Score(value, "; ".join(reasons), metrics)

    return score


async def grade(scorer: Scorer, completion: Completion, example: Example) -> Score:
    """Apply a scorer, async or not; its value must lie between 0 and 1 (a user's scorer that errs is InputError)."""
    found = scorer(completion, example)
    score = await found if inspect.isawaitable(found) else found
    if not isinstance(score, Score):
        raise InputError(
            f"the scorer returned {type(score).__name__}, not a Score", hint="return shouldtune.types.Score(value)"
        )
    if not 0.0 <= score.value <= 1.0:
        raise InputError(f"the scorer gave {score.value} for example {example.id}", hint="a score lies between 0 and 1")
    return score


def _one(name: str, folder: Path, where: str, task: Setting) -> Scorer:
    if is_code(name):
        own: Scorer = load_code(name, folder, where)
        return own
    if name not in SCORERS:
        raise InputError(
            f"there is no scorer {name!r}",
            where=where,
            hint=f"one of {', '.join(SCORERS)}, or your own as `file.py:function`",
        )
    return SCORERS[name](task)
