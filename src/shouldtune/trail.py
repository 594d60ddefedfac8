"""What a run tells while it goes on, line by line in its folder, so that a second process can watch.

    TASK/runs/<id>/progress.jsonl

One JSON object a line, appended as it happens; a run that goes on begins the file anew and tells again what it finds in
the ledger. A line is written whole or, where the process is killed within it, lacks its end of line: a reader leaves
such a rest alone. The lock on the file says whether the run is still alive. Nothing rests on this file: a
run that cannot write it goes on without.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any, TextIO

from shouldtune.progress import Progress
from shouldtune.types import Completion, Measurement, Prediction, Rung, Trial

FILE = "progress.jsonl"
EVERY = 1.0
"""Seconds between two lines about the same long work."""


class Trail(Progress):
    """Hands everything on to another progress, and writes it down from `begin` on."""

    def __init__(self, beside: Progress) -> None:
        self._beside = beside
        self._file: TextIO | None = None
        self._told = 0.0
        self._calls: Counter[tuple[str, str]] = Counter()
        self._ladder: frozenset[str] = frozenset()

    def begin(self, folder: Path, rungs: Sequence[Rung], facts: Mapping[str, Any]) -> None:
        """Begin the file anew, with the ladder and what else a reader cannot find in run.json."""
        self._ladder = frozenset(rung.name for rung in rungs)
        ladder = [{"name": r.name, "training": r.training, "uses_llm": r.uses_llm} for r in rungs]
        try:
            fresh = folder / f".{FILE}.{os.getpid()}"
            self._file = fresh.open("w", encoding="utf-8")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write("begun", rungs=ladder, **facts)
            if self._file is not None:
                fresh.replace(folder / FILE)  # a new file: who reads the old one sees that it is another
        except OSError:
            self.close()

    def end(self) -> None:
        """The verdict is written."""
        self._write("ended")
        self.close()

    def close(self) -> None:
        """Let go of the file; without an end the run was cut off."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # closing writes what is left
                file.close()

    # ------------------------------------------------------------ what is told

    def rung_started(self, name: str, position: int, total: int) -> None:
        self._write("rung", name=name, position=position, total=total)
        self._beside.rung_started(name, position, total)

    def noted(self, text: str) -> None:
        self._write("noted", text=text)
        self._beside.noted(text)

    def rung_skipped(self, name: str, because: str) -> None:
        self._write("skipped", name=name, because=because)
        self._beside.rung_skipped(name, because)

    def measuring(self, name: str, total: int) -> None:
        self._write("measuring", name=name, total=total)
        self._beside.measuring(name, total)

    def predicted(self, name: str, prediction: Prediction) -> None:
        completion = {k: v for k, v in prediction.completion.plain().items() if k != "choice_logprobs"}
        score = prediction.score and prediction.score.plain()
        self._write("predicted", name=name, example_id=prediction.example_id, completion=completion, score=score)
        self._beside.predicted(name, prediction)

    def rung_finished(self, name: str, measurement: Measurement) -> None:
        told = {"fit": asdict(measurement.fit), "measured": asdict(measurement.measured), "notes": measurement.notes}
        self._write("measured", name=name, **told)
        self._beside.rung_finished(name, measurement)

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self._calls[rung, purpose] += 1
        if purpose != "measure" or rung not in self._ladder:  # what is measured is told by its predictions
            self._now_and_then("called", by=rung, purpose=purpose, calls=self._calls[rung, purpose])
        self._beside.called(rung, purpose, completion, new)

    def trained(self, done: int, total: int, loss: float) -> None:
        self._now_and_then("trained", done=done, total=total, loss=loss)
        self._beside.trained(done, total, loss)

    def tried(self, name: str, trial: Trial) -> None:
        self._write("tried", name=name, trial=asdict(trial))
        self._beside.tried(name, trial)

    def agrees(self, question: str) -> bool:
        return self._beside.agrees(question)

    # ------------------------------------------------------------ the file

    def _now_and_then(self, event: str, **facts: Any) -> None:
        if monotonic() - self._told >= EVERY:
            self._told = monotonic()
            self._write(event, **facts)

    def _write(self, event: str, **facts: Any) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"event": event, **facts}, default=str) + "\n")
            self._file.flush()
        except OSError:
            self.close()


def is_alive(folder: Path) -> bool:
    """Whether a process is at work on the run: it holds its file, and the system lets go however that process dies."""
    try:
        with (folder / FILE).open(encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
