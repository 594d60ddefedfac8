"""What the task's ledger tells beforehand: how long tokens are, how long answers, and how fast this machine is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from shouldtune.models.bill import A_MESSAGE, BYTES_A_TOKEN
from shouldtune.models.past_calls import PastCall
from shouldtune.models.prices import ledger_id
from shouldtune.task import LoadedTask

FEWEST = 20
"""Answers from which a model's own figures are taken."""


@dataclass(frozen=True)
class Rates:
    """How figures are estimated, and where that comes from."""

    bytes_a_token: float
    written: float
    """Tokens of an answer."""
    second_a_token: float | None
    """Of this machine, for tokens read and written alike; None where nothing was measured."""
    second_an_epoch: float | None
    said: tuple[str, ...]

    def tokens(self, size: int, messages: int) -> float:
        """Of a prompt of so many bytes in so many messages."""
        return size / self.bytes_a_token + A_MESSAGE * messages


def rates_of(past: Sequence[PastCall], loaded: LoadedTask) -> Rates:
    """From earlier answers of the prompted model, where the ledger holds enough of them."""
    names = (loaded.file.model, ledger_id(loaded.file.model))
    own = [call for call in past if call.model_id in names and not call.training]
    told = [(call, read) for call in own if (read := call.completion.prompt_tokens) is not None]
    length, how = float(BYTES_A_TOKEN), f"prompt tokens: {BYTES_A_TOKEN:g} bytes each, and {A_MESSAGE:g} a message"
    if len(told) >= FEWEST:
        sizes = sum(_bytes(call) for call, _ in told)
        plain = sum(read for _, read in told) - A_MESSAGE * sum(len(call.request["messages"]) for call, _ in told)
        length = sizes / max(1.0, plain)
        how = f"prompt tokens: {length:.2f} bytes each, as in {len(told):,} earlier calls, and {A_MESSAGE:g} a message"
    answers = [call.completion.completion_tokens for call in own]
    written = [tokens for tokens in answers if tokens is not None]
    targets = [len(example.target.encode("utf-8", "surrogatepass")) for example in loaded.task.train]
    mean = sum(written) / len(written) if len(written) >= FEWEST else sum(targets) / max(1, len(targets)) / length + 1
    from_where = f"{len(written):,} earlier calls" if len(written) >= FEWEST else "the targets"
    second = _second_a_token(own)
    told_seconds = (call.completion.compute_s for call in past if call.training)
    epochs = [seconds for seconds in told_seconds if seconds is not None]  # a provider's jobs take none of this machine
    clock = "machine time: as measured in this task's ledger" if second is not None or epochs else ""
    return Rates(
        bytes_a_token=length,
        written=mean,
        second_a_token=second,
        second_an_epoch=fsum(epochs) / len(epochs) if epochs else None,
        said=tuple(filter(None, (how, f"answer tokens: {mean:.0f} each, as in {from_where}", clock))),
    )


def _second_a_token(calls: Iterable[PastCall]) -> float | None:
    here = [call.completion for call in calls if call.completion.compute_s is not None]
    tokens = sum((answer.prompt_tokens or 0) + (answer.completion_tokens or 0) for answer in here)
    return fsum(answer.compute_s or 0.0 for answer in here) / tokens if len(here) >= FEWEST and tokens else None


def _bytes(call: PastCall) -> int:
    return sum(len(content.encode("utf-8", "surrogatepass")) for _, content in call.request["messages"])
