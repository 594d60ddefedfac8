"""What would be sent to a provider to be trained on: every row of it, before any is sent.

The rungs that train are really fitted, with stand-ins in place of the models, so that what is told is what is sent.
What `distil` would send hangs on the answers of another model: it is told with the targets in their place.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shouldtune.asked import Climb
from shouldtune.files import write_whole
from shouldtune.inquiring import Inquirer
from shouldtune.models.keys import digest
from shouldtune.models.providers import is_remote
from shouldtune.models.remote import Remote, remote_of
from shouldtune.models.training_prices import TrainingPrice
from shouldtune.planning.dry_runs import CURVE
from shouldtune.progress import Progress
from shouldtune.run import agreed_path
from shouldtune.rungs.fine_tune import FineTune
from shouldtune.rungs.learning_curve import learning_curve, parts_of, why_no_curve
from shouldtune.task import LoadedTask
from shouldtune.task.file import training_price_of
from shouldtune.tuning.provider_api import Provider
from shouldtune.tuning.training_file import TrainingFile, personal_rows, problems
from shouldtune.types import (
    Completion,
    Conversation,
    Message,
    Model,
    Models,
    ModelSpec,
    Options,
    Rung,
    Score,
    Skipped,
    TuneSettings,
)


@dataclass(frozen=True)
class Upload:
    """One file that would be sent, if its rung is reached."""

    rung: str
    rows: int
    size: int
    """Bytes."""
    tokens: float
    """Of one epoch, estimated."""
    epochs: int
    usd: float | None
    """Dollars for the job, estimated; None where no price is known."""
    usd_most: float | None
    personal: Mapping[str, int]
    """In how many rows personal data was found by its form, by kind."""
    problems: tuple[str, ...]
    """Why it would not be sent."""
    sha256: str


@dataclass(frozen=True)
class Leaving:
    """All that may leave this machine to be trained on."""

    host: str
    model: str
    uploads: tuple[Upload, ...]
    price: str | None
    """Of training, and where it was found."""

    @property
    def digest(self) -> str:
        """Of what is agreed to: the rows, the host and the model."""
        return digest([self.host, self.model, sorted([each.rung, each.sha256, each.epochs] for each in self.uploads)])


async def what_leaves(loaded: LoadedTask, how: Climb) -> Leaving | None:
    """What a climb may send to be trained on; None where it trains nowhere else. Asks nobody."""
    named = loaded.file.tune
    training = [rung for rung in how.rungs if rung.training]
    if named is None or not is_remote(named) or not training:
        return None
    base, price = remote_of(named), training_price_of(loaded.file, named)
    found: list[Upload] = []
    for rung in training:
        found += [
            _upload(rung.name, rows, settings.epochs, price) for rows, settings in await _taught(rung, loaded, base)
        ]
    found += [_upload(CURVE, rows, settings.epochs, price) for rows, settings in await _curve(loaded, how, base)]
    host = Provider(base.base_url, base.key_variable).host
    return Leaving(host, named, tuple(found), None if price is None else str(price))


def was_agreed(loaded: LoadedTask, leaving: Leaving) -> bool:
    """Whether an earlier run was told that it may send the very same."""
    return leaving.digest in _agreed(loaded)


def write_agreed(loaded: LoadedTask, leaving: Leaving) -> None:
    """Write down that it may be sent. CannotMeasure where that cannot be written."""
    if not was_agreed(loaded, leaving):
        write_whole(agreed_path(loaded.folder), json.dumps([*_agreed(loaded), leaving.digest], indent=1) + "\n")


def _agreed(loaded: LoadedTask) -> list[str]:
    """Digests of what may be sent; none where that cannot be read, so that it is asked again."""
    try:
        found = json.loads(agreed_path(loaded.folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


Taught = list[tuple[Sequence[Conversation], TuneSettings]]


@dataclass
class _Pupil:
    """Stands for the model that is to be trained, and keeps what it is to be trained on."""

    base: Remote
    taught: Taught = field(default_factory=list)

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return Completion("")

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        self.taught.append((conversations, settings))
        yield self

    def spec(self) -> ModelSpec:
        return self.base.spec()


@dataclass(frozen=True)
class _Knowing:
    """Stands for a strong model that is always right."""

    targets: Mapping[str, str]

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        return Completion(self.targets.get(messages[-1].content, ""))

    def spec(self) -> ModelSpec:
        return {"kind": "knowing"}


async def _taught(rung: Rung, loaded: LoadedTask, base: Remote) -> Taught:
    """What a rung would train on; nothing where it does not apply."""
    task, pupil = replace(loaded.task, scorer=lambda completion, example: Score(1.0)), _Pupil(base)
    strong = _Knowing({example.input: example.target for example in task.train})
    models = Models(pupil, pupil, strong if loaded.file.strong is not None else None)
    fitted = await rung.fit(task, models)
    return [] if isinstance(fitted, Skipped) else pupil.taught


async def _curve(loaded: LoadedTask, how: Climb, base: Remote) -> Taught:
    """What the small fine-tunes of a forecast would train on; nothing where none is measured."""
    pupil = _Pupil(base)
    task, models = replace(loaded.task, scorer=lambda completion, example: Score(1.0)), Models(pupil, pupil)
    rung = next((rung for rung in how.rungs if isinstance(rung, FineTune)), None)
    why_not = why_no_curve(task, models, loaded.economics.fine_tune_usd, loaded.file.budget)
    if rung is None or why_not or not Inquirer(loaded, task.goal, how, models, Progress()).forecasting:
        return []
    async for _ in learning_curve(task, models, rung, parts_of(task)):
        pass
    return pupil.taught


def _upload(rung: str, conversations: Sequence[Conversation], epochs: int, price: TrainingPrice | None) -> Upload:
    file = TrainingFile.of(conversations)
    return Upload(
        rung=rung,
        rows=file.rows,
        size=len(file.content),
        tokens=file.tokens,
        epochs=epochs,
        usd=None if price is None else price.of(file.tokens * epochs),
        usd_most=None if price is None else price.of(file.most_tokens * epochs),
        personal=personal_rows(conversations),
        problems=problems(conversations),
        sha256=file.sha256,
    )
