"""Everything that trains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from shouldtune.models.doubles import Scripted
from shouldtune.models.open import is_local, is_served_here, open_model
from shouldtune.types import Example, Tunable

OnStep = Callable[[int, int, float], None]
"""Called with (steps done, steps in all, loss of the last one)."""


def open_tunable(
    model_id: str, store: Path, examples: Sequence[Example] = (), on_step: OnStep | None = None
) -> Tunable | None:
    """The model to fine-tune, its adapters kept under `store`; None where an id names none that can be tuned here."""
    if is_served_here(model_id):
        from shouldtune.tuning.vllm_tunable import open_vllm_tunable

        return open_vllm_tunable(model_id, store, on_step)
    if is_local(model_id):
        from shouldtune.models.local import open_local
        from shouldtune.tuning.lora import LocalTunable

        return LocalTunable(open_local(model_id), store, on_step)
    model = open_model(model_id, examples)
    return model if isinstance(model, Scripted) else None
