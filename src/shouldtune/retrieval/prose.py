"""What a passage says in words, where it is a record: encoders read little, and code and lists are not for them."""

from __future__ import annotations

import json
import re

_CODE = re.compile(r"\w\(|\w\s*=\s*\S|^[ \t]*(import|from) |https?://|[{};][ \t]*$", re.MULTILINE)


def prose(text: str) -> str:
    """The title line and the plain strings of a JSON object, without code, addresses, lists and nested parts.

    A text that is no JSON object, or of which nothing would be left, comes back as it is.
    """
    title, _, rest = text.partition("\n")
    record = _record(rest)
    if record is None:
        return text
    said = [value for value in record.values() if isinstance(value, str) and value.strip() and not _CODE.search(value)]
    return ". ".join([title, *said]) if said else text


def _record(text: str) -> dict[str, object] | None:
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
