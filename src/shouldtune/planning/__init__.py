"""plan(): what a climb would ask and cost, rung by rung, before anything is spent. No model is asked.

Every rung is really fitted and its prompts are really built, with a stand-in for the model that answers nothing and
counts. Which settings a rung chooses, where it is stopped and which rungs are opened at all hangs on scores that
nobody has: the most that can be asked is certain, what is expected comes from rehearsals of the very race in made-up
worlds, and what cannot be told is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

from shouldtune.asked import Climb, dollars_so_far, price_paid
from shouldtune.conclusion import FEWEST_ROWS
from shouldtune.judgement import Price
from shouldtune.looks import goal_at_look
from shouldtune.models.open import is_local, is_simulated
from shouldtune.models.past_calls import past_calls
from shouldtune.models.prices import price_of
from shouldtune.models.providers import is_remote
from shouldtune.models.training_prices import TrainingPrice
from shouldtune.planning.dry_runs import CURVE, FORGETTING, PAYER, VETTING, Calls, Dry, DryRuns, Who
from shouldtune.planning.leaving import Leaving, what_leaves
from shouldtune.planning.measured import Rates, rates_of
from shouldtune.planning.rehearsals import ASSUMED, Rehearsed, rehearsals
from shouldtune.provable import Provable, provable
from shouldtune.run import ledger_path
from shouldtune.rungs.instructions import Instructions
from shouldtune.scorers import model_needed
from shouldtune.task import LoadedTask
from shouldtune.task.file import price_table, training_price_of
from shouldtune.tuning.training_file import TrainingFile
from shouldtune.types import Skipped


@dataclass(frozen=True)
class PlannedRung:
    """What one rung would ask, or what is looked into beside the rungs.

    Tokens are estimated, and dollars and machine time with them; None is unknown.
    """

    name: str
    training: bool
    skipped_because: str | None = None
    calls_most: int = 0
    """To choose its settings and on every held-out example, at its dearest setting."""
    calls_known: int = 0
    """Of these, answers that the task's ledger holds: they cost nothing again."""
    calls_expected: float = 0.0
    opened: float = 0.0
    """In which share of the rehearsals it was reached."""
    prompt_tokens_most: int = 0
    prompt_tokens_expected: float = 0.0
    usd_most: float | None = None
    usd_expected: float | None = None
    machine_s_expected: float | None = None
    epochs_most: int = 0
    training_usd: float | None = None
    """Of the two above what a provider would ask for training, estimated; 0 where it is trained here."""


@dataclass(frozen=True)
class Plan:
    """What a climb would take, and what it could show."""

    task: str
    model: str
    tune: str | None
    train_n: int
    holdout_n: int
    too_few: bool
    """Whether there are so few rows that nothing would be asked."""
    rungs: tuple[PlannedRung, ...]
    """In ladder order; then the probes of failures, the learning curve, what the tuned model forgot, and the trial of a
    judge, whose other calls stand with what it grades."""
    can: Provable
    worthwhile_gain: float
    no_forecast: str | None
    """Why no forecast of a fine-tune on more examples is made; None where it is."""
    budget: float | None
    """Dollars that all runs of the task may spend."""
    paid: float | None
    """What they have spent so far; None where a price is unknown."""
    prices: tuple[str, ...]
    """Of the models that are asked, and where they were found; none where they are not known, or models run here."""
    methods: tuple[str, ...]
    """How the figures were come by."""
    cannot_tell: tuple[str, ...]
    leaving: Leaving | None = None
    """What would be sent to a provider to be trained on; None where nothing would."""

    @property
    def usd_most(self) -> float | None:
        """Dollars for calls; None where a price is unknown. Training here costs machine time and no dollars."""
        return _sum([rung.usd_most for rung in self.rungs if not rung.skipped_because])

    @property
    def usd_expected(self) -> float | None:
        return _sum([rung.usd_expected for rung in self.rungs if not rung.skipped_because])

    @property
    def machine_s_expected(self) -> float | None:
        return _sum([rung.machine_s_expected for rung in self.rungs if rung.calls_most])


