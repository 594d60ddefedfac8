"""Record -> text: is every value of the record said, none wrongly, and nothing invented?"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shouldtune.types import Completion, Example, Score

Record = Mapping[str, str]
Slot = tuple[str, str]
"""(key, value), both in normal form."""

CLOSED = 12
"""A key with at most so many values over all rows has a closed set of them, and how they are said can be learnt."""
SWITCH = frozenset(("yes", "no", "true", "false"))
SUPPORT, PURITY, SHARE, LONGEST = 5, 0.9, 0.15, 4
"""A phrase of at most LONGEST words is learnt where at least SUPPORT targets say it, PURITY of them with the values
that it is learnt for, each of them with SHARE or more."""
EVIDENCE = 10.0
"""In nats: what stands together by chance in one phrase of some twenty thousand."""
LEAST_KEY = 4
"""Letters of a key's word from which it is told apart from a word that only begins like it."""
REACH = 4
"""So many words after a negation are read as negated."""
MOST_OBJECTS = 50
"""Openings of a JSON object that are tried in one answer."""
_BRACKETED = re.compile(r"([^\[\],;\n]{1,60})\[([^\[\]]*)\]")
_NEGATIONS = frozenset(["not", "no", "non", "isn", "t", "doesn", "never", "nor", "without", "neither", "unfriendly"])
_EMPTY = frozenset(
    "the a an of in at out and or is are to for by on with it its than that this there has have do be s t".split()  # noqa: SIM905
)
"""Words that say nothing of a value."""


@dataclass(frozen=True)
class Slots:
    """1 - slot errors / slots of the record, not below 0: values missing, wrong or invented.

    The slot error rate of record-to-text generation (Wen et al., 2015; Dušek et al., 2020), here for records of any
    kind. A value is said when its words stand in the answer (other letter case, accents, order, or ending: `moderate`
    in `moderately`), when a phrase that the task file gives for it does (`scoring.say`), or one learnt: for keys with a
    closed set of values, phrases that targets have almost only with that value (`kid friendly`, `not for families`). A
    value of a record's key is wrong where another value of that key is said, instead of it or beside it; said of a key
    that the record has not, it is invented. A word that several keys have as value (`high`), or that another key's word
    follows (`average price`), proves neither. Metrics: `missing`, `wrong`, `invented`, each over the record's slots,
    and `perfect`. The record itself scores 0, alone or among words: JSON, or all of it as `key[value]`.
    """

    phrases: Mapping[Slot, frozenset[str]]
    """How each known value may be said, in the words of `read`."""
    proving: Mapping[Slot, frozenset[str]]
    """Those that also prove it to be said where the record has it not: given ones, and those of a key that is yes or
    no. Others that were learnt may hang together with a value by chance, and only excuse."""
    values: Mapping[str, tuple[str, ...]]
    """The known values of each key."""

    def __call__(self, completion: Completion, example: Example) -> Score:
        record, text = record_of(example.input), read(completion.text)
        slots = [(plain(key), plain(value)) for key, value in (record or {}).items() if plain(value)]
        if record is None or echoes(completion.text, slots):
            reason = "the record itself" if record is not None else "the input is no flat record"
            return Score(0.0, reason, {"perfect": 0.0})
        wrong = [slot for slot in slots if self._others(slot[0], slots, text)]
        missing = [slot for slot in slots if slot not in wrong and not self.said(slot, text)]
        keys = {key for key, _ in slots}
        invented = [key for key in self.values if key not in keys and self._others(key, slots, text)]
        parts = {"missing": len(missing), "wrong": len(wrong), "invented": len(invented)}
        errors, number = sum(parts.values()), max(1, len(slots))
        metrics = {"perfect": float(not errors), **{name: count / number for name, count in parts.items()}}
        told = [f"{'wrong' if s in wrong else 'missing'}: {s[0]}" for s in slots if s in wrong or s in missing]
        return Score(max(0.0, 1 - errors / number), ", ".join([*told, *(f"invented: {k}" for k in invented)]), metrics)

    def said(self, slot: Slot, text: str) -> bool:
        """Whether a text, as `read` gives it, says a value."""
        key, value = slot
        if value in SWITCH:
            mark = "!" if value in ("no", "false") else ""
            own = " ".join(mark + word for word in key.split())
            return _has(text, own) or any(_has(text, phrase) for phrase in self.phrases.get(slot, ()))
        return _words_in(value, text) or any(_has(text, phrase) for phrase in self.phrases.get(slot, ()))

    def _others(self, key: str, slots: Sequence[Slot], text: str) -> bool:
        """Whether the text says a value of a key that is not in the record, by words that no other slot explains."""
        explained = {word for _, value in slots for word in value.split()}
        for value in self.values.get(key, ()):
            if (key, value) in slots or any(value == other for _, other in slots):
                continue
            shared = sum(value in values for values in self.values.values()) > 1
            whole = value not in SWITCH and not shared and set(value.split()) - explained
            if whole and self._of_its_own(key, value, text):
                return True
            if any(_has(text, phrase) for phrase in self.proving.get((key, value), ())):
                return True
        return False

    def _of_its_own(self, key: str, value: str, text: str) -> bool:
        """Whether a text has a value where no other key's word follows it."""
        others = [word for other in self.values if other != key for word in other.split() if len(word) >= LEAST_KEY]
        after = [part.split(" ", 1)[0] for part in f" {text} ".split(f" {value} ")[1:]]
        return any(not any(word.startswith(other) for other in others) for word in after)


