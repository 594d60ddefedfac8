"""Score an e-mail by what was asked of it: what must be said, what must not, and how long it may be.

A row's meta holds `must` and `must_not` (words or phrases, letter case aside) and `words` (least and most, greeting
and name included). What must be said counts by its share; each thing that must not be said halves the score, and an
e-mail that is too short or too long loses in proportion. Multiplied, so that silence cannot earn anything.
"""

from __future__ import annotations

import re

from shouldtune.types import Completion, Example, Score


def stands(phrase: str, text: str) -> bool:
    """Whether a phrase stands in a text, from the beginning of a word on."""
    start = r"(?<!\w)" if phrase[0].isalnum() else ""
    return re.search(start + re.escape(phrase.lower()), text.lower()) is not None


def length(count: int, least: int, most: int) -> float:
    """1 within the limits; below and above it falls in proportion, to 0 at nothing and at twice the most."""
    if count < least:
        return count / least
    return max(0.0, min(1.0, 2 - count / most))


def rules(completion: Completion, example: Example) -> Score:
    """Grade one e-mail from 0 to 1 and name what is missing or was to be left out."""
    text, meta = completion.text, example.meta
    missing = [phrase for phrase in meta["must"] if not stands(phrase, text)]
    forbidden = [phrase for phrase in meta["must_not"] if stands(phrase, text)]
    said = 1 - len(missing) / len(meta["must"])
    least, most = meta["words"]
    count = len(text.split())
    long_enough = length(count, least, most)
    reasons = [f"lacks {phrase}" for phrase in missing] + [f"says {phrase}" for phrase in forbidden]
    reasons += [f"{count} words"] if long_enough < 1 else []
    metrics = {"said": said, "kept away": float(not forbidden), "length": long_enough}
    return Score(said * 0.5 ** len(forbidden) * long_enough, "; ".join(reasons), metrics)
