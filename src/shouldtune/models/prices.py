"""What a provider's model costs: the user's own table first, then the list prices of the package genai-prices.

The list is part of that package: nothing is fetched. Whose price it is follows from the address that is called, never
from a model's name alone, so that a server of one's own is not billed at another's price.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ShouldTuneError
from shouldtune.judgement import Price
from shouldtune.models.providers import ANY, address_of, id_of_address, is_remote
from shouldtune.types import ModelSpec

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

ANY_LLM_ADDRESSES = {
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}
"""Of providers that are asked through any-llm, those whose prices are looked up, and where they are."""
BESIDE_TOKENS = (
    "requests_kcount",
    "input_text_messages_kcount",
    "input_mchars",
    "output_citation_mtok",
    "output_reasoning_mtok",
)
"""Fees that token counts do not tell: with one of them the price of an answer is not known."""


def price_of(model_id: str, table: Mapping[str, Price]) -> Price | None:
    """The price of the model that an id names; None where it is not known, or the model runs in this process."""
    return table.get(model_id) or listed_price(model_id)


def id_of(spec: ModelSpec) -> str | None:
    """The id that names a remote model, from its spec; None for another kind."""
    if spec.get("kind") == "any_llm":
        return f"{ANY}{spec['provider']}/{spec['name']}"
    if spec.get("kind") != "remote":
        return None
    return id_of_address(spec["base_url"], spec["name"])


def ledger_id(named: str) -> str:
    """The id under which the ledger knows the model that a task file names: its address may be written in many ways."""
    if not is_remote(named) or named.startswith(ANY):
        return named
    try:
        address = address_of(named)
    except ShouldTuneError:
        return named
    return id_of_address(address.base_url, address.name)


def listed_price(model_id: str) -> Price | None:
    """The list price today of a remote model by its id, the dearest hour of the day; None where it is not known."""
    if model_id.startswith(ANY):
        provider, _, name = model_id.removeprefix(ANY).partition("/")
        where = ANY_LLM_ADDRESSES.get(provider)
        return None if where is None else _listed(where, name, datetime.now(UTC).date())
    if not is_remote(model_id):
        return None
    try:
        address = address_of(model_id)
    except ShouldTuneError:
        return None
    return _listed(address.base_url, address.name, datetime.now(UTC).date())


@lru_cache(maxsize=64)
def _listed(url: str, name: str, today: date) -> Price | None:
    from genai_prices import __version__
    from genai_prices.data_snapshot import get_snapshot

    try:
        model = get_snapshot().find_provider_model(name, None, None, url)[1]
    except LookupError:
        return None
    hours = [model.get_prices(datetime.combine(today, time(hour), UTC)) for hour in range(24)]
    if any(getattr(prices, fee) for prices in hours for fee in BESIDE_TOKENS):
        return None
    read, written, cached = (_dearest(hours, unit) for unit in ("input_mtok", "output_mtok", "cache_read_mtok"))
    if read is None or written is None:
        return None
    source = f"genai-prices {__version__}, as of {_newest(today)}"
    return Price(read, written, source, cached, _up_to(hours))


def _dearest(hours: list[ModelPrice], unit: str) -> float | None:
    """Dollars per million tokens, before any price tier of long prompts."""
    found = [value for prices in hours if (value := getattr(prices, unit)) is not None]
    return max((float(getattr(value, "base", value)) for value in found), default=None)


def _up_to(hours: list[ModelPrice]) -> int | None:
    """The longest prompt, in tokens, that is billed at the base price."""
    units = (getattr(prices, unit) for prices in hours for unit in ("input_mtok", "output_mtok", "cache_read_mtok"))
    starts = [tier.start for value in units for tier in getattr(value, "tiers", ())]
    return min(starts, default=None)


@lru_cache(maxsize=4)
def _newest(today: date) -> date:
    """The newest change of a price in the package that has come into force: it does not carry a date of its own."""
    from genai_prices.data import providers

    dates = (start for provider in providers for model in provider.models for start in _starts(model))
    return max((start for start in dates if start <= today), default=date.min)


def _starts(model: ModelInfo) -> list[date]:
    if not isinstance(model.prices, list):
        return []
    found: list[Any] = [getattr(change.constraint, "start_date", None) for change in model.prices]
    return [start for start in found if start is not None]
