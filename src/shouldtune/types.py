"""The nouns of asking and measuring. Read this first: everything else turns one of these into another.

    Task --rung.fit--> Model --measure--> Measurement --decide--> Verdict

What money is at stake, and all that a verdict is made of, stands in judgement.py.
All are frozen; nothing is changed after it is made. Unknown is None, never 0.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

ModelSpec = dict[str, Any]
"""A model as nested plain data: its identity in the ledger, and the save file of a fitted rung."""


# ---------------------------------------------------------------- asking a model


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True)
class Options:
    """How an answer is to be made; part of the ledger's key."""

    max_tokens: int = 256
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    """A JSON schema that the answer must satisfy, enforced while decoding where the model can."""
    choices: tuple[str, ...] = ()
    """A closed label set: the answer is exactly one of these."""
    tools: tuple[Mapping[str, Any], ...] = ()
    """Functions that the model may call, as OpenAI describes them; calls come back as `{"calls": [...]}`."""
    choice_logprobs: bool = False
    """Where the model can: score all choices, tell their log-probabilities, and answer with the likeliest."""


Failure = Literal["transient", "permanent", "refused", "malformed", "unknown", "not_asked"]
"""Why a call has no answer.

`transient`: overload, a broken connection, an error inside a 200; another try may succeed. `permanent`: this request
can never succeed (too long, not understood). `refused`: a policy of the server, or the model, declined. `malformed`: a
reply that is no answer. `unknown`: sent, and no reply seen, so it may have been answered and billed. `not_asked`: a
limit of the run ended first.
"""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a model, or the reason why there is none."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    """Of the prompt's tokens, those that the server says it had at hand already; None where it says nothing."""
    latency_s: float | None = None
    """Seconds from asking to answer, queueing included."""
    compute_s: float | None = None
    """This answer's share of a local engine's time, in seconds: a batch's time over its answers."""
    cost_usd: float | None = None
    """Dollars at list price; None when no price is known."""
    finish_reason: Literal["stop", "length", "error"] = "stop"
    engine: str = ""
    """What computed it: `torch-bf16`, a server's model name, `scripted`."""
    error: str | None = None
    """Set when the call failed: then there is no answer, and it is neither right nor wrong."""
    failure: Failure | None = None
    """What kind of failure `error` tells of, where it is known."""
    lost: int = 0
    """Attempts before this answer, or with it where it failed, whose outcome nobody knows: each may have been billed.
    """
    tokens_estimated: bool = False
    """Whether the server told no token counts, and those here are our own estimate."""
    form_missed: bool = False
    """Whether a server gave an answer without the form that was asked for."""
    passages: tuple[str, ...] = ()
    """Ids of the documents that stood in the prompt."""
    cited: tuple[str, ...] = ()
    """Where a reader finds the passages that stood in the prompt: `manual.pdf, page 3`."""
    choice_logprobs: tuple[float, ...] = ()
    """Log-probability in nats of each of the choices asked for; empty where they were not asked for or not known."""
    manner: tuple[str, ...] = ()
    """How its server had to be asked otherwise than usual (`models.requests.Manner`); empty where it took it all."""

    @property
    def failed(self) -> bool:
        return self.error is not None

    def plain(self) -> dict[str, Any]:
        """Its fields by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


@runtime_checkable
class Model(Protocol):
    """Anything that answers."""

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        """Answer a chat. A call that fails returns a Completion with `error` set; it does not raise."""
        ...

    def spec(self) -> ModelSpec:
        """The model as plain data; `open_fitted` turns it back into a model."""
        ...


@dataclass(frozen=True)
class TuneSettings:
    """How weights are to be changed."""

    rank: int = 16
    alpha: int = 32
    learning_rate: float = 2e-3
    """Peak; after the warm-up it falls linearly to zero."""
    warmup: float = 0.03
    """The share of the steps over which the rate rises to its peak."""
    beta1: float = 0.8
    """Of the mean of gradients, Adam's momentum."""
    beta2: float = 0.99
    """Of the mean of their squares."""
    nesterov: bool = True
    """Whether a step looks ahead along its momentum."""
    epochs: int = 5
    batch_size: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Conversation:
    """One training text: the prompt as it will be asked, and the answer to learn."""

    messages: tuple[Message, ...]
    answer: str


