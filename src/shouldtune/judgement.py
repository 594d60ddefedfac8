"""The nouns of judging: what the user knows about money, what was concluded of each rung, and the verdict.

    Goal, Measurements, Economics --decide--> Verdict

What is asked and measured stands in types.py, why answers fail in causes.py. As there, all are frozen, and unknown is
None, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from shouldtune.types import PromptSearch, Spent

if TYPE_CHECKING:
    from shouldtune.causes import Diagnosed, Forecasted, Forgetting, MoreShots


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence limits. `n` is how many values it rests on."""

    estimate: float | None
    low: float
    high: float
    n: int


# ---------------------------------------------------------------- money, as the user knows it


@dataclass(frozen=True)
class Price:
    """What a provider asks, in dollars per million tokens."""

    read: float
    """For the tokens of the prompt."""
    written: float
    """For the tokens of the answer."""
    source: str = "your price table"
    """Where the price was found, and as of when."""
    cached: float | None = None
    """For the tokens of the prompt that the server had at hand; None where they are billed as read."""
    up_to: int | None = None
    """A prompt of more tokens has another price, which is then not known; None where there is no such line."""

    def of(self, read: int | None, written: int | None, cached: int | None = None) -> float | None:
        """Dollars for one answer; None where its tokens are not known, or the prompt is longer than `up_to`.

        `read` counts the whole prompt, the `cached` part of it included. A server that says nothing of cached tokens
        (None) is taken to have read them all anew, which is never too little.
        """
        if read is None or written is None or (self.up_to is not None and read > self.up_to):
            return None
        known = min(cached or 0, read)
        return ((read - known) * self.read + known * self.for_cached + written * self.written) / 1e6

    @property
    def for_cached(self) -> float:
        """What a cached token of the prompt is billed at, per million."""
        return self.read if self.cached is None else self.cached

    def __str__(self) -> str:
        """`$0.25 read, $0.025 cached, $2 written per million tokens (genai-prices 0.2.3, as of 2026-11-09)`."""
        cached = "" if self.cached is None else f" ${self.cached:g} cached,"
        line = "" if self.up_to is None else f" of prompts up to {self.up_to:,}"
        return f"${self.read:g} read,{cached} ${self.written:g} written per million tokens{line} ({self.source})"


@dataclass(frozen=True)
class Economics:
    """What only the user knows about money. Unknown is None; what depends on it is then unknown too."""

    per_month: float | None = None
    """Requests a month once the application runs."""
    months: float | None = None
    """The horizon: how long the choice is to last."""
    value_per_correct: float | None = None
    """Dollars that one correct answer is worth."""
    usd_per_label: float | None = None
    """Dollars for one labelled example."""
    labels_bought: int = 0
    """Examples labelled for training alone; they are on the bill of the rungs that train."""
    machine_usd_per_hour: float | None = None
    """Dollars an hour of the machine that runs a local or tuned model, at the throughput measured."""
    fine_tune_usd: float | None = None
    """Dollars for one fine-tune, in place of what training took here."""
    tuned_fixed_usd_per_month: float | None = None
    """Dollars a month for a machine kept for the tuned model: it then serves every request at no further price."""
    refits: int = 0
    """How often an approach is fitted again within the horizon."""
    prompt_price: Price | None = None
    """Of the model that is prompted."""
    tuned_price: Price | None = None
    strong_price: Price | None = None
    """Of the strongest model that one may use, where one is named."""
    """Of the model that training makes."""


# ---------------------------------------------------------------- the rungs, one by one and side by side


@dataclass(frozen=True)
class RungResult:
    """One rung's line in the verdict."""

    name: str
    applied: bool
    skipped_because: str | None = None
    training: bool = False
    uses_llm: bool = True
    quality: float | None = None
    """Mean score over the answered examples; None when nothing was answered."""
    low: float | None = None
    high: float | None = None
    n: int = 0
    unmeasured: int = 0
    meets_goal: bool | None = None
    """Proven at this run's confidence; None without a goal."""
    cost_per_1k: float | None = None
    seconds_per_1k: float | None = None
    """Machine seconds for 1,000 answers at the throughput seen."""
    latency_p50: float | None = None
    latency_p95: float | None = None
    prompt_tokens_mean: float | None = None
    fit_seconds: float | None = None
    fit_cost: float | None = None
    fit_calls: int | None = None
    settings_tried: int = 0
    stopped_because: str | None = None
    """Why it was measured on the first rows of the holdout only; None where it was measured on all."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """What the scorer reported beside the score (validity, hallucination ...): means over the answered examples, and
    what it says of all of them together (macro-F1, BLEU)."""
    notes: tuple[str, ...] = ()
    search: PromptSearch | None = None
    """How its instruction was found, where it was searched for."""


@dataclass(frozen=True)
class Comparison:
    """One rung against another on the same examples."""

    better: str
    worse: str
    gain: float | None
    """Mean paired difference over the examples that both answered."""
    low: float
    high: float
    """Limits at this comparison's share of alpha, failed calls counted as the worst case."""
    n: int
    p_value: float | None
    """Exact McNemar for 0/1 scores, paired permutation otherwise, of no difference at all; None where either rung was
    stopped early, for both tests take the number of examples as given."""
    method: str


