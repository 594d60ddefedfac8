"""Text with personal data -> the same with each identifier replaced by [LABEL]: what leaked, what else was touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shouldtune.scorers.placing import Token, aligned, bare, gaps, label_key, placeholder_pattern, tokens
from shouldtune.scorers.spans import Span, labels_by_target, marked_spans, span_scores, spans_by_target
from shouldtune.types import Completion, Example, Graded, Score

PART_OF_A_WORD, PART_OF_A_NUMBER = 4, 3
"""So many letters or digits of a longer identifier left in an answer give it away."""


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
    spacing; or when a telling part of a word does. Letter case, accents, signs and
    whitespace do not count there.

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


# ---------------------------------------------------------------- what an answer did


def read(text: str, marked: Sequence[Span], answer_text: str, labels: frozenset[str]) -> Reading:
    """Align an answer with the text that it was made from, and read what became of each word."""
    source = tokens(text, labels, [place for span in marked for place in (span.start, span.end)])
    answer = tokens(answer_text, labels)
    owner = _owners(source, marked)
    is_marked = [span is not None for span in owner]
    places = aligned(source, is_marked, answer)
    unmarked = Counter(bare(t.text) for t, inside in zip(source, is_marked, strict=True) if t.word and not inside)
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
    said = Counter(bare(token.text) for token in answer if token.word)
    loose = [bare(t.text) for t, place in zip(answer, places, strict=True) if t.word and place is None]
    parts = [w for w in loose if len(w) >= (PART_OF_A_NUMBER if w.isdigit() else PART_OF_A_WORD) and not unmarked[w]]
    return {
        span
        for token, span in zip(source, owner, strict=True)
        if span is not None and token.word
        if said[text := bare(token.text)] > unmarked[text] or any(part in text for part in parts)
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
    return "".join(character for character in bare(text) if character.isalnum())


def _replaced(
    source: Sequence[Token], marked: Sequence[Span], answer: Sequence[Token], places: Sequence[int | None]
) -> tuple[list[Span], int, int]:
    """(what was replaced, how many marked spans by their right label, how many placeholders replace nothing)."""
    found: list[Span] = []
    labelled = idle = 0
    for first, stop, held in gaps(source, answer, places):
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


def _reason(read: Reading) -> str:
    if read.silent:
        return "says nothing"
    if read.leaked:
        return f"leaks {', '.join(dict.fromkeys(span.label for span in read.leaked))}"
    parts = [f"{read.touched:.0%} of the other words removed or changed"] if read.touched else []
    parts += [f"{read.added} words added"] if read.added else []
    parts += ["wrong labels"] if read.marked and 2 * read.labelled < len(read.marked) + len(read.found) else []
    return ", ".join(parts)
