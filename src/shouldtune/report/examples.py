"""Every held-out example with every rung's answer: as data for the page's script, and the first few as a table.

The data stand in a JSON block that the browser does not run; the script puts them on the page as text. Without a
script, the first examples are there as a plain table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shouldtune.report import words
from shouldtune.report.markup import Html, element, trusted
from shouldtune.report.tables import data_table
from shouldtune.report.words import one_line, printable
from shouldtune.types import Example, Prediction

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

SHOWN_WITHOUT_SCRIPT = 50
MOST = 10_000
"""Examples on the page: a browser opens it in a moment still. They are the first in the run's random order."""
LONGEST = 20_000
"""Characters of one text that the page holds; the whole is in the run's predictions.jsonl."""

FILTERS = (
    ("all", "All"),
    ("fixed", "Fixed by tuning"),
    ("broken", "Broken by tuning"),
    ("disagree", "Rungs disagree"),
    ("failed", "Failed calls"),
    ("wrong", "All wrong"),
)

Answers = Mapping[str, Sequence[Prediction | None]]
"""By example id: one prediction per rung in ladder order, None where the rung was not asked."""


def browser(record: RunRecord) -> Html:
    """The section of examples: its controls (shown by the script), the plain table, and the data."""
    answers = _by_example(record)
    plain = element("div", _plain_table(record, answers), id="plain")
    there, shown = len(record.holdout), len(_shown(record))
    head = [element("h2", "Every example" if shown == there else "Examples")]
    if shown < there:
        told = f"The first {shown:,} of {there:,}, in the random order in which they were asked; all are in the run's "
        head.append(element("p", told, element("code", "predictions.jsonl"), ".", class_="aside"))
    return element("section", *head, _controls(), plain, id="examples")


def data_block(record: RunRecord) -> Html:
    """What the script shows, as JSON in which no character can end the block or start markup."""
    tuned, untuned = words.tuned_and_untuned(record.verdict)
    names = [measurement.rung for measurement in record.measurements]
    answers = _by_example(record)
    said = _Numbered()
    data = {
        "rungs": [{"name": one_line(name), "shipped": name == record.verdict.rung} for name in names],
        "tuned": names.index(tuned) if tuned in names and untuned in names else None,
        "untuned": names.index(untuned) if tuned in names and untuned in names else None,
        "examples": [_packed(example, answers[example.id], said) for example in _shown(record)],
        "said": list(said.numbers),
    }
    packed = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        packed = packed.replace(character, f"\\u{ord(character):04x}")
    return element("script", trusted(packed), type="application/json", id="data")


class _Numbered:
    """Texts, each once, by the number under which it is found again."""

    def __init__(self, *texts: str) -> None:
        self.numbers: dict[str, int] = {}
        for text in texts:
            self[text]

    def __getitem__(self, text: str) -> int:
        return self.numbers.setdefault(text, len(self.numbers))


def _shown(record: RunRecord) -> Sequence[Example]:
    return record.holdout[:MOST]


def _by_example(record: RunRecord) -> Answers:
    found: dict[str, list[Prediction | None]] = {e.id: [None] * len(record.measurements) for e in _shown(record)}
    for place, measurement in enumerate(record.measurements):
        for prediction in measurement.predictions:
            if prediction.example_id in found:
                found[prediction.example_id][place] = prediction
    return found


def _packed(example: Example, answers: Sequence[Prediction | None], said: _Numbered) -> list[Any]:
    """[id, input, texts, how many more are accepted, [answer of each rung]]; an answer is [text, score, what is said].

    A text stands once: the target first, then what else is accepted, then what rungs answered. What is said of answers
    stands once for all examples.
    """
    right = list(dict.fromkeys(map(_clipped, example.answers)))
    texts = _Numbered(*right)
    given: list[Any] = []
    for prediction in answers:
        answer = _answer(prediction)
        given.append(answer and [texts[answer[0]], answer[1], said[answer[2]]])
    return [one_line(example.id), _clipped(example.input), list(texts.numbers), len(right) - 1, given]


