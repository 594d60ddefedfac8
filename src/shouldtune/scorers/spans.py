"""The identifiers that a row marks, given or read off its target; and how many of them an answer found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shouldtune.errors import InputError
from shouldtune.scorers.placing import aligned, gaps, label_key, placeholder_pattern, tokens
from shouldtune.types import Example

LABELS_SHOWN = 20
"""At most so many labels have an F1 of their own, the most frequent."""
_BRACKETED = re.compile(r"\[([^\W\d_a-z][^\W_a-z]*(?:[ _-][^\W_a-z]+){0,7})\]")


@dataclass(frozen=True)
class Span:
    """One identifier in a text."""

    start: int
    end: int
    """Exclusive, in characters."""
    label: str


def marked_spans(example: Example) -> tuple[Span, ...] | None:
    """The spans that `meta.spans` gives; None where it is not there. InputError where it cannot be read."""
    given: Any = example.meta.get("spans")
    if given is None:
        return None
    where = f"example {example.id}"
    try:
        spans = [(int(span["start"]), int(span["end"]), str(span["label"]), span.get("text")) for span in given]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        hint = 'write "spans": [{"start": 0, "end": 4, "label": "NAME"}]'
        raise InputError(f"`meta.spans` cannot be read: {error!r}", where=where, hint=hint) from None
    shift = _shift(example.input, [(start, end, text) for start, end, _, text in spans])
    found = sorted((start + shift, end + shift, label) for start, end, label, _ in spans)
    for start, end, label in found:
        if not 0 <= start < end <= len(example.input):
            hint = "`start` and `end` count characters of the input, `end` exclusive"
            raise InputError(f"`meta.spans` has a {label} outside the input", where=where, hint=hint)
    return tuple(Span(*span) for span in found)


def _shift(text: str, spans: Sequence[tuple[int, int, Any]]) -> int:
    """How far the places lie from where their texts stand: whitespace before an input is cut off when it is read."""
    texts = [(start, end, said) for start, end, said in spans if isinstance(said, str)]
    if all(text[start:end] == said for start, end, said in texts):
        return 0
    start, _, said = texts[0]
    for match in re.finditer(re.escape(said), text):
        by = match.start() - start
        if all(text[max(0, a + by) : max(0, b + by)] == other for a, b, other in texts):
            return by
    return 0


def labels_by_target(example: Example) -> set[str]:
    """What stands in capitals in square brackets in the target, and not in the input."""
    before = set(_BRACKETED.findall(example.input))
    return {label for label in _BRACKETED.findall(example.target) if label not in before}


def spans_by_target(text: str, target: str, labels: frozenset[str]) -> tuple[Span, ...]:
    """What a target's placeholders stand for: as its text between them is found in the input, else by aligning the two.

    Where the same text stands between several places, borders are a guess; what is to be kept is not.
    """
    found = _between(text, target, labels)
    return found if found is not None else _by_alignment(text, target, labels)


def _between(text: str, target: str, labels: frozenset[str]) -> tuple[Span, ...] | None:
    """None where the target's own text is not all in the input, in its order, or two placeholders touch."""
    marks = list(placeholder_pattern(labels).finditer(target))
    ends = [0, *(mark.end() for mark in marks)]
    literals = [target[a:b] for a, b in zip(ends, (*(mark.start() for mark in marks), len(target)), strict=True)]
    if not text.startswith(literals[0]) or not text.endswith(literals[-1]):
        return None
    spans, at = [], len(literals[0])
    for mark, literal in zip(marks, literals[1:], strict=True):
        last = mark is marks[-1]
        stop = len(text) - len(literal) if last else text.find(literal, at + 1) if literal else -1
        if stop <= at:
            return None
        spans.append(Span(at, stop, mark.group()[1:-1].strip()))
        at = stop + len(literal)
    return tuple(spans) if marks or text == target else None


def _by_alignment(text: str, target: str, labels: frozenset[str]) -> tuple[Span, ...]:
    source, answer = tokens(text, labels), tokens(target, labels)
    spans = []
    for first, stop, held in gaps(source, answer, aligned(source, [False] * len(source), answer)):
        for place, label in enumerate(held[: stop - first]):
            last = stop if place == len(held) - 1 else first + place + 1
            spans.append(Span(source[first + place].start, source[last - 1].end, label.text[1:-1].upper()))
    return tuple(spans)


# ---------------------------------------------------------------- spans with borders and labels


def span_scores(rows: Sequence[tuple[Sequence[Span], Sequence[Span]]]) -> dict[str, float]:
    """Precision, recall and F1 of (marked, found) spans with label and borders, micro over rows, and F1 by label."""
    wanted, found, right = Counter[str](), Counter[str](), Counter[str]()
    for marked, replaced in rows:
        told = Counter((s.start, s.end, label_key(s.label)) for s in marked)
        said = Counter((s.start, s.end, label_key(s.label)) for s in replaced)
        for counts, spans in ((wanted, told), (found, said), (right, told & said)):
            for (_, _, label), times in spans.items():
                counts[label] += times
    scores = {}
    if found:
        scores["span_precision"] = right.total() / found.total()
    if wanted:
        scores["span_recall"] = right.total() / wanted.total()
        scores["span_f1"] = 2 * right.total() / (wanted.total() + found.total())
    for label, _ in wanted.most_common(LABELS_SHOWN):
        scores[f"span_f1 {label.upper()}"] = 2 * right[label] / (wanted[label] + found[label])
    return scores