@runtime_checkable
class Tunable(Model, Protocol):
    """A model whose weights can change."""

    def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        """Train, yielding the tuned model after each epoch. Stop iterating to stop training."""
        ...


# ---------------------------------------------------------------- the task


@dataclass(frozen=True, slots=True)
class Example:
    """One row of the user's data."""

    id: str
    input: str
    target: str
    """The answer one wishes the model had given."""
    accepted: tuple[str, ...] = ()
    """Other right answers."""
    group: str | None = None
    """Rows of one group (a customer, a document) never stand on both sides of a split."""
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def answers(self) -> tuple[str, ...]:
        """Every right answer, the target first."""
        return (self.target, *self.accepted)

    def plain(self) -> dict[str, Any]:
        """Its fields by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True)
class Document:
    """One text that answers may be drawn from."""

    id: str
    title: str
    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Score:
    """One answer's grade."""

    value: float
    """0 to 1."""
    reason: str = ""
    """Why, in a few words: `wrong API`, `not a label`."""
    metrics: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """Its fields by their names."""
        return {name: getattr(self, name) for name in self.__slots__}


Scorer = Callable[[Completion, Example], "Score | Awaitable[Score]"]

Graded = tuple[Example, Completion, Score]
"""One answered example."""


@runtime_checkable
class Overall(Protocol):
    """What a scorer offers beside its grade of one answer, where a measure is no mean over rows (macro-F1, BLEU)."""

    def overall(self, rows: Sequence[Graded]) -> Mapping[str, float]:
        """Measures over all answered examples, at least one; failed calls are not among them. Unknown is left out."""
        ...


@dataclass(frozen=True)
class Goal:
    """When an approach is good enough, and which differences matter."""

    quality: float | None = None
    """The mean score to reach; None when there is no line to clear."""
    worthwhile_gain: float = 0.03
    """The smallest gain in mean score that would justify a dearer approach."""
    confidence: float = 0.95
    max_cost_per_1k: float | None = None
    """Dollars for 1,000 answers."""
    max_latency_s: float | None = None


@dataclass(frozen=True)
class Output:
    """What form an answer has, where it has one."""

    labels: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 256


