"""A climb as it goes: a live line on a terminal, plain lines when piped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, TextIO

from shouldtune.progress import Progress
from shouldtune.report.words import one_line
from shouldtune.types import Completion, Measurement, Prediction, Trial

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

MOST_TRIALS = 12


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


class Live(Progress):
    """Says which rung, how far, the running quality, what was bought and how long is left."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars: RichProgress | None = None
        self._bar: TaskID | None = None
        self._head = ""
        self._values: list[float] = []
        self._done = self._failed = self._new = self._fit_calls = 0
        self._since = monotonic()

    def rung_started(self, name: str, position: int, total: int) -> None:
        self._head = f"[{position}/{total}] {name}"
        self._values, self._done, self._failed, self._new, self._fit_calls = [], 0, 0, 0, 0
        self._since = monotonic()
        self._show("fitting on the training half", None)

    def rung_skipped(self, name: str, because: str) -> None:
        self._clear()
        self._line(f"{self._head}: skipped, {one_line(because)}")

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        self._new += new
        if purpose == "fit" and completion.engine != "training":
            self._fit_calls += 1
            self._show(f"choosing settings, {self._fit_calls} answers", None)

    def trained(self, done: int, total: int, loss: float) -> None:
        self._show(f"training, loss {loss:.3f}", (done, total))

    def tried(self, name: str, trial: Trial) -> None:
        score = "no answers" if trial.score is None else f"{trial.score:.3f}"
        self._line(f"      tried {one_line(trial.setting)}: {score} on {trial.n} training-half examples")

    def measuring(self, name: str, total: int) -> None:
        self._show("measuring", (0, total))
        self._total = total

    def predicted(self, name: str, prediction: Prediction) -> None:
        self._done += 1
        if prediction.score is None:
            self._failed += 1
        else:
            self._values.append(prediction.score.value)
        self._show(f"measuring, quality {self._quality()}{self._lost()}", (self._done, self._total))

    def rung_finished(self, name: str, measurement: Measurement) -> None:
        self._clear()
        bought = f"{self._new} new calls" if self._new else "all from the ledger"
        seconds = monotonic() - self._since
        self._line(f"{self._head}: quality {self._quality()} on {self._done}{self._lost()} ({seconds:.0f} s, {bought})")

    def _quality(self) -> str:
        return f"{sum(self._values) / len(self._values):.3f}" if self._values else "unknown"

    def _lost(self) -> str:
        return f", {self._failed} calls failed" if self._failed else ""

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
