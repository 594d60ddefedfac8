"""Money in the report: the same figures in the terminal and on the page, and only where something is known."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from shouldtune.judgement import Economics, Verdict
from shouldtune.report import costs
from shouldtune.report.page import to_html
from shouldtune.report.terminal import plain_lines, show
from shouldtune.run import RunRecord
from shouldtune.types import Goal
from shouldtune.verdict.case import Case
from shouldtune.verdict.decide import decide
from shouldtune.verdict.sensitivity import flips
from tests.report_worlds import asked
from tests.test_decide import RESERVED, priced

EQUAL = priced(zero_shot=500, few_shot=800, fine_tune=800)


def record(verdict: Verdict) -> RunRecord:
    return RunRecord(Path("run"), asked(None, 1000), verdict, (), tuple(EQUAL))


def worked_example(economics: Economics = RESERVED) -> Verdict:
    case = Case(Goal(), EQUAL, economics=economics)
    return replace(decide(case), sensitivity=flips(case))


def drawn(found: RunRecord) -> str:
    out = io.StringIO()
    show(found, Console(file=out, force_terminal=True, width=120, color_system=None))
    return out.getvalue()


def test_the_money_table_of_the_worked_example() -> None:
    table = worked_example().economics
    assert table is not None
    assert costs.title(table) == "Money (12 months at 304,000 requests a month)"
    assert costs.rows(worked_example()) == [
        ("zero_shot", ("$0.912", "$3,329", "$0.0018", "368,000")),
        ("few_shot", ("$0.912", "$3,329", "$0.0011", "368,000")),
        ("fine_tune", ("$1.10", "$4,030", "$0.0014", "-")),
    ]
    assert "Prices: your price table (zero_shot, few_shot); a machine kept for it, by the month (fine_tune)." in (
        costs.key(worked_example())
    )


def test_the_terminal_and_the_page_say_the_same_of_money() -> None:
    found = record(worked_example())
    plain, page = "\n".join(plain_lines(found)), to_html(found)
    assert max(map(len, plain.split("\n"))) <= 80
    for form in (plain, page, drawn(found)):
        for name, cells in costs.rows(found.verdict):
            assert all(cell in form for cell in (name, *cells))
        assert costs.FLIPS in form
    for flip in found.verdict.sensitivity:
        assert flip.sentence in " ".join(plain.split())
        assert flip.sentence in page
    assert 'href="#money"' in page


def test_what_is_not_known_is_a_dash() -> None:
    verdict = worked_example(replace(RESERVED, per_month=None))
    assert costs.rows(verdict) == [
        ("zero_shot", ("$0.912", "-", "-", "368,000")),
        ("few_shot", ("$0.912", "-", "-", "368,000")),
        ("fine_tune", ("-", "-", "-", "-")),
    ]
    assert verdict.economics is not None
    assert "no volume is known" in costs.title(verdict.economics)


def test_where_nothing_is_known_of_money_nothing_is_said() -> None:
    verdict = decide(Case(Goal(), EQUAL))
    found = record(verdict)
    assert verdict.economics is None
    for form in ("\n".join(plain_lines(found)), to_html(found), drawn(found)):
        assert "Money" not in form
        assert costs.FLIPS not in form
        assert "break-even" not in form


def test_a_narrow_terminal_loses_columns_not_lines() -> None:
    for width in (40, 60, 80):
        assert max(map(len, plain_lines(record(worked_example()), width))) <= width
