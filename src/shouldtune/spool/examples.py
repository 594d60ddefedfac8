"""Examples in a spool."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from shouldtune.spool.rows import Spool
from shouldtune.types import Example

_fields = attrgetter("id", "input", "target", "accepted", "group", "meta")


class ExampleSpool(Spool[Example]):
    """Takes examples one after another."""

    def __init__(self, examples: Iterable[Example] = ()) -> None:
        super().__init__(_fields, _example, examples)


def _example(fields: tuple[Any, ...]) -> Example:
    return Example(*fields)
