"""What calls took, added up, and what they cost at list price."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import fsum

from shouldtune.judgement import Price
from shouldtune.types import Completion, Message, Options, Spent

ROUND_A_MESSAGE = 16
"""More tokens than any chat template that we know puts around one message, or around the whole chat."""
LONGEST_TOKEN = 128
"""Bytes of the longest tokens of the vocabularies in use, runs of spaces: a server that tells fewer tokens tells no
true figure."""
BYTES_A_TOKEN = 4
"""Of English text with the vocabularies in use, about; of code and most other languages fewer. Whatever is estimated
goes by it."""
A_MESSAGE = 4
"""Tokens that a chat template puts around a message, about."""


class ExactSum:
    """A sum of floats that no order changes, and that does not keep what was added.

    It holds the sum as a few floats that do not overlap (Shewchuk, "Adaptive Precision Floating-Point Arithmetic",
    1997, as in `math.fsum`), so that its value is the `fsum` of all.
    """

    def __init__(self) -> None:
        self.count = 0
        self._parts: list[float] = []

    def add(self, value: float) -> None:
        self.count += 1
        parts = []
        for part in self._parts:
            larger, smaller = (value, part) if abs(value) >= abs(part) else (part, value)
            value = larger + smaller
            if lost := smaller - (value - larger):
                parts.append(lost)
        self._parts = [*parts, value]

    @property
    def value(self) -> float:
        return fsum(self._parts)


@dataclass
class Bill:
    """A bill that grows. Its sums are exact, so that the order in which answers came changes no digit."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    dollars: ExactSum = field(default_factory=ExactSum)
    seconds: ExactSum = field(default_factory=ExactSum)
    estimated: int = 0
    form_missed: int = 0
    unknown: bool = False
    """Whether some provider's answer has no known price."""
    lost: list[float | None] = field(default_factory=list)
    """The most that each call may have cost whose outcome nobody knows."""

    def add(self, completion: Completion, lost: Sequence[float | None] = ()) -> None:
        """One more answer: a local one at its share of the engine's time.

        A local answer costs machine time and no dollars. One of a server takes none of this machine's time: many are
        waited for at once, so that their latencies would add up to hours that nobody spent. A call that failed costs
        what is known of it. `lost` are
        calls for the same answer whose outcome nobody knows.
        """
        local = completion.compute_s is not None
        self.calls += 1
        self.prompt_tokens += completion.prompt_tokens or 0
        self.completion_tokens += completion.completion_tokens or 0
        self.cached_tokens += completion.cached_tokens or 0
        self.estimated += completion.tokens_estimated
        self.form_missed += completion.form_missed
        self.seconds.add(completion.compute_s or 0.0)
        self.lost.extend(lost)
        if completion.cost_usd is not None:
            self.dollars.add(completion.cost_usd)
        elif not local and not completion.failed:
            self.unknown = True

    def spent(self) -> Spent:
        """The sums; dollars are None where one answer's price is unknown, or none was paid for."""
        return Spent(
            calls=self.calls,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            usd=None if self.unknown or not self.dollars.count else self.dollars.value,
            seconds=self.seconds.value,
            cached_tokens=self.cached_tokens,
            unknown_calls=len(self.lost),
            unknown_usd=sum_known(self.lost) if self.lost else None,
            estimated=self.estimated,
            form_missed=self.form_missed,
        )


def sum_known(dollars: Sequence[float | None]) -> float | None:
    """Their sum; None where one of them is."""
    known = [usd for usd in dollars if usd is not None]
    return fsum(known) if len(known) == len(dollars) else None


@dataclass(frozen=True)
class Size:
    """How large a call is, as far as that is known before it is sent."""

    said: int
    """Bytes of its messages, in UTF-8."""
    read: int
    """Tokens of its prompt, at most: a token is at least one byte, of the messages or of the form asked for."""
    written: int
    """Tokens of its answer, at most: `max_tokens`, as servers hold it to."""

    @staticmethod
    def of(messages: Sequence[Message], options: Options) -> Size:
        said = sum(len(message.content.encode("utf-8", "surrogatepass")) for message in messages)
        form = sum(len(choice.encode("utf-8", "surrogatepass")) for choice in options.choices)
        if options.schema is not None or options.tools:
            form += len(json.dumps([options.schema, options.tools], default=dict))
        return Size(
            said, said + form + ROUND_A_MESSAGE * (len(messages) + 1 + len(options.choices)), options.max_tokens
        )

    def dollars(self, price: Price) -> float | None:
        """The most that the call can cost; None where its prompt may be longer than `price.up_to`."""
        return most_of_tokens(price, self.read, self.written)


def most_of_tokens(price: Price, read: int, written: int) -> float | None:
    """The most that so many tokens can cost, all read anew or all cached; None beyond `price.up_to`."""
    if price.up_to is not None and read > price.up_to:
        return None
    return (read * max(price.read, price.for_cached) + written * price.written) / 1e6


def at_price(completion: Completion, price: Price | None, size: Size) -> Completion:
    """The completion with its dollars at `price`, as it is where there is no price, or where the call failed.

    Dollars are None where the server tells no tokens, so that they are estimated, or fewer than such texts can have.
    """
    if price is None or completion.failed:
        return completion
    if completion.tokens_estimated:  # an estimate is no bill
        return replace(completion, cost_usd=None)
    read, written = completion.prompt_tokens, completion.completion_tokens
    answered = len(completion.text.encode("utf-8", "surrogatepass"))
    if (read or 0) * LONGEST_TOKEN < size.said or (written or 0) * LONGEST_TOKEN < answered:
        return replace(completion, cost_usd=None)
    return replace(completion, cost_usd=price.of(read, written, completion.cached_tokens))


def lost_calls(completion: Completion) -> int:
    """How many calls for this answer may have been billed although nobody knows what came of them.

    A failed call is one of them, unless it is known what it cost, as of a refusal, which costs nothing.
    """
    if not completion.failed or completion.failure == "not_asked" or completion.cost_usd is not None:
        return completion.lost
    return max(completion.lost, 1) if completion.failure == "unknown" else completion.lost + 1
