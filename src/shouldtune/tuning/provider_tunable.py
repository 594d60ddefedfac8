"""A provider's model whose weights can change there: fine-tuning jobs in OpenAI's form.

The provider chooses the learning rate and the size of batches; of the settings only the epochs are told to it. What is
yielded are the checkpoints that it keeps, the earliest first, and the result last. Its price is set aside in the budget
before a job is started, and settled by the tokens that the provider says it has trained on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from shouldtune.errors import CannotMeasure, NotTrained
from shouldtune.judgement import Price
from shouldtune.models.keys import canonical, digest, identity, sha256
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.prices import id_of
from shouldtune.models.remote import Remote
from shouldtune.models.training_prices import TrainingPrice
from shouldtune.progress import Progress
from shouldtune.tuning.job_journal import Ended, JobJournal
from shouldtune.tuning.provider_api import Order, Provider
from shouldtune.tuning.provider_client import JobPatience
from shouldtune.tuning.provider_jobs import Jobs
from shouldtune.tuning.training_file import TrainingFile, problems
from shouldtune.types import Completion, Conversation, Message, Model, ModelSpec, Options, TuneSettings


def trains_elsewhere(spec: ModelSpec) -> bool:
    """Whether a model with this spec is trained by a provider's jobs."""
    return spec.get("kind") == "remote"


def order_of(base: Remote, conversations: Sequence[Conversation], epochs: int, attempt: int = 0) -> Order:
    """What is asked of a provider. The same training there has the same mark."""
    file = TrainingFile.of(conversations)
    decides = {"at": base.base_url, "base": base.name, "file": file.sha256, "epochs": epochs}
    model_id = id_of(base.spec()) or base.name
    return Order(
        model_id, base.name, file, epochs, digest({**decides, "attempt": attempt} if attempt else decides)[:32]
    )


@dataclass(frozen=True)
class ProviderTunable(Ledgered):
    """A remote model, behind the ledger, that its own server can fine-tune."""

    model: Remote
    journal_path: Path = Path("provider_jobs.jsonl")
    training: TrainingPrice | None = None
    tuned_price: Price | None = None
    progress: Progress = field(default_factory=Progress)
    patience: JobPatience = JobPatience()
    _opened: list[Model | Provider] = field(default_factory=list, compare=False, repr=False)

    async def tune(self, conversations: Sequence[Conversation], settings: TuneSettings) -> AsyncIterator[Model]:
        """Train once, wherever an earlier run was cut off. NotTrained, CannotMeasure."""
        wrong = problems(conversations)
        if wrong:
            raise NotTrained(f"not sent to be trained on: {wrong[0]}")
        journal = JobJournal.open(self.journal_path)
        provider = Provider(self.model.base_url, self.model.key_variable, self.patience)
        self._opened.append(provider)
        jobs = Jobs(provider, journal, self.progress)
        ended = await self._succeeded(jobs, conversations, settings.epochs)
        for name in ended.checkpoints:
            yield Checkpoint(self._tuned(name))
        yield self._tuned(ended.model or "")

    async def _succeeded(self, jobs: Jobs, conversations: Sequence[Conversation], epochs: int) -> Ended:
        """Train; where that failed, again only if who watches says so. NotTrained."""
        first = order_of(self.model, conversations, epochs)
        for attempt in range(jobs.journal.attempts(first.mark)):  # what failed before was paid all the same
            before = order_of(self.model, conversations, epochs, attempt)
            ended_before = jobs.journal.ended(before.mark)
            if ended_before is not None:
                await self._billed(before, ended_before)
        while True:
            order = order_of(self.model, conversations, epochs, jobs.journal.attempts(first.mark))
            ended = await self._settled(jobs, order)
            await self._billed(order, ended)
            if ended.status == "succeeded" and ended.model is not None:
                return ended
            failed = _failed(jobs.provider.host, ended)
            if not self.progress.agrees(f"{failed}. Start another?"):
                raise NotTrained(failed)
            jobs.journal.write("again", first.mark)

    async def _settled(self, jobs: Jobs, order: Order) -> Ended:
        """Train within the budget."""
        counted = jobs.journal.last(order.mark, "start", "started")
        known = jobs.journal.ended(order.mark) is not None
        most = self.training.of(order.most_tokens) if self.training is not None else 0.0
        budget, begun = self.ledger.budget, False

        async def may_start() -> bool:
            nonlocal begun
            begun = budget is None or await budget.begin(most)
            return begun

        cost: float | None = None
        try:
            ended = await jobs.trained(order, may_start)
            cost = self._usd(ended)
            return ended
        except NotTrained:
            line = jobs.journal.last(order.mark, "start", "started", "refused")
            cost = 0.0 if line is None or line["event"] == "refused" else None
            raise
        finally:
            if budget is not None and begun:
                budget.settle(most, cost)
            elif (
                budget is not None and not known
            ):  # begun by an earlier run, whose share stands at the most it can cost
                budget.spent += (most if cost is None else cost) - (most if counted else 0.0)

    async def _billed(self, order: Order, ended: Ended) -> None:
        """Put the job on the bill of whoever is paying."""
        request = canonical({"tune": identity(self.model.spec()), "mark": order.mark, "job": ended.job})
        key = sha256(request)
        found = self.ledger.find(key)
        job = f"job {ended.job}: {ended.status}"
        told = found or Completion(job, latency_s=ended.seconds or 0.0, engine="training")
        completion = replace(told, cost_usd=self._usd(ended))  # at the price of today, as answers are
        if found is None:
            await self.ledger.record(key, request, completion)
        self.ledger.charge(key, completion, new=found is None)

    def _usd(self, ended: Ended) -> float | None:
        """What it cost; None where a price or the trained tokens are not known."""
        if self.training is None or ended.trained_tokens is None:
            return None
        return self.training.of(ended.trained_tokens)

    def _tuned(self, name: str) -> Ledgered:
        model = replace(self.model, name=name)
        self._opened.append(model)
        return Ledgered(model, self.ledger, self.tuned_price)

    async def aclose(self) -> None:
        for each in (self.model, *self._opened):
            close = getattr(each, "aclose", None)
            if close is not None:
                await close()


@dataclass(frozen=True)
class Checkpoint:
    """A model from before the end of training. A provider may list it and not let it be asked: its calls fail then."""

    model: Model

    async def complete(self, messages: Sequence[Message], options: Options = Options()) -> Completion:
        try:
            return await self.model.complete(messages, options)
        except CannotMeasure as error:
            return Completion("", finish_reason="error", error=str(error), failure="permanent")

    def spec(self) -> ModelSpec:
        return self.model.spec()


def _failed(host: str, ended: Ended) -> str:
    why = ended.why or ("it names no model" if ended.status == "succeeded" else "")
    how = "was cancelled" if ended.status == "cancelled" else ended.status
    return f"the job {ended.job} at {host} {how}{f': {why}' if why else ''}"
