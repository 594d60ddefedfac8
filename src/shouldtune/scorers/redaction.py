"""Text with personal data -> the same with each identifier replaced by [LABEL]: what leaked, what else was touched."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shouldtune.errors import InputError
from shouldtune.scorers.placing import Token, aligned, label_key, normal, placeholder_pattern, tokens
from shouldtune.types import Completion, Example, Graded, Score

LABELS_SHOWN = 20
"""At most so many labels have an F1 of their own, the most frequent."""
PART_OF_A_WORD, PART_OF_A_NUMBER = 4, 3
"""So many letters or digits of a longer identifier left in an answer give it away."""
_BRACKETED = re.compile(r"\[([^\W\d_a-z][^\W_a-z]*(?:[ _-][^\W_a-z]+){0,7})\]")


@dataclass(frozen=True)
class Span:
    """One identifier in a text."""

    start: int
    end: int
    """Exclusive, in characters."""
    label: str


@dataclass(frozen=True)
class Reading:
    """What an answer did to a text."""

    marked: tuple[Span, ...]
    """What was to be replaced."""
    found: tuple[Span, ...]
    """What the answer replaced, where it can be told; several placeholders for one stretch share it."""
    leaked: tuple[Span, ...]
    """Of `marked`, those of which something can still be read in the answer."""
    unmarked: int
    """Words that were to be kept."""
    kept: int
    added: int
    """Words of the answer that are none of those kept, and placeholders that replace nothing."""
    labelled: int
    """Of `marked`, those that gave way to a placeholder with the right label."""
    silent: bool
    """Whether the answer says nothing at all."""

    @property
    def touched(self) -> float:
        """The share of the unmarked words that were removed or changed."""
        return 1 - self.kept / self.unmarked if self.unmarked else 0.0

    @property
    def value(self) -> float:
        """0 where anything leaks. Otherwise 1 - (words removed + words added) / words to be kept, not below 0; times
        1/2 + 1/2 of the labels' F1 where something was to be replaced. A word that is changed is removed and added."""
        if self.leaked or self.silent:
            return 0.0
        wrong = self.unmarked - self.kept + self.added
        same = max(0.0, 1 - wrong / max(1, self.unmarked))
        spans = len(self.marked) + len(self.found)
        return same * (1 + 2 * self.labelled / spans) / 2 if self.marked else same


@dataclass(frozen=True)
class Redaction:
    """0 when anything leaks; otherwise how much of the rest was kept, and how many labels are right (`Reading.value`).

    What was to be replaced is `meta.spans`, a list of {start, end, label} in characters of the input, or, without it,
    what the target says by its placeholders. A span leaks when a word or number of it is still in the answer, at
    its place or anywhere more often than the unmarked text has it; when its letters and digits stand there in another
    spacing; or when a telling part of a word does. Letter case, signs and whitespace do not count.

    Metrics: `leaked`, the share of rows with a leak among those with something to replace; `over_redaction`, the
    share of unmarked words removed or changed; `perfect`, the share of rows that score 1. Overall: `leak_rate` over
    spans (1 - recall as de-identification tools state it), `negatives_touched`, and the precision, recall and F1 of
    spans with label and exact borders (as in MEDDOCAN, Marimon et al. 2019), over all and by label.
    """

    labels: frozenset[str]

    def __call__(self, completion: Completion, example: Example) -> Score:
        read = self.read(completion, example)
        metrics = {"perfect": float(read.value == 1)}
        metrics |= {"leaked": float(bool(read.leaked))} if read.marked else {}
        metrics |= {"over_redaction": read.touched} if read.unmarked else {}
        return Score(read.value, _reason(read), metrics)

    def read(self, completion: Completion, example: Example) -> Reading:
        """What the answer did to the example's input; with several right answers, by the one it comes nearest to."""
        others = [spans_by_target(example.input, answer, self.labels) for answer in example.accepted]
        wanted = [self.marked(example), *others]
        readings = [read(example.input, spans, completion.text, self.labels) for spans in wanted]
        return max(readings, key=lambda reading: reading.value)

    def marked(self, example: Example) -> tuple[Span, ...]:
        """What was to be replaced by the example's target."""
        spans = marked_spans(example)
        return spans if spans is not None else spans_by_target(example.input, example.target, self.labels)

    def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
        readings = [self.read(completion, example) for example, completion, _ in rows]
        negatives = [reading for reading in readings if not reading.marked]
        marked = sum(len(reading.marked) for reading in readings)
        found = {"leak_rate": sum(len(r.leaked) for r in readings) / marked} if marked else {}
        if negatives:
            found["negatives_touched"] = sum(r.touched > 0 or bool(r.found) for r in negatives) / len(negatives)
        return found | span_scores([(reading.marked, reading.found) for reading in readings])


def redaction(examples: Iterable[Example]) -> Redaction:
    """The scorer with the labels that the data know. InputError where a row's `meta.spans` cannot be read."""
    labels: set[str] = set()
    for example in examples:
        spans = marked_spans(example)
        labels |= {span.label for span in spans} if spans is not None else labels_by_target(example)
    return Redaction(frozenset(labels))


# ---------------------------------------------------------------- what was to be replaced


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
    for first, stop, held in _gaps(source, answer, aligned(source, [False] * len(source), answer)):
        for place, label in enumerate(held[: stop - first]):
            last = stop if place == len(held) - 1 else first + place + 1
            spans.append(Span(source[first + place].start, source[last - 1].end, label.text[1:-1].upper()))
    return tuple(spans)


