"""shouldtune.yaml: its fields, checked. The published JSON Schema is made from these classes."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shouldtune.errors import InputError
from shouldtune.judgement import Economics, Price
from shouldtune.models.prices import ledger_id, price_of
from shouldtune.models.training_prices import TrainingPrice, listed
from shouldtune.task.yaml_lines import Lines, read_yaml

FILE_NAME = "shouldtune.yaml"


class Part(BaseModel):
    """A part of the task file: unknown keys are errors, nothing is changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class GoalPart(Part):
    """When an approach is good enough."""

    quality: Annotated[float, Field(gt=0, lt=1)] | None = None
    worthwhile_gain: Annotated[float, Field(gt=0, lt=1)] = 0.03
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    max_cost_per_1k: Annotated[float, Field(gt=0)] | None = None
    max_latency_s: Annotated[float, Field(gt=0)] | None = None


class EconomicsPart(Part):
    """What only you know about money; leave out what you do not know, and what rests on it stays unknown."""

    per_month: float | None = Field(default=None, gt=0, le=1e12, description="requests a month")
    months: float | None = Field(default=None, gt=0, le=1200, description="the horizon, in months")
    value_per_correct: float | None = Field(
        default=None, gt=0, le=1e9, description="dollars that a correct answer is worth"
    )
    usd_per_label: float | None = Field(default=None, ge=0, le=1e9, description="dollars for one labelled example")
    labels_bought: int = Field(default=0, ge=0, le=10**9, description="examples labelled for training alone")
    machine_usd_per_hour: float | None = Field(
        default=None, ge=0, le=1e9, description="dollars an hour of the machine that runs a local or tuned model"
    )
    fine_tune_usd: float | None = Field(
        default=None, ge=0, le=1e12, description="dollars for one fine-tune, in place of what training took here"
    )
    tuned_fixed_usd_per_month: float | None = Field(
        default=None, ge=0, le=1e12, description="dollars a month for a machine kept for the tuned model"
    )
    refits: int = Field(
        default=0, ge=0, le=10_000, description="how often an approach is fitted again within the horizon"
    )


class UsePricePart(Part):
    """A provider's price for one model's calls."""

    read: float = Field(ge=0, le=1e9, description="dollars per million tokens of the prompt")
    written: float = Field(ge=0, le=1e9, description="dollars per million tokens of the answer")
    cached: float | None = Field(
        default=None, ge=0, le=1e9, description="dollars per million tokens of the prompt that the server had at hand"
    )


class PricePart(UsePricePart):
    """A provider's price for one model: for its calls, and for training it."""

    training: float | None = Field(
        default=None, ge=0, le=1e9, description="dollars per million tokens trained on, for each epoch"
    )


class OutputPart(Part):
    """The form of an answer, where it has one."""

    labels: list[str] | None = None
    json_schema: str | dict[str, Any] | None = Field(default=None, alias="schema")
    max_tokens: Annotated[int, Field(ge=1, le=8192)] | None = None


Phrase = Annotated[str, Field(min_length=1, max_length=500)]


class ScoringPart(Part):
    """What the task asks of its scorer."""

    judge: str | None = Field(default=None, description="`judge`: the model that grades answers")
    rubric: str = Field(default="", max_length=20_000, description="`judge`: when an answer is good, in words")
    pairwise: bool = Field(default=False, description="`judge`: compare with the target, each order asked")
    positive: str | None = Field(default=None, description="`label`, `alert`: the label that must not be missed")
    miss_cost: Annotated[float, Field(gt=0, le=1e6)] = Field(
        default=1.0, description="`alert`: what a miss costs, where a false alarm costs 1"
    )
    must: list[Phrase] = Field(default=[], description="`rules`: phrases to be said; ` | ` parts alternatives")
    must_not: list[Phrase] = Field(default=[], description="`rules`: phrases not to be said")
    words: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=1)]] | None = Field(
        default=None, description="`rules`: the fewest and the most words of an answer"
    )
    say: dict[str, dict[str, list[Phrase]]] = Field(
        default={}, description="`slots`: how a record's values may be said, by key and value"
    )

    @model_validator(mode="after")
    def _fewest_before_most(self) -> ScoringPart:
        if self.words is not None and self.words[0] > self.words[1]:
            raise ValueError("`words` is [fewest, most]")
        return self


class ColumnsPart(Part):
    """Which columns of the data hold what, where the names do not tell."""

    input: str
    target: str
    id: str | None = None
    group: str | None = None


