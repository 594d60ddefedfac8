"""A prompt that searches for each input, as code of Python's standard library: BM25 over what the run searched.

The code is put together from the functions that the run itself uses, and finds the very same, rounding included: bm25s
keeps each word's share of a score as a 32-bit float and adds them up in that width.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from shouldtune.errors import InputError
from shouldtune.exporting.source import SERVE, Source
from shouldtune.models import prompted
from shouldtune.models.prompted import Prompted
from shouldtune.retrieval import bm25
from shouldtune.retrieval.search import Way

DATA = "search.json"

_CODE = '''\
from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter, defaultdict
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

K1, B = {k1}, {b}
_WORD = re.compile(r"\\w+")
_STOP_WORDS = frozenset({stop_words}.split())


{tokens}

@lru_cache(maxsize=1 << 16)
{stem}

class Nearest:
    """BM25 (Lucene's variant) over texts; equal scores in the order given."""

    def __init__(self, texts):
        found = [tokens(text) or ["_"] for text in texts]
        mean = sum(map(len, found)) / max(1, len(found))
        holding = Counter(word for words in found for word in set(words))
        self.size, self.shares = len(found), defaultdict(list)
        for place, words in enumerate(found):
            usual = K1 * ((1 - B) + B * len(words) / mean)
            for word, count in Counter(words).items():
                held = holding[word]
                scarcity = f32(math.log(1 + (self.size - held + 0.5) / (held + 0.5)))
                self.shares[word].append((place, f32(scarcity * (count / (usual + count)))))

    def find(self, text, k):
        scores = [0.0] * self.size
        for word in tokens(text):
            for place, share in self.shares.get(word, ()):
                scores[place] = f32(scores[place] + share)
        return sorted(range(self.size), key=lambda place: (-scores[place], place))[:k]


def f32(value):
    """Rounded to 32 bits, as the search that was measured computes."""
    return struct.unpack("f", struct.pack("f", value))[0]


{with_passages}

HELD = json.loads(Path(__file__).with_name("{data}").read_text(encoding="utf-8"))
SHOTS = HELD["shots"]
PASSAGES = [SimpleNamespace(title=title, text=text) for title, text in HELD["passages"]]
NEAREST_SHOTS = Nearest([asked for asked, _ in SHOTS])
NEAREST_PASSAGES = Nearest([f"{{passage.title}}\\n{{passage.text}}" for passage in PASSAGES])


def found(text):
    """(the turns of the nearest examples, the nearest last; the input with the nearest passages above it)."""
    turns = []
    for place in reversed(NEAREST_SHOTS.find(text, HELD["k_shots"])):
        asked, answer = SHOTS[place]
        turns += [{{"role": "user", "content": asked}}, {{"role": "assistant", "content": answer}}]
    passages = [PASSAGES[place] for place in NEAREST_PASSAGES.find(text, HELD["k_passages"])]
    return turns, with_passages(text, passages)
'''


def searches(prompt: Prompted) -> bool:
    """Whether a prompt looks something up for each input."""
    return prompt.nearest is not None or prompt.passages is not None


def refuse_other_searches(source: Source) -> None:
    """InputError where a prompt's search is more than BM25."""
    passages = source.prompt.passages
    if passages is not None and passages.way != Way():
        raise InputError(
            f"{source.rung} searches its documents by {passages.way}, which this export cannot carry",
            where=source.record.folder,
            hint=SERVE,
        )


def refuse_searches(source: Source) -> None:
    """InputError where a prompt searches at all."""
    prompt = source.prompt
    found = [
        *(["the nearest of its training examples"] if prompt.nearest else []),
        *(["passages of its documents"] if prompt.passages else []),
    ]
    if found:
        raise InputError(
            f"{source.rung} searches {' and '.join(found)} for each request, which this export cannot carry",
            where=source.record.folder,
            hint=f"--to prompt carries a search by words; {SERVE}",
        )


def code() -> str:
    """The functions that an exported prompt searches with."""
    words = " ".join(sorted(bm25._STOP_WORDS))
    stem = inspect.getsource(bm25._stem.__wrapped__)
    return _CODE.format(
        k1=bm25.K1,
        b=bm25.B,
        stop_words=repr(words),
        tokens=inspect.getsource(bm25.tokens),
        stem=stem[stem.index("def ") :],
        with_passages=inspect.getsource(prompted.with_passages),
        data=DATA,
    )


def write_data(prompt: Prompted, folder: Path) -> None:
    """What is searched, and how much of it is shown."""
    told: dict[str, Any] = {
        "k_shots": prompt.nearest.k if prompt.nearest else 0,
        "shots": [list(shot) for shot in prompt.nearest.shots] if prompt.nearest else [],
        "k_passages": prompt.passages.k if prompt.passages else 0,
        "passages": [[each.title, each.text] for each in prompt.passages.passages] if prompt.passages else [],
    }
    (folder / DATA).write_text(json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