def slots(examples: Iterable[Example], say: Mapping[str, Mapping[str, Sequence[str]]] | None = None) -> Slots:
    """The scorer, with what the rows teach about how values are said, and what the task file gives."""
    records = [(record, read(e.target)) for e in examples if (record := record_of(e.input)) is not None]
    rows = [({plain(k): plain(v) for k, v in record.items() if plain(v)}, text) for record, text in records]
    values: dict[str, dict[str, None]] = defaultdict(dict)
    for slots_here, _ in rows:
        for key, value in slots_here.items():
            values[key][value] = None
    learnt = learn_phrases(rows, {key for key, known in values.items() if len(known) <= CLOSED})
    proving = {slot: set(found) for slot, found in learnt.items() if slot[1] in SWITCH}
    for key, ways in (say or {}).items():
        for value, texts in ways.items():
            slot = plain(key), plain(value)
            given = {read(text) for text in texts}
            learnt[slot] |= given
            proving[slot] = proving.get(slot, set()) | given
    return Slots(_frozen(learnt), _frozen(proving), {key: tuple(known) for key, known in values.items()})


def _frozen(phrases: Mapping[Slot, set[str]]) -> dict[Slot, frozenset[str]]:
    return {slot: frozenset(found) for slot, found in phrases.items()}


