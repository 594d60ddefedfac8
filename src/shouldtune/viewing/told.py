"""What a run has told so far: its progress file, read on as it grows."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shouldtune.models.keys import completion_from_dict
from shouldtune.trail import FILE
from shouldtune.types import Prediction, Score, Spent, Trial

Event = dict[str, Any]


@dataclass
class Heard:
    """One rung, as far as was told."""

    training: bool = False
    uses_llm: bool = True
    predictions: dict[str, Prediction] = field(default_factory=dict)
    """By example id, in the order in which they came."""
    trials: list[Trial] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    fit: Spent = Spent()
    measured: Spent = Spent()


@dataclass
class Told:
    """All of it, and what is being done now."""

    rungs: dict[str, Heard] = field(default_factory=dict)
    """By name, in ladder order."""
    skipped: dict[str, str] = field(default_factory=dict)
    facts: Event = field(default_factory=dict)
    """What stood in the first line beside the ladder: the look at the holdout, and whether answers are simulated."""
    now: Event = field(default_factory=dict)
    """The newest line that tells of work."""
    position: tuple[str, int, int] | None = None
    """(rung, its place, of so many) that was begun last."""
    total: int = 0
    """How many examples the rung that is measured now is asked at most."""
    noted: list[str] = field(default_factory=list)
    ended: bool = False

    def hear(self, event: Event) -> None:
        """Take in one line. KeyError or TypeError where it is not one of trail.py's."""
        kind, name = event["event"], event.get("name", "")
        rung = self.rungs.get(name) or Heard()
        if kind == "begun":
            self.rungs = {each["name"]: Heard(each["training"], each["uses_llm"]) for each in event["rungs"]}
            self.facts = event
        elif kind == "rung":
            self.position = (name, event["position"], event["total"])
        elif kind == "skipped":
            self.skipped[name] = event["because"]
        elif kind == "noted":
            self.noted.append(event["text"])
        elif kind == "measuring":
            self.total = event["total"]
        elif kind == "predicted":
            score = None if event["score"] is None else Score(**event["score"])
            said = completion_from_dict(event["completion"])
            rung.predictions[event["example_id"]] = Prediction(event["example_id"], said, score)
        elif kind == "measured":
            rung.fit, rung.measured = Spent(**event["fit"]), Spent(**event["measured"])
            rung.notes = tuple(event["notes"])
        elif kind == "tried":
            rung.trials.append(Trial(**event["trial"]))
        self.ended = kind == "ended"
        self.now = self.now if kind == "noted" else event


class Follower:
    """Reads a run's progress file on from where it stood; anew where the run began it anew."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.told = Told()
        self._file = 0
        self._at = 0

    def read_on(self) -> bool:
        """Take in the lines that are whole by now; whether there were any. A line that is no event is passed over."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                if (found.st_ino, found.st_size >= self._at) != (self._file, True):
                    self.told, self._file, self._at = Told(), found.st_ino, 0
                file.seek(self._at)
                whole, _, _ = file.read().rpartition(b"\n")
        except OSError:
            return False
        if not whole:
            return False
        self._at += len(whole) + 1
        for line in whole.split(b"\n"):
            try:
                self.told.hear(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return True
