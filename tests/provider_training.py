"""Training at a provider without a climb around it: light enough to be run in a process that is killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shouldtune.models.ledger import Ledger
from shouldtune.models.remote import open_remote
from shouldtune.progress import Progress
from shouldtune.tuning.provider_client import JobPatience
from shouldtune.tuning.provider_tunable import ProviderTunable
from shouldtune.types import Conversation, Message, TuneSettings
from tests.conftest import numbered_rows

QUICK = JobPatience(first_s=0.01, most_s=0.02, settled_s=0.15, unreachable_s=3.0)
TEXTS = [
    Conversation((Message("system", "Answer."), Message("user", row["input"])), row["target"])
    for row in numbered_rows(12)
]


async def tune(
    base: str, folder: Path, texts: Sequence[Conversation] = TEXTS, progress: Progress | None = None
) -> list[str]:
    """Train as a run does, without the rungs around it; the names of what comes out."""
    with Ledger(folder / "ledger.sqlite") as ledger:
        model = ProviderTunable(
            open_remote(base),
            ledger,
            journal_path=folder / "jobs.jsonl",
            patience=QUICK,
            progress=progress or Progress(),
        )
        try:
            return [tuned.spec()["name"] async for tuned in model.tune(texts, TuneSettings(epochs=3))]
        finally:
            await model.aclose()
