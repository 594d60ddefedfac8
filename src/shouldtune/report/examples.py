"""Every held-out example with every rung's answer: as data for the page's script, and the first few as a table.

The data stand in a JSON block that the browser does not run; the script puts them on the page as text. Without a
script, the first examples are there as a plain table.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shouldtune.judgement import Verdict
from shouldtune.report import words
from shouldtune.report.markup import Html, element, together, trusted
from shouldtune.report.words import one_line, printable
from shouldtune.types import Example, Prediction

if TYPE_CHECKING:
    from shouldtune.run import RunRecord

SHOWN_WITHOUT_SCRIPT = 50
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
    return element("section", element("h2", "Every example"), _controls(), plain, id="examples")


def data_block(record: RunRecord) -> Html:
    """What the script shows, as JSON in which no character can end the block or start markup."""
    tuned, untuned = fixed_and_broken(record.verdict)
    names = [measurement.rung for measurement in record.measurements]
    answers = _by_example(record)
    data = {
        "rungs": [{"name": one_line(name), "shipped": name == record.verdict.rung} for name in names],
        "tuned": names.index(tuned) if tuned in names and untuned in names else None,
        "untuned": names.index(untuned) if tuned in names and untuned in names else None,
        "examples": [_packed(example, answers[example.id]) for example in record.holdout],
    }
    packed = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        packed = packed.replace(character, f"\\u{ord(character):04x}")
    return element("script", trusted(packed), type="application/json", id="data")


def fixed_and_broken(verdict: Verdict) -> tuple[str | None, str | None]:
    """The two rungs that `fixed by tuning` compares, tuned and untuned: of each kind the one to ship, else the best."""

    def best(training: bool) -> str | None:
        rungs = [rung for rung in verdict.rungs if rung.training == training and rung.quality is not None]
        shipped = [rung for rung in rungs if rung.name == verdict.rung]
        chosen = max(shipped or rungs, key=lambda rung: rung.quality or 0.0, default=None)
        return chosen.name if chosen else None

    return best(True), best(False)


def _by_example(record: RunRecord) -> Answers:
    found: dict[str, list[Prediction | None]] = {e.id: [None] * len(record.measurements) for e in record.holdout}
    for place, measurement in enumerate(record.measurements):
        for prediction in measurement.predictions:
            if prediction.example_id in found:
                found[prediction.example_id][place] = prediction
    return found


def _packed(example: Example, answers: Sequence[Prediction | None]) -> list[Any]:
    """[id, input, target, accepted, [answer of each rung]]; an answer is [text, score, reason, error]."""
    accepted = [_clipped(text) for text in example.accepted]
    given = [_answer(answer) for answer in answers]
    return [one_line(example.id), _clipped(example.input), _clipped(example.target), accepted, given]


def _answer(prediction: Prediction | None) -> list[Any] | None:
    if prediction is None:
        return None
    completion, score = prediction.completion, prediction.score
    value = None if score is None else round(score.value, 4)
    cut = "stopped at the token limit" if completion.finish_reason == "length" else ""
    shown = f"shown {', '.join(map(one_line, completion.cited))}" if completion.cited else ""
    reason = "; ".join(part for part in (one_line(score.reason) if score else "", cut, shown) if part)
    error = one_line(completion.error or "no score") if score is None else ""
    return [_clipped(completion.text), value, reason, error]


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
    keys = (("j", "k", "next and previous"), ("←", "→", "page"), ("/", "search"), ("Esc", "close"))
    hints = [together(*(element("kbd", key) for key in pressed), f" {does}") for *pressed, does in keys]
    help_line = element("p", hints[0], *(part for hint in hints[1:] for part in (" · ", hint)), class_="keys")
    return element(
        "div",
        element("form", element("label", "Search ", search), _fieldset(choices), role="search", id="controls"),
        element("p", id="meaning", class_="aside"),
        element("p", id="status", role="status"),
        element("div", element("table", id="list"), class_="list"),
        element(
            "p",
            element("button", "Previous page", type="button", id="previous"),
            element("button", "Next page", type="button", id="next"),
            class_="pager",
        ),
        help_line,
        id="browser",
        hidden=True,
    )


def _fieldset(choices: Sequence[Html]) -> Html:
    return element("fieldset", element("legend", "Show"), *choices)


def _plain_table(record: RunRecord, answers: Answers) -> Html:
    shown = record.holdout[:SHOWN_WITHOUT_SCRIPT]
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
    heads = [element("th", name, scope="col") for name in ("#", "Input", "Target", "Answers")]
    caption = f"The first {len(shown)} of {len(record.holdout):,}. A browser that runs the page's script shows all."
    head = element("thead", element("tr", *heads))
    table = element("table", element("caption", caption), head, element("tbody", *rows))
    return element("div", table, class_="scroll", role="region", tabindex=0, aria_label="The first examples")


def _plain_answers(names: Sequence[str], answers: Sequence[Prediction | None]) -> Html:
    lines = []
    for name, prediction in zip(names, answers, strict=True):
        packed = _answer(prediction)
        if packed is None:
            lines.append(element("li", element("b", name), " was not asked"))
            continue
        text, value, reason, error = packed
        said = f"failed: {error}" if value is None else words.score(value) + (f", {reason}" if reason else "")
        lines.append(element("li", element("b", name), f" ({said}) ", element("span", text)))
    return element("ul", *lines)
