"""shouldtune.yaml and its data -> (Task, holdout): parse, check, de-duplicate, split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.judgement import Economics
from shouldtune.models.prices import price_of
from shouldtune.models.providers import ANY, address_of, is_remote
from shouldtune.scorers import Scoring, load_scorer, model_needed
from shouldtune.stats import alpha_at_look, examples_for_goal
from shouldtune.task.contents import Earlier, own_code
from shouldtune.task.documents import read_documents
from shouldtune.task.file import (
    FILE_NAME,
    TUNED,
    PricePart,
    ScoringPart,
    TaskFile,
    economics_of,
    price_table,
    read_task_file,
    training_price_of,
)
from shouldtune.task.rows import read_rows
from shouldtune.task.split import looks_labelled, near_duplicates, split
from shouldtune.task.steady import as_before
from shouldtune.task.yaml_lines import read_text, read_yaml
from shouldtune.types import Document, Example, Goal, Output, Task

__all__ = ["LoadedTask", "load_task", "looks_labelled", "near_duplicates"]

HOLDOUT_SHARE = 0.3
HOLDOUT_MOST = 1000
LABELS_MOST = 200
MONEY = ("economics", "prices", "budget", "max_calls", "max_minutes")
"""Keys of the task file that change no answer."""


@dataclass(frozen=True)
class LoadedTask:
    """A task as the rungs see it, and beside it what they may not see."""

    task: Task
    holdout: tuple[Example, ...]
    """In seeded random order."""
    file: TaskFile
    path: Path
    notes: tuple[str, ...]
    """What was understood and what was done to the data, for the user to read."""
    digest: str
    """SHA-256 of everything that the task is: file (all but its money), examples, documents, user code."""
    economics: Economics = Economics()
    others: tuple[Task, ...] = ()
    """Other tasks that a tuned model is to go on doing."""

    @property
    def folder(self) -> Path:
        return self.path.parent


def load_task(
    path: Path,
    model: str | None = None,
    tune: str | None = None,
    budget: float | None = None,
    max_calls: int | None = None,
    max_minutes: float | None = None,
    price: tuple[float, float] | None = None,
    earlier: Earlier | None = None,
) -> LoadedTask:
    """Read a task folder or its shouldtune.yaml. InputError with `file:line` and a hint for anything wrong in it.

    What is given takes the place of the file's own; `price` (dollars per million tokens read, written) is the model's.
    With `earlier` the rows stay on the side that they had in an earlier run, and its further examples come in.
    """
    if path.is_dir():
        path = path / FILE_NAME
    file = read_task_file(path)
    changes: dict[str, Any] = {"model": model, "tune": tune, "budget": budget}
    changes |= {"max_calls": max_calls, "max_minutes": max_minutes}
    if price is not None:
        changes["prices"] = {**file.prices, model or file.model: PricePart(read=price[0], written=price[1])}
    file = file.model_copy(update={name: value for name, value in changes.items() if value is not None})
    folder = path.parent
    lines = read_yaml(path)[1]

    def where(*key: str) -> str:
        return f"{path}:{lines.get(key, 1)}"

    train, holdout, notes = _examples(file, folder, where("examples"), earlier)
    documents, left_out = read_documents(file.documents, folder, where("documents")) if file.documents else ((), ())
    if documents:
        notes.append(f"{len(documents)} documents")
    notes += left_out
    output = _output(file, folder, [*train, *holdout], where("output", "schema"))
    unknown = sorted({e.target for e in (*train, *holdout)} - set(output.labels)) if output.labels else []
    if unknown:
        raise InputError(
            f"the target {unknown[0]!r} is not among the labels",
            where=where("output", "labels"),
            hint="add it, or mend the row",
        )
    positive = file.scoring.positive
    if positive is not None and output.labels and positive not in output.labels:
        raise InputError(
            f"{positive!r} is not among the labels", where=where("scoring", "positive"), hint="name one of the targets"
        )
    scoring = Scoring(**file.scoring.model_dump())
    scorer = load_scorer(file.scorer, folder, where("scorer"), documents, output, scoring, (*train, *holdout))
    task = Task(
        name=file.name,
        instruction=file.instruction.strip(),
        train=train,
        scorer=scorer,
        documents=documents,
        goal=Goal(**file.goal.model_dump()),
        output=output,
    )
    economics = economics_of(file)
    _check_addresses((file.model, file.tune, file.strong, model_needed(scorer)), str(path))
    _check_tune(file.tune, where("tune"))
    notes += _priced(file, economics, model_needed(scorer))
    others = _others(file, folder, where("keep"))
    digest = _digest(file, folder, train, holdout, documents, [other.digest for other in others])
    kept = tuple(other.task for other in others)
    return LoadedTask(task, holdout, file, path, tuple(notes), digest, economics, kept)


def _others(file: TaskFile, folder: Path, where: str) -> list[LoadedTask]:
    """The tasks that `keep` names. What they would keep in turn is not looked at."""
    found = []
    for name in file.keep:
        path = folder / name
        if path.resolve() == folder.resolve() or read_task_file(path).keep:
            raise InputError(f"{name!r} keeps tasks itself", where=where, hint="name a task without `keep:`")
        other = load_task(path)
        if model_needed(other.task.scorer) is not None:
            raise InputError(f"{name!r} is graded by a model", where=where, hint="keep tasks that a scorer here grades")
        found.append(other)
    return found


def _check_addresses(models: Sequence[str | None], where: str) -> None:
    """InputError for an address that cannot be one, before anything repeats it: it may hold a key."""
    for model in models:
        if model is not None and model.startswith(("http:", "https:")):
            try:
                address_of(model)
            except InputError as error:
                raise InputError(error.message, where=where, hint=error.hint) from None


def _check_tune(named: str | None, where: str) -> None:
    """InputError for a model that can be asked and not be tuned."""
    if named is not None and named.startswith(ANY):
        raise InputError(
            f"{named!r} cannot be tuned: models named `any:` are only asked",
            where=where,
            hint="name one that is tuned here, as `tune: smollm2`, or at a server with fine-tuning jobs",
        )


def _priced(file: TaskFile, economics: Economics, judge: str | None) -> list[str]:
    """Which prices will be used, and which that stand in the table will not: a mistyped name is seen here."""
    used = [(file.model, economics.prompt_price), (TUNED, economics.tuned_price)]
    used += [(file.strong, economics.strong_price)] if file.strong is not None else []
    used += [(judge, price_of(judge, price_table(file)))] if judge is not None else []
    notes = [f"price of {name}: {price}" for name, price in used if price is not None]
    if file.tune is not None and is_remote(file.tune):
        used += [(file.tune, price_of(file.tune, price_table(file)))]
        training = training_price_of(file, file.tune)
        notes.append(
            f"price of training {file.tune}: {training or 'not known (`prices:` in the task file can say it)'}"
        )
    notes += [
        f"price of {name}: not known (`prices:` in the task file can say it)"
        for name, price in used
        if price is None and name != TUNED and is_remote(name)
    ]
    named = {name for name, _ in used}
    return notes + [f"price of {name}: not used" for name in file.prices if name not in named]


def _examples(
    file: TaskFile, folder: Path, where: str, earlier: Earlier | None
) -> tuple[tuple[Example, ...], tuple[Example, ...], list[str]]:
    notes: list[str] = []
    more = () if earlier is None else earlier.more
    if file.examples is not None:
        rows = read_rows(folder / file.examples, file.columns)
        examples, dropped = _without_repeats(_together(rows.examples, more))
        notes.append(rows.mapping)
        if dropped:
            notes.append(f"{dropped} repeated rows dropped")
        train, holdout = split(examples, _holdout_size(len(examples), Goal(**file.goal.model_dump())), file.seed)
    else:
        train, holdout = _given_halves(file, folder, where, more, notes)
    if earlier is not None:
        train, holdout, said = as_before(train, holdout, earlier.contents, sides_given=file.examples is None)
        notes += said
    notes.append(f"{len(train)} examples to learn from, {len(holdout)} held out")
    return train, holdout, notes


def _given_halves(
    file: TaskFile, folder: Path, where: str, more: Sequence[Example], notes: list[str]
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(train, holdout) where the user gives both; further examples are for learning."""
    assert file.train is not None and file.holdout is not None  # noqa: S101  checked when the file was read
    learn, held = read_rows(folder / file.train, file.columns), read_rows(folder / file.holdout, file.columns)
    holdout, dropped = _without_repeats(held.examples)
    inputs, ids = {_normal(example.input) for example in holdout}, {example.id for example in holdout}
    taught = _together(learn.examples, more)
    kept = [example for example in _without_repeats(taught)[0] if _normal(example.input) not in inputs]
    dropped += len(taught) - len(kept)
    kept = [replace(example, id=f"train-{example.id}") if example.id in ids else example for example in kept]
    if not kept:
        raise InputError("every training row stands in the holdout too", where=where, hint="give rows that differ")
    notes += [learn.mapping, held.mapping]
    if dropped:
        notes.append(f"{dropped} rows dropped: repeated, or in both train and holdout")
    # With nothing held back, `split` only puts each half into its seeded order with groups side by side.
    return split(kept, 0, file.seed)[0], split(holdout, 0, file.seed)[0]


