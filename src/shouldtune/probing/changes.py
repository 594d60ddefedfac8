"""What each probe changes about one row: its prompt taken apart, so that one thing can be changed at a time.

Nothing here asks a model. A change that would leave the very same prompt is None: it cannot repair anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shouldtune.models.calibrated import Calibrated
from shouldtune.models.prompted import NearestPassages, Prompted, Shot, with_passages
from shouldtune.retrieval.bm25 import Bm25
from shouldtune.retrieval.chunks import Passage, passages, same_place
from shouldtune.retrieval.gold import MOST_FOUND, gold_ids, holds_answer
from shouldtune.rungs.choosing import Groups
from shouldtune.scorers.structure import parse
from shouldtune.types import Document, Example, Model, Output

REWORDED = "Here is what to do. {instruction} Thank you."
"""The placebo: the frame around the instruction differs, what it asks for does not."""
BARE = "Answer what follows."
"""The placebo of a prompt without an instruction."""
MOST_SHOTS = 16
MOST_CHARACTERS = 8_000
"""Of shots in one prompt, about 2,000 tokens: what the windows of small models hold beside passages and an answer."""


@dataclass(frozen=True)
class Asked:
    """One row's prompt, taken apart: nothing in it depends on the message any more."""

    model: Model
    """What the messages go to."""
    prompt: Prompted
    """Instruction, shots and form; neither retrieved shots nor passages."""
    text: str
    """The row's input."""
    shown: tuple[Passage, ...] = ()
    around: Calibrated | None = None
    """What stood around the prompt and weighs its answers."""

    @property
    def content(self) -> str:
        """The last user message."""
        return with_passages(self.text, self.shown)

    def whole(self) -> Model:
        """The model to ask `content`."""
        prompt = replace(self.prompt, model=self.model)
        return prompt if self.around is None else replace(self.around, model=prompt)


def take_apart(fitted: Model, example: Example, train: Groups) -> Asked | None:
    """A fitted prompt as it asks one training row, the row itself and its group left out of the shots it finds.

    None where the fitted model is no prompt, or where the row is one of its fixed shots.
    """
    around = fitted if isinstance(fitted, Calibrated) else None
    prompt = around.model if around is not None else fitted
    if not isinstance(prompt, Prompted):
        return None
    relatives = train.relatives(example)
    hidden = {(row.input, row.target) for row in relatives}
    if any(shot in hidden for shot in prompt.shots):
        return None
    near: tuple[Shot, ...] = ()
    if prompt.nearest is not None:
        wider = replace(prompt.nearest, k=prompt.nearest.k + len(hidden))
        near = tuple(shot for shot in wider.find(example.input) if shot not in hidden)[-prompt.nearest.k :]
    learnt = {row.input for row in relatives}
    shown = prompt.passages.find(example.input, learnt) if prompt.passages is not None else ()
    bare = replace(prompt, shots=(*prompt.shots, *near), nearest=None, passages=None)
    return Asked(prompt.model, bare, example.input, tuple(shown), around)


# ---------------------------------------------------------------- the changes


def placebo(asked: Asked) -> Asked:
    """A rewording that keeps the meaning."""
    old = asked.prompt.instruction
    return replace(asked, prompt=replace(asked.prompt, instruction=REWORDED.format(instruction=old) if old else BARE))


def held_to_form(asked: Asked, output: Output) -> Asked | None:
    """The answer held to the label set or the schema; None where there is none, or it is held already."""
    options = replace(asked.prompt.options, choices=output.labels, schema=output.schema, choice_logprobs=False)
    held = (asked.prompt.options.choices, asked.prompt.options.schema) == (output.labels, output.schema)
    if held or not (output.labels or output.schema):
        return None
    return replace(asked, prompt=replace(asked.prompt, options=options), around=None)


def with_right_passages(asked: Asked, right: Sequence[Passage]) -> Asked | None:
    """The right passages first, then what was retrieved, no longer than before; None where that changes nothing."""
    if not right:
        return None
    others = [passage for passage in asked.shown if not any(same_place(passage, each) for each in right)]
    shown = (*right, *others)[: max(len(asked.shown), len(right))]
    return None if shown == asked.shown else replace(asked, shown=shown)


def closed_book(asked: Asked) -> Asked | None:
    """The same without passages; None where there were none."""
    return replace(asked, shown=()) if asked.shown else None


