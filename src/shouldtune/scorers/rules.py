"""Customised text by rules: what must be said, what must not, and how long it may be."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from shouldtune.errors import InputError
from shouldtune.types import Completion, Example, Score


@dataclass(frozen=True)
class Rules:
    """The share of what must be said, halved for each thing that must not be, and less where the length does not fit.

    Multiplied, so that the same text always, or silence, earns nothing by what it does not say. A text that is too
    short or too long loses in proportion, all of it at twice the most; one without any letter or digit scores 0. Where
    nothing must be said and no length is given, any other text without the forbidden words is right, `ok` too.
    Phrases are looked for as whole words, case and whitespace aside; ` | ` parts alternatives. A row's `meta.must`,
    `meta.must_not` and `meta.words` stand in place of the task's. Metrics: `must`, `must_not`, `words`, the shares
    kept, and `all_rules`.
    Rules say nothing of sense or grammar: give a scorer against references a weight beside it.
    """

    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    words: tuple[int, int] | None = None
    """(fewest, most)"""

    def __call__(self, completion: Completion, example: Example) -> Score:
        rules = self._for(example)
        text = " ".join(completion.text.casefold().split())
        missing = [phrase for phrase in rules.must if not says(text, phrase)]
        forbidden = [phrase for phrase in rules.must_not if says(text, phrase)]
        count = len(text.split())
        fits = rules.words is None or rules.words[0] <= count <= rules.words[1]
        number = len(rules.must) + len(rules.must_not) + (rules.words is not None)
        if not number:
            hint = "say `scoring: {must: [...], must_not: [...], words: [20, 80]}`, or `meta.must` in the row"
            raise InputError(f"there is no rule for example {example.id}", hint=hint)
        empty = not any(character.isalnum() for character in text)
        broken = len(missing) + len(forbidden) + (not fits)
        said = 1 - len(missing) / len(rules.must) if rules.must else 1.0
        value = said * 0.5 ** len(forbidden) * _length(count, rules.words)
        metrics = {"all_rules": float(not broken and not empty)}
        metrics |= {"must": 1 - len(missing) / len(rules.must)} if rules.must else {}
        metrics |= {"must_not": 1 - len(forbidden) / len(rules.must_not)} if rules.must_not else {}
        metrics |= {} if rules.words is None else {"words": float(fits)}
        reasons = [f"does not say {phrase!r}" for phrase in missing] + [f"says {phrase!r}" for phrase in forbidden]
        reasons += [] if fits else [f"{count} words"]
        return Score(0.0 if empty else value, ", ".join(reasons[:4]), metrics)

    def _for(self, example: Example) -> Rules:
        """The task's rules, with those of the row in their place."""
        own: dict[str, Any] = {}
        for name in ("must", "must_not"):
            if name in example.meta:
                own[name] = _phrases(example.meta[name], name, example)
        if "words" in example.meta:
            own["words"] = _limits(example.meta["words"], example)
        return replace(self, **own) if own else self


def _length(count: int, words: tuple[int, int] | None) -> float:
    """1 within the limits; below and above it falls in proportion, to 0 at no word and at twice the most."""
    if words is None or words[0] <= count <= words[1]:
        return 1.0
    return count / words[0] if count < words[0] else max(0.0, 2 - count / max(1, words[1]))


def says(text: str, phrase: str) -> bool:
    """Whether a text (lower case, single spaces) has one of the phrase's alternatives as whole words."""
    parts = (" ".join(part.casefold().split()) for part in phrase.split(" | "))
    return any(re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) for part in parts if part)


def _phrases(given: Any, name: str, example: Example) -> tuple[str, ...]:
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, Sequence) or not all(isinstance(phrase, str) and phrase.strip() for phrase in found):
        raise InputError(f"`meta.{name}` of example {example.id} is no list of phrases")
    return tuple(found)


def _limits(given: Any, example: Example) -> tuple[int, int]:
    try:
        least, most = (int(number) for number in given)
    except (TypeError, ValueError):
        raise InputError(f"`meta.words` of example {example.id} is no [fewest, most]") from None
    return least, most