async def plan(loaded: LoadedTask, how: Climb = Climb()) -> Plan:
    """What climbing this task would take. InputError and CannotMeasure where its ledger or looks cannot be read."""
    past = tuple(past_calls(ledger_path(loaded.folder)))
    too_few = len(loaded.task.train) + len(loaded.holdout) < FEWEST_ROWS
    runs, nothing = DryRuns(loaded, how, past), Skipped("there are too few rows")
    dry = {rung.name: nothing if too_few else await runs.rung(rung) for rung in how.rungs}
    judge = model_needed(loaded.task.scorer)
    looks = {PAYER: runs.probes, CURVE: runs.curve, FORGETTING: runs.forgetting}
    looks |= {} if judge is None else {VETTING: runs.vetting}
    beside = {name: nothing if too_few else await look() for name, look in looks.items()}
    apply = [rung for rung in how.rungs if isinstance(dry[rung.name], Dry)]
    can = await provable(loaded, sum(not rung.training for rung in apply))
    goal, early = goal_at_look(loaded.task.goal, can.look), not how.whole_holdout
    expected, unsettled = rehearsals(goal, apply, len(loaded.holdout), all_rungs=how.all_rungs, stop_early=early)
    costs, training = _costs(loaded, rates := rates_of(past, loaded)), {rung.name: rung.training for rung in how.rungs}
    trainer = _trainer(loaded, rates)
    planned = [_planned(name, training[name], found, expected.get(name), costs, trainer) for name, found in dry.items()]
    planned += [
        _planned(n, n in (CURVE, FORGETTING), found, Rehearsed(1.0 if n == VETTING else unsettled, 0.0), costs, trainer)
        for n, found in beside.items()
    ]
    (paid, unknown), curve = dollars_so_far(loaded), beside[CURVE]
    named = {loaded.file.model: costs["prompt"].price, loaded.file.strong: costs["strong"].price}
    named |= {} if judge is None else {judge: costs["judge"].price}
    return Plan(
        task=loaded.task.name,
        model=loaded.file.model,
        tune=loaded.file.tune,
        train_n=len(loaded.task.train),
        holdout_n=len(loaded.holdout),
        too_few=too_few,
        rungs=tuple(planned),
        can=can,
        worthwhile_gain=loaded.task.goal.worthwhile_gain,
        no_forecast=curve.because if isinstance(curve, Skipped) else None,
        budget=loaded.file.budget,
        paid=None if unknown else paid,
        prices=tuple(f"price of {name}: {price}" for name, price in named.items() if price is not None),
        methods=(*rates.said, f"expected: the mean of {ASSUMED}"),
        cannot_tell=_cannot_tell(loaded, searched=any(isinstance(rung, Instructions) for rung in apply)),
        leaving=None if too_few else await what_leaves(loaded, how),
    )


@dataclass(frozen=True)
class Costs:
    """What one model's tokens cost, and where."""

    rates: Rates
    price: Price | None
    here: bool
    """Whether it runs on this machine: then it costs machine time and no dollars."""
    free: bool = False
    """Whether it is a scripted one, which costs neither unless it has a price."""

    def usd(self, read: float, written: float) -> float | None:
        if self.price is not None:
            return (read * self.price.read + written * self.price.written) / 1e6
        return 0.0 if self.here or self.free else None

    def seconds(self, tokens: float) -> float | None:
        """Seconds of this machine; None where it was not measured."""
        return 0.0 if not self.here or not tokens else _times(self.rates.second_a_token, tokens)


@dataclass(frozen=True)
class Trainer:
    """What training takes: time of this machine, or a provider's price."""

    second_an_epoch: float | None
    elsewhere: bool
    price: TrainingPrice | None

    def seconds(self, epochs: float) -> float | None:
        return 0.0 if self.elsewhere or not epochs else _times(self.second_an_epoch, epochs)

    def usd(self, trained: Sequence[TrainingFile]) -> tuple[float | None, float | None]:
        """(estimated, at most) dollars for these epochs; None where no price is known."""
        if not self.elsewhere or not trained:
            return 0.0, 0.0
        if self.price is None:
            return None, None
        tokens, most = fsum(each.tokens for each in trained), sum(each.most_tokens for each in trained)
        return self.price.of(tokens), self.price.of(most)


def _trainer(loaded: LoadedTask, rates: Rates) -> Trainer:
    named = loaded.file.tune
    if named is None or not is_remote(named):
        return Trainer(rates.second_an_epoch, False, None)
    return Trainer(None, True, training_price_of(loaded.file, named))


