"""The report as Markdown, JUnit XML and CSV: the facts of the page, and nothing that would act where it is read."""

from __future__ import annotations

import csv
import io
import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from markdown_it import MarkdownIt

from shouldtune.cli import main
from shouldtune.report import costs, words
from shouldtune.report.junit import to_junit
from shouldtune.report.markdown import NOTHING, plain, to_markdown
from shouldtune.report.page import to_html
from shouldtune.report.spreadsheet import cell, to_csv
from shouldtune.report.terminal import plain_lines
from shouldtune.run import RunRecord, newest_run
from shouldtune.types import Completion, Example, Measurement, Prediction, Score
from tests.conftest import MakeTask, numbered_rows
from tests.report_worlds import a_no, a_not_yet, a_yes, everything, ladder_record, nothing_applied, poisoned
from tests.test_ladder import GOAL
from tests.test_report import CONTROLS, HERE, HOSTILE, WORLDS, World

CONTROL = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"


def unescaped(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown).replace(NOTHING, "")


def cases(text: str) -> dict[str, ElementTree.Element]:
    found = ElementTree.fromstring(text)  # noqa: S314 - written here a moment ago
    return {case.attrib["name"]: case for case in found.iter("testcase")}


def outcome(case: ElementTree.Element) -> str:
    return next((child.tag for child in case), "passed")


# ---------------------------------------------------------------- the same facts


@pytest.mark.parametrize("world", [*WORLDS.values(), everything], ids=[*WORLDS, "everything"])
def test_every_form_says_the_answer_the_money_and_the_figures(world: World) -> None:
    record = world(HERE)
    answer, clause = words.headline(record.verdict)
    forms = {
        "markdown": unescaped(to_markdown(record)),
        "junit": ElementTree.tostring(ElementTree.fromstring(to_junit(record)), "unicode", "text"),  # noqa: S314
        "plain": "\n".join(plain_lines(record)),
        "page": re.sub("<[^>]+>", "", to_html(record).partition('<script type="application/json"')[0]),
    }
    facts = [f"{answer}: {clause}", costs.sentence(record), *record.verdict.because]
    facts += [f"{rung.quality:.3f}" for rung in record.verdict.rungs if rung.quality is not None]
    facts += [flip.sentence for flip in record.verdict.sensitivity]
    facts += [each.what for each in record.verdict.forgetting.kept] if record.verdict.forgetting else []
    for name, form in forms.items():
        squeezed = re.sub(r"[\s*]", "", form)
        for fact in facts:
            assert re.sub(r"[\s*]", "", fact) in squeezed, (name, fact)


def test_the_money_in_one_sentence_says_no_more_than_is_known() -> None:
    assert costs.sentence(everything(HERE)) == (
        "Over 12 months at 60,000 requests a month, fine_tune costs $181 and nearest_shots $39.57; "
        "tuning pays above about 5,800 requests a month."
    )
    record = everything(HERE)
    no_totals = replace(record, verdict=replace(record.verdict, economics=None))
    assert costs.sentence(no_totals) == "1,000 answers cost $0.043 with fine_tune and $0.055 with nearest_shots."
    assert costs.sentence(a_yes(HERE)) == (
        "No price is known; 1,000 answers take 66.0 s with fine_tune and 131 s with nearest_shots."
    )
    assert costs.sentence(nothing_applied(HERE)) == "What it would cost is not known."


# ---------------------------------------------------------------- Markdown


def test_a_table_of_the_ladder_has_a_row_a_rung() -> None:
    record = a_yes(HERE)
    lines = to_markdown(record).split("\n")
    rows = [line for line in lines if line.startswith("| ") and "---" not in line]
    assert len(rows) == 1 + len(record.verdict.rungs)
    assert len({row.count(" | ") for row in rows}) == 1
    assert "ship this" in next(row for row in rows if row.startswith("| fine\\_tune |"))


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        *CONTROLS,
        "@everyone see #1",
        "![x](http://evil.example/a.png)",
        "www.evil.example",
        "1. one",
        "- a",
        "# b",
        ":tada: a@b.example",
    ],
)
def test_no_text_acts_in_markdown(text: str) -> None:
    """Read as Markdown it has the parts of a harmless report: no link, picture, markup or list more."""
    harmless = to_markdown(poisoned("plain", "plain", "plain"))
    found = to_markdown(poisoned(text, f"`{text}`", f"| {text} |"))
    assert not re.search(CONTROL, found)
    assert not re.search(r"[@#]\w|www\.|(?<!\\)://", found)
    assert parts(found) == parts(harmless)


PLAIN = {"text", "text_special", "softbreak", "inline", "paragraph_open", "paragraph_close"}