def _together(own: Sequence[Example], more: Sequence[Example]) -> tuple[Example, ...]:
    """The task's own examples and those from elsewhere, no two with one id."""
    ids = {example.id for example in own}
    return (*own, *(replace(each, id=f"kept-{each.id}") if each.id in ids else each for each in more))


def _without_repeats(examples: Sequence[Example]) -> tuple[tuple[Example, ...], int]:
    """Examples without those that repeat an earlier one's input and target; rows that contradict each other stay."""
    seen: dict[tuple[str, str], Example] = {}
    for example in examples:
        seen.setdefault((_normal(example.input), example.target), example)
    return tuple(seen.values()), len(examples) - len(seen)


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _holdout_size(n: int, goal: Goal) -> int:
    """The larger of 30% and what could prove the goal, at most half and at most 1,000."""
    at_first = alpha_at_look(1 - goal.confidence, 1) / 10  # about what each of so many rungs has of the first look
    needed = (examples_for_goal(goal.quality, at_first) or 0) if goal.quality is not None else 0
    return min(n // 2, HOLDOUT_MOST, max(round(HOLDOUT_SHARE * n), needed))


def _output(file: TaskFile, folder: Path, examples: Sequence[Example], where: str) -> Output:
    part = file.output
    labels = tuple(dict.fromkeys(part.labels or ()))
    if not labels and file.scorer in ("label", "alert"):
        labels = tuple(sorted({example.target for example in examples}))
        if len(labels) > LABELS_MOST:
            raise InputError(
                f"{len(labels)} different targets are no label set", where=where, hint="use another scorer"
            )
    schema: Any = part.json_schema
    if isinstance(schema, str):
        schema_path = (folder / schema).resolve()
        if not schema_path.is_relative_to(folder.resolve()):
            raise InputError(
                f"{schema!r} lies outside the task's folder", where=where, hint="copy it next to the task file"
            )
        try:
            schema = json.loads(read_text(schema_path, 1_000_000))
        except ValueError as error:
            raise InputError(f"not valid JSON: {error}", where=schema_path) from None
    longest = max(len(example.target.encode()) for example in examples)
    return Output(labels=labels, schema=schema, max_tokens=part.max_tokens or max(24, min(1024, longest // 2 + 8)))


def _digest(
    file: TaskFile,
    folder: Path,
    train: Sequence[Example],
    holdout: Sequence[Example],
    documents: Sequence[Document],
    others: Sequence[str],
) -> str:
    found = hashlib.sha256()
    # What is not used is left out, so that runs from before there was such a key go on.
    unused = {name for name, used in (("scoring", file.scoring != ScoringPart()), ("keep", file.keep)) if not used}
    for part in (
        file.model_dump(mode="json", exclude={*MONEY, *unused}),
        [asdict(e) for e in train],
        [asdict(e) for e in holdout],
        [asdict(d) for d in documents],
        *([others] if others else []),
    ):
        found.update(json.dumps(part, sort_keys=True, default=str).encode("utf-8", "surrogatepass"))
    for code in own_code(file, folder):
        found.update(code.read_bytes())
    return found.hexdigest()
