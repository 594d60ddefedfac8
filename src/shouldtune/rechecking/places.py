"""Where what earlier runs left lies: beside the task, or beside an old run that lies elsewhere and lends it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from shouldtune.files import RUNS
from shouldtune.looks import looks_path
from shouldtune.run import LEDGER, adapters_path, jobs_path, ledger_path


@dataclass(frozen=True)
class Places:
    """The looks taken, what was trained, and what a provider was sent: each whole, from one place or the other."""

    task: Path
    """The task's folder."""
    lent: Path | None = None
    """The folder of the old run's fellows, where that is not the task's own."""

    @staticmethod
    def of(task: Path, run: Path) -> Places:
        """Of a task's folder, and that of an old run."""
        runs = run.resolve().parent
        return Places(task, None if runs / LEDGER == ledger_path(task).resolve() else runs)

    @property
    def ledgers(self) -> tuple[Path, ...]:
        """Those beside the task's own."""
        return () if self.lent is None else (self.lent / LEDGER,)

    @property
    def looks(self) -> Path:
        return self._found(looks_path(self.task))

    @property
    def adapters(self) -> Path:
        return self._found(adapters_path(self.task))

    @property
    def jobs(self) -> Path:
        return self._found(jobs_path(self.task))

    def bring(self) -> None:
        """Copy to the task what it has not itself."""
        (self.task / RUNS).mkdir(parents=True, exist_ok=True)
        for place in (self.looks, self.adapters, self.jobs):
            own = self.task / RUNS / place.name
            if place.is_dir() and place != own:
                shutil.copytree(place, own)
            elif place.is_file() and place != own:
                shutil.copyfile(place, own)

    def _found(self, own: Path) -> Path:
        lent = None if self.lent is None else self.lent / own.name
        return lent if lent is not None and lent.exists() and not own.exists() else own
