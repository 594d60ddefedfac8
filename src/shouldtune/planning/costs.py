"""What tokens and training cost, model by model: dollars by price, seconds of this machine by what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum

from shouldtune.asked import price_paid
from shouldtune.judgement import Price
from shouldtune.models.open import is_local, is_simulated
from shouldtune.models.prices import price_of
from shouldtune.models.providers import is_remote
from shouldtune.models.training_prices import TrainingPrice
from shouldtune.planning.dry_runs import Who
from shouldtune.planning.measured import Rates
from shouldtune.scorers import model_needed
from shouldtune.task import LoadedTask
from shouldtune.task.file import price_table, training_price_of
from shouldtune.tuning.training_file import TrainingFile


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
        return 0.0 if not self.here or not tokens else times(self.rates.second_a_token, tokens)


@dataclass(frozen=True)
class Trainer:
    """What training takes: time of this machine, or a provider's price."""

    second_an_epoch: float | None
    elsewhere: bool
    price: TrainingPrice | None

    def seconds(self, epochs: float) -> float | None:
        return 0.0 if self.elsewhere or not epochs else times(self.second_an_epoch, epochs)

    def usd(self, trained: Sequence[TrainingFile]) -> tuple[float | None, float | None]:
        """(estimated, at most) dollars for these epochs; None where no price is known."""
        if not self.elsewhere or not trained:
            return 0.0, 0.0
        if self.price is None:
            return None, None
        tokens, most = fsum(each.tokens for each in trained), sum(each.most_tokens for each in trained)
        return self.price.of(tokens), self.price.of(most)


def trainer_of(loaded: LoadedTask, rates: Rates) -> Trainer:
    """Where the tuned model is trained."""
    named = loaded.file.tune
    if named is None or not is_remote(named):
        return Trainer(rates.second_an_epoch, False, None)
    return Trainer(None, True, training_price_of(loaded.file, named))


def costs_of(loaded: LoadedTask, rates: Rates) -> dict[Who, Costs]:
    """Of each model that a climb asks."""
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


def times(rate: float | None, amount: float) -> float | None:
    """None where the rate is unknown."""
    return None if rate is None else rate * amount
