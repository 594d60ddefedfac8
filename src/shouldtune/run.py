"""A run is a folder: what was asked, every prediction, the fitted models, the verdict. Write it, read it back.

    TASK/runs/ledger.sqlite      every call of every run of the task
    TASK/runs/looks.jsonl        every look at the held-out examples (looks.py)
    TASK/runs/adapters/          what training made, by what it was made from
    TASK/runs/provider_jobs.jsonl  what was sent to a provider and started there (tuning/job_journal.py)
             agreed_to_send.json   hashes of what its user has agreed to send
    TASK/runs/<id>/run.json      what was asked
                  contents.json  hashes of the examples, documents and code (task/contents.py)
                  holdout.jsonl, predictions.jsonl, measurements.json
                  inquiry.json   what was found about the data, the failures and the learning curve
                  progress.jsonl what it tells while it goes on (trail.py)
                  models/<rung>/ each fitted model, winner/ the one to ship
                  verdict.json, report.html

The id is a digest of what was asked, so that the same command finds its own folder again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.files import RUNS, write_whole
from shouldtune.judgement import Verdict
from shouldtune.models.keys import completion_from_dict
from shouldtune.spool import Answers, ExampleSpool
from shouldtune.task.contents import Contents, as_json, contents_from_plain, hashes_of
from shouldtune.types import Example, Measurement, Prediction, PromptSearch, Score, Spent, Trial
from shouldtune.verdict.inquiry import Inquiry
from shouldtune.verdict.plain import from_plain, inquiry_from_json, inquiry_to_json, verdict_from_json, verdict_to_json

LEDGER = "ledger.sqlite"


@dataclass(frozen=True, repr=False)
class RunRecord:
    """Everything that a report needs, read from one run folder."""

    folder: Path
    asked: dict[str, Any]
    verdict: Verdict
    holdout: Sequence[Example]
    measurements: tuple[Measurement, ...]
    inquiry: Inquiry = Inquiry()

    def __repr__(self) -> str:
        """Short: `asyncio.run` has what it returns written out, unseen (signal.getsignal, CPython 3.11)."""
        return f"RunRecord({str(self.folder)!r})"


def ledger_path(task_folder: Path) -> Path:
    return task_folder / RUNS / LEDGER


def adapters_path(task_folder: Path) -> Path:
    return task_folder / RUNS / "adapters"


def jobs_path(task_folder: Path) -> Path:
    return task_folder / RUNS / "provider_jobs.jsonl"


def agreed_path(task_folder: Path) -> Path:
    return task_folder / RUNS / "agreed_to_send.json"


def run_folder(task_folder: Path, name: str, run_id: str) -> Path:
    return task_folder / RUNS / f"{name}-{run_id}"


def models_folder(folder: Path, rung: str) -> Path:
    return folder / "models" / rung


def rung_to_ship(record: RunRecord, rung: str | None = None) -> str:
    """The rung whose fitted model a finished run would ship, or the one that is named. InputError where it has none."""
    folder = models_folder(record.folder, "x").parent
    there = sorted(path.parent.name for path in folder.glob("*/model.json"))
    if rung is None and record.verdict.rung is None:
        raise InputError(
            "this run has no winner",
            where=record.folder,
            hint=f"--rung names one of its models: {', '.join(there) or 'there are none'}",
        )
    chosen = rung or str(record.verdict.rung)
    if chosen not in there:  # a name, never a path
        raise InputError(
            f"this run has no model of rung {chosen!r}",
            where=record.folder,
            hint=f"its models: {', '.join(there) or 'none'}",
        )
    return chosen


def save_asked(folder: Path, asked: Mapping[str, Any], holdout: Sequence[Example], contents: Contents) -> None:
    """Write what is asked, before anything is spent on it. A run that goes on keeps its first date."""
    path = folder / "run.json"
    if path.exists():
        return
    write_whole(folder / "contents.json", chain(as_json(contents), ["\n"]))
    write_whole(folder / "holdout.jsonl", _lines(example.plain() for example in holdout))
    write_whole(path, json.dumps(asked, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def save_measurements(folder: Path, measurements: Sequence[Measurement]) -> None:
    """Write all predictions so far, and what each rung took."""
    rows = (
        {
            "rung": m.rung,
            "example_id": p.example_id,
            "completion": p.completion.plain(),
            "score": p.score and p.score.plain(),
        }
        for m in measurements
        for p in m.predictions
    )
    write_whole(folder / "predictions.jsonl", _lines(rows))
    heads = [asdict(replace(m, predictions=())) for m in measurements]
    for head in heads:
        del head["predictions"]
    write_whole(folder / "measurements.json", json.dumps(heads, indent=2, sort_keys=True) + "\n")


def save_verdict(folder: Path, verdict: Verdict) -> None:
    write_whole(folder / "verdict.json", verdict_to_json(verdict))


def save_inquiry(folder: Path, inquiry: Inquiry) -> None:
    write_whole(folder / "inquiry.json", inquiry_to_json(inquiry))


def load_run(folder: Path) -> RunRecord:
    """Read a run folder, or the newest run in a task's folder. InputError where there is none or it is unfinished."""
    folder = _find(folder)
    if not (folder / "verdict.json").exists():
        raise InputError(
            "this run has no verdict yet", where=folder, hint="`shouldtune run` on its task goes on with it"
        )
    try:
        asked, holdout = load_asked(folder)
        verdict = verdict_from_json(_read(folder / "verdict.json"))
        measurements = _measurements(folder)
        inquiry = load_inquiry(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"this run folder cannot be read: {error!r}", where=folder) from None
    return RunRecord(folder, asked, verdict, holdout, measurements, inquiry)


