"""A ledger's accounts, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shouldtune.models.bill import sum_known
from shouldtune.report.aligned import aligned
from shouldtune.report.words import amount, counted, money, one_line

if TYPE_CHECKING:
    from shouldtune.models.audit import Account, Accounts

HEADINGS = ("calls", "prompt", "answer", "dollars", "unknown", "at most", "failed", "from", "to")


def accounts_to_text(found: Accounts) -> str:
    """One line a rung and purpose, and their sums."""
    purposes = [(_name(each), _cells([each])) for each in found.by_purpose]
    lines = aligned([("", HEADINGS), *purposes, ("in all", _cells(found.by_purpose))])
    lines.append(
        "prompt, answer: tokens; dollars at list price; unknown: calls whose outcome nobody knows; dates in UTC"
    )
    epochs = sum(each.epochs for each in found.by_purpose)
    if epochs:
        lines.append(f"trained for {counted(epochs, 'epoch')}")
    if found.failures:
        lines.append("failed: " + ", ".join(f"{kind} {times:,}" for kind, times in found.failures.items()))
    lines.append(f"{found.path}: {amount(found.bytes / 1e6)} MB")
    return "\n".join(lines) + "\n"


def accounts_to_json(found: Accounts) -> str:
    """Sorted keys, null for what is unknown."""
    document = {
        "path": str(found.path),
        "bytes": found.bytes,
        "accounts": [_plain(each) for each in found.by_purpose],
        "failures": found.failures,
    }
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False) + "\n"


def problems_to_text(problems: Sequence[str]) -> str:
    return "".join(f"FAIL  {one_line(problem)}\n" for problem in problems) or "ok    the ledger is sound\n"


def problems_to_json(problems: Sequence[str]) -> str:
    return json.dumps({"sound": not problems, "problems": list(problems)}, indent=2) + "\n"


def _name(account: Account) -> str:
    return one_line(" ".join(filter(None, (account.rung, account.purpose)))) or "-"


def _cells(accounts: Sequence[Account]) -> tuple[str, ...]:
    lost = [usd for each in accounts for usd in each.lost]
    dates = sorted(date for each in accounts for date in (each.first, each.last) if date)
    return (
        f"{sum(each.calls for each in accounts):,}",
        f"{sum(each.prompt_tokens for each in accounts):,}",
        f"{sum(each.completion_tokens for each in accounts):,}",
        money(sum_known([usd for each in accounts for usd in each.dollars])),
        f"{len(lost):,}",
        money(sum_known(lost)),
        f"{sum(each.failed for each in accounts):,}",
        dates[0] if dates else "-",
        dates[-1] if dates else "-",
    )


def _plain(account: Account) -> dict[str, object]:
    told = {name: value for name, value in vars(account).items() if name not in ("dollars", "lost")}
    return {**told, "usd": account.usd, "unknown_calls": len(account.lost), "unknown_usd": account.unknown_usd}