def _answer(prediction: Prediction | None) -> tuple[str, float | None, str] | None:
    """(text, score, why it has it; or how the call failed)."""
    if prediction is None:
        return None
    completion, score = prediction.completion, prediction.score
    if score is None:
        return _clipped(completion.text), None, one_line(completion.error or "no score")
    cut = "stopped at the token limit" if completion.finish_reason == "length" else ""
    shown = f"shown {', '.join(map(one_line, completion.cited))}" if completion.cited else ""
    reason = "; ".join(part for part in (one_line(score.reason), cut, shown) if part)
    return _clipped(completion.text), round(score.value, 4), reason


def _clipped(text: str) -> str:
    shown = printable(text)
    if len(shown) <= LONGEST:
        return shown
    return f"{shown[:LONGEST]}\n[{len(shown) - LONGEST:,} more characters are in predictions.jsonl]"


# ---------------------------------------------------------------- without a script


def _controls() -> Html:
    """Search, filters, list and pager; hidden until the script fills them."""
    choices = [
        element(
            "label",
            element("input", type="radio", name="filter", value=value, checked=value == "all"),
            element("span", name, " ", element("span", class_="count")),
        )
        for value, name in FILTERS
    ]
    search = element("input", type="search", id="search", autocomplete="off", spellcheck="false")
    keys: tuple[tuple[str, ...], ...] = (
        ("j", "k", "next and previous example"),
        ("←", "→", "page, from within the list"),
        (f"1–{len(FILTERS)}", "what to show"),
        ("/", "search"),
        ("Enter", "from the search to what it found"),
        ("Esc", "close"),
        ("?", "this help"),
    )
    hints = [element("li", *(element("kbd", key) for key in pressed), f" {does}") for *pressed, does in keys]
    summary = element("summary", "Keys ", element("kbd", "?"))
    help_box = element("details", summary, element("ul", *hints), id="keys")
    return element(
        "div",
        element("form", element("label", "Search ", search), _fieldset(choices), role="search", id="controls"),
        element("p", id="meaning", class_="aside"),
        element("p", id="status", role="status"),
        element("div", element("table", id="list")),
        element(
            "p",
            element("button", "Previous page", type="button", id="previous"),
            element("button", "Next page", type="button", id="next"),
            class_="pager",
        ),
        help_box,
        id="browser",
        hidden=True,
    )


def _fieldset(choices: Sequence[Html]) -> Html:
    return element("fieldset", element("legend", "Show"), *choices)


def _plain_table(record: RunRecord, answers: Answers) -> Html:
    shown = _shown(record)[:SHOWN_WITHOUT_SCRIPT]
    names = [one_line(measurement.rung) for measurement in record.measurements]
    rows = [
        element(
            "tr",
            element("th", str(number), scope="row"),
            element("td", _clipped(example.input), class_="words"),
            element("td", _clipped(example.target), class_="words"),
            element("td", _plain_answers(names, answers[example.id]), class_="words"),
        )
        for number, example in enumerate(shown, 1)
    ]
    caption = f"The first {len(shown)} of {len(record.holdout):,}. A browser that runs the page's script shows more."
    return data_table(caption, ("#", "Input", "Target", "Answers"), rows, label="The first examples")


def _plain_answers(names: Sequence[str], answers: Sequence[Prediction | None]) -> Html:
    lines = []
    for name, prediction in zip(names, answers, strict=True):
        packed = _answer(prediction)
        if packed is None:
            lines.append(element("li", element("b", name), " was not asked"))
            continue
        text, value, why = packed
        said = f"failed: {why}" if value is None else words.score(value) + (f", {why}" if why else "")
        lines.append(element("li", element("b", name), f" ({said}) ", element("span", text)))
    return element("ul", *lines)
