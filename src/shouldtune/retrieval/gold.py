"""Which document is the right one for an example: named in its `meta`, or found because it holds the answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shouldtune.retrieval.chunks import Passage
from shouldtune.types import Document, Example

GOLD_KEYS = ("gold_doc_ids", "gold", "gold_ids", "passages", "passage", "evidence", "doc_ids", "documents", "document")
"""Keys of a row's `meta` under which the ids of the right documents may stand."""
SHORTEST_FOUND = 3
"""Characters of an answer below which it stands in too many passages by chance."""
MOST_FOUND = 8
"""An answer that stands in more passages than this does not tell which one is right."""
CALL = "api_call"
"""Key of a document's `meta`: the answer that it is the documentation of."""


def gold_ids(example: Example) -> tuple[str, ...]:
    """The ids of the right documents that a row's `meta` names."""
    for key in GOLD_KEYS:
        named = example.meta.get(key)
        if isinstance(named, str):
            return (named,)
        if isinstance(named, list | tuple) and named and all(isinstance(name, str) for name in named):
            return tuple(named)
    return ()


def holds_answer(text: str, example: Example) -> bool:
    """Whether a right answer stands in the text as whole words, letter case and whitespace aside.

    One of fewer than SHORTEST_FOUND characters might stand there by chance, and does not count.
    """
    return _holds(_plain(text), example)


class RightPlaces:
    """Finds, for examples, the places of their right passages among all passages of some documents."""

    def __init__(self, documents: Sequence[Document], passages: Sequence[Passage]) -> None:
        self._texts = tuple(_plain(passage.text) for passage in passages)
        self._with_word: dict[str, list[int]] = {}
        for place, text in enumerate(self._texts):
            for word in set(_WORD.findall(text)):
                self._with_word.setdefault(word, []).append(place)
        self._of_document: dict[str, list[int]] = {}
        for place, passage in enumerate(passages):
            self._of_document.setdefault(passage.document_id, []).append(place)
        self._of_call: dict[str, list[str]] = {}
        for document in documents:
            if isinstance(call := document.meta.get(CALL), str):
                self._of_call.setdefault(call.strip(), []).append(document.id)

    def of(self, example: Example, *, seek: bool = True) -> tuple[int, ...]:
        """The places, in order; of a document that is known to be right, those that hold the answer, else all.

        Empty where no right passage is known: none is named, and the answer stands nowhere, or in too many places.
        Without `seek` it is not looked for.
        """
        named = gold_ids(example) or [name for answer in example.answers for name in self._called(answer)]
        places = [place for name in named for place in self._of_document.get(name, ())]
        if places:
            by_document: Mapping[str, list[int]] = {name: self._of_document.get(name, []) for name in named}
            return tuple(sorted({place for group in by_document.values() for place in self._holding(group, example)}))
        found = self._found(example) if seek else []
        return tuple(found) if len(found) <= MOST_FOUND else ()

    def _found(self, example: Example) -> list[int]:
        """The places of all passages that hold the answer, looked for among those that have its rarest word."""
        places: set[int] = set()
        for answer in example.answers:
            words = _WORD.findall(_plain(answer))
            places |= set(
                min((self._with_word.get(word, []) for word in words), key=len, default=range(len(self._texts)))
            )
        return [place for place in sorted(places) if _holds(self._texts[place], example)]

    def _called(self, answer: str) -> Sequence[str]:
        return self._of_call.get(answer.strip(), ())

    def _holding(self, group: Sequence[int], example: Example) -> Sequence[int]:
        if len(group) == 1:
            return group
        return [place for place in group if _holds(self._texts[place], example)] or group


_WORD = re.compile(r"\w+")


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _holds(plain: str, example: Example) -> bool:
    wanted = [_plain(answer) for answer in example.answers]
    return any(
        len(answer) >= SHORTEST_FOUND
        and answer in plain  # far quicker than the pattern, and mostly the end of it
        and re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", plain) is not None
        for answer in wanted
    )
