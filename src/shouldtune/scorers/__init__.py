"""From a name in the task file to a scorer: (Completion, Example) -> Score between 0 and 1."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from shouldtune.errors import InputError, Ungraded
from shouldtune.scorers import answering, api_bench, function_call, overlap, structure, text
from shouldtune.scorers import call as calls
from shouldtune.scorers import code as codes
from shouldtune.scorers import command as commands
from shouldtune.scorers.judge import Judge
from shouldtune.scorers.label import Alert, Label
from shouldtune.scorers.redaction import redaction
from shouldtune.scorers.rules import Rules
from shouldtune.scorers.slots import slots
from shouldtune.types import Completion, Document, Example, Graded, Model, Output, Overall, Score, Scorer
from shouldtune.user_code import is_code, load_code


@dataclass(frozen=True)
class Scoring:
    """The task file's `scoring:`, what the task asks of its scorer."""

    judge: str | None = None
    """The model that judges."""
    rubric: str = ""
    """When an answer is good, in words."""
    pairwise: bool = False
    """Whether the judge compares with the target."""
    positive: str | None = None
    """The label that must not be missed."""
    miss_cost: float = 1.0
    """What a miss costs, where a false alarm costs 1."""
    must: Sequence[str] = ()
    must_not: Sequence[str] = ()
    words: tuple[int, int] | None = None
    """(fewest, most) words of an answer."""
    say: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """How a record's values may be said: key to value to phrases."""


@dataclass(frozen=True)
class Setting:
    """What a scorer may be made from."""

    documents: Sequence[Document] = ()
    output: Output = Output()
    scoring: Scoring = Scoring()
    examples: Sequence[Example] = ()
    """All rows, for what a scorer must know of them together (the labels that may stand in brackets)."""
    where: str = ""
    """The line of the task file that names it."""


@runtime_checkable
class AsksModel(Protocol):
    """A scorer that asks a model. It is made without it; who opens models, and knows who pays, hands it in."""

    @property
    def needs_model(self) -> str | None:
        """The id of the model; None where it asks none after all."""
        ...

    def with_model(self, model: Model) -> Scorer: ...


SCORERS: dict[str, Callable[[Setting], Scorer]] = {
    "exact": lambda task: text.exact,
    "contains": lambda task: text.contains,
    "number": lambda task: text.number,
    "f1": lambda task: text.f1,
    "chrf": lambda task: text.chrf(),
    "qa": lambda task: answering.qa,
    "bleu": lambda task: overlap.Bleu(),
    "rouge_l": lambda task: overlap.rouge_l,
    "rules": lambda task: Rules(tuple(task.scoring.must), tuple(task.scoring.must_not), task.scoring.words),
    "slots": lambda task: slots(task.examples, task.scoring.say),
    "label": lambda task: Label(task.output.labels, task.scoring.positive, task.scoring.miss_cost),
    "alert": lambda task: Alert(task.output.labels, task.scoring.positive, task.scoring.miss_cost),
    "json": lambda task: structure.json_fields(task.output.schema),
    "redaction": lambda task: redaction(task.examples),
    "call": lambda task: calls.call(task.documents),
    "code": lambda task: codes.code(task.where),
    "judge": lambda task: _judge(task),  # noqa: PLW0108  it stands below
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
    scoring: Scoring = Scoring(),
    examples: Sequence[Example] = (),
) -> Scorer:
    """The scorer that a task file names: one of SCORERS, `file.py:name`, or several with weights. Raises InputError."""
    task = Setting(documents, output, scoring, examples, where)
    if isinstance(named, str):
        return _one(named, folder, where, task)
    parts = {name: _one(name, folder, where, task) for name in named}
    total = sum(named.values())
    return weighted({name: (part, named[name] / total) for name, part in parts.items()})


def weighted(parts: Mapping[str, tuple[Scorer, float]]) -> Weighted:
    """The weighted mean of several scorers; each one's value stands among the metrics under its name."""
    return Weighted(parts)


@dataclass(frozen=True)
class Weighted:
    """Several scorers by weight; the weights sum to 1."""

    parts: Mapping[str, tuple[Scorer, float]]

    async def __call__(self, completion: Completion, example: Example) -> Score:
        value, reasons, metrics = 0.0, [], {}
        for name, (scorer, weight) in self.parts.items():
            part = await grade(scorer, completion, example)
            value += weight * part.value
            metrics[name] = part.value
            reasons += [f"{name}: {part.reason}"] if part.reason else []
        return Score(min(1.0, value), "; ".join(reasons), metrics)  # 0.1 + 0.2 + 0.7 is a little more than 1

    @property
    def needs_model(self) -> str | None:
        return next((found for scorer, _ in self.parts.values() if (found := model_needed(scorer)) is not None), None)

    def with_model(self, model: Model) -> Scorer:
        """The same with the model in the parts that ask one."""
        return Weighted({name: (with_model(scorer, model), weight) for name, (scorer, weight) in self.parts.items()})

    def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
        """What the parts say of all answers; each is shown its own value of them, without its metrics."""
        found: dict[str, float] = {}
        for name, (scorer, _) in self.parts.items():
            offered: object = scorer
            if isinstance(offered, Overall):
                own = [(example, answer, Score(score.metrics[name])) for example, answer, score in rows]
                found |= offered.overall(own)
        return found


Kind = TypeVar("Kind")


def part_of(scorer: Scorer, kind: type[Kind]) -> Kind | None:
    """The scorer where it is of a kind, or the part of it that is; None where nothing of it is. So a rung or a check
    asks what a task is about."""
    if isinstance(scorer, kind):
        return scorer
    parts = [part for part, _ in scorer.parts.values()] if isinstance(scorer, Weighted) else []
    return next((part for part in parts if isinstance(part, kind)), None)


def model_needed(scorer: Scorer) -> str | None:
    """The id of the model that a scorer asks; None where it asks none. Then a grade costs nothing."""
    return scorer.needs_model if isinstance(scorer, AsksModel) else None


def with_model(scorer: Scorer, model: Model) -> Scorer:
    """The scorer with its model, where it asks one."""
    return scorer.with_model(model) if isinstance(scorer, AsksModel) else scorer


async def graded(scorer: Scorer, completion: Completion, example: Example) -> Score | None:
    """The grade of an answer; None where there is no answer, or the scorer could not grade it: that is data."""
    if completion.failed:
        return None
    try:
        return await grade(scorer, completion, example)
    except Ungraded:
        return None


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


def _judge(task: Setting) -> Scorer:
    if task.scoring.judge is None or not task.scoring.rubric.strip():
        raise InputError(
            "the scorer `judge` needs a model and a rubric",
            where=task.where,
            hint="`scoring: {judge: MODEL, rubric: when an answer is good}`",
        )
    return Judge(task.scoring.judge, task.scoring.rubric, task.scoring.pairwise)
