"""From a name in the task file to a scorer: (Completion, Example) -> Score between 0 and 1."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.scorers import call as calls
from shouldtune.scorers import label as labels_module
from shouldtune.scorers import structure, text
from shouldtune.types import Completion, Document, Example, Output, Score, Scorer
from shouldtune.user_code import is_code, load_code

NAMES = ("exact", "label", "number", "contains", "json", "chrf", "f1", "call")


def load_scorer(
    named: str | Mapping[str, float],
    folder: Path,
    where: str,
    documents: Sequence[Document] = (),
    output: Output = Output(),
) -> Scorer:
    """The scorer that a task file names: one of NAMES, `file.py:name`, or several with weights. Raises InputError."""
    if isinstance(named, str):
        return _one(named, folder, where, documents, output)
    parts = {name: _one(name, folder, where, documents, output) for name in named}
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


def _one(name: str, folder: Path, where: str, documents: Sequence[Document], output: Output) -> Scorer:
    if is_code(name):
        scorer: Scorer = load_code(name, folder, where)
        return scorer
    made: dict[str, Scorer] = {"exact": text.exact, "number": text.number, "contains": text.contains, "f1": text.f1}
    if name in made:
        return made[name]
    if name == "label":
        return labels_module.label(output.labels)
    if name == "json":
        return structure.json_fields(output.schema)
    if name == "chrf":
        return text.chrf()
    if name == "call":
        return calls.call(documents)
    raise InputError(
        f"there is no scorer {name!r}",
        where=where,
        hint=f"one of {', '.join(NAMES)}, or your own as `file.py:function`",
    )
