"""A model behind the ledger: asked once, within the budget, and found there the next time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property
from math import fsum
from time import monotonic

from shouldtune.errors import CannotMeasure
from shouldtune.judgement import Price
from shouldtune.models.bill import Size, at_price, lost_calls
from shouldtune.models.budget import NO_PRICE, OVER
from shouldtune.models.keys import canonical, digest, identity, request_of, sha256
from shouldtune.models.ledger import Ledger, Sent
from shouldtune.models.paying import payer
from shouldtune.models.prices import id_of
from shouldtune.types import Completion, Conversation, Message, Model, ModelSpec, Options, Tunable, TuneSettings

AHEAD = 2
"""How many times as many calls are written down as sent as a server's client has under way, so that it never waits."""


@dataclass(frozen=True)
class _Call:
    """One request, and what is known of it before it is sent."""

    messages: Sequence[Message]
    options: Options
    model_id: str | None
    """Of a model behind an address."""
    request: str
    key: str
    size: Size
    most: float | None
    """Dollars that one attempt can cost at most; None where no price is known."""

    @staticmethod
    def of(spec: ModelSpec, messages: Sequence[Message], options: Options, price: Price | None) -> _Call:
        request, size = request_of(spec, messages, options), Size.of(messages, options)
        most = None if price is None else size.dollars(price)
        return _Call(messages, options, id_of(spec), request, sha256(request), size, most)


class _Wire:
    """What calls of one model have in common: places, and whether any was ever answered."""

    def __init__(self, places: int | None) -> None:
        self.places: AbstractAsyncContextManager[None]
        self.places = nullcontext() if places is None else asyncio.Semaphore(places)
        self.answered = False
        self.refused = False


@dataclass(frozen=True)
class Ledgered:
    """A model whose every answer is in the ledger before it is used, and found there the next time.

    With a `price` its answers carry dollars at that price, whenever they were bought, and the ledger's budget is kept.
    What may be billed, by price or because it leaves the machine, is in the ledger as sent before it is sent.
    A model that tries again by itself says in `most_billed` how many attempts of one call may be billed; in
    `concurrency` how many calls it has under way at once.
    """

    model: Model
    ledger: Ledger
    price: Price | None = None

    @cached_property
    def _wire(self) -> _Wire:
        under_way = getattr(self.model, "concurrency", None)
        return _Wire(None if under_way is None else AHEAD * under_way)

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        call = _Call.of(self.model.spec(), messages, options, self.price)
        found = self.ledger.find(call.key)
        if found is not None:
            return self._charged(call, found, new=False)
        async with self.ledger.alone(call.key):
            found = self.ledger.find(call.key)  # whoever was under way may have bought it
            if found is not None:
                return self._charged(call, found, new=False)
            async with self._wire.places:
                refusal = await self._not_begun(call)
                if refusal is not None:
                    return refusal
                bought, sent = await self._asked(call)
            await self.ledger.record(call.key, call.request, bought, sent)
        return self._charged(call, bought, new=True)

    def _charged(self, call: _Call, completion: Completion, *, new: bool) -> Completion:
        priced = at_price(completion, self.price, call.size)
        if completion.failure == "not_asked":
            return priced
        self.ledger.charge(call.key, priced, new=new)
        return priced

    async def _not_begun(self, call: _Call) -> Completion | None:
        """The failed answer of a call that the budget does not allow; None where it is begun, and money set aside."""
        budget = self.ledger.budget
        if budget is None:
            return None
        if budget.usd is not None and self.price is not None and call.most is None and budget.holds:
            return Completion("", finish_reason="error", error=NO_PRICE, failure="permanent", cost_usd=0.0)
        if not await budget.begin(self._aside(call)):
            return Completion("", finish_reason="error", error=OVER, failure="not_asked", cost_usd=0.0)
        return None

    async def _asked(self, call: _Call) -> tuple[Completion, Sent | None]:
        """Ask the model, and settle with the budget."""
        budget = self.ledger.budget
        sent: Sent | None = None
        cost: float | None = None
        try:
            if call.model_id is not None or self.price is not None:
                sent = await self.ledger.intend(call.key, call.model_id, call.size, call.most, self.attempts)
            completion = await self.model.complete(call.messages, call.options)
            completion = at_price(completion, self.price, call.size)
            self._wire.answered |= not completion.failed
            cost = _cost(completion, call.most)
        except CannotMeasure:  # no call can succeed, so this one was not billed
            cost, self._wire.refused = 0.0, True
            await self._withdraw(sent)
            raise
        except asyncio.CancelledError:
            if self._wire.refused and not self._wire.answered:  # cut off because another was refused, as this would be
                cost = 0.0
                await self._withdraw(sent)
            raise
        finally:
            if budget is not None:
                budget.settle(self._aside(call), cost)
        return completion, sent

    async def _withdraw(self, sent: Sent | None) -> None:
        if sent is not None:
            await self.ledger.withdraw(sent)

    @property
    def attempts(self) -> int:
        """How many attempts of one call may be billed."""
        return int(getattr(self.model, "most_billed", 1))

    def _aside(self, call: _Call) -> float:
        """Dollars to be set aside; 0 where no price is known."""
        return (call.most or 0.0) * self.attempts

    def spec(self) -> ModelSpec:
        return self.model.spec()

    async def aclose(self) -> None:
        close = getattr(self.model, "aclose", None)
        if close is not None:
            await close()