class TaskFile(Part):
    """A task: what the application must do, the examples that show it, and when an approach is good enough."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    instruction: Annotated[str, Field(min_length=1, max_length=20_000)]
    examples: str | None = None
    train: str | None = None
    holdout: str | None = None
    columns: ColumnsPart | None = None
    documents: str | None = None
    scorer: str | dict[str, Annotated[float, Field(gt=0)]] = "exact"
    scoring: ScoringPart = ScoringPart()
    output: OutputPart = OutputPart()
    goal: GoalPart = GoalPart()
    economics: EconomicsPart = EconomicsPart()
    prices: dict[str, PricePart] = {}
    model: str = "smollm2"
    tune: str | None = "smollm2"
    budget: float | None = Field(
        default=None, ge=0, le=1e9, description="dollars that the calls of all runs of this task may cost"
    )
    max_calls: int | None = Field(default=None, ge=0, le=10**9, description="new calls of models that one run may make")
    max_minutes: float | None = Field(
        default=None, ge=0, le=1e6, description="minutes after which a run begins nothing more"
    )
    strong: str | None = Field(default=None, description="the strongest model that one may use")
    probes: bool = Field(default=True, description="whether to ask why the best prompt's failures fail")
    forecast: bool | None = Field(
        default=None, description="whether to measure a learning curve before a fine-tune is paid for"
    )
    keep: list[str] = Field(
        default=[],
        description="folders of other tasks that the tuned model is to go on doing: it is asked whether it does",
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @model_validator(mode="after")
    def _one_source_of_examples(self) -> TaskFile:
        pair = self.train is not None and self.holdout is not None
        if (self.examples is not None) == pair or (self.train is None) != (self.holdout is None):
            raise ValueError("give either `examples`, or both `train` and `holdout`")
        return self

    @model_validator(mode="after")
    def _alerts_have_a_positive_label(self) -> TaskFile:
        if (
            "alert" in ([self.scorer] if isinstance(self.scorer, str) else self.scorer)
            and self.scoring.positive is None
        ):
            raise ValueError("the scorer `alert` needs `scoring: {positive: LABEL}`, the label that must not be missed")
        return self


PARTS = (TaskFile, GoalPart, EconomicsPart, PricePart, OutputPart, ScoringPart, ColumnsPart)
TUNED = "tuned"
"""The name in `prices` of the model that training makes: a provider asks more for it than for its base."""


def economics_of(file: TaskFile) -> Economics:
    """The file's economics, with the prices of the models that it names. `prices` may hold others too.

    What the user's own table does not hold is looked up in the list prices.
    """
    prices = price_table(file)
    published = None if file.tune is None else listed(file.tune)
    return Economics(
        **file.economics.model_dump(),
        prompt_price=price_of(file.model, prices),
        tuned_price=prices.get(TUNED) or (None if published is None else published.tuned),
        strong_price=None if file.strong is None else price_of(file.strong, prices),
    )


def price_table(file: TaskFile) -> dict[str, Price]:
    """The user's own prices, by the id of the model: as it is named, and as the ledger knows it."""
    own = {name: Price(part.read, part.written, cached=part.cached) for name, part in file.prices.items()}
    return {ledger_id(name): price for name, price in own.items()} | own


def prices_of(file: TaskFile) -> Callable[[str], Price | None]:
    """From a model's id to its price, the user's own table first; None where it is not known."""
    table = price_table(file)
    return lambda model_id: price_of(model_id, table)


def training_price_of(file: TaskFile, model_id: str) -> TrainingPrice | None:
    """What a provider asks for training a model, the user's own table first; None where it is not known."""
    wanted = ledger_id(model_id)
    part = next((part for name, part in file.prices.items() if model_id == name or wanted == ledger_id(name)), None)
    published = listed(model_id)
    if part is not None and part.training is not None:
        return TrainingPrice(part.training)
    return None if published is None else published.training


def read_task_file(path: Path) -> TaskFile:
    """Read and check a task file; `path` may be its folder. InputError with `file:line` and a hint."""
    if path.is_dir():
        path = path / FILE_NAME
    if not path.exists():
        raise InputError(
            "there is no such task file",
            where=path,
            hint=f"`shouldtune init DATA` writes a {FILE_NAME} next to your data",
        )
    data, lines = read_yaml(path)
    try:
        return TaskFile.model_validate(data)
    except ValidationError as error:
        raise _first_problem(error, path, lines) from None


def _first_problem(error: ValidationError, path: Path, lines: Lines) -> InputError:
    """The first of pydantic's findings as one line at the line of the key that it speaks of."""
    problem = error.errors()[0]
    at = tuple(part for part in problem["loc"] if isinstance(part, str | int))
    while at and at not in lines:
        at = at[:-1]
    where = f"{path}:{lines.get(at, 1)}"
    named = ".".join(
        str(part) for part in problem["loc"] if part in ("str", "dict") or not str(part).startswith("dict")
    )
    more = f" (and {len(error.errors()) - 1} more)" if len(error.errors()) > 1 else ""
    if problem["type"] == "extra_forbidden":
        known = [name for part in PARTS for name in part.model_fields]
        near = difflib.get_close_matches(str(problem["loc"][-1]), known, 1)
        hint = f"did you mean `{near[0]}`?" if near else "see docs/reference/task-file.md for the keys"
        return InputError(f"unknown key `{named}`{more}", where=where, hint=hint)
    if problem["type"] == "missing":
        return InputError(f"the key `{named}` is missing{more}", where=where, hint=f"add `{named}: ...`")
    message = problem["msg"].removeprefix("Value error, ")
    prefix = f"`{named}`: " if named else ""
    return InputError(
        f"{prefix}{message}{more}", where=where, hint="see docs/reference/task-file.md for what may stand here"
    )
