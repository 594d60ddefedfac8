"""What a provider asks for training: the user's own table first, then a short list of what providers published.

genai-prices, where the prices of answers come from, has none of training.
"""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.judgement import Price

OPENAI_LIST = "OpenAI's price list (openai.com/api/pricing), as of October 2025"


@dataclass(frozen=True)
class TrainingPrice:
    """Dollars per million tokens that are trained on: those of the file, times the epochs."""

    usd: float
    source: str = "your price table"

    def of(self, tokens: float) -> float:
        """Dollars."""
        return tokens * self.usd / 1e6

    def __str__(self) -> str:
        return f"${self.usd:g} per million tokens and epoch ({self.source})"


@dataclass(frozen=True)
class Listed:
    """What a provider publishes of a model that can be tuned."""

    training: TrainingPrice
    tuned: Price
    """Of the answers of the tuned model."""


def _openai(training: float, read: float, cached: float, written: float) -> Listed:
    return Listed(TrainingPrice(training, OPENAI_LIST), Price(read, written, OPENAI_LIST, cached))


LISTED = {
    "openai:gpt-4.1": _openai(25.0, 3.0, 0.75, 12.0),
    "openai:gpt-4.1-mini": _openai(5.0, 0.8, 0.2, 3.2),
}
SNAPSHOTS = {f"{name}-2025-04-14": found for name, found in LISTED.items()}


def listed(model_id: str) -> Listed | None:
    """What is published of a model that can be tuned; None where we know of nothing."""
    return LISTED.get(model_id) or SNAPSHOTS.get(model_id)
