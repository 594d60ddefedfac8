"""What a server has kept: answers whose right answer is known, as new examples and as a look at the data of today."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shouldtune.errors import InputError
from shouldtune.judgement import Interval
from shouldtune.run import RunRecord
from shouldtune.scorers import graded, model_needed
from shouldtune.serving.keeping import told_path
from shouldtune.stats import mean_interval
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Example, Scorer


@dataclass(frozen=True)
class Served:
    """How the served rung has done where the right answer was told."""

    rung: str
    score: Interval
    """Of its kept answers, by the task's own scorer."""
    then: float | None
    """Its mean score in the run."""
    failed: int = 0
    """Answers that the scorer could not grade."""

    @property
    def drifted(self) -> bool:
        """Whether it does worse, or better, than in the run, by more than chance explains."""
        return self.then is not None and not self.score.low <= self.then <= self.score.high


def told_file(path: Path) -> Path:
    """The file with the right answers, from either of the two that `serve --keep` writes. InputError."""
    found = path if path.name.endswith(".told.jsonl") else told_path(path)
    if not found.exists():
        hint = "name the file of `shouldtune serve --keep FILE`; feedback with a right answer makes its examples"
        raise InputError("no feedback is kept here", where=found, hint=hint)
    return found


def kept_examples(path: Path) -> Sequence[Example]:
    """The examples that have come of feedback; none where none has. InputError."""
    return read_rows(path).examples if path.stat().st_size else ()


def kept_answers(path: Path, rung: str | None) -> dict[str, str]:
    """By id, what the rung answered to the kept examples."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    return {str(row["id"]): str(row.get("output", "")) for row in rows if row.get("rung") == rung and "id" in row}


async def served(
    answers: Mapping[str, str], examples: Sequence[Example], scorer: Scorer, record: RunRecord
) -> Served | None:
    """The kept answers of the rung that was to ship, graded; None where there is none, or a model grades."""
    rung = record.verdict.rung
    if rung is None or model_needed(scorer) is not None or not examples:
        return None
    scores = [await graded(scorer, Completion(answers[e.id]), e) for e in examples if e.id in answers]
    known = [score.value for score in scores if score is not None]
    if not known:
        return None
    then = next((each.quality for each in record.verdict.rungs if each.name == rung), None)
    return Served(rung, mean_interval(known, 0.05), then, len(scores) - len(known))
