"""What `check` found, as text and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from shouldtune.report.words import one_line

if TYPE_CHECKING:
    from shouldtune.checks import Finding

ROWS_SHOWN = 5
MARKS = {"ok": "ok", "note": "note", "warning": "WARN", "problem": "FAIL"}


def findings_to_text(findings: Sequence[Finding]) -> str:
    """One line a finding, the first rows to look at below it."""
    lines = []
    for finding in findings:
        lines.append(f"{MARKS[finding.level]:<5} {finding.title:<15} {one_line(finding.detail)}")
        lines += [f"{'':<22}{one_line(row)[:110]}" for row in finding.rows[:ROWS_SHOWN]]
        if len(finding.rows) > ROWS_SHOWN:
            lines.append(f"{'':<22}and {len(finding.rows) - ROWS_SHOWN} more (--json lists all)")
    return "\n".join(lines) + "\n"


def findings_to_json(findings: Sequence[Finding]) -> str:
    return json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2) + "\n"
