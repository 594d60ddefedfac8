"""plan(): what a climb would ask and cost, rung by rung, before anything is spent. No model is asked.

Every rung is really fitted and its prompts are really built, with a stand-in for the model that answers nothing and
counts. Which settings a rung chooses, where it is stopped and which rungs are opened at all hangs on scores that
nobody has: the most that can be asked is certain, what is expected comes from rehearsals of the very race in made-up
worlds, and what cannot be told is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from shouldtune.asked import Climb, dollars_so_far, price_paid
from shouldtune.judgement import Price
from shouldtune.ladder import FEWEST_ROWS
from shouldtune.looks import goal_at_look
from shouldtune.models.open import is_local, is_simulated
from shouldtune.models.past_calls import past_calls
from shouldtune.planning.dry import Counted, Dry, DryModel, can_tune, dry_run
from shouldtune.planning.measured import Rates, rates_of
from shouldtune.planning.rehearsals import ASSUMED, Rehearsed, rehearsals
from shouldtune.provable import Provable, provable
from shouldtune.run import ledger_path
from shouldtune.rungs.learning_curve import why_no_curve
from shouldtune.task import LoadedTask
from shouldtune.types import Models, Rung, Skipped


@dataclass(frozen=True)
class PlannedRung:
    """What one rung would ask. Tokens are estimated, and dollars and machine time with them; None is unknown."""

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
    can: Provable
    worthwhile_gain: float
    no_forecast: str | None
    """Why no forecast of a fine-tune on more examples can be made; None where it can."""
    budget: float | None
    """Dollars that all runs of the task may spend."""
    paid: float | None
    """What they have spent so far; None where a price is unknown."""
    price: str | None
    """The prompted model's, and where it was found; None where it is not known, or the model runs here."""
    methods: tuple[str, ...]
    """How the figures were come by."""
    cannot_tell: tuple[str, ...]

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
    nothing = Skipped("there are too few rows")
    dry = {rung.name: nothing if too_few else await dry_run(rung, loaded, past) for rung in how.rungs}
    apply = [rung for rung in how.rungs if isinstance(dry[rung.name], Dry)]
    can = await provable(loaded, sum(not rung.training for rung in apply))
    expected = rehearsals(
        goal_at_look(loaded.task.goal, can.look),
        apply,
        len(loaded.holdout),
        all_rungs=how.all_rungs,
        stop_early=not how.whole_holdout,
    )
    rates, price = rates_of(past, loaded), price_paid(loaded.file.model, loaded.economics.prompt_price)
    costs = Costs(rates, price, here=is_local(loaded.file.model), free=is_simulated(loaded.file.model))
    stand_in, (paid, unknown) = DryModel({}), dollars_so_far(loaded)
    models = Models(stand_in, stand_in if can_tune(loaded) else None)
    return Plan(
        task=loaded.task.name,
        model=loaded.file.model,
        tune=loaded.file.tune,
        train_n=len(loaded.task.train),
        holdout_n=len(loaded.holdout),
        too_few=too_few,
        rungs=tuple(_planned(rung, dry[rung.name], expected.get(rung.name), costs) for rung in how.rungs),
        can=can,
        worthwhile_gain=loaded.task.goal.worthwhile_gain,
        no_forecast=why_no_curve(loaded.task, models, loaded.economics.fine_tune_usd, loaded.file.budget),
        budget=loaded.file.budget,
        paid=None if unknown else paid,
        price=None if price is None else str(price),
        methods=(*rates.said, f"expected: the mean of {ASSUMED}"),
        cannot_tell=_cannot_tell(loaded),
    )


@dataclass(frozen=True)
class Costs:
    """What tokens cost, and where."""

    rates: Rates
    price: Price | None
    here: bool
    """Whether the prompted model runs on this machine: then it costs machine time and no dollars."""
    free: bool
    """Whether it is a scripted one, which costs neither unless it has a price."""

    def usd(self, read: float, written: float, *, training: bool) -> float | None:
        if self.price is not None and not training:
            return (read * self.price.read + written * self.price.written) / 1e6
        return 0.0 if training or self.here or self.free else None

    def seconds(self, tokens: float, epochs: float, *, training: bool) -> float | None:
        """Machine seconds of this machine; None where it was not measured."""
        if not training and not self.here:
            return 0.0
        parts = [(tokens, self.rates.second_a_token), (epochs, self.rates.second_an_epoch)]
        return _sum([None if rate is None else amount * rate for amount, rate in parts if amount])


def _planned(rung: Rung, dry: Dry | Skipped, expected: Rehearsed | None, costs: Costs) -> PlannedRung:
    if isinstance(dry, Skipped) or expected is None:
        return PlannedRung(rung.name, rung.training, getattr(dry, "because", None))
    if not rung.uses_llm:
        return PlannedRung(rung.name, False, opened=expected.opened, usd_most=0.0, usd_expected=0.0)
    everything = (*dry.fit * dry.settings, *dry.dear)
    fresh = [call for call in everything if not call.known]
    share = expected.rows / max(1, len(dry.dear)) / 2  # half way between the dearest and the cheapest setting
    parts = ((expected.opened, dry.fit), (share, dry.dear), (share, dry.cheap))
    calls = fsum(weight * sum(not call.known for call in part) for weight, part in parts)
    read = fsum(weight * _read(part, costs.rates) for weight, part in parts)
    written, training = calls * costs.rates.written, rung.training
    most_read, most_written = _read(everything, costs.rates), sum(call.most_written for call in fresh)
    return PlannedRung(
        name=rung.name,
        training=training,
        calls_most=len(everything),
        calls_known=len(everything) - len(fresh),
        calls_expected=calls,
        opened=expected.opened,
        prompt_tokens_most=round(most_read),
        prompt_tokens_expected=read,
        usd_most=costs.usd(most_read, most_written, training=training),
        usd_expected=costs.usd(read, written, training=training),
        machine_s_expected=costs.seconds(read + written, expected.opened * dry.epochs, training=training),
        epochs_most=dry.epochs * dry.settings,
    )


def _read(calls: Sequence[Counted], rates: Rates) -> float:
    """Prompt tokens of those that would be new."""
    return fsum(rates.tokens(call.bytes_read, call.messages) for call in calls if not call.known)


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fsum(known) if len(known) == len(values) else None


def _cannot_tell(loaded: LoadedTask) -> tuple[str, ...]:
    """What no plan can know, said so that nobody takes it for a promise."""
    said = [
        "which rung will win, or whether fine-tuning will help: that is what a run measures",
        "where a rung will be stopped, and so what is spent below the most: it hangs on scores that nobody has yet",
        "whether calls will fail: a failed call counts as the worst case in every limit, and is tried again next time",
    ]
    if any(example.group is not None for example in loaded.holdout):
        said.append("how much rows of one group are alike: what is said of proof takes them to be independent")
    if not is_local(loaded.file.model):
        said.append("how much of the prompts the server will have cached, and how long it takes to answer")
    return tuple(said)