def _cost(completion: Completion, most: float | None) -> float | None:
    """Dollars of one call, those of lost attempts at the most; None where nothing is known but what was set aside."""
    if completion.failed and completion.cost_usd is None:
        return None if most is None else most * lost_calls(completion)
    if completion.cost_usd is None and most is None:
        return None
    own = most if completion.cost_usd is None else completion.cost_usd
    return (own or 0.0) + (most or 0.0) * completion.lost


def most_usd(model: Model, messages: Sequence[Message], options: Options) -> float:
    """Dollars that a call may cost at most, all attempts that may be billed; 0 where the model's price is not known."""
    if not isinstance(model, Ledgered) or model.price is None:
        return 0.0
    return (Size.of(messages, options).dollars(model.price) or 0.0) * model.attempts


def usd_billed(model: Model) -> float:
    """Dollars on the bill of whoever is paying now, what was lost at its most; what has no known price is left out."""
    bill = model.ledger.bills.get(payer()) if isinstance(model, Ledgered) else None
    return 0.0 if bill is None else bill.dollars.value + fsum(usd or 0.0 for usd in bill.lost)


@dataclass(frozen=True)
class LedgeredTunable(Ledgered):
    """A tunable model whose training time is on the bill too."""

    model: Tunable

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        """As the model's own; no further epoch is begun once the budget's time is over."""
        epoch, start = 0, monotonic()
        async for tuned in self.model.tune(conversations, settings):
            epoch, took = epoch + 1, monotonic() - start
            part = epoch_request(self.model.spec(), conversations, settings, epoch)
            key = sha256(part)
            recorded = self.ledger.find(key)
            completion = recorded or Completion(f"epoch {epoch}", compute_s=round(took, 1), engine="training")
            if recorded is None:
                await self.ledger.record(key, part, completion)
            self.ledger.charge(key, completion, new=recorded is None)
            yield Ledgered(tuned, self.ledger)
            if not self.ledger.may_go_on():
                return
            start = monotonic()


def epoch_request(spec: ModelSpec, conversations: Sequence[Conversation], settings: TuneSettings, epoch: int) -> str:
    """An epoch of training in the one form whose SHA-256 is its key."""
    request = {
        "tune": identity(spec),
        "conversations": digest([asdict(conversation) for conversation in conversations]),
        "settings": asdict(settings),
    }
    return canonical({**request, "epoch": epoch})
