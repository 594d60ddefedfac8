"""Months later: does the verdict of a run still stand? Only what has changed is measured again.

The old run says what was asked and of which data; the task is read as it is now, split as it was then. What the ledger
holds is not asked again. The old run's folder stays as it is; the new run has its own, beside it. Only where nothing
has changed, and the old run ended before its answer was clear, is it that run which goes on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from shouldtune.asked import Climb, Ground, open_models, run_id, what_is_asked
from shouldtune.errors import InputError
from shouldtune.files import RUNS
from shouldtune.ladder import climb
from shouldtune.models.ledger import Ledger
from shouldtune.models.open import describe_model
from shouldtune.progress import Progress
from shouldtune.rechecking.again import climb_again
from shouldtune.rechecking.changes import Changes, changes
from shouldtune.rechecking.kept import Served, kept_answers, kept_examples, served, told_file
from shouldtune.rechecking.outcome import Outcome, is_finished, outcome, tells
from shouldtune.rechecking.places import Places
from shouldtune.rechecking.replay import Needed, needed
from shouldtune.rejudge import settings_changed
from shouldtune.run import RunRecord, ledger_path, load_contents, load_run, run_folder
from shouldtune.task import LoadedTask
from shouldtune.task.contents import Earlier, contents_of
from shouldtune.task.file import FILE_NAME

Load = Callable[[Path, Earlier], LoadedTask]
"""Reads a task, with whatever options its caller was given."""


@dataclass(frozen=True)
class Recheck:
    """What has changed since a run, and what would be measured again."""

    before: RunRecord
    loaded: LoadedTask
    how: Climb
    changes: Changes
    needed: tuple[Needed, ...]
    same: bool
    """Whether all is as it was and the run was finished, so that there is nothing to measure."""
    folder: Path
    """Of the new run; the old one's where that goes on."""
    served: Served | None = None

    @property
    def calls(self) -> int:
        return sum(each.calls for each in self.needed)


async def look_again(
    run: Path, task: Path | None, load: Load, settings: Sequence[str] = (), kept: Path | None = None
) -> Recheck:
    """What a re-check of this run would take. Asks no model, writes nothing. InputError, CannotMeasure."""
    record = _run_of(run)
    before = load_contents(record.folder, record.holdout)
    place = _task_of(record, task)
    told = None if kept is None else told_file(kept)
    more = () if told is None else kept_examples(told)
    answers = {} if told is None else kept_answers(told, record.verdict.rung)
    loaded = _under(load(place, Earlier(before, more)), settings)
    how, notes = climb_again(record)
    asked = await _asked(loaded, how)
    found = changes(record, before, asked, contents_of(loaded))
    found = replace(found, notes=(*found.notes, *notes))
    folder = run_folder(loaded.folder, loaded.task.name, run_id(asked))
    same = folder.resolve() == record.folder.resolve() and is_finished(record.verdict)
    places = Places.of(loaded.folder, record.folder)
    return Recheck(
        before=record,
        loaded=loaded,
        how=how,
        changes=found,
        needed=() if same else await needed(loaded, how, record, places),
        same=same,
        folder=folder,
        served=await served(answers, more, loaded.task.scorer, record),
    )


async def measure_again(found: Recheck, progress: Progress | None = None) -> Outcome:
    """Climb, from the ledger where it has the answers. Errors as `climb`."""
    if found.same:
        return outcome(found.before, found.before)
    places = Places.of(found.loaded.folder, found.before.folder)
    places.bring()
    return outcome(found.before, await climb(found.loaded, found.how, progress, Ground(beside=places.ledgers)))


def _run_of(named: Path) -> RunRecord:
    """The run that is named; of a task's folder the newest that told a verdict, or the newest where none did.

    So a re-check that ended before its answer was clear goes on beside the verdict that it is about. InputError.
    """
    newest = load_run(named)
    if tells(newest.verdict) or (named / "run.json").exists():
        return newest
    others = sorted(newest.folder.parent.glob("*/verdict.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    found = (load_run(path.parent) for path in others)
    return next((record for record in found if tells(record.verdict)), newest)


def _task_of(record: RunRecord, task: Path | None) -> Path:
    """The task's folder. InputError where it is gone."""
    runs = record.folder.resolve().parent
    if task is None and runs.name != RUNS:
        hint = "name the task's folder too: shouldtune recheck RUN TASK"
        raise InputError("this run does not lie in its task's folder", where=record.folder, hint=hint)
    place = runs.parent if task is None else task
    if not (place / FILE_NAME if not place.is_file() else place).exists():
        hint = "name where it is now: shouldtune recheck RUN TASK"
        raise InputError("the task of this run is gone", where=place / FILE_NAME, hint=hint)
    return place


def _under(loaded: LoadedTask, settings: Sequence[str]) -> LoadedTask:
    """The task under other goals and money."""
    if not settings:
        return loaded
    goal, economics, _ = settings_changed(_plain(loaded), settings)
    return replace(loaded, task=replace(loaded.task, goal=goal), economics=economics)


def _plain(loaded: LoadedTask) -> dict[str, Any]:
    names = {"model": loaded.file.model, "strong": loaded.file.strong}
    return {**names, "goal": asdict(loaded.task.goal), "economics": asdict(loaded.economics)}


async def _asked(loaded: LoadedTask, how: Climb) -> dict[str, Any]:
    """What is asked now, with what the models say of themselves."""
    with tempfile.TemporaryDirectory(prefix="shouldtune-") as name, Ledger(ledger_path(Path(name))) as ledger:
        models = open_models(loaded, ledger, Progress(), opens=describe_model)
        try:
            return what_is_asked(loaded, how, models)
        finally:
            await models.aclose()


__all__ = ["Changes", "Needed", "Outcome", "Recheck", "Served", "look_again", "measure_again"]