@dataclass(frozen=True)
class Task:
    """What a rung may see. The holdout is not in it, so no rung can leak it."""

    name: str
    instruction: str
    train: Sequence[Example]
    """May be more than memory holds: iterate, or ask by number."""
    scorer: Scorer
    documents: tuple[Document, ...] = ()
    goal: Goal = Goal()
    output: Output = Output()
    unseen_size: int = 32
    """At most this many training examples are kept apart from training, an eighth at most."""

    def halves(self, most: int | None = None, share: int = 8) -> tuple[Sequence[Example], Sequence[Example]]:
        """Split the training examples into (pool to learn from, unseen part to choose settings on).

        At most `most`, or else `unseen_size`, are unseen, and at most one in `share`.
        `train` is already in seeded random order with groups and near-duplicates side by side, so the
        tail is as good as any draw; the cut is moved so that it never falls inside a group.
        """
        cut = len(self.train) - min(self.unseen_size if most is None else most, len(self.train) // share)
        while 0 < cut < len(self.train) and _same_group(self.train[cut - 1], self.train[cut]):
            cut -= 1
        return self.train[:cut], self.train[cut:]


def _same_group(a: Example, b: Example) -> bool:
    return a.group is not None and a.group == b.group


# ---------------------------------------------------------------- rungs


@dataclass(frozen=True)
class Models:
    """The models a rung may use, all ledgered. None where the user has none."""

    prompt: Model
    tune: Tunable | None = None
    strong: Model | None = None
    """The strongest model that one may use."""
    best: tuple[str, Model] | None = None
    """(rung, fitted model) of the prompt that has done best on the training half so far."""
    trained: Mapping[str, Model] = field(default_factory=dict)
    """The rungs that changed weights so far, and the models that they ended with."""
    judge: Model | None = None
    """Who grades answers, where a model does; no rung asks it."""
    budget: float | None = None
    """Dollars that all calls of the task may cost, over all its runs; None where there is no wall."""

    async def aclose(self) -> None:
        """Close connections, of models that have any."""
        for model in (self.prompt, self.tune, self.strong, self.judge):
            close = getattr(model, "aclose", None)
            if close is not None:
                await close()


@dataclass(frozen=True)
class Trial:
    """One setting that a rung tried on the training half."""

    setting: str
    score: float | None
    n: int
    shots: int | None = None
    """How many examples the prompt showed, where that was what was tried."""
    found: float | None = None
    """Where a search was tried, and no answer scored: the mean reciprocal rank of the right passage."""


@dataclass(frozen=True)
class Rewriting:
    """An instruction that a search for better ones kept."""

    text: str
    parent: int | None
    """The place, among those kept, of the one that it was written from; None for the task's own."""
    score: float
    """On the training rows that the search weighs instructions on; it chose by them, so they flatter the best."""
    n: int


@dataclass(frozen=True)
class PromptSearch:
    """How an instruction was found."""

    kept: tuple[Rewriting, ...]
    """The task's own first, then in the order in which they were found."""
    found: int
    """The place of the one that is used."""
    written: int
    """How many new ones were asked for."""
    asked: int
    """How many answers were graded to tell them apart."""
    ended: str = ""
    """What ended it, in words."""

    @property
    def steps(self) -> tuple[tuple[Rewriting, Rewriting], ...]:
        """(before, after) of each change that led from the task's own instruction to the one that is used."""
        steps, now = [], self.kept[self.found]
        while now.parent is not None:
            before = self.kept[now.parent]
            steps.append((before, now))
            now = before
        return tuple(reversed(steps))


@dataclass(frozen=True)
class Fitted:
    """A model that is better at the task, and what it took to find it."""

    model: Model
    trials: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()
    search: PromptSearch | None = None
    """Where the instruction itself was searched for."""


@dataclass(frozen=True)
class Skipped:
    """A rung that cannot apply here, and why."""

    because: str


class Rung(Protocol):
    """One approach: it turns a model into a model that is better at the task."""

    @property
    def name(self) -> str: ...

    @property
    def training(self) -> bool:
        """Whether it changes weights."""
        ...

    @property
    def uses_llm(self) -> bool:
        """False for what needs no language model at all."""
        ...

    async def fit(self, task: Task, models: Models) -> Fitted | Skipped: ...


# ---------------------------------------------------------------- what was measured


@dataclass(frozen=True)
class Spent:
    """What something took. `usd` is None when a price is unknown."""

    calls: int = 0
    """Answers that it rests on, whether bought now or found in the ledger: a resumed run says the same."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    """Of this machine; answers of a server take none."""
    cached_tokens: int = 0
    """Of the prompt's tokens, those that servers said they had at hand."""
    unknown_calls: int = 0
    """Calls beside those, sent for the same answers, whose outcome nobody knows: each may have been billed."""
    unknown_usd: float | None = None
    """The most that these can have cost, beside `usd`; None where there are none, or a price is unknown."""
    estimated: int = 0
    """Of the calls, those whose tokens no server told, so that they are estimated."""
    form_missed: int = 0
    """Of the calls, those answered without the form that was asked for."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer on one holdout example, and its grade."""

    example_id: str
    completion: Completion
    score: Score | None
    """None when the call failed, or the scorer could not grade it: unmeasured, neither wrong nor dropped."""


@dataclass(frozen=True)
class Measurement:
    """A rung's predictions on the holdout, in the holdout's seeded order, and what it took."""

    rung: str
    predictions: Sequence[Prediction]
    """May be more than memory holds: iterate; what is counted of them stands in `spool.figure`."""
    training: bool = False
    """Whether the rung changed weights."""
    uses_llm: bool = True
    trials: tuple[Trial, ...] = ()
    notes: tuple[str, ...] = ()
    fit: Spent = Spent()
    measured: Spent = Spent()
    raced_over: int | None = None
    """How many rows the holdout has, where the rung might be stopped early by what it scored; then the predictions are
    those of its first rows. None where it was to be measured whole whatever it scored."""
    stopped_because: str | None = None
    """Why it was not measured on the whole holdout."""
    overall: Mapping[str, float] = field(default_factory=dict)
    """What the scorer says of all answers together, where a measure is no mean over rows; failed calls left out."""
    search: PromptSearch | None = None

    @property
    def scores(self) -> tuple[float | None, ...]:
        """One value per holdout example asked; None where the call failed."""
        return tuple(None if p.score is None else p.score.value for p in self.predictions)
