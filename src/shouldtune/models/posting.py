"""One POST: no redirect is followed, nothing is tried again, and no answer is longer than it may be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import aiohttp

MAX_REPLY_BYTES = 10_000_000
CONNECT_S = 15.0
A_DAY = 86_400.0


class Unreachable(Exception):
    """No connection: nothing was sent."""


class Unanswered(Exception):
    """Sent, or partly so, and no whole reply seen; `slow` where the time was over."""

    def __init__(self, why: str, *, slow: bool) -> None:
        super().__init__(why)
        self.slow = slow


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    text: str
    retry_after_s: float | None = None
    """How long the server wants to be left alone, in seconds."""


class Poster:
    """One aiohttp session for all calls of a model, made in the loop that first asks."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Reply:
        """Raises Unreachable or Unanswered. The address is called as it stands, and no other."""
        import aiohttp
        from yarl import URL

        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                connector=aiohttp.TCPConnector(limit=0),  # how many are under way is decided elsewhere
            )
        connect_s = min(CONNECT_S, timeout_s / 2)  # ends before the whole time does, so that one can tell them apart
        limit = aiohttp.ClientTimeout(total=timeout_s, connect=connect_s)
        try:
            async with self._session.post(
                URL(url, encoded=True), data=body, headers=headers, timeout=limit, allow_redirects=False
            ) as reply:
                raw = bytearray()
                while not reply.content.at_eof() and len(raw) < MAX_REPLY_BYTES:
                    raw += await reply.content.read(MAX_REPLY_BYTES - len(raw))
                wait = retry_after(reply.headers) if reply.status != 200 else None
                return Reply(reply.status, raw.decode("utf-8", "replace"), wait)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise Unreachable(str(error) or type(error).__name__) from None
        except TimeoutError:
            raise Unanswered(f"no answer within {timeout_s:.3g} s", slow=True) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unanswered(f"connection lost: {type(error).__name__}: {error}", slow=False) from None

    async def close(self) -> None:
        """End the session; a later call would make another."""
        if self._session is not None:
            await self._session.close()


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `Retry-After` in seconds or as a date (RFC 9110, 10.2.3); None if none.

    A date is held against the server's own clock, so that ours does not matter; without one, a wait of more than a day
    is taken for a clock that goes wrong.
    """
    milliseconds = _seconds(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("Retry-After", "").strip()
    seconds = _seconds(said)
    if seconds is not None:
        return seconds
    at, now = _date(said), _date(headers.get("Date", ""))
    if at is None:
        return None
    wait = max(0.0, (at - (now or datetime.now(UTC))).total_seconds())
    return wait if now is not None or wait < A_DAY else None


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