def with_nearest_shots(asked: Asked, example: Example, train: Groups, index: Bm25) -> Asked | None:
    """As many of the nearest training rows as fit, the nearest last; None where the prompt holds just these."""
    hidden = {row.id for row in train.relatives(example)}
    found: list[Shot] = []
    room = MOST_CHARACTERS
    for i in index.search(example.input, MOST_SHOTS + len(hidden)):
        row = train.rows[i]
        room -= len(row.input) + len(row.target)
        if row.id in hidden or len(found) == MOST_SHOTS:
            continue
        if room < 0:
            break
        found.insert(0, (row.input, row.target))
    shots = tuple(found)
    return (
        None if not shots or shots == asked.prompt.shots else replace(asked, prompt=replace(asked.prompt, shots=shots))
    )


def on_another_model(asked: Asked, strong: Model) -> Asked:
    """The same prompt for another model; what weighed the first one's answers is left out."""
    options = replace(asked.prompt.options, choice_logprobs=False)
    return replace(asked, model=strong, prompt=replace(asked.prompt, options=options), around=None)


def warm(asked: Asked, seed: int, temperature: float) -> Asked:
    """The same prompt at a temperature above 0; a choice among scored labels has none."""
    options = replace(asked.prompt.options, temperature=temperature, seed=seed, choice_logprobs=False)
    return replace(asked, prompt=replace(asked.prompt, options=options), around=None)


# ---------------------------------------------------------------- reading leniently


def readings(text: str, output: Output) -> tuple[str, ...]:
    """What a patient reader might take from an answer: what is fenced, one label named, a line, a JSON value."""
    return tuple(dict.fromkeys(found for found in _readings(text, output) if found and found != text))


def _readings(text: str, output: Output) -> Iterator[str]:
    bare = text.strip()
    yield bare
    for fenced in re.findall(r"```(?:\w+\n)?(.*?)```", bare, re.DOTALL)[:1]:
        yield fenced.strip()
    lines = [line.strip() for line in bare.splitlines() if line.strip()]
    for line in dict.fromkeys([*lines[:1], *lines[-1:]]):
        yield line.strip("\"'`*_ ")
        yield re.sub(r"^[^:\n]{1,40}:\s*", "", line).strip("\"'`*_ .")
    named = [label for label in output.labels if re.search(rf"(?<!\w){re.escape(label)}(?!\w)", bare, re.IGNORECASE)]
    longest = [label for label in named if not any(label in other for other in named if other != label)]
    if len(longest) == 1:
        yield longest[0]
    if output.schema is not None and parse(bare) is not None:
        start = min(i for i in (bare.find("{"), bare.find("[")) if i >= 0) if not bare.startswith(("{", "[")) else 0
        yield bare[start:]


# ---------------------------------------------------------------- the right passages


@dataclass(frozen=True)
class Library:
    """The documents cut into passages, and where right ones are looked for."""

    passages: tuple[Passage, ...]
    index: Bm25
    by_document: Mapping[str, tuple[int, ...]]

    @staticmethod
    def of(documents: Sequence[Document]) -> Library:
        cut = passages(documents)
        places: dict[str, tuple[int, ...]] = {}
        for place, passage in enumerate(cut):
            places[passage.document_id] = (*places.get(passage.document_id, ()), place)
        return Library(cut, Bm25([f"{passage.title}\n{passage.text}" for passage in cut]), places)

    def right_for(self, example: Example) -> tuple[Passage, ...]:
        """The passages known to hold the answer, or found by it, the nearest to the question of several; or none."""
        gold = [place for name in gold_ids(example) for place in self.by_document.get(name, ())]
        holding = [
            place for place in gold or range(len(self.passages)) if holds_answer(self.passages[place].text, example)
        ]
        if gold:
            documents = {self.passages[place].document_id for place in gold}
            found = self._nearest(example.input, holding or gold, len(documents))
        else:
            found = self._nearest(example.input, holding, 1) if len(holding) <= MOST_FOUND else []
        return tuple(self.passages[place] for place in found)

    def _nearest(self, question: str, places: Sequence[int], most: int) -> list[int]:
        if len(places) <= most:
            return list(places)
        order = {place: rank for rank, place in enumerate(self.index.search(question, len(self.passages)))}
        return sorted(places, key=lambda place: order.get(place, len(order)))[:most]


def rank_of(right: Sequence[Passage], question: str, prompt: Prompted | None, library: Library) -> int | None:
    """Where the prompt's own retriever puts the first right passage, 1 for the top; BM25 where it has none."""
    nearest = prompt.passages if prompt is not None and prompt.passages is not None else None
    nearest = nearest or NearestPassages(library.passages, 1)
    order = replace(nearest, k=len(nearest.passages)).find(question, hidden=[question])
    return next(
        (rank for rank, passage in enumerate(order, 1) if any(same_place(passage, each) for each in right)), None
    )