# ---------------------------------------------------------------- what they cost


@dataclass(frozen=True)
class RungCost:
    """What a rung costs, in dollars; None where a price in it is not known."""

    rung: str
    fit: float | None
    """To fit it once, the search for its settings included."""
    labels: float | None
    fixed_per_month: float | None
    each: float | None
    """One answer, without a share of what is fixed."""
    per_1k: float | None
    """1,000 answers, with their share of what is fixed."""
    total: float | None
    """Over the horizon."""
    per_correct: float | None
    """The total over the horizon, for each answer that is right."""
    price: str
    """Where the price of an answer comes from."""


Pays = Literal["above", "below", "always", "never"]


@dataclass(frozen=True)
class BreakEven:
    """From where on a trained rung is the better bargain than another."""

    rung: str
    against: str
    pays: Pays
    """Above or below the volume, at every volume, or at none."""
    per_month: float | None
    """Requests a month at which both come to the same; None where there is no such volume."""
    low: float | None
    high: float | None
    """The band of the volume; None where it has no end."""
    value: float | None
    """Dollars that a correct answer must be worth for it to pay at the task's own volume; 0 where it costs less."""
    value_low: float | None
    value_high: float | None


@dataclass(frozen=True)
class MoneyTable:
    """What the rungs cost, where anything is known of it."""

    per_month: float | None
    """Requests a month."""
    months: float | None
    value_per_correct: float | None
    """Dollars; where it is not known, a break-even weighs the costs alone."""
    costs: tuple[RungCost, ...]
    break_even: tuple[BreakEven, ...] = ()


# ---------------------------------------------------------------- the verdict

Answer = Literal["no", "yes", "not_yet"]
Reason = Literal[
    "fix_data",
    "no_model_needed",
    "tune_to_save",
    "goal_met",
    "fix_retrieval",
    "tune",
    "does_not_pay",
    "out_of_reach",
    "no_gain",
    "unmeasured",
    "label_more",
]


@dataclass(frozen=True)
class Flip:
    """One change of what was asked that would flip the answer."""

    key: str
    """As in the task file; `prices.prompt` and `prices.tuned` are factors on all of a model's price."""
    now: float
    at: float
    """The nearest value at which the answer is another one."""
    answer: Answer
    reason: Reason
    rung: str | None
    sentence: str


@dataclass(frozen=True)
class ShelfLife:
    """When to look again."""

    days: int | None
    """After the run, at the latest; None where nobody has promised a date: then the events below tell."""
    when: tuple[str, ...]
    """Events, each the end of "look again when ..."."""


@dataclass(frozen=True)
class Verdict:
    """Should you fine-tune? With the evidence."""

    answer: Answer
    reason: Reason
    rung: str | None
    """What to ship; None when there is nothing worth shipping yet."""
    because: tuple[str, ...]
    rungs: tuple[RungResult, ...]
    comparisons: tuple[Comparison, ...] = ()
    spent: Spent = Spent()
    examples_needed: int | None = None
    """For `label_more`: how many holdout rows would probably settle it."""
    simulated: bool = False
    """Whether the answers come from a scripted model."""
    economics: MoneyTable | None = None
    """None where nothing is known of what anything costs."""
    basis: Literal["measured", "forecast"] = "measured"
    """Whether fine-tuning was measured, or is spoken of by a forecast of what it would bring."""
    diagnosis: Diagnosed | None = None
    """What is wrong with the data and why answers fail; None where it was not looked at."""
    forecast: Forecasted | None = None
    """What more examples would bring; None where no learning curve was measured."""
    shots: tuple[MoreShots, ...] = ()
    """What more examples in the prompt would bring, for each rung that tried two numbers of them or more."""
    forgetting: Forgetting | None = None
    """What the tuned model does at other things, beside its base; None where nothing was tuned."""
    sensitivity: tuple[Flip, ...] = ()
    """What would flip the answer, the smallest change first; at most three."""
    shelf_life: ShelfLife | None = None
    """None in a verdict that was written before there was one, or while the run goes on."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
