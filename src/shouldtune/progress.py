"""What a climb tells while it runs. This one is silent; a terminal shows more."""

from __future__ import annotations

from shouldtune.types import Completion, Measurement, Prediction, Trial


class Progress:
    """Override what you want to hear."""

    def rung_started(self, name: str, position: int, total: int) -> None:
        """A rung begins to fit."""

    def noted(self, text: str) -> None:
        """Something was found, or is looked into, beside the rungs."""

    def rung_skipped(self, name: str, because: str) -> None:
        """A rung cannot apply."""

    def measuring(self, name: str, total: int) -> None:
        """A fitted rung is asked now, or asked on, up to `total` holdout examples."""

    def predicted(self, name: str, prediction: Prediction) -> None:
        """One holdout example has its answer."""

    def rung_finished(self, name: str, measurement: Measurement) -> None:
        """A rung has been measured for now; once more at the end where it was asked on."""

    def called(self, rung: str, purpose: str, completion: Completion, new: bool) -> None:
        """A model answered, now (`new`) or from the ledger."""

    def trained(self, done: int, total: int, loss: float) -> None:
        """A training step was done."""

    def tried(self, name: str, trial: Trial) -> None:
        """A setting was tried on the training half."""

    def agrees(self, question: str) -> bool:
        """Ask who watches; no where nobody does, or nobody can be asked."""
        return False
