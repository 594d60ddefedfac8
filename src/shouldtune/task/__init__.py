"""shouldtune.yaml and its data -> (Task, holdout): parse, check, de-duplicate, split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.judgement import Economics
from shouldtune.models.prices import price_of
from shouldtune.models.providers import ANY, address_of, is_remote
from shouldtune.scorers import Scoring, load_scorer, model_needed
from shouldtune.spool import together
from shouldtune.task.contents import Earlier, own_code, schema_text
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
from shouldtune.task.halves import halves
from shouldtune.task.yaml_lines import read_text, read_yaml
from shouldtune.types import Example, Goal, Output, Task

LABELS_MOST = 200
MONEY = ("economics", "prices", "budget", "max_calls", "max_minutes")
"""Keys of the task file that change no answer."""


Where = Callable[..., str]
"""From a key of the task file, level by level, to the `file:line` where it stands."""


@dataclass(frozen=True)
class LoadedTask:
    """A task as the rungs see it, and beside it what they may not see."""

    task: Task
    holdout: Sequence[Example]
    """In seeded random order; may be more than memory holds."""
    file: TaskFile
    path: Path
    notes: tuple[str, ...]
    """What was understood and what was done to the data, for the user to read."""
    digest: str
    """SHA-256 of everything that the task is: file (all but its money), examples, documents, user code, and the schema
    where a file holds it."""
    economics: Economics = Economics()
    others: tuple[Task, ...] = ()
    """Other tasks that a tuned model is to go on doing."""
    kept_digests: Mapping[str, str] = field(default_factory=dict)
    """Theirs, by the names in `keep:`."""

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
    path = path / FILE_NAME if path.is_dir() else path
    limits = {"budget": budget, "max_calls": max_calls, "max_minutes": max_minutes}
    file = _with(read_task_file(path), {"model": model, "tune": tune, **limits}, price)
    folder, where = path.parent, _places(path)
    train, holdout, notes = halves(file, folder, where("examples"), earlier)
    documents, left_out = read_documents(file.documents, folder, where("documents")) if file.documents else ((), ())
    everything = together(train, holdout)
    output = _output(file, folder, everything, where)
    scoring = Scoring(**file.scoring.model_dump())
    task = Task(
        name=file.name,
        instruction=file.instruction.strip(),
        train=train,
        scorer=load_scorer(file.scorer, folder, where("scorer"), documents, output, scoring, everything),
        documents=documents,
        goal=Goal(**file.goal.model_dump()),
        output=output,
    )
    economics, judge = economics_of(file), model_needed(task.scorer)
    _check_addresses((file.model, file.tune, file.strong, judge), str(path))
    _check_tune(file.tune, where("tune"))
    notes += [f"{len(documents)} documents"] if documents else []
    notes += [*left_out, *_priced(file, economics, judge)]
    others = _others(file, folder, where("keep"))
    kept = {name: other.digest for name, other in zip(file.keep, others, strict=True)}
    return LoadedTask(
        task=task,
        holdout=holdout,
        file=file,
        path=path,
        notes=tuple(notes),
        digest=_digest(file, folder, task, holdout, [other.digest for other in others]),
        economics=economics,
        others=tuple(other.task for other in others),
        kept_digests=kept,
    )


def _with(file: TaskFile, given: Mapping[str, Any], price: tuple[float, float] | None) -> TaskFile:
    """The file with what is given in place of its own; None is not given."""
    changes = {name: value for name, value in given.items() if value is not None}
    if price is not None:
        model = changes.get("model", file.model)
        changes["prices"] = {**file.prices, model: PricePart(read=price[0], written=price[1])}
    return file.model_copy(update=changes)


def _places(path: Path) -> Where:
    """Where a key stands in the file, as `file:line`."""
    lines = read_yaml(path)[1]
    return lambda *key: f"{path}:{lines.get(key, 1)}"


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


def _output(file: TaskFile, folder: Path, examples: Sequence[Example], where: Where) -> Output:
    """What answers look like."""
    longest = max(len(example.target.encode()) for example in examples)
    return Output(
        labels=_labels(file, examples, where),
        schema=_schema(file.output.json_schema, folder, where("output", "schema")),
        max_tokens=file.output.max_tokens or max(24, min(1024, longest // 2 + 8)),
    )


def _labels(file: TaskFile, examples: Sequence[Example], where: Where) -> tuple[str, ...]:
    """The labels that answers are drawn from; none where answers are free. InputError where one is not among them."""
    labels, found = tuple(dict.fromkeys(file.output.labels or ())), file.scorer in ("label", "alert")
    targets = {example.target for example in examples} if labels or found else set()
    if not labels and found:
        labels = tuple(sorted(targets))
        if len(labels) > LABELS_MOST:
            raise InputError(
                f"{len(labels)} different targets are no label set",
                where=where("output", "schema"),
                hint="use another scorer",
            )
    unknown = sorted(targets - set(labels)) if labels else []
    if unknown:
        raise InputError(
            f"the target {unknown[0]!r} is not among the labels",
            where=where("output", "labels"),
            hint="add it, or mend the row",
        )
    positive = file.scoring.positive
    if positive is not None and labels and positive not in labels:
        raise InputError(
            f"{positive!r} is not among the labels", where=where("scoring", "positive"), hint="name one of the targets"
        )
    return labels


def _schema(given: Any, folder: Path, where: str) -> Any:
    """The JSON schema, read where a file beside the task is named. InputError."""
    if not isinstance(given, str):
        return given
    path = (folder / given).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InputError(f"{given!r} lies outside the task's folder", where=where, hint="copy it next to the task file")
    try:
        return json.loads(read_text(path, 1_000_000))
    except ValueError as error:
        raise InputError(f"not valid JSON: {error}", where=path) from None


def _as_json(part: Any) -> Iterator[str]:
    """JSON piece by piece, for as one text it can be as large as all examples."""
    if isinstance(part, dict | list):
        yield json.dumps(part, sort_keys=True, default=str)
        return
    yield "["
    for index, each in enumerate(part):
        plain = each.plain() if isinstance(each, Example) else asdict(each)
        yield (", " if index else "") + json.dumps(plain, sort_keys=True, default=str)
    yield "]"


def _digest(file: TaskFile, folder: Path, task: Task, holdout: Sequence[Example], others: Sequence[str]) -> str:
    found = hashlib.sha256()
    # What is not used is left out, so that runs from before there was such a key go on.
    unused = {name for name, used in (("scoring", file.scoring != ScoringPart()), ("keep", file.keep)) if not used}
    for part in (
        file.model_dump(mode="json", exclude={*MONEY, *unused}),
        task.train,
        holdout,
        task.documents,
        *([others] if others else []),
    ):
        for piece in _as_json(part):
            found.update(piece.encode("utf-8", "surrogatepass"))
    for code in own_code(file, folder):
        found.update(code.read_bytes())
    if isinstance(file.output.json_schema, str):  # of it the file has the name alone
        found.update(schema_text(task.output))
    return found.hexdigest()
