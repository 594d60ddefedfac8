"""plan(): what a climb would ask and cost, rung by rung, before anything is spent. No model is asked.

Every rung is really fitted and its prompts are really built, with a stand-in for the model that answers nothing and
counts. Which settings a rung chooses, where it is stopped and which rungs are opened at all hangs on scores that
nobody has: the most that can be asked is certain, what is expected comes from rehearsals of the very race in made-up
worlds, and what cannot be told is said.
"""

from __future__ import annotations

from dataclasses import dataclass

from shouldtune.asked import Climb, dollars_so_far
from shouldtune.conclusion import FEWEST_ROWS
from shouldtune.looks import goal_at_look
from shouldtune.models.bill import sum_known
from shouldtune.models.open import is_local
from shouldtune.models.past_calls import past_calls
from shouldtune.models.providers import is_remote
from shouldtune.planning.costs import costs_of, trainer_of
from shouldtune.planning.dry_runs import CURVE, FORGETTING, PAYER, VETTING, Dry, DryRuns
from shouldtune.planning.leaving import Leaving, what_leaves
from shouldtune.planning.measured import rates_of
from shouldtune.planning.planned import PlannedRung, planned_rung
from shouldtune.planning.rehearsals import ASSUMED, Rehearsed, rehearsals
from shouldtune.provable import Provable, provable
from shouldtune.run import ledger_path
from shouldtune.rungs.instructions import Instructions
from shouldtune.scorers import model_needed
from shouldtune.task import LoadedTask
from shouldtune.types import Skipped


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
        return sum_known([rung.usd_most for rung in self.rungs if not rung.skipped_because])

    @property
    def usd_expected(self) -> float | None:
        return sum_known([rung.usd_expected for rung in self.rungs if not rung.skipped_because])

    @property
    def machine_s_expected(self) -> float | None:
        return sum_known([rung.machine_s_expected for rung in self.rungs if rung.calls_most])


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
    rates = rates_of(past, loaded)
    costs, trainer = costs_of(loaded, rates), trainer_of(loaded, rates)
    planned = [planned_rung(r.name, r.training, dry[r.name], expected.get(r.name), costs, trainer) for r in how.rungs]
    for name, found in beside.items():
        opened = Rehearsed(1.0 if name == VETTING else unsettled, 0.0)
        planned.append(planned_rung(name, name in (CURVE, FORGETTING), found, opened, costs, trainer))
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
