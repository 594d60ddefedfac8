"""The durable record of every model call: cache, bill and crash recovery in one.

One SQLite file per task serves all its runs. A call's answer is on disk before anyone sees it, so a run that was
killed goes on where it stood, and a run that is repeated pays nothing. That a paid call is about to be sent is on
disk before it is sent, so that what a killed run may have been billed for is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from shouldtune.errors import CannotMeasure
from shouldtune.models.bill import Bill, Size, lost_calls
from shouldtune.models.budget import Budget
from shouldtune.models.key_set import KeySet
from shouldtune.models.keys import canonical, completion_from_json
from shouldtune.models.ledger_file import open_to_read
from shouldtune.models.ledger_writer import FIND, LedgerWriter, Row, Rows
from shouldtune.models.paying import Purpose, payer
from shouldtune.models.seen import AnswersSeen
from shouldtune.types import Completion, Spent


@dataclass(frozen=True)
class Sent:
    """A paid call that was written down as about to be sent."""

    number: int
    key: str
    model: str | None
    size: Size
    usd: float | None
    """The most that one attempt can cost; None where no price is known."""


@dataclass
class _Turn:
    """Whoever asks the same at once."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Beside:
    """Another ledger, whose answers are used and which is not written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_to_read(path) as database:
            self._keys = KeySet(key for (key,) in database.execute("SELECT key FROM calls"))

    def find(self, key: str) -> Completion | None:
        """The recorded answer to a request, or None. CannotMeasure."""
        if key not in self._keys:
            return None
        with open_to_read(self.path) as database:
            row = database.execute(FIND, (key,)).fetchone()
        return None if row is None else _completion(key, row[0], self.path)


class Ledger:
    """One writer to one file. `bills` say what each purpose rests on; `new_calls` what this process bought."""

    def __init__(
        self,
        path: Path,
        on_call: Callable[[Purpose, Completion, bool], None] | None = None,
        beside: Sequence[Path] = (),
    ) -> None:
        """Open or create the file. CannotMeasure when another process writes it, or it is damaged.

        An answer that it does not hold is looked up in the ledgers `beside` it, which are only read.
        """
        self.path = path
        self.on_call = on_call
        self.new_calls = 0
        self.budget: Budget | None = None
        self.bills: dict[Purpose, Bill] = {}
        self._seen = AnswersSeen()
        self._asked: dict[str, _Turn] = {}
        self._beside = [Beside(each) for each in beside if each.exists()]
        self._file = LedgerWriter(path)
        self._unknown: dict[str, list[float | None]] = {}
        for _, key, usd in self._file.left:
            self._unknown.setdefault(key, []).append(usd)
        self._sent = max((number for number, _, _ in self._file.left), default=0)

    def budget_ended(self) -> bool:
        """Whether a call was not begun for want of money, calls or time; then no other is either."""
        return self.budget is not None and self.budget.ended

    def may_go_on(self) -> bool:
        """Whether more may be begun now; where its time is over the budget ends here."""
        return self.budget is None or self.budget.may_go_on()

    # ------------------------------------------------------------ what was answered

    def find(self, key: str) -> Completion | None:
        """The recorded answer to a request, or None. CannotMeasure where the file is damaged."""
        own = self._file.find(key)
        if own is not None:
            return _completion(key, own, self.path)
        found = (each.find(key) for each in self._beside)
        return next((answer for answer in found if answer is not None), None)

    @asynccontextmanager
    async def alone(self, key: str) -> AsyncIterator[None]:
        """Let a request wait for the same one that is under way, so that it is bought once."""
        turn = self._asked.setdefault(key, _Turn())
        turn.waiting += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.waiting -= 1
            if not turn.waiting:
                del self._asked[key]

    async def intend(self, key: str, model: str | None, size: Size, usd: float | None, attempts: int = 1) -> Sent:
        """Write down that a paid call is about to be sent, at most `attempts` times at `usd` dollars at most each;
        returns when it is on disk. Where it is never told what came of it, all of that counts."""
        self._sent += 1
        sent, aside = Sent(self._sent, key, model, size, usd), None if usd is None else usd * attempts
        try:
            await self._file.write(Rows(sent=[_sent_row(sent, aside, sent.number)]))
        except asyncio.CancelledError:  # then it is not sent
            await self.withdraw(sent)
            raise
        return sent

    async def withdraw(self, sent: Sent) -> None:
        """It was not sent after all, or cannot have been answered."""
        await self._file.write(Rows(known=[sent.number]))

    async def record(self, key: str, request: str, completion: Completion, sent: Sent | None = None) -> None:
        """Write one answer to a canonical request; returns when it is on disk. Those that wait share one sync.

        A failure is no answer: the next run may ask again. What calls may have cost whose outcome nobody knows is kept.
        """
        if completion.failure != "not_asked":
            self.new_calls += 1
        calls, failed, lost, known = list[Row](), list[Row](), list[Row](), list[int]()
        if not completion.failed:
            row = (key, request, canonical(completion.plain()), *payer())
            self._refuse_unwritable(row)
            calls.append(row)
        elif completion.failure != "not_asked":
            failed.append((key, completion.failure, *payer()))
        if sent is not None:
            known.append(sent.number)
            for usd in self._lost(completion, sent):
                self._sent += 1
                self._unknown.setdefault(key, []).append(usd)
                lost.append(_sent_row(sent, usd, self._sent))
        if calls or failed or known:
            await self._file.write(Rows(calls, lost, failed, known))

    def _lost(self, completion: Completion, sent: Sent) -> list[float | None]:
        """What each call for this answer may have cost of which nobody knows; a failure whose cost is told, that."""
        told = [completion.cost_usd] if completion.failed and completion.cost_usd else []
        return [*told, *[sent.usd] * lost_calls(completion)]

    def _refuse_unwritable(self, row: Sequence[str]) -> None:
        """Half a character in one answer must not be the end of those that are written together with it."""
        try:
            for text in row:
                text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CannotMeasure(f"the ledger cannot be written: {error}", where=self.path) from None

    # ------------------------------------------------------------ what it took

    def charge(self, key: str, completion: Completion, *, new: bool) -> None:
        """Put one answer on the bill of whoever is paying, at list price whether it was bought now or before."""
        purpose = payer()
        self.bills.setdefault(purpose, Bill()).add(completion, self._unknown.get(key, ()))
        self._seen.add(key, completion)
        if self.on_call is not None:
            self.on_call(purpose, completion, new)

    def spent(self, rung: str | None = None, purpose: str | None = None) -> Spent:
        """What a rung's purpose took; without a rung, what the run took: each distinct answer once."""
        if rung is not None:
            return self.bills.get((rung, purpose or ""), Bill()).spent()
        return self._seen.bill(self._unknown).spent()

    def close(self) -> None:
        """Write what still waits, and let others write."""
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _completion(key: str, text: str, path: Path) -> Completion:
    try:
        return completion_from_json(text)
    except (ValueError, TypeError):
        hint = "`shouldtune ledger TASK --check` says what else is damaged"
        raise CannotMeasure(f"the answer {key} cannot be read", where=path, hint=hint) from None


def _sent_row(sent: Sent, usd: float | None, number: int) -> Row:
    return (number, sent.key, sent.model, sent.size.read, sent.size.written, usd, *payer())