# ---------------------------------------------------------------- what an answer did


def read(text: str, marked: Sequence[Span], answer_text: str, labels: frozenset[str]) -> Reading:
    """Align an answer with the text that it was made from, and read what became of each word."""
    source = tokens(text, labels, [place for span in marked for place in (span.start, span.end)])
    answer = tokens(answer_text, labels)
    owner = _owners(source, marked)
    is_marked = [span is not None for span in owner]
    places = aligned(source, is_marked, answer)
    unmarked = Counter(t.text for t, inside in zip(source, is_marked, strict=True) if t.word and not inside)
    at_home = {place for place in places if place is not None}
    kept = sum(source[place].word and not is_marked[place] for place in at_home)
    in_place = {span for place in at_home if source[place].word and (span := owner[place]) is not None}
    elsewhere = _elsewhere(source, owner, answer, places, unmarked)
    respaced = _respaced(text, marked, answer_text, labels)
    found, labelled, idle = _replaced(source, marked, answer, places)
    return Reading(
        marked=tuple(marked),
        found=tuple(found),
        leaked=tuple(span for span in marked if span in in_place | elsewhere | respaced),
        unmarked=unmarked.total(),
        kept=kept,
        added=sum(token.word for token in answer) - kept + idle,
        labelled=labelled,
        silent=not any(token.word or token.placeholder for token in answer),
    )


def _owners(source: Sequence[Token], marked: Sequence[Span]) -> list[Span | None]:
    return [next((s for s in marked if s.start <= t.start and t.end <= s.end), None) for t in source]


def _elsewhere(
    source: Sequence[Token],
    owner: Sequence[Span | None],
    answer: Sequence[Token],
    places: Sequence[int | None],
    unmarked: Counter[str],
) -> set[Span]:
    """Spans with a word that the answer has more often than the unmarked text does, or with a part of one."""
    said = Counter(token.text for token in answer if token.word)
    loose = [t.text for t, place in zip(answer, places, strict=True) if t.word and place is None]
    parts = [w for w in loose if len(w) >= (PART_OF_A_NUMBER if w.isdigit() else PART_OF_A_WORD) and not unmarked[w]]
    return {
        span
        for token, span in zip(source, owner, strict=True)
        if span is not None and token.word
        if said[token.text] > unmarked[token.text] or any(part in token.text for part in parts)
    }


def _respaced(text: str, marked: Sequence[Span], answer: str, labels: frozenset[str]) -> set[Span]:
    """Spans whose letters and digits stand in the answer in one run, more often than in the unmarked text."""
    rest, at = list[str](), 0
    for span in sorted(marked, key=lambda s: s.start):
        rest, at = [*rest, text[at : span.start]], max(at, span.end)
    before = "|".join(_squeezed(piece) for piece in (*rest, text[at:]))
    after = "|".join(_squeezed(piece) for piece in placeholder_pattern(labels).split(answer))
    runs = {span: _squeezed(text[span.start : span.end]) for span in marked}
    return {span for span, run in runs.items() if len(run) >= PART_OF_A_WORD and after.count(run) > before.count(run)}


def _squeezed(text: str) -> str:
    return "".join(character for character in normal(text) if character.isalnum())


Gap = tuple[int, int, list[Token]]
"""(first, stop) of the source's tokens between two that the answer has, and the placeholders that it has there."""


def _gaps(source: Sequence[Token], answer: Sequence[Token], places: Sequence[int | None]) -> list[Gap]:
    """Every stretch between kept tokens where the answer has a placeholder of its own."""
    gaps: list[Gap] = []
    first, held = 0, list[Token]()
    for token, place in zip((*answer, None), (*places, len(source)), strict=True):
        if place is None:
            held += [token] if token is not None and token.placeholder else []
            continue
        gaps += [(first, place, held)] if held else []
        first, held = place + 1, []
    return gaps


def _replaced(
    source: Sequence[Token], marked: Sequence[Span], answer: Sequence[Token], places: Sequence[int | None]
) -> tuple[list[Span], int, int]:
    """(what was replaced, how many marked spans by their right label, how many placeholders replace nothing)."""
    found: list[Span] = []
    labelled = idle = 0
    for first, stop, held in _gaps(source, answer, places):
        if first == stop:
            idle += len(held)
            place = source[first - 1].end if first else 0
            found += [Span(place, place, token.text[1:-1]) for token in held]
            continue
        start, end = source[first].start, source[stop - 1].end
        inside = [span for span in marked if start <= span.start and span.end <= end]
        names = [token.text[1:-1] for token in held]
        labelled += (Counter(names) & Counter(label_key(span.label) for span in inside)).total()
        covered = sum(span.start <= t.start and t.end <= span.end for t in source[first:stop] for span in inside)
        one_each = len(inside) == len(held) and covered == stop - first
        borders = [(span.start, span.end) for span in inside] if one_each else [(start, end)] * len(held)
        found += [Span(*border, name) for border, name in zip(borders, names, strict=True)]
    return found, labelled, idle


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


def _reason(read: Reading) -> str:
    if read.silent:
        return "says nothing"
    if read.leaked:
        return f"leaks {', '.join(dict.fromkeys(span.label for span in read.leaked))}"
    parts = [f"{read.touched:.0%} of the other words removed or changed"] if read.touched else []
    parts += [f"{read.added} words added"] if read.added else []
    parts += ["wrong labels"] if read.marked and 2 * read.labelled < len(read.marked) + len(read.found) else []
    return ", ".join(parts)
