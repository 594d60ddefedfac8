"""Which of the things found stands for which of those wanted, whatever their order."""

from __future__ import annotations

from collections.abc import Sequence


def unplaced(fits: Sequence[Sequence[bool]]) -> int | None:
    """The first wanted thing that finds no place of its own; None when all do.

    `fits[w][f]` says whether found thing f will do for wanted thing w. Kuhn's augmenting paths (1955).
    """
    taken: dict[int, int] = {}  # found -> wanted

    def place(wanted: int, tried: set[int]) -> bool:
        for found, fit in enumerate(fits[wanted]):
            if fit and found not in tried:
                tried.add(found)
                if found not in taken or place(taken[found], tried):
                    taken[found] = wanted
                    return True
        return False

    return next((wanted for wanted in range(len(fits)) if not place(wanted, set())), None)
