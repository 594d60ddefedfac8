"""A run's winner in the form that somebody else's tool takes, scored again through that form before it is called done.

open_source --> a form's `write` --> its `read back` --> score_again --> model card, manifest --> one rename
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shouldtune import __version__
from shouldtune.errors import InputError
from shouldtune.exporting.card import CARD, mark, model_card
from shouldtune.exporting.folder import MARKS, refuse_what_is_there, write_manifest, writing, written_whole
from shouldtune.exporting.forms import FORMS, Form
from shouldtune.exporting.parity import Parity, score_again
from shouldtune.exporting.source import Source, open_source
from shouldtune.models.open import HERE

SKIPPED = Parity("not_scored", ("scoring again was not asked for (--no-parity)",))


@dataclass(frozen=True)
class Exported:
    """What was written, and whether it scores as the run did."""

    folder: Path
    form: str
    rung: str
    parity: Parity


@dataclass(frozen=True)
class Wish:
    """How to export."""

    rung: str | None = None
    out: Path | None = None
    parity: bool = True
    sample: int | None = None
    force: bool = False


def export(run: Path, to: str, wish: Wish = Wish(), say: Callable[[str], None] = lambda line: None) -> Exported:
    """Write a run's winner, or another of its rungs, in a form, and score it again through that form.

    The folder is written whole or not at all; one that does not pass the gate is kept, and marked. InputError for what
    the form cannot carry, CannotMeasure where it cannot be written or run.
    """
    form = _form(to)
    source = open_source(run, wish.rung, rows=form.rows)
    folder = (wish.out or source.record.folder / "exports" / f"{source.rung}-{to}").resolve()
    refuse_what_is_there(folder, force=wish.force)
    form.refuse(source)
    with written_whole(folder) as fresh:
        with writing(folder):
            form.write(source, fresh)
        say(f"wrote {to} of {source.rung}; scoring it again" if wish.parity else f"wrote {to} of {source.rung}")
        parity = asyncio.run(_gate(source, form, fresh, wish)) if wish.parity else SKIPPED
        with writing(folder):
            _finish(source, form, fresh, parity)
    return Exported(folder, to, source.rung, parity)


async def _gate(source: Source, form: Form, folder: Path, wish: Wish) -> Parity:
    if form.read_back is None:
        return form.looked_at(source, folder)
    return await score_again(source, form.read_back(source, folder), wish.sample)


def _finish(source: Source, form: Form, folder: Path, parity: Parity) -> None:
    (folder / CARD).write_text(model_card(source, form, parity), encoding="utf-8")
    if parity.outcome in MARKS:
        (folder / MARKS[parity.outcome]).write_text(mark(parity), encoding="utf-8")
    write_manifest(folder, _told(source, form, parity))


def _told(source: Source, form: Form, parity: Parity) -> dict[str, Any]:
    asked = source.record.asked
    return {
        "form": form.name,
        "task": source.name,
        "rung": source.rung,
        "run": source.record.folder.name,
        "task_sha256": asked.get("task_sha256"),
        "model": _without_paths(source),
        "shouldtune": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "parity": asdict(parity),
    }


def _without_paths(source: Source) -> dict[str, Any]:
    """Its model's identity, without a path of this machine."""
    spec = source.model.spec()
    if spec["kind"] not in HERE:
        return spec
    adapter = spec["adapter"] and {"sha256": spec["adapter"]["sha256"]}
    return {**spec, "model": source.model_name, "adapter": adapter}


def _form(name: str) -> Form:
    if name not in FORMS:
        raise InputError(f"there is no form {name!r}", hint=f"one of {', '.join(FORMS)}")
    return FORMS[name]
