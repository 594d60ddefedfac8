"""Answers from a closed set of labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shouldtune.types import Completion, Example, Score


def label(labels: Sequence[str]) -> Callable[[Completion, Example], Score]:
    """1 when the answer names the right label, case, quotes and final punctuation aside.

    Only the first line with text is read: a model that goes on talking after the label has still named it, one that
    names another first has not. Metric `not_a_label`: the share of answers that are none of the labels.
    """
    known = {normal(name) for name in labels}

    def score(completion: Completion, example: Example) -> Score:
        answer = normal(completion.text)
        right = any(answer == normal(accepted) for accepted in example.answers)
        outside = bool(known) and answer not in known
        reason = "" if right else ("not a label" if outside else "another label")
        return Score(float(right), reason, {"not_a_label": float(outside)})

    return score


def normal(text: str) -> str:
    """The first line with text, lower case, without quotes, markup, a `label:` before it or a full stop after it."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = line.strip().strip("\"'`*.").casefold()
    for prefix in ("label:", "category:", "answer:"):
        line = line.removeprefix(prefix).strip()
    return line.strip("\"'`*. ")
