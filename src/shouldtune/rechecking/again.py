"""The climb that an earlier run was, from what it wrote down about itself."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from shouldtune.asked import Climb
from shouldtune.probing import Probing
from shouldtune.run import RunRecord
from shouldtune.rungs import LADDER
from shouldtune.rungs.trained import Setting
from shouldtune.types import Rung
from shouldtune.verdict.plain import from_plain

PARTS: Mapping[str, type] = {Setting.__name__: Setting}
"""What stands in a rung's fields beside plain values."""


def climb_again(record: RunRecord) -> tuple[Climb, tuple[str, ...]]:
    """(how the run climbed, what of that this version cannot do again)."""
    asked = record.asked
    rungs, notes = _rungs(asked.get("rungs") or [], _names(record))
    probing = asked.get("probing")
    return Climb(
        rungs=rungs,
        all_rungs=bool(asked.get("all_rungs")),
        allow_simulated=record.verdict.simulated,
        whole_holdout=bool(asked.get("whole_holdout")),
        probing=None if probing is None else from_plain(Probing, probing),
        forecast=asked.get("forecast"),
        forgetting=bool(asked.get("forgetting", True)),
    ), notes


def _names(record: RunRecord) -> list[str]:
    planned = record.verdict.provenance.get("planned")
    return list(planned or [rung.name for rung in record.verdict.rungs])


def _rungs(told: Sequence[str], names: Sequence[str]) -> tuple[tuple[Rung, ...], tuple[str, ...]]:
    """The rungs, each with the settings that it had, where this version can read them; else with its own."""
    written = dict(zip(names, told, strict=False)) if len(told) == len(names) else {}
    found: list[Rung] = []
    notes = []
    for rung in LADDER:
        if names and rung.name not in names:
            continue
        text = written.get(rung.name)
        again = rung if text is None or text == repr(rung) else _read(text, rung)
        if again is None:
            notes.append(f"{rung.name}: its settings were written by another version; it has those of this one")
        found.append(again or rung)
    unknown = [name for name in names if name not in {rung.name for rung in LADDER}]
    notes += [f"{name}: this version has no such rung" for name in unknown]
    return tuple(found), tuple(notes)


def _read(text: str, like: Rung) -> Rung | None:
    """The rung that `repr` wrote, its fields plain values or PARTS; nothing is evaluated. None for anything else."""
    kind = type(like)
    try:
        again: Rung = _made(ast.parse(text, mode="eval").body, {kind.__name__: kind})
        return again if repr(again) == text else None
    except (SyntaxError, ValueError, TypeError):
        return None


def _made(node: ast.expr, known: Mapping[str, type]) -> Any:
    """A plain value, or an instance of a class that is known by its name. ValueError or TypeError for anything else."""
    if isinstance(node, ast.Tuple):
        return tuple(_made(each, PARTS) for each in node.elts)
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    if not isinstance(node.func, ast.Name) or node.func.id not in known or node.args:
        raise ValueError(f"{ast.unparse(node)} is none of {', '.join(known)}")
    return known[node.func.id](**{str(each.arg): _made(each.value, PARTS) for each in node.keywords})
