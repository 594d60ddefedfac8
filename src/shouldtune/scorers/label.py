"""Answers from a closed set of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from shouldtune.types import Completion, Example, Graded, Score


@dataclass(frozen=True)
class Label:
    """1 when the answer names the right label, case, quotes and final punctuation aside.

    Only the first line with text is read: a model that goes on talking after the label has still named it, one that
    names another first has not. Metric `not_a_label`: the share of answers that are none of the labels. Overall:
    `macro_f1`, and with a positive label the rates of its misses and false alarms.
    """

    labels: Sequence[str]
    positive: str | None = None
    """The label that must not be missed (an attack, a fraud)."""
    miss_cost: float = 1.0
    """What a miss costs, where a false alarm costs 1."""

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(normal(name) for name in self.labels)

    def __call__(self, completion: Completion, example: Example) -> Score:
        answer, right = normal(completion.text), is_right(completion, example)
        outside = bool(self._known) and answer not in self._known
        reason = "" if right else ("not a label" if outside else "another label")
        return Score(float(right), reason, {"not_a_label": float(outside)})

    def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
        pairs = [told_and_said(completion, example) for example, completion, _ in rows]
        found = {"macro_f1": macro_f1(pairs)}
        return found if self.positive is None else {**found, **self._alarms(pairs)}

    def _alarms(self, pairs: Sequence[tuple[str, str]]) -> dict[str, float]:
        """`miss_rate`, `false_alarm_rate`, and `error_cost`: the mean cost of an answer, in false alarms.

        An answer that is neither the positive nor another label is an error for either kind of row. A rate without
        any row that it could be of is left out.
        """
        positive = normal(self.positive or "")
        missed = [said != positive for told, said in pairs if told == positive]
        alarmed = [said == positive or said not in self._known for told, said in pairs if told != positive]
        found = {"miss_rate": sum(missed) / len(missed)} if missed else {}
        found |= {"false_alarm_rate": sum(alarmed) / len(alarmed)} if alarmed else {}
        return {**found, "error_cost": (self.miss_cost * sum(missed) + sum(alarmed)) / len(pairs)}


@dataclass(frozen=True)
class Alert(Label):
    """As `label`, where errors do not cost the same: 1 for a right answer, else 1 - its cost over the dearest error's.

    So with a miss that costs 5, a false alarm scores 0.8 and a miss 0. An answer that is no label is the dearest.
    """

    def __call__(self, completion: Completion, example: Example) -> Score:
        plain = super().__call__(completion, example)
        told, said = told_and_said(completion, example)
        positive = normal(self.positive or "")
        if plain.value == 1 or said not in self._known or (told != positive) == (said != positive):
            return plain
        cost = self.miss_cost if told == positive else 1.0
        reason = "a miss" if told == positive else "a false alarm"
        return Score(1 - cost / max(1.0, self.miss_cost), reason, plain.metrics)


def is_right(completion: Completion, example: Example) -> bool:
    answer = normal(completion.text)
    return any(answer == normal(accepted) for accepted in example.answers)


def told_and_said(completion: Completion, example: Example) -> tuple[str, str]:
    """(the right label, the one that was named); where another accepted one was named, it is the right one."""
    said = normal(completion.text)
    return said if is_right(completion, example) else normal(example.target), said


def macro_f1(pairs: Sequence[tuple[str, str]]) -> float:
    """The mean over the true labels of each one's F1, from at least one (true, named) pair.

    Names that are no row's true label have no F1 of their own, as an invented one would count as another class; they
    are misses of the true one. Over the true labels it is scikit-learn's `f1_score(average="macro")`.
    """
    labels = sorted({told for told, _ in pairs})
    scores = []
    for label in labels:
        right = sum(told == said == label for told, said in pairs)
        scores.append(2 * right / (sum(told == label for told, _ in pairs) + sum(said == label for _, said in pairs)))
    return sum(scores) / len(scores)


def normal(text: str) -> str:
    """The first line with text, lower case, without quotes, markup, a `label:` before it or a full stop after it."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    line = line.strip().strip("\"'`*.").casefold()
    for prefix in ("label:", "category:", "answer:"):
        line = line.removeprefix(prefix).strip()
    return line.strip("\"'`*. ")