def parts(markdown: str) -> list[str]:
    """The kinds of everything in it, texts aside; of HTML what it says, for the only HTML is ours."""
    read = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown)
    flat = [part for block in read for part in (block, *(block.children or ()))]
    kept = [re.sub(r"<summary>.*</summary>", "", p.content) if p.type.startswith("html") else p.type for p in flat]
    return [kind for kind in kept if kind not in PLAIN]


def test_plain_text_keeps_its_words() -> None:
    assert unescaped(plain("a *b* @c #4 <d>\ne")) == "a *b* @c #4 <d> e"


# ---------------------------------------------------------------- JUnit


def test_a_goal_that_is_met_passes_and_a_rung_below_it_fails_alone() -> None:
    record = a_no(HERE)
    rungs = tuple(replace(rung, meets_goal=rung.name == "few_shot") for rung in record.verdict.rungs)
    found = cases(to_junit(replace(record, verdict=replace(record.verdict, rungs=rungs))))
    assert outcome(found["goal"]) == "passed"
    assert outcome(found["few_shot"]) == "passed"
    assert outcome(found["zero_shot"]) == "failure"
    assert outcome(found["fine_tune"]) == "skipped"


def test_a_goal_that_is_missed_fails_and_what_was_not_measured_is_an_error() -> None:
    missed = cases(to_junit(a_not_yet(HERE)))
    assert outcome(missed["goal"]) == "failure"
    nothing = cases(to_junit(nothing_applied(HERE)))
    assert outcome(nothing["goal"]) == "error"
    record = a_yes(HERE)
    dead = tuple(
        replace(r, quality=None, low=None, high=None, meets_goal=None, n=0, unmeasured=9) for r in record.verdict.rungs
    )
    found = to_junit(replace(record, verdict=replace(record.verdict, rungs=dead)))
    assert outcome(cases(found)["few_shot"]) == "error"
    assert 'errors="8"' in found


def test_without_a_goal_its_case_is_skipped() -> None:
    assert outcome(cases(to_junit(ladder_record(HERE, goal=None)))["goal"]) == "skipped"


@pytest.mark.parametrize("text", [*HOSTILE, *CONTROLS, "\ufffe\uffff", "]]>", "\ud800"])
def test_any_text_makes_xml_that_can_be_read(text: str) -> None:
    found = to_junit(poisoned(text))
    ElementTree.fromstring(found.encode("utf-8"))  # noqa: S314 - written here a moment ago
    assert not re.search(CONTROL, found)


# ---------------------------------------------------------------- CSV

FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    '=cmd|"/c calc"!A0',
    "\ufeff=1",
    "\x00=1",
)


def answered(text: str, score: float | None = 0.25) -> RunRecord:
    example = Example(text, text, text)
    given = Prediction(text, Completion(text, error=None if score is not None else text), score and Score(score, text))
    return replace(a_no(HERE), holdout=(example,), measurements=(Measurement(text, (given,)),))


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("score", [0.25, None])
def test_no_cell_is_taken_for_a_formula_and_numbers_stay_numbers(text: str, score: float | None) -> None:
    rows = list(csv.reader(io.StringIO(to_csv(answered(text, score)), newline=""), quoting=csv.QUOTE_NONNUMERIC))
    cells = [each for row in rows for each in row if isinstance(each, str) and each]
    assert cells
    assert not any(
        each.lstrip(" \u00a0\ufeff\u200b").startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝")) for each in cells
    )
    assert all("'" in each for each in rows[1][:4] if isinstance(each, str))
    assert rows[1][4] == (0.25 if score is not None else "")


def test_every_example_is_a_row_and_every_rung_three_columns() -> None:
    record = a_yes(HERE)
    heads, *rows = csv.reader(io.StringIO(to_csv(record), newline=""))
    assert len(rows) == len(record.holdout)
    assert len(heads) == 3 + 3 * len(record.measurements)
    at = heads.index("fine_tune score")
    assert [float(row[at]) for row in rows] == list(record.measurements[-1].scores)
    assert cell("plain") == "plain"


# ---------------------------------------------------------------- the command


def test_report_writes_each_form_and_leaves_stdout_to_what_was_asked_for(
    make_task: MakeTask, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    abilities = "scripted:base=0.9"
    task = make_task(numbered_rows(200), model=abilities, tune=abilities, goal=GOAL)

    def said(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["shouldtune", *words])
        with pytest.raises(SystemExit) as end:
            main()
        assert not end.value.code
        return capsys.readouterr().out

    said("run", str(task), "--allow-simulated", "--json")
    out = said(
        "report",
        str(task),
        "--junit",
        str(tmp_path / "j.xml"),
        "--csv",
        str(tmp_path / "c.csv"),
        "--html",
        str(tmp_path / "p.html"),
    )
    assert out == ""
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"j.xml", "c.csv", "p.html"}
    assert said("report", str(newest_run(task)), "--markdown").startswith("### Should you fine-tune? **Not yet:**")
    assert said("report", str(task)).startswith("Should you fine-tune? Not yet:")
