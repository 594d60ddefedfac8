"""A redactor without a language model: rules for what has a form, and what the training examples have named."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

from shouldtune.identifiers import RULES, Identifier, apart, identifiers
from shouldtune.models.plain import computed
from shouldtune.scorers.redaction import Redaction
from shouldtune.scorers.spans import Span
from shouldtune.types import Completion, Example, Message, ModelSpec, Options

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
LEAST_LETTERS = 3
"""Shorter words are too often something else."""


@dataclass(frozen=True)
class Redactor:
    """The input, with what rules and dictionaries find replaced by [LABEL]."""

    rules: tuple[tuple[str, str], ...] = ()
    """(kind of identifier, label)"""
    phrases: tuple[tuple[str, str], ...] = ()
    """(text, label) of identifiers as a whole."""
    words: tuple[tuple[str, str], ...] = ()
    """(word, label) of words in them: a run that begins with one, and goes on with such words, initials or others that
    have a capital, is replaced."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        start = perf_counter()
        text = self.redact(messages[-1].content)
        return computed(text, start, "rules")

    def spec(self) -> ModelSpec:
        lists = {"rules": self.rules, "phrases": self.phrases, "words": self.words}
        return {"kind": "redactor", **{name: [list(pair) for pair in pairs] for name, pairs in lists.items()}}

    def redact(self, text: str) -> str:
        for found in reversed(self.find(text)):
            text = f"{text[: found.start]}[{found.kind}]{text[found.end :]}"
        return text

    def find(self, text: str) -> tuple[Identifier, ...]:
        """What is to be replaced; `kind` is the label."""
        labels = dict(self.rules)
        ruled = [Identifier(i.start, i.end, labels[i.kind]) for i in identifiers(text, labels)]
        phrases = [Identifier(*m.span(), self._labels[m.group()]) for m in self._phrases.finditer(text)]
        return apart([*ruled, *phrases, *_runs(text, dict(self.words))])

    @cached_property
    def _labels(self) -> dict[str, str]:
        return dict(self.phrases)

    @cached_property
    def _phrases(self) -> re.Pattern[str]:
        longest = sorted(self._labels, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest))})(?!\w)" if longest else r"(?!)")


def _runs(text: str, words: dict[str, str]) -> Iterator[Identifier]:
    """Known words, each with what goes on with it; a lone initial brings its full stop."""
    found = list(_WORD.finditer(text))
    at = 0
    while at < len(found):
        label = words.get(found[at].group())
        last = at
        while label is not None and last + 1 < len(found) and text[found[last].end() : found[last + 1].start()] == " ":
            if not found[last + 1].group()[0].isupper():
                break
            last += 1
        if label is not None:
            end = found[last].end()
            end += last > at and len(found[last].group()) == 1 and text[end : end + 1] == "."
            yield Identifier(found[at].start(), end, label)
        at = last + 1


# ---------------------------------------------------------------- learning from examples


def learn(examples: Sequence[Example], scorer: Redaction, trust: float, *, words: bool) -> Redactor:
    """The rules and texts whose finds on the training examples are marked with one label at least `trust` of the time.

    A rule takes the label that the marked spans it finds carry most; one that finds none is dropped. `words`: learn the
    words of marked spans too, not only whole ones.
    """
    rows = [(example.input, scorer.marked(example)) for example in examples]
    rules = _trusted(rows, lambda text: [(i.start, i.end, i.kind) for i in identifiers(text)], trust)
    phrases = {text[s.start : s.end] for text, spans in rows for s in spans}
    pattern = Redactor(phrases=tuple((phrase, "") for phrase in phrases if _says_enough(phrase)))._phrases
    texts = _trusted(rows, lambda text: [(*m.span(), m.group()) for m in pattern.finditer(text)], trust)
    single = {}
    if words:
        named = _trusted(rows, lambda text: [(*m.span(), m.group()) for m in _WORD.finditer(text)], trust, whole=False)
        single = {word: label for word, label in named.items() if word[0].isupper() and len(word) >= LEAST_LETTERS}
    order = {rule.kind: place for place, rule in enumerate(RULES)}
    return Redactor(
        tuple(sorted(rules.items(), key=lambda pair: order[pair[0]])),
        tuple(sorted(texts.items())),
        tuple(sorted(single.items())),
    )


Finds = Callable[[str], list[tuple[int, int, str]]]
"""A text to (start, end, key) of what is found in it."""


def _trusted(
    rows: Sequence[tuple[str, Sequence[Span]]], finds: Finds, trust: float, *, whole: bool = True
) -> dict[str, str]:
    """Each key whose finds carry one label in at least `trust` of the cases, with that label.

    A find counts for a label where a marked span overlaps it and the unmarked text does not lose a word by it: it lies
    within the span, and with `whole` covers half of it or more.
    """
    seen, labelled = Counter[str](), defaultdict[str, Counter[str]](Counter)
    for text, spans in rows:
        for start, end, key in finds(text):
            seen[key] += 1
            for span in spans:
                inside = span.start <= start and end <= span.end
                if inside and (not whole or 2 * (end - start) >= span.end - span.start):
                    labelled[key][span.label] += 1
                    break
    best = {key: counts.most_common(1)[0] for key, counts in labelled.items()}
    return {key: label for key, (label, times) in best.items() if times >= trust * seen[key]}


def _says_enough(phrase: str) -> bool:
    return sum(character.isalnum() for character in phrase) >= LEAST_LETTERS
