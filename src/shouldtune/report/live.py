"""A climb as it goes: a live line on a terminal, plain lines when piped."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, TextIO

import numpy as np

from shouldtune.progress import Progress
from shouldtune.report.words import one_line
from shouldtune.spool import figure
from shouldtune.types import Completion, Measurement, Prediction, Trial

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

BESIDE = {"choose": "choosing the best prompt", "probe": "probing failures", "forecast": "measuring a learning curve"}


@contextmanager
def progress_for(stream: TextIO) -> Iterator[Progress]:
    """The progress that suits where it is written to."""
    from rich.console import Console

    console = Console(file=stream, highlight=False)
    live = Live(console)
    if not console.is_terminal:
        yield live
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bars

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Bars(*columns, *times, console=console, transient=True) as bars:
        live.bars = bars
        yield live


@dataclass
class Tally:
    """What a rung's answers scored so far."""

    total: float = 0.0
    graded: int = 0
    failed: int = 0

    def add(self, prediction: Prediction) -> None:
        if prediction.score is None:
            self.failed += 1
        else:
            self.graded += 1
            self.total += prediction.score.value

    def __len__(self) -> int:
        return self.graded + self.failed

    def __str__(self) -> str:
        return f"{self.total / self.graded:.3f}" if self.graded else "unknown"

    @property
    def lost(self) -> str:
        return f", {self.failed} calls failed" if self.failed else ""


def tally_of(predictions: Sequence[Prediction]) -> Tally:
    scores = figure(predictions, "score")
    graded = scores[~np.isnan(scores)]
    return Tally(float(graded.sum()), len(graded), len(scores) - len(graded))


class Live(Progress):
    """Says which rung, how far, the running quality, what was bought and how long is left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: RichProgress | None = None
        self._bar: TaskID | None = None
        self._heads: dict[str, str] = {}
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._new: Counter[str] = Counter()
        self._seconds: defaultdict[str, float] = defaultdict(
            float
        )  # a rung may rest and be asked on: each has its own clock
        self._name = self._head = ""
        self._fit_calls = self._total = 0
        self._since = monotonic()

    def rung_started(self, name: str, position: int, total: int) -> None:
        self._turn_to(name, f"[{position}/{total}] {name}")
        self._fit_calls = 0
        self._show("fitting on the training half", None)

    def rung_skipped(self, name: str, because: str) -> None:
        self._clear()
        self._line(f"{self._head}: skipped, {one_line(because)}")

    def noted(self, text: str) -> None:
        self._clear()
        self._line(one_line(text))

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self._new[rung] += new
        if purpose in BESIDE:
            self._show(f"{BESIDE[purpose]}, {self._new[rung]} new answers", None)
        elif purpose == "fit" and completion.engine != "training":
            self._fit_calls += 1
            self._show(f"choosing settings, {self._fit_calls} answers", None)

    def trained(self, done: int, total: int, loss: float) -> None:
        self._show(f"training, loss {loss:.3f}", (done, total))

    def tried(self, name: str, trial: Trial) -> None:
        score = "no answers" if trial.score is None else f"{trial.score:.3f}"
        if trial.found is not None:
            score = f"right passage at {trial.found:.3f}"
        self._line(f"      tried {one_line(trial.setting)}: {score} on {trial.n} training-half examples")

    def measuring(self, name: str, total: int) -> None:
        self._turn_to(name, self._heads.get(name, name))
        self._total = total
        self._show("measuring", (len(self._tallies[name]), total))

    def predicted(self, name: str, prediction: Prediction) -> None:
        tally = self._tallies[name]
        tally.add(prediction)
        self._show(f"measuring, quality {tally}{tally.lost}", (len(tally), self._total))

    def rung_finished(self, name: str, measurement: Measurement) -> None:
        self._clear()
        self._turn_to(name, self._heads.get(name, name))
        tally, size = tally_of(measurement.predictions), measurement.raced_over
        rows = f"{len(tally)}" if size in (None, len(tally)) else f"{len(tally)} of {size}"
        bought = f"{self._new[name]} new calls" if self._new[name] else "all from the ledger"
        seconds = f"{self._seconds[name]:.0f} s"
        self._line(f"{self._head}: quality {tally} on {rows}{tally.lost} ({seconds}, {bought})")

    def agrees(self, question: str) -> bool:
        if self.bars is None or not sys.stdin.isatty():
            return False
        self._clear()
        self.bars.stop()
        try:
            return self.console.input(f"{one_line(question)} [y/N] ", markup=False).strip().lower() in ("y", "yes")
        except EOFError:
            return False
        finally:
            self.bars.start()

    def _turn_to(self, name: str, head: str) -> None:
        """Stop the clock of one rung and start that of another."""
        now = monotonic()
        self._seconds[self._name] += now - self._since
        self._name, self._head, self._since = name, head, now
        self._heads[name] = head

    def _line(self, text: str) -> None:
        self.console.print(text, markup=False, soft_wrap=True)

    def _show(self, what: str, done: tuple[int, int] | None) -> None:
        if self.bars is None:
            return
        if self._bar is None:
            self._bar = self.bars.add_task("")
        from rich.markup import escape

        completed, total = done or (0, None)
        self.bars.update(self._bar, description=escape(f"{self._head}: {what}"), completed=completed, total=total)

    def _clear(self) -> None:
        if self.bars is not None and self._bar is not None:
            self.bars.remove_task(self._bar)
            self._bar = None
