"""What every way of asking a provider shares: how long one attempt may take, and what comes of one that was refused."""

from __future__ import annotations

import os

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.models.posting import Reply
from shouldtune.models.refusals import OVERLOADED, Meaning, what_to_do
from shouldtune.models.replies import failed
from shouldtune.models.retrying import Attempt, CallPatience

TIMEOUT_S = 120.0
TIMEOUT_VARIABLE = "SHOULDTUNE_TIMEOUT_S"
CONCURRENCY = 16
"""Calls under way at once, at most."""
PATIENCE = CallPatience()


def timeout_s() -> float:
    """Seconds for one attempt: SHOULDTUNE_TIMEOUT_S, for servers that take longer than two minutes. InputError."""
    told = os.environ.get(TIMEOUT_VARIABLE, "")
    try:
        seconds = float(told or TIMEOUT_S)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 3600:
        raise InputError(f"{TIMEOUT_VARIABLE} is {told!r}", hint="write seconds, 0.05 to 3600")
    return seconds


def patience_for(seconds: float) -> CallPatience:
    """How long a call may take whose attempts may take so many seconds each."""
    return CallPatience(limit_s=2.5 * seconds)


def refused(reply: Reply, why: str, meaning: Meaning, asked: str, key_variable: str, latency_s: float) -> Attempt:
    """What comes of a reply that is no answer; `why` is its text in short, `asked` who sent it, and to whom.

    Such are not billed, but where a gateway gave up, or a success says nothing, nobody knows. CannotMeasure where no
    call can succeed.
    """
    if meaning == "hopeless":
        raise CannotMeasure(f"{asked}: {why}", hint=what_to_do(reply.status, key_variable))
    cost = None if meaning in ("unknown", "malformed") else 0.0
    answer = failed(f"HTTP {reply.status}: {why}", meaning, latency_s, cost)
    return Attempt(answer, reply.retry_after_s if meaning == "transient" else None, reply.status in OVERLOADED)