def _costs(loaded: LoadedTask, rates: Rates) -> dict[Who, Costs]:
    file, economics = loaded.file, loaded.economics
    elsewhere = file.tune is not None and is_remote(file.tune)
    strong, judge = file.strong or "", model_needed(loaded.task.scorer) or ""
    judged = price_paid(judge, price_of(judge, price_table(file)))
    return {
        "judge": Costs(rates, judged, is_local(judge), is_simulated(judge)),
        "prompt": Costs(
            rates, price_paid(file.model, economics.prompt_price), is_local(file.model), is_simulated(file.model)
        ),
        "tune": Costs(rates, loaded.economics.tuned_price, here=False) if elsewhere else Costs(rates, None, here=True),
        "strong": Costs(rates, price_paid(strong, economics.strong_price), is_local(strong), is_simulated(strong)),
    }


def _planned(
    name: str,
    training: bool,
    dry: Dry | Skipped,
    expected: Rehearsed | None,
    costs: Mapping[Who, Costs],
    trainer: Trainer,
) -> PlannedRung:
    if isinstance(dry, Skipped) or expected is None:
        return PlannedRung(name, training, getattr(dry, "because", None))
    if not dry.most:
        return PlannedRung(name, training, opened=expected.opened, usd_most=0.0, usd_expected=0.0)
    share = expected.rows / max(1, dry.n)
    likely = [(expected.opened * part.times, part) for part in dry.fit] + [(share * c.times, c) for c in dry.rows]
    most = [(part.times, part) for part in dry.most]
    rates = costs["prompt"].rates
    calls = fsum(weight * _fresh(part) for weight, part in likely)
    tokens = [(part.who, weight * _read(part, rates), weight * _fresh(part) * rates.written) for weight, part in likely]
    at_most = [(part.who, weight * _read(part, rates), weight * _written(part)) for weight, part in most]
    epochs = expected.opened * dry.epochs
    training_usd, training_most = trainer.usd(dry.trained)
    clock = [costs[who].seconds(read + written) for who, read, written in tokens]
    return PlannedRung(
        name=name,
        training=training,
        calls_most=round(fsum(weight * len(part.calls) for weight, part in most)),
        calls_known=round(fsum(weight * (len(part.calls) - _fresh(part)) for weight, part in most)),
        calls_expected=calls,
        opened=expected.opened,
        prompt_tokens_most=round(fsum(read for _, read, _ in at_most)),
        prompt_tokens_expected=fsum(read for _, read, _ in tokens),
        usd_most=_sum([training_most, *(costs[who].usd(read, written) for who, read, written in at_most)]),
        usd_expected=_sum(
            [_times(training_usd, expected.opened), *(costs[who].usd(read, written) for who, read, written in tokens)]
        ),
        machine_s_expected=_sum([*clock, trainer.seconds(epochs)]),
        epochs_most=dry.epochs_most,
        training_usd=training_usd if dry.trained else None,
    )


def _fresh(part: Calls) -> int:
    return sum(not call.known for call in part.calls)


def _read(part: Calls, rates: Rates) -> float:
    """Prompt tokens of those that would be new."""
    return fsum(rates.tokens(call.bytes_read, call.messages) for call in part.calls if not call.known)


def _written(part: Calls) -> int:
    return sum(call.most_written for call in part.calls if not call.known)


def _sum(values: Iterable[float | None]) -> float | None:
    found = list(values)
    known = [value for value in found if value is not None]
    return fsum(known) if len(known) == len(found) else None


def _times(rate: float | None, amount: float) -> float | None:
    return None if rate is None else rate * amount


def _cannot_tell(loaded: LoadedTask, searched: bool) -> tuple[str, ...]:
    """What no plan can know, said so that nobody takes it for a promise."""
    said = [
        "which rung will win, or whether fine-tuning will help: that is what a run measures",
        "where a rung will be stopped, and so what is spent below the most: it hangs on scores that nobody has yet",
        "whether calls will fail: a failed call counts as the worst case in every limit, and is tried again next time",
    ]
    if searched:
        said.append("how long an instruction becomes that is searched for: the most counts it as long as it may be")
    judge = model_needed(loaded.task.scorer)
    if judge is not None:
        said.append(f"how long the answers are that {judge} will grade: they are counted as long as the targets")
    if any(example.group is not None for example in loaded.holdout):
        said.append("how much rows of one group are alike: what is said of proof takes them to be independent")
    if loaded.file.tune is not None and is_remote(loaded.file.tune):
        said.append("how many tokens a provider bills for training, and how long its jobs wait and run")
    if not is_local(loaded.file.model):
        said.append("how much of the prompts the server will have cached, and how long it takes to answer")
    return tuple(said)
