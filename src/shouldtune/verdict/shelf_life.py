"""How long a verdict keeps: by when, and on what, to look again. Pure.

A day is named only where somebody else serves a model: once a month, for a retirement is told 14 days ahead (Baseten,
W&B Inference), 30 (Alibaba Model Studio, of dated models) or 60 (Anthropic), by their pages on deprecations. Everything
else is an event: a better model, more examples, other documents, answers in service that score worse than what was
measured, or what would flip the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from shouldtune.judgement import ShelfLife, Verdict
from shouldtune.models.prices import id_of
from shouldtune.models.providers import is_remote

DAYS = 30
MORE = 0.2
"""Of the examples, as many more as are worth another look: intervals become a tenth narrower."""


def shelf_life(verdict: Verdict, asked: Mapping[str, Any]) -> ShelfLife:
    """When to look again, from what the run was asked."""
    named = [str(asked[key]) for key in ("model", "tune", "strong") if asked.get(key)]
    judge = id_of(asked.get("judge") or {})  # of it a run keeps what it says of itself
    elsewhere = list(dict.fromkeys(name for name in (*named, judge) if name is not None and is_remote(name)))
    when = [f"a provider changes or retires {' or '.join(elsewhere)}"] if elsewhere else []
    when.append("a better model can be had off the shelf: `shouldtune recheck RUN --model NAME` asks that one")
    had = int(asked.get("train_n") or 0) + int(asked.get("holdout_n") or 0)
    if verdict.examples_needed:
        when.append(f"there are {verdict.examples_needed:,} held-out examples")
    elif had:
        when.append(f"there are {ceil(MORE * had):,} more labelled examples than the {had:,} of this run")
    if asked.get("documents_n"):
        when.append("the documents have changed")
    shipped = next((rung for rung in verdict.rungs if rung.name == verdict.rung), None)
    if shipped is not None and shipped.low:
        limit = f"{shipped.low:.3f}, the lower limit of {shipped.name}"
        graded = "`shouldtune recheck RUN --kept FILE` grades them"
        when.append(f"answers kept by `shouldtune serve --keep` score below {limit}: {graded}")
    if verdict.sensitivity:
        when.append(f"what you need, or what it costs, changes: {verdict.sensitivity[0].sentence}")
    return ShelfLife(DAYS if elsewhere else None, tuple(when))