def learn_phrases(rows: Sequence[tuple[Record, str]], keys: set[str]) -> defaultdict[Slot, set[str]]:
    """For each value of a key with a closed set of them, the phrases that targets have almost only with it.

    `rows` are records and targets in normal form. A phrase may speak for several values of a key (`expensive`: `high`,
    `more than 30`), for at most half of them. Words that a row's other values explain speak for none: rows of few
    records go together in many ways.
    """
    seen, held = Counter[str](), defaultdict[str, Counter[Slot]](Counter)
    usual, known = Counter[Slot](), defaultdict[str, set[str]](set)
    for record, text in rows:
        here = [(key, value) for key, value in record.items() if key in keys]
        usual.update(here)
        for key, value in here:
            known[key].add(value)
        explained = {slot: _explained(record, slot) for slot in here}
        for phrase in _phrases_of(text):
            telling = {word.lstrip("!") for word in phrase.split()} - _EMPTY - _NEGATIONS
            seen[phrase] += 1
            held[phrase].update(slot for slot in here if telling - explained[slot])
    found = defaultdict[Slot, set[str]](set)
    for phrase, counts in held.items():
        for key in {key for key, _ in counts} if seen[phrase] >= SUPPORT else ():
            for slot in _spoken_for(key, counts, seen[phrase], usual, max(1, len(known[key]) // 2), len(rows)):
                found[slot].add(phrase)
    return found


def _explained(record: Record, slot: Slot) -> set[str]:
    """The words of a row that say nothing of a slot: its key's, unless it is a switch, and all of the other slots."""
    own = set() if slot[1] in SWITCH else set(slot[0].split())
    return own.union(*(f"{key} {value}".split() for key, value in record.items() if key != slot[0]))


def _spoken_for(key: str, counts: Counter[Slot], seen: int, usual: Counter[Slot], most: int, rows: int) -> list[Slot]:
    """The values of a key that a phrase speaks for: the few that it nearly always stands with, by more than chance."""
    ranked = sorted((slot for slot in counts if slot[0] == key), key=lambda slot: -counts[slot])
    for size in range(1, most + 1):
        taken = [slot for slot in ranked[:size] if counts[slot] >= SHARE * seen]
        if len(taken) < size:
            return []
        share, base = sum(counts[s] for s in taken) / seen, sum(usual[s] for s in taken) / rows
        if share >= PURITY:
            return taken if seen * _divergence(share, base) >= EVIDENCE else []
    return []


def _divergence(share: float, base: float) -> float:
    """Kullback-Leibler divergence of two rates, in nats; 0 where the share is not the larger one."""
    if not base < share:
        return 0.0
    rest = (1 - share) * math.log((1 - share) / (1 - base)) if share < 1 else 0.0
    return share * math.log(share / base) + rest


def _phrases_of(text: str) -> set[str]:
    words = text.split()
    return {" ".join(words[at : at + n]) for n in range(1, LONGEST + 1) for at in range(len(words) - n + 1)}


# ---------------------------------------------------------------- texts in normal form


def record_of(text: str) -> Record | None:
    """The record that a text is: one flat JSON object, its values as text, without those that are null; None where it
    is none, also where a value is a list or an object."""
    try:
        return _flat(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _flat(found: Any) -> Record | None:
    if not isinstance(found, dict):
        return None
    known = {key: value for key, value in found.items() if value is not None}
    if not known or not all(isinstance(value, str | int | float) for value in known.values()):
        return None
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in known.items()}


def echoes(text: str, slots: Sequence[Slot]) -> bool:
    """Whether a text hands a record back: it is a JSON object, holds one with a slot of the record, or has all of them
    as `key[value]`."""
    openings = [match.start() for match in re.finditer(r"\{", text)][:MOST_OBJECTS]
    for opening in openings:
        try:
            found, end = json.JSONDecoder().raw_decode(text, opening)
        except (ValueError, RecursionError):
            continue
        if not text[:opening].strip() and not text[end:].strip():
            return True
        if any((plain(key), plain(value)) in slots for key, value in (_flat(found) or {}).items()):
            return True
    pairs = [(plain(key), plain(value)) for key, value in _BRACKETED.findall(text)]
    return bool(slots) and all(
        any(f" {k}".endswith(f" {key}") and v == value for k, v in pairs) for key, value in slots
    )


@lru_cache(maxsize=4096)
def plain(text: str) -> str:
    """Words and numbers alone, without case and accents; `camelCase` and `snake_case` come apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    bare = "".join(c for c in unicodedata.normalize("NFKD", apart.casefold()) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", bare))


@lru_cache(maxsize=4096)
def read(text: str) -> str:
    """The same for an answer, with `!` before each word that a negation stands before in its clause."""
    found, left = [], 0
    for clause in re.split(r"[.;:!?]\s|, ", text):
        left = 0
        for word in plain(clause).split():
            found.append(f"!{word}" if left and word not in _NEGATIONS else word)
            left = REACH if word in _NEGATIONS else left - 1 if left else 0
    return " ".join(found)


def _has(text: str, phrase: str) -> bool:
    return f" {phrase} " in f" {text} "


def _words_in(value: str, text: str) -> bool:
    """Whether all telling words of a value stand in a text, negated or not; longer ones may have an ending."""
    told = {word.lstrip("!") for word in text.split()}
    wanted = [word for word in value.split() if word not in _EMPTY] or value.split()
    return all(any(t == w or (len(w) >= 5 and t.startswith(w)) for t in told) for w in wanted)