def load_asked(folder: Path) -> tuple[dict[str, Any], Sequence[Example]]:
    """(what was asked, the held-out examples) of a run that need not be finished. InputError where there is none."""
    try:
        asked: dict[str, Any] = json.loads(_read(folder / "run.json"))
        return asked, ExampleSpool(map(_example, _rows(folder / "holdout.jsonl"))).rows()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"this run folder cannot be read: {error!r}", where=folder) from None


def load_contents(folder: Path, holdout: Sequence[Example]) -> Contents:
    """What the task of a run consisted of; of an older run no more is known than what it had held out. InputError."""
    path = folder / "contents.json"
    if not path.exists():
        return Contents(hashes_of(holdout))
    try:
        return contents_from_plain(json.loads(_read(path)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"this run folder cannot be read: {error!r}", where=path) from None


def load_inquiry(folder: Path) -> Inquiry:
    """What was looked into so far."""
    path = folder / "inquiry.json"
    return inquiry_from_json(_read(path)) if path.exists() else Inquiry()


def newest_run(folder: Path) -> Path:
    """A run's own folder, or that of a task's run which was begun or went on last. InputError where there is none."""
    if (folder / "run.json").exists():
        return folder
    runs = folder / RUNS if (folder / RUNS).is_dir() else folder
    begun = [path.parent for path in runs.glob("*/run.json")]
    if not begun:
        raise InputError("there is no run here", where=folder, hint="name a run folder, or a task folder that was run")
    return max(begun, key=lambda run: max(file.stat().st_mtime for file in run.iterdir() if file.is_file()))


def _find(folder: Path) -> Path:
    if (folder / "run.json").exists():
        return folder
    runs = folder / RUNS if (folder / RUNS).is_dir() else folder
    finished = sorted(runs.glob("*/verdict.json"), key=lambda path: path.stat().st_mtime)
    if not finished:
        raise InputError(
            "there is no run here", where=folder, hint="name a run folder, or a task folder that has been run"
        )
    return finished[-1].parent


def _measurements(folder: Path) -> tuple[Measurement, ...]:
    predictions: defaultdict[str, Answers] = defaultdict(Answers)
    for row in _rows(folder / "predictions.jsonl"):
        completion = completion_from_dict(row["completion"])
        score = None if row["score"] is None else Score(**row["score"])
        predictions[row["rung"]].add(Prediction(row["example_id"], completion, score))
    return tuple(
        Measurement(
            rung=head["rung"],
            predictions=predictions[head["rung"]].all_added(),
            training=head["training"],
            uses_llm=head["uses_llm"],
            trials=tuple(Trial(**trial) for trial in head["trials"]),
            notes=tuple(head["notes"]),
            fit=Spent(**head["fit"]),
            measured=Spent(**head["measured"]),
            raced_over=head.get("raced_over"),
            stopped_because=head.get("stopped_because"),
            overall=head.get("overall", {}),
            search=from_plain(PromptSearch, head.get("search")),
        )
        for head in json.loads(_read(folder / "measurements.json"))
    )


def _example(row: dict[str, Any]) -> Example:
    return Example(**{**row, "accepted": tuple(row["accepted"])})


def _lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (json.dumps(row, ensure_ascii=False, sort_keys=True, default=str) + "\n" for row in rows)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
