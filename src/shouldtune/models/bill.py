"""What calls took, added up, and what they cost at list price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import fsum

from shouldtune.judgement import Price
from shouldtune.types import Completion, Message, Options, Spent

ROUND_A_MESSAGE = 16
"""More tokens than any chat template that we know puts around one message, or around the whole chat."""


@dataclass
class Bill:
    """A bill that grows. Its sums are exact, so that the order in which answers came changes no digit."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    dollars: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    estimated: int = 0
    form_missed: int = 0
    unknown: bool = False
    """Whether some provider's answer has no known price."""

    def add(self, completion: Completion) -> None:
        """One more answer: a local one at its share of the engine's time, a remote one at its latency.

        A local answer costs machine time and no dollars; a call that failed costs what is known of it.
        """
        local = completion.compute_s is not None
        seconds = completion.compute_s if local else completion.latency_s
        self.calls += 1
        self.prompt_tokens += completion.prompt_tokens or 0
        self.completion_tokens += completion.completion_tokens or 0
        self.cached_tokens += completion.cached_tokens or 0
        self.estimated += completion.tokens_estimated
        self.form_missed += completion.form_missed
        self.seconds.append(seconds or 0.0)
        if completion.cost_usd is not None:
            self.dollars.append(completion.cost_usd)
        elif not local and not completion.failed:
            self.unknown = True

    def spent(self) -> Spent:
        """The sums; dollars are None where one answer's price is unknown, or none was paid for."""
        return Spent(
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=None if self.unknown or not self.dollars else fsum(self.dollars),
            seconds=fsum(self.seconds),
            cached_tokens=self.cached_tokens,
            estimated=self.estimated,
            form_missed=self.form_missed,
        )


def at_price(completion: Completion, price: Price | None, most: float | None) -> Completion:
    """The completion with its dollars at `price`, as it is where there is no price.

    A call that was lost on its way may have been billed: it counts as `most`, the most that it can have cost.
    """
    if price is None:
        return completion
    if completion.failed:
        return completion if completion.cost_usd is not None else replace(completion, cost_usd=most)
    if completion.tokens_estimated:  # an estimate is no bill
        return replace(completion, cost_usd=None)
    cost = price.of(completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens)
    return replace(completion, cost_usd=cost)


def most_dollars(price: Price, messages: Sequence[Message], options: Options) -> float | None:
    """The most that a call can cost, before it is begun; None where its prompt may be longer than `price.up_to`.

    A token is at least one byte of UTF-8, of the messages or of the form asked for; the answer has `max_tokens` at
    most, as servers hold it to.
    """
    form = sum(len(choice.encode("utf-8", "surrogatepass")) for choice in options.choices) + len(repr(options.schema))
    said = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)
    read = said + form + ROUND_A_MESSAGE * (len(messages) + 1 + len(options.choices))
    if price.up_to is not None and read > price.up_to:
        return None
    return (read * max(price.read, price.for_cached) + options.max_tokens * price.written) / 1e6
