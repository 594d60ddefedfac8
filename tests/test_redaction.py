"""Redaction: a leak never looks good, the target is perfect, and everything between has a known place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import InputError
from shouldtune.scorers import load_scorer, part_of
from shouldtune.scorers.redaction import Redaction, redaction
from shouldtune.scorers.spans import Span, span_scores, spans_by_target
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Example, Graded, Score

TEXT = "Call Mary Smith in May at 020 7946 0958 about the bank of the river."
TARGET = "Call [NAME] in [DATE] at [PHONE_NUMBER] about the bank of the river."


def marked(text: str, *pieces: tuple[str, str]) -> list[dict[str, Any]]:
    """`meta.spans` for the first place of each (piece, label)."""
    return [
        {"start": text.index(piece), "end": text.index(piece) + len(piece), "label": label, "text": piece}
        for piece, label in pieces
    ]


SPANS = marked(TEXT, ("Mary Smith", "NAME"), ("May", "DATE"), ("020 7946 0958", "PHONE_NUMBER"))
EXAMPLE = Example("e", TEXT, TARGET, meta={"spans": SPANS})
SCORER = redaction([EXAMPLE])
NOTHING_TO_DO = Example("n", "Which dose is usual in May?", "Which dose is usual in May?", meta={"spans": []})


def score(answer: str, example: Example = EXAMPLE, scorer: Redaction = SCORER) -> Score:
    return scorer(Completion(answer), example)


def test_the_target_is_perfect() -> None:
    found = score(TARGET)
    assert found == Score(1.0, "", {"perfect": 1.0, "leaked": 0.0, "over_redaction": 0.0})
    assert score("call [name]  in [Date] at [phone number] about the bank of the river").value == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        TEXT,  # nothing done
        TARGET.replace("[NAME]", "Mary [NAME]"),
        TARGET.replace("[NAME]", "[NAME] (MARY SMITH)"),
        TARGET.replace("[NAME]", "[Mary]"),
        TARGET.replace("[PHONE_NUMBER]", "02079460958"),
        TARGET.replace("[PHONE_NUMBER]", "0 2 0 7 9 4 6 0 9 5 8"),
        TARGET.replace("[PHONE_NUMBER]", "[PHONE_NUMBER]0958"),
        TARGET.replace("[NAME]", "[NAME]smith"),
        TARGET + " The caller was Smith.",
        "Mary Smith",
    ],
)
def test_whatever_leaks_scores_nothing(answer: str) -> None:
    found = score(answer)
    assert found.value == 0.0
    assert found.metrics["leaked"] == 1.0
    assert found.reason.startswith("leaks ")
    assert "Smith" not in found.reason


@pytest.mark.parametrize("name", ["José García", "Jose Garcia", "JOSE GARCIA", "JoseGarcia", "Jose\u0301", "garc"])
def test_a_name_without_its_accents_leaks_too(name: str) -> None:
    text, target = "Vino José García de León a la consulta.", "Vino [NAME] de León a la consulta."
    row = Example("e", text, target, meta={"spans": marked(text, ("José García", "NAME"))})
    scorer = redaction([row])
    assert score(target, row, scorer).value == 1.0
    assert score(target.replace("[NAME]", f"[NAME] {name}"), row, scorer).reason == "leaks NAME"
    assert 0.0 < score(target.replace("León", "Leon"), row, scorer).value < 1.0  # kept, but not as it was


def test_a_word_that_is_legitimate_elsewhere_is_no_leak_there_and_is_one_at_its_own_place() -> None:
    text = "Dr. May saw her in May."
    example = Example("e", text, "Dr. [NAME] saw her in May.", meta={"spans": marked(text, ("May", "NAME"))})
    scorer = redaction([example])
    assert score("Dr. [NAME] saw her in May.", example, scorer).value == 1.0
    assert score("Dr. May saw her in [NAME].", example, scorer).metrics["leaked"] == 1.0
    text = "Bank of Avon of the town"
    example = Example("e", text, "[PLACE] of the town", meta={"spans": marked(text, ("Bank of Avon", "PLACE"))})
    assert score("[PLACE] of the town", example, redaction([example])).value == 1.0


@pytest.mark.parametrize(
    "answer",
    ["", "[NAME]", "[NAME] [DATE] [PHONE_NUMBER]", "I am sorry, I cannot help with that.", "the " * 30, "..."],
)
def test_an_empty_or_other_answer_scores_nothing(answer: str) -> None:
    assert score(answer).value == 0.0
    assert score(answer, NOTHING_TO_DO).value == 0.0


def test_near_misses_score_below_one_and_above_nothing() -> None:
    one_word = score(TARGET.replace("about ", ""))
    assert one_word.value == pytest.approx(1 - 1 / 9)  # Call in at about the bank of the river
    assert one_word.metrics["over_redaction"] == pytest.approx(1 / 9)
    changed = score(TARGET.replace("about", "regarding"))
    assert changed.value == pytest.approx(1 - 2 / 9)
    wrong_label = score(TARGET.replace("[DATE]", "[NAME]"))
    assert wrong_label.value == pytest.approx((1 + 2 / 3) / 2)
    assert score(TARGET.replace("[DATE]", "")).value == pytest.approx((1 + 4 / 5) / 2)
    assert score(f"Here you are: {TARGET}").value == pytest.approx(1 - 3 / 9)


def test_where_nothing_is_to_be_replaced_only_what_is_touched_counts() -> None:
    assert score(NOTHING_TO_DO.input, NOTHING_TO_DO) == Score(1.0, "", {"perfect": 1.0, "over_redaction": 0.0})
    over = score("Which dose is usual in [DATE]?", NOTHING_TO_DO)
    assert over.value == pytest.approx(1 - 1 / 6)
    assert "leaked" not in over.metrics
    assert score("Which [NAME] dose is usual in May?", NOTHING_TO_DO).value == pytest.approx(1 - 1 / 6)


def test_all_answers_together_give_leaks_over_spans_and_f1_by_label() -> None:
    answers = [
        (EXAMPLE, TARGET),
        (EXAMPLE, TARGET.replace("[NAME]", "Mary [NAME]").replace("[DATE]", "[NAME]")),
        (NOTHING_TO_DO, "Which dose is usual in [DATE]?"),
    ]
    rows: list[Graded] = [(e, Completion(text), score(text, e)) for e, text in answers]
    found = SCORER.overall(rows)
    assert found["leak_rate"] == pytest.approx(1 / 6)
    assert found["negatives_touched"] == 1.0
    # marked: 2 names, 2 dates, 2 numbers; found: 3 names (one in time, borders of one wrong), 2 dates, 2 numbers
    assert found["span_recall"] == pytest.approx(4 / 6)
    assert found["span_precision"] == pytest.approx(4 / 7)
    assert found["span_f1"] == pytest.approx(8 / 13)
    assert found["span_f1 NAME"] == pytest.approx(2 / 5)
    assert found["span_f1 DATE"] == pytest.approx(2 / 4)
    assert found["span_f1 PHONE_NUMBER"] == 1.0


def test_span_scores_count_label_and_borders() -> None:
    told = [Span(0, 4, "NAME"), Span(9, 12, "DATE")]
    assert span_scores([(told, [Span(0, 4, "name"), Span(9, 13, "DATE")])])["span_f1"] == 0.5
    assert span_scores([(told, [])]) == {"span_recall": 0.0, "span_f1": 0.0, "span_f1 NAME": 0.0, "span_f1 DATE": 0.0}
    assert span_scores([([], [])]) == {}


def test_without_spans_the_target_tells_what_was_to_be_replaced() -> None:
    example = Example("e", TEXT, TARGET)
    scorer = redaction([example])
    assert scorer.labels == {"NAME", "DATE", "PHONE_NUMBER"}
    found = spans_by_target(TEXT, TARGET, scorer.labels)
    assert [TEXT[s.start : s.end] for s in found] == ["Mary Smith", "May", "020 7946 0958"]
    assert (score(TARGET, example, scorer).value, score(TEXT, example, scorer).value) == (1.0, 0.0)
    edited = TARGET.replace("Call", "Ring")  # a target that does more than replace
    assert [s.label for s in spans_by_target(TEXT, edited, scorer.labels)] == ["NAME", "DATE", "PHONE_NUMBER"]


def test_brackets_that_stand_in_the_input_are_no_labels() -> None:
    example = Example("e", "[ECG] of Ann", "[ECG] of [NAME]")
    assert redaction([example]).labels == {"NAME"}
    assert score("[ECG] of [NAME]", example, redaction([example])).value == 1.0


def test_spans_hold_where_whitespace_before_the_input_was_cut_off() -> None:
    moved = [{**span, "start": span["start"] + 3, "end": span["end"] + 3} for span in SPANS]
    assert score(TARGET, Example("e", TEXT, TARGET, meta={"spans": moved})).value == 1.0


@pytest.mark.parametrize("spans", [[{"start": 1}], [{"start": 90, "end": 99, "label": "NAME"}], [7], 7])
def test_spans_that_cannot_be_read_are_refused(spans: Any) -> None:
    with pytest.raises(InputError, match=r"meta\.spans"):
        redaction([Example("e", TEXT, TARGET, meta={"spans": spans})])


def test_another_right_answer_is_right_too() -> None:
    example = Example("e", TEXT, TARGET, (TARGET.replace("[DATE]", "May"),), meta={"spans": SPANS})
    assert score(TARGET.replace("[DATE]", "May"), example).value == 1.0
    assert score(TEXT, example).value == 0.0


def test_the_task_file_names_it_and_a_part_of_several_is_found() -> None:
    scorer = load_scorer("redaction", Path(), "here", examples=[EXAMPLE])
    assert part_of(scorer, Redaction) == SCORER
    several = load_scorer({"redaction": 3, "exact": 1}, Path(), "here", examples=[EXAMPLE])
    assert part_of(several, Redaction) == SCORER
    assert part_of(load_scorer("exact", Path(), "here"), Redaction) is None
    assert asyncio.run(several(Completion(TARGET), EXAMPLE)).value == 1.0  # type: ignore[misc, arg-type]


@pytest.mark.parametrize("name", ["redaction", "redaction-notes-es"])
@pytest.mark.parametrize("with_spans", [True, False], ids=["spans", "no spans"])
def test_every_public_target_is_perfect_and_a_copy_is_not(shared_data: Path, name: str, with_spans: bool) -> None:
    rows = [e for part in ("train", "test") for e in read_rows(shared_data / name / f"{part}.jsonl").examples]
    kept = rows if with_spans else [Example(e.id, e.input, e.target) for e in rows]
    scorer = redaction(kept)
    assert [e.id for e in kept if score(e.target, e, scorer).value != 1.0] == []
    assert {score(e.input, e, scorer).value for e in kept if e.input != e.target} == {0.0}
    overall = scorer.overall([(e, Completion(e.target), Score(1.0)) for e in kept])
    assert (overall["span_f1"], overall["leak_rate"], overall["negatives_touched"]) == (1.0, 0.0, 0.0)
