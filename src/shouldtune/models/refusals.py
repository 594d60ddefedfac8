"""What a server's reply other than 200 means: try again, never this one, never any, or not by policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from shouldtune.models.posting import Reply
from shouldtune.types import Failure

Meaning = Failure | Literal["hopeless"]
"""`hopeless`: no call can succeed, so nothing can be measured."""

OVERLOADED = (429, 503, 529)
AGAIN = (408, 409, 425, *OVERLOADED)
GATEWAY_GAVE_UP = (504, 524)
"""A gateway waited in vain; the model behind it may have answered, and be paid."""
FILTERED = ("content_filter", "content_policy", "content management policy", "responsibleaipolicyviolation")
MODERATED = ("moderation", "flagged")
NO_MONEY = ("insufficient_quota", "insufficient_balance", "billing_hard_limit")


def meaning_of(reply: Reply) -> Meaning:
    """What a reply that is no 200 means for its call."""
    said = reply.text.lower()
    if any(word in said for word in FILTERED) or (reply.status == 403 and any(word in said for word in MODERATED)):
        return "refused"
    if reply.status in (401, 402, 403, 404) or (reply.status == 429 and any(word in said for word in NO_MONEY)):
        return "hopeless"
    if reply.status in GATEWAY_GAVE_UP:
        return "unknown"
    if reply.status in AGAIN or reply.status >= 500:
        return "transient"
    return "permanent"


def error_inside(reply: Mapping[str, Any]) -> Failure | None:
    """What an error inside a 200 means; None where there is none."""
    error = reply.get("error")
    if not error:
        return None
    said = json.dumps(error, default=str).lower()
    return "refused" if any(word in said for word in FILTERED) else "transient"


def what_to_do(status: int, key_variable: str) -> str:
    """A hint for somebody whose calls cannot succeed."""
    if status in (402, 429):
        return "the account's credit is used up: add some, and run the same command again"
    if status != 404 and key_variable:
        return f"set {key_variable}"
    return "check the model's name and the address"
