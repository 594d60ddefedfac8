"""Who serves models behind an OpenAI-compatible address: what their ids begin with, where they are, where their key is.

Addresses and variables are those of the providers' own pages, each named in docs/reference/providers.md.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from shouldtune.errors import CannotMeasure, InputError

OPENAI = "https://api.openai.com/v1"
OWN_KEY = "SHOULDTUNE_API_KEY"
"""Where the key of a server that is named by its address stands, if it wants one."""
AZURE_ENDPOINT = "AZURE_OPENAI_ENDPOINT"
ANY = "any:"
"""What ids begin with that go through the package any-llm."""


@dataclass(frozen=True)
class Provider:
    """One line of the table."""

    prefix: str
    base_url: str
    """Ends where `/chat/completions` begins; empty where it hangs on the account."""
    key_variable: str
    needs_key: bool = True


PROVIDERS = (
    Provider("openai", OPENAI, "OPENAI_API_KEY"),
    Provider("azure", "", "AZURE_OPENAI_API_KEY"),
    Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    Provider("together", "https://api.together.ai/v1", "TOGETHER_API_KEY"),
    Provider("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    Provider("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    Provider("deepseek", "https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    Provider("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    Provider("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    Provider("ollama", "http://127.0.0.1:11434/v1", "", needs_key=False),
    Provider("lmstudio", "http://127.0.0.1:1234/v1", "LM_STUDIO_API_KEY", needs_key=False),
)
_BY_PREFIX = {provider.prefix: provider for provider in PROVIDERS}


@dataclass(frozen=True)
class Address:
    """Where a model is asked."""

    name: str
    base_url: str
    key_variable: str
    needs_key: bool = False


def is_remote(model_id: str) -> bool:
    """Whether an id names a model behind an address."""
    prefix, colon, _ = model_id.partition(":")
    return bool(colon) and (prefix in _BY_PREFIX or prefix in ("http", "https", ANY[:-1]))


def address_of(model_id: str) -> Address:
    """`openai:NAME` and the like, or `http(s)://host/v1#NAME`. InputError, which repeats nothing secret."""
    prefix, _, name = model_id.partition(":")
    provider = _BY_PREFIX.get(prefix)
    if provider is None:
        url, _, name = model_id.partition("#")
        if not name.strip():
            raise InputError("this address names no model", hint="write it after the address: http://host:8000/v1#name")
        return Address(name, checked_url(url), OWN_KEY)
    if not name.strip():
        raise InputError(f"{model_id!r} names no model", hint=f"write its name: {prefix}:NAME")
    return Address(name, provider.base_url or azure_url(), provider.key_variable, provider.needs_key)


def azure_url() -> str:
    """The v1 address of the Azure resource that AZURE_OPENAI_ENDPOINT names. CannotMeasure where it is not set."""
    endpoint = os.environ.get(AZURE_ENDPOINT, "").strip().rstrip("/")
    if not endpoint:
        raise CannotMeasure(
            f"{AZURE_ENDPOINT} is not set", hint=f"export {AZURE_ENDPOINT}=https://NAME.openai.azure.com"
        )
    url = checked_url(endpoint)
    return url if url.endswith("/openai/v1") else f"{url}/openai/v1"


def id_of_address(base_url: str, name: str) -> str:
    """The id that names a model at an address."""
    for provider in PROVIDERS:
        if provider.base_url == base_url:
            return f"{provider.prefix}:{name}"
    return f"{base_url}#{name}"


def key_variable_at(base_url: str, wanted: str) -> str:
    """The variable whose key may be sent to an address, where a saved model wants one; InputError for any other.

    A folder from somebody else must not be able to have a provider's key sent to an address of its choice.
    """
    allowed = {"", OWN_KEY} | {p.key_variable for p in PROVIDERS if p.base_url and p.base_url == base_url}
    azure = _BY_PREFIX["azure"].key_variable
    if wanted == azure and os.environ.get(AZURE_ENDPOINT) and azure_url() == base_url:
        allowed.add(azure)
    if wanted not in allowed:
        raise InputError(f"the key in {wanted!r} is not sent to {base_url}", hint="is this folder yours?")
    return wanted


# ---------------------------------------------------------------- addresses

_URL = re.compile(
    r"https?://(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<path>/[\w.~/-]*)?", re.A
)
_METADATA = ("metadata.google.internal", "metadata.goog", "metadata", "instance-data")
_METADATA_IPS = (IPv4Address("100.100.100.200"), IPv4Address("168.63.129.16"), IPv6Address("fd00:ec2::254"))


def checked_url(url: str) -> str:
    """An address that every reader of it takes for the same, without a slash at its end. InputError.

    The message does not repeat the address: it may hold a key where none belongs.
    """
    match = _URL.fullmatch(url)
    why = _wrong_with(url) if match is None else _wrong_with_host(match["host"], match["port"], match["path"] or "")
    if why:
        raise InputError(
            f"{why} in a model's address",
            hint=f"write http://host:8000/v1#name; a key belongs into the variable {OWN_KEY}",
        )
    return url.rstrip("/")


def _wrong_with(url: str) -> str:
    authority = re.split(r"[/?#\\]", url.partition("//")[2])[0]
    if "@" in authority:
        return "a user name or a password cannot stand"
    return "a query cannot stand" if "?" in url else "there is something that an address does not have"


def _wrong_with_host(host: str, port: str | None, path: str) -> str:
    if port is not None and not 0 < int(port) < 65536:
        return "there is no such port"
    if any(part in (".", "..") for part in path.split("/")) or "//" in path:
        return "there is a path that turns back"
    plain = host.strip("[]").rstrip(".").lower()
    try:
        ip = ip_address(plain)
    except ValueError:
        if host.startswith("[") or re.fullmatch(r"(0x[0-9a-f]*|[0-9.]+)", plain.rpartition(".")[2]) or not plain:
            return "there is a number that only some read as a host"
        return "a machine's metadata cannot be asked" if plain in _METADATA else ""
    mapped = getattr(ip, "ipv4_mapped", None) or ip
    forbidden = mapped.is_link_local or mapped.is_multicast or mapped in _METADATA_IPS
    return "a machine's metadata cannot be asked" if forbidden else ""
