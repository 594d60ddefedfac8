"""Scorers: known answers, and the ways in which answers go wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import InputError
from shouldtune.scorers import grade, load_scorer
from shouldtune.scorers.call import call, first_call
from shouldtune.types import Completion, Document, Example, Output, Score


def value(scorer: Any, answer: str, target: str, *accepted: str) -> float:
    return asyncio.run(grade(scorer, Completion(text=answer), Example("e", "q", target, accepted))).value


def named(name: Any, **output: Any) -> Any:
    return load_scorer(name, Path(), "here", output=Output(**output))


@pytest.mark.parametrize(
    ("name", "answer", "target", "wanted"),
    [
        ("exact", " a  b\n", "a b", 1.0),
        ("exact", "A b", "a b", 0.0),
        ("contains", "The answer is Paris.", "paris", 1.0),
        ("contains", "Parisian", "paris", 0.0),
        ("number", "It costs $1,234.50 in all", "1234.5", 1.0),
        ("number", "3 apples, so 7", "7", 1.0),
        ("number", "seven", "7", 0.0),
        ("number", "-2e3", "-2000", 1.0),
        ("number", "I used model e5 and got 12", "12", 1.0),
        ("number", "none but model e+", "12", 0.0),
        ("number", "it is .5", "0.5", 1.0),
        ("f1", "The cat sat", "a cat sat", 1.0),
        ("f1", "cat", "cat sat", 2 / 3),
        ("f1", "", "cat", 0.0),
        ("label", '"Billing."', "billing", 1.0),
        ("label", "Label: billing\nbecause ...", "billing", 1.0),
        ("label", "billing or login", "billing", 0.0),
        ("json", '{"a": 1, "b": "X y"}', '{"b": "x  y", "a": 1.0}', 1.0),
        ("json", '{"a": 1}', '{"a": 1, "b": 2}', 2 / 3),
        ("json", "no json here", '{"a": 1}', 0.0),
        ("json", 'Sure: {"a": [2, 1]} ok', '{"a": [1, 2]}', 1.0),
        ("json", '{"a": true}', '{"a": 1}', 0.0),
        ("json", "null", "null", 1.0),
        ("json", '{"a": null}', "null", 0.0),
        pytest.param("json", '{"a": 1' + "0" * 400 + "}", '{"a": 1}', 0.0, id="json-huge"),
        pytest.param("json", '{"a": 1' + "0" * 400 + "}", '{"a": 1' + "0" * 400 + "}", 1.0, id="json-same-huge"),
        pytest.param("json", "[" * 900 + "]" * 900, "[1]", 0.0, id="json-deep"),
        ("call", "f.g(x, y=1, z=2)", "f.g(x, z=2, y=1)", 1.0),
        ("call", "f.g(x)", "f.g(y)", 0.0),
        ("call", "no call", "f.g(y)", 0.0),
        ("call", "You can use `f.g( 'a' )` for it.", 'f.g("a")', 1.0),
        ("call", "```python\nimport f\nresult = f.g(x)\nprint(result)\n```", "f.g(x)", 1.0),
        ("call", "Use f.g(x), which is (often) fine", "f.g(x)", 1.0),
    ],
)
def test_answers_get_the_score_they_deserve(name: str, answer: str, target: str, wanted: float) -> None:
    assert value(named(name), answer, target) == pytest.approx(wanted)


@pytest.mark.parametrize("name", ["exact", "contains", "f1", "label", "chrf"])
def test_any_accepted_answer_is_right(name: str) -> None:
    assert value(named(name), "second", "first", "second") == pytest.approx(1.0)


def test_f1_agrees_with_the_squad_script_on_its_articles_and_punctuation() -> None:
    assert value(named("f1"), "the U.S. army", "US Army") == 1.0


def test_chrf_is_sacrebleus() -> None:
    from sacrebleu.metrics.chrf import CHRF

    wanted = CHRF().sentence_score("the cat sat", ["the cat sat on the mat"]).score / 100
    assert value(named("chrf"), "the cat sat", "the cat sat on the mat") == pytest.approx(wanted)


def test_json_reports_validity_against_the_schema() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    scorer = named("json", schema=schema)
    example = Example("e", "q", '{"a": 1}')
    found = [
        asyncio.run(grade(scorer, Completion(text=t), example)).metrics["valid"]
        for t in ('{"a": 1}', '{"a": "1"}', 'x {"a": 1}')
    ]
    assert found == [1.0, 0.0, 0.0]


def test_a_wrong_call_is_told_apart_from_an_invented_one() -> None:
    documents = [
        Document("1", "t", "x", {"api_call": text}) for text in ("hub.load('a/1')", "hub.load('a/2')", "os.getcwd()")
    ]
    scorer = call(documents)
    example = Example("e", "q", "hub.load('a/1')")

    def kind(answer: str) -> str:
        score = scorer(Completion(text=answer), example)
        return next(name for name, mark in score.metrics.items() if mark)

    assert kind('hub.load("a/1")') == "right"
    assert kind("hub.load('a/2')") == "wrong_api"
    assert kind("hub.load('a/3')") == "no_such_api"
    assert kind("os.getcwd()") == "wrong_api"
    assert kind("hub.load('a/1', quick=True)") == "wrong_arguments"
    assert kind("I do not know") == "no_call"


def test_a_target_that_is_not_quite_python_is_compared_as_it_is_written() -> None:
    target = "hub.load(repo='a', 'b', model=x/y)"
    assert value(call(), "Use ```hub.load(repo=\"a\",  'b', model=x/y)```", target) == 1.0
    assert value(call(), "hub.load(repo='a', 'b', model=x/z)", target) == 0.0
    assert value(call(), "hub.load(repo='a', 'c', model=x/y)", target) == 0.0


@pytest.mark.parametrize(
    "text", ["(" * 500 + ")" * 500, "f(" * 300, "x" * 30_000 + "()", "f(\x00)", "`" * 50, "f('\\d')"]
)
def test_hostile_answers_do_not_raise(text: str) -> None:
    found = first_call(text)
    assert found is None or found.function


def test_several_scorers_are_averaged_by_weight() -> None:
    scorer = named({"exact": 3.0, "contains": 1.0})
    score = asyncio.run(grade(scorer, Completion(text="it is a"), Example("e", "q", "a")))
    assert score.value == pytest.approx(0.25)
    assert score.metrics == {"exact": 0.0, "contains": 1.0}


def test_a_mean_by_weight_never_exceeds_one() -> None:
    weights = {"exact": 2.0, "contains": 5.0, "f1": 3.0, "number": 3.0}  # over 13 they sum to a little more
    assert value(named(weights), "1", "1") == 1.0


def test_a_users_scorer_is_loaded_and_its_mistakes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from shouldtune.types import Score\n"
        "def good(completion, example): return Score(0.5)\n"
        "def high(completion, example): return Score(1.5)\n"
        "def bare(completion, example): return 1.0\n"
        "async def later(completion, example): return Score(0.25)\n"
    )
    assert value(load_scorer("mine.py:good", tmp_path, "here"), "a", "b") == 0.5
    assert value(load_scorer("mine.py:later", tmp_path, "here"), "a", "b") == 0.25
    for name in ("high", "bare"):
        with pytest.raises(InputError):
            value(load_scorer(f"mine.py:{name}", tmp_path, "here"), "a", "b")
    with pytest.raises(InputError, match="no 'missing'"):
        load_scorer("mine.py:missing", tmp_path, "here")


def test_a_nan_score_is_refused() -> None:
    with pytest.raises(InputError):
        value(lambda completion, example: Score(float("nan")), "a", "b")
