"""What the page says beside the figures where it is served while a run goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

UNKNOWN = "Not known yet"


@dataclass(frozen=True)
class UnderWay:
    """How a run is getting on, in words."""

    state: Literal["going", "cut off", "ended"]
    said: str
    """What it does now; nothing where it has ended."""
    lines: tuple[str, ...] = ()
    """What was found or skipped so far."""
    version: int = 0
    """Counts up with what the page would show: a page of another version is stale."""

    @property
    def clause(self) -> str:
        """In the place of the answer."""
        return "the run is under way." if self.state == "going" else "the run was cut off."
