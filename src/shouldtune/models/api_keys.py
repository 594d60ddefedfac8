"""Keys of providers: taken from the environment when a call is made, and kept out of everything that is written."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from urllib.parse import quote

from shouldtune.errors import InputError

HIDDEN = "[key]"
_SHORTEST = 12
"""Characters below which a value is no secret that could be told from other text: `token`, `EMPTY`, `lm-studio`."""


def key_of(variable: str) -> str:
    """The key in an environment variable; empty where there is none. InputError where it can be no key."""
    key = os.environ.get(variable, "").strip() if variable else ""
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise InputError(f"{variable} holds characters that no key has", hint="was something else copied with it?")
    return key


def hide(text: str, key: str) -> str:
    """The text without the key in any form in which a server may send it back."""
    if len(key) < _SHORTEST:
        return text
    for form in _forms(key):
        if form in text:
            text = text.replace(form, HIDDEN)
    return text


def _forms(key: str) -> tuple[str, ...]:
    encoded = tuple(base64.b64encode(f"{before}{key}".encode()).decode().rstrip("=") for before in ("", "Bearer "))
    return (key, json.dumps(key)[1:-1], key.replace("/", "\\/"), quote(key, safe=""), *encoded, key.encode().hex())


def read_env_file(path: Path) -> dict[str, str]:
    """`KEY=VALUE` lines: `#` begins a comment line, `export` and quotes round a value may be there.

    InputError with the line's number, and never with what stands in it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"the file of keys cannot be read: {reason}", where=path) from None
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if not name or line.lstrip().startswith("#"):
            continue
        name, value = name.strip(), value.strip()
        if not equals or not name.isidentifier() or not name.isascii() or "\0" in value:
            raise InputError("this is no line of the form KEY=VALUE", where=f"{path}:{number}")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        found[name] = value
    return found


def load_env_file(path: Path) -> None:
    """Put a file's variables into this process's environment; what is set there already stays."""
    for name, value in read_env_file(path).items():
        os.environ.setdefault(name, value)
