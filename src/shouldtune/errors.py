"""The error tree. Each of ours prints as one line and a hint; a bug keeps its traceback.

ShouldTuneError            exit code
├── InputError             2    the user's file, row, option or name is wrong
├── BudgetError            3    the money ended first
└── CannotMeasure          4    the model, server or package that is needed cannot be had
    ├── ModelUnavailable   4    a model id that cannot be opened here
    ├── NotTrained         4    a provider that did not train (closed, refused, failed): its rung is skipped
    └── Ungraded           4    one answer that its scorer could not grade: data, where answers are measured
"""

from __future__ import annotations

from pathlib import Path


class ShouldTuneError(Exception):
    """Base of every error that a user can cause or mend.

    `where` is `file:line` (or a file, or nothing); `hint` says what to do next.
    """

    exit_code = 1

    def __init__(self, message: str, *, where: str | Path | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}"


class InputError(ShouldTuneError):
    """Something that the user wrote is wrong."""

    exit_code = 2


class BudgetError(ShouldTuneError):
    """The budget ended before the answer was clear."""

    exit_code = 3


class CannotMeasure(ShouldTuneError):
    """Nothing could be measured: no model, no server, every call failed."""

    exit_code = 4


class ModelUnavailable(CannotMeasure):
    """The model that was named cannot be opened on this machine."""


class NotTrained(CannotMeasure):
    """A provider has trained nothing, or it is not known whether it did. The rung is skipped, with this word."""


class Ungraded(CannotMeasure):
    """A scorer could not grade one answer, because what it asks failed. Whoever measures counts it as unmeasured."""
