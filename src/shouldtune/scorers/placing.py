"""Where the words of an answer stand in the text that it was made from: tokens, and a least-cost alignment of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

_PLAIN = r"[^\W\d_]+|\d+|_|[^\w\s]"


@dataclass(frozen=True)
class Token:
    """A run of letters, a run of digits, one sign, or a placeholder."""

    start: int
    end: int
    """Exclusive, in characters of the whole text."""
    text: str
    """In one normal form of Unicode, without case."""
    placeholder: bool = False

    @property
    def word(self) -> bool:
        """Whether it says anything: letters or digits."""
        return not self.placeholder and self.text[0].isalnum()


def label_key(label: str) -> str:
    """A label in one form: `Record number` and `RECORD_NUMBER` are one."""
    return re.sub(r"[\s_-]+", "_", label.strip().casefold())


@lru_cache
def placeholder_pattern(labels: frozenset[str]) -> re.Pattern[str]:
    """`[LABEL]` for each of the labels, whatever its case and whatever joins its words; matches nothing for none."""
    names = (r"[\s_-]+".join(map(re.escape, label_key(label).split("_"))) for label in sorted(labels, key=len))
    return re.compile(rf"\[\s*(?:{'|'.join(names)})\s*\]" if labels else r"(?!)", re.IGNORECASE)


@lru_cache
def _token_pattern(labels: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"(?P<placeholder>{placeholder_pattern(labels).pattern})|{_PLAIN}", re.IGNORECASE)


def tokens(text: str, labels: frozenset[str], cuts: Iterable[int] = ()) -> tuple[Token, ...]:
    """The tokens of a text; none reaches over one of `cuts` (places in the text, in characters).

    Only `[LABEL]` of one of the labels is a placeholder: `[Mary]` is a name in brackets.
    """
    pattern = _token_pattern(labels)
    places = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]
    found = []
    for start, end in pairwise(places):
        for match in pattern.finditer(text[start:end]):
            label = match.group("placeholder")
            plain = normal(match.group()) if label is None else f"[{label_key(label[1:-1])}]"
            found.append(Token(start + match.start(), start + match.end(), plain, label is not None))
    return tuple(found)


def normal(text: str) -> str:
    """One form of Unicode, without case."""
    return unicodedata.normalize("NFKC", text).casefold()


def bare(text: str) -> str:
    """The same without accents: `García` and `Garcia` are one, and name the same person."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))


# What an edit costs. A placeholder may stand for a token, best for a marked one; the others of its span go. The one
# more for a marked match decides between two places where a word could stand: it is legitimate where it can be.
_GONE, _ADDED, _PLACEHOLDER_ADDED = 100, 100, 60
_CHANGED, _STANDS_FOR_MARKED, _STANDS_FOR_OTHER = 150, 40, 90
_MATCHED_MARKED = 1


def aligned(source: Sequence[Token], marked: Sequence[bool], answer: Sequence[Token]) -> list[int | None]:
    """For each token of the answer, the index of the source's token that it is (same text), in place; else None.

    The least-cost alignment (Needleman & Wunsch, 1970), in the costs above. `marked` says of each source token whether
    it is one that should have been replaced. Time and memory go with len(source) * len(answer).
    """
    import numpy as np
    from numpy.typing import NDArray

    same = _same_start(source, answer)
    tail = _same_start(source[same:][::-1], answer[same:][::-1])
    rows, columns = source[same : len(source) - tail], answer[same : len(answer) - tail]
    codes = {text: number for number, text in enumerate(dict.fromkeys(t.text for t in (*rows, *columns)))}
    letters = np.array([codes[t.text] for t in columns], dtype=np.int64)
    holds = np.array([t.placeholder for t in columns], dtype=bool)
    adding = np.concatenate([[0], np.cumsum(np.where(holds, _PLACEHOLDER_ADDED, _ADDED))])
    table = np.empty((len(rows) + 1, len(columns) + 1), dtype=np.int64)
    table[0] = adding

    def pairing(at: int) -> NDArray[np.int64]:
        is_marked = marked[same + at]
        other = np.where(holds, _STANDS_FOR_MARKED if is_marked else _STANDS_FOR_OTHER, _CHANGED)
        return np.asarray(np.where(letters == codes[rows[at].text], _MATCHED_MARKED * is_marked, other))

    for at in range(len(rows)):
        best = table[at] + _GONE
        best[1:] = np.minimum(best[1:], table[at, :-1] + pairing(at))
        table[at + 1] = np.minimum.accumulate(best - adding) + adding
    found: list[int | None] = [None] * len(answer)
    found[:same] = range(same)
    found[len(answer) - tail :] = range(len(source) - tail, len(source))
    i, j = len(rows), len(columns)
    while i and j:
        if table[i, j] == table[i - 1, j - 1] + pairing(i - 1)[j - 1]:
            i, j = i - 1, j - 1
            if rows[i].text == columns[j].text:
                found[same + j] = same + i
        elif table[i, j] == table[i - 1, j] + _GONE:
            i -= 1
        else:
            j -= 1
    return found


def _same_start(a: Sequence[Token], b: Sequence[Token]) -> int:
    """How many tokens two texts begin with in common."""
    pairs = zip(a, b, strict=False)
    return next((at for at, (x, y) in enumerate(pairs) if x.text != y.text), min(len(a), len(b)))


Gap = tuple[int, int, list[Token]]
"""(first, stop) of the source's tokens between two that the answer has, and the placeholders that it has there."""


def gaps(source: Sequence[Token], answer: Sequence[Token], places: Sequence[int | None]) -> list[Gap]:
    """Every stretch between kept tokens where the answer has a placeholder of its own."""
    found: list[Gap] = []
    first, held = 0, list[Token]()
    for token, place in zip((*answer, None), (*places, len(source)), strict=True):
        if place is None:
            held += [token] if token is not None and token.placeholder else []
            continue
        found += [(first, place, held)] if held else []
        first, held = place + 1, []
    return found
