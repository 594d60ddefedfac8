"""What came of an export, in words and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from shouldtune.report.words import one_line, printable, score

if TYPE_CHECKING:
    from shouldtune.exporting import Exported

OUTCOMES = {
    "passed": "passed",
    "failed": "FAILED",
    "not_shown": "not shown to score as the run did",
    "not_scored": "not scored",
}


def exported_to_text(done: Exported) -> str:
    """Lines for a terminal."""
    parity = done.parity
    lines = [f"{done.rung} as {done.form}: {done.folder}", f"parity: {OUTCOMES[parity.outcome]}"]
    if parity.n:
        lines[-1] += f"; {score(parity.export_score)} exported, {score(parity.run_score)} in the run, n {parity.scored}"
        lines.append(f"  through {parity.through}")
    lines += [f"  {one_line(line)}" for line in parity.because]
    if parity.difference is not None:
        lines += [f"  run:    {parity.difference.run!r}", f"  export: {parity.difference.export!r}"]
    return printable("\n".join(lines)) + "\n"


def exported_to_json(done: Exported) -> str:
    """One document."""
    told = {**asdict(done), "folder": str(done.folder)}
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"
