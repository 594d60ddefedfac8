"""Function calls: the leaderboard's rules, the forms that answers come in, and public rows with planted mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shouldtune.scorers.function_call import function_call, functions
from shouldtune.scorers.function_call_forms import read_answer
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Example, Score

BOOK = {
    "name": "hotel.book",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer"},
            "price": {"type": "float"},
            "rooms": {"type": "array", "items": {"type": "string"}},
            "guest": {"type": "dict"},
            "pool": {"type": "boolean"},
        },
        "required": ["city"],
    },
}
POOL = {"name": "pool_hours", "parameters": {"type": "dict", "properties": {}, "required": []}}
ASKED = json.dumps({"messages": [{"role": "user", "content": "Book it"}], "functions": [BOOK, POOL]})


def graded(answer: Any, target: Any, possible: Any = None, *accepted: str) -> Score:
    text, target = (value if isinstance(value, str) else json.dumps(value) for value in (answer, target))
    meta = {} if possible is None else {"possible_answer": possible}
    return function_call(Completion(text=text), Example("e", ASKED, target, accepted, meta=meta))


def book(**arguments: Any) -> dict[str, Any]:
    return {"calls": [{"name": "hotel.book", "arguments": arguments}]}


@pytest.mark.parametrize(
    ("arguments", "accepted", "reason"),
    [
        ({"city": "New York, N.Y."}, {"city": ["new york ny"]}, ""),
        ({"city": "York"}, {"city": ["New York"]}, "wrong value: city"),
        ({}, {"city": ["", "York"]}, "missing: city"),  # required goes before optional
        ({"city": "York"}, {"city": ["York"], "nights": ["", 2]}, ""),
        ({"city": "York"}, {"city": ["York"], "nights": [2]}, "missing: nights"),
        ({"city": "York", "nights": 3}, {"city": ["York"], "nights": ["", 2]}, "wrong value: nights"),
        ({"city": "York", "nights": 2.0}, {"city": ["York"], "nights": [2]}, "wrong type: nights"),
        ({"city": "York", "nights": "2"}, {"city": ["York"], "nights": [2]}, "wrong type: nights"),
        ({"city": "York", "nights": True}, {"city": ["York"], "nights": [1]}, "wrong type: nights"),
        ({"city": "York", "nights": "dontcare"}, {"city": ["York"], "nights": ["dontcare"]}, ""),
        ({"city": "York", "nights": None}, {"city": ["York"], "nights": ["", None]}, ""),
        ({"city": "York", "price": 90}, {"city": ["York"], "price": [90.0]}, ""),
        ({"city": "York", "stars": 4}, {"city": ["York"]}, "unknown argument: stars"),
        ({"city": "York", "rooms": ["A-1", "b 2"]}, {"city": ["York"], "rooms": [["a1", "B2"]]}, ""),
        ({"city": "York", "rooms": ["b2", "a1"]}, {"city": ["York"], "rooms": [["a1", "b2"]]}, "wrong value: rooms"),
        ({"city": "York", "guest": {"name": "Ann"}}, {"city": ["York"], "guest": [{"name": ["Ann", "Anne"]}]}, ""),
        (
            {"city": "York", "guest": {"name": "Ann", "age": 3}},
            {"city": ["York"], "guest": [{"name": ["Ann"]}]},
            "wrong value: guest",
        ),
        (
            {"city": "York", "guest": {"name": "Ann"}},
            {"city": ["York"], "guest": [{"name": ["Ann"], "age": [3]}]},
            "wrong value: guest",
        ),
        (
            {"city": "York", "guest": {"name": "Ann"}},
            {"city": ["York"], "guest": [{"name": ["Ann"], "age": ["", 3]}]},
            "",
        ),
        ({"city": "York", "pool": 1}, {"city": ["York"], "pool": [True]}, "wrong type: pool"),
    ],
)
def test_a_call_is_judged_by_the_leaderboards_rules(
    arguments: dict[str, Any], accepted: dict[str, Any], reason: str
) -> None:
    score = graded(book(**arguments), book(), [{"hotel.book": accepted}])
    assert (score.reason, score.value) == (reason, float(reason == ""))


ONE = {"name": "hotel.book", "arguments": {"city": "York", "nights": 2}}


@pytest.mark.parametrize(
    "answer",
    [
        {"calls": [ONE]},
        ONE,
        [ONE],
        f"Here it is:\n```json\n{json.dumps(ONE)}\n```",
        f"I will call {json.dumps(ONE)} now.",
        f"<tool_call>\n{json.dumps(ONE)}\n</tool_call>",
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "hotel_book", "arguments": '{"city": "York", "nights": 2}'},
                }
            ],
        },
        "hotel.book(city='York', nights=2)",
        "[hotel.book(nights=2, city='York')]",
        "```python\nresult = hotel.book(city='York', nights=2)\n```",
        "Of course:\nhotel.book(city='York', nights=2)\nDone.",
    ],
)
def test_every_form_of_a_call_is_read(answer: Any) -> None:
    assert graded(answer, {"calls": [ONE]}).value == 1.0
    assert graded(answer, book(city="York", nights=3)).value == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "None of these functions can tell (sorry).",
        {"calls": []},
        [],
        "[]",
        "Who knows? print(1) might.",
        "{}",
        "hotel.book(city=...) needs a city.",
    ],
)
def test_silence_is_right_where_no_function_fits_and_wrong_where_one_does(answer: Any) -> None:
    score = graded(answer, {"calls": []})
    assert (score.value, score.metrics["wrongly_called"], score.metrics["right_name"]) == (1.0, 0.0, 1.0)
    score = graded(answer, book(city="York"))
    assert (score.value, score.metrics["wrongly_silent"], score.metrics["right_name"]) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize(
    "answer",
    [
        {"calls": [ONE]},
        "invented(a=1)",
        '{"calls": [{"name": "hotel.book", "argum',
        "pool_hours()",
        "invented(a=1",
        "hotel.book(",
        'I will call:\n```python\nbooked = hotel.book(city="York',
        '{"calls": [',
        '{"calls": [{',
        "f(a=" + "x+" * 400 + "x)",
    ],
)
def test_any_call_is_wrong_where_no_function_fits(answer: Any) -> None:
    score = graded(answer, {"calls": []})
    assert (score.value, score.metrics["wrongly_called"]) == (0.0, 1.0)


def test_a_function_that_was_not_offered_is_seen() -> None:
    assert graded("dream(city='York')", book(city="York")).metrics["unknown_function"] == 1.0
    assert graded("pool_hours()", book(city="York")).metrics["unknown_function"] == 0.0


def test_several_calls_count_in_any_order_and_each_once() -> None:
    two = [ONE, {"name": "pool_hours", "arguments": {}}]
    assert graded({"calls": two[::-1]}, {"calls": two}).value == 1.0
    assert graded({"calls": [ONE, ONE]}, {"calls": two}).value == 0.0
    assert graded({"calls": [ONE]}, {"calls": two}).reason == "1 calls in place of 2"


def test_calls_are_placed_where_all_of_them_fit() -> None:
    possible = [{"hotel.book": {"city": ["York", "Bath"]}}, {"hotel.book": {"city": ["York"]}}]
    both = [{"name": "hotel.book", "arguments": {"city": city}} for city in ("York", "Bath")]
    assert graded({"calls": both}, {"calls": both}, possible).value == 1.0


def test_positional_arguments_are_not_guessed_at() -> None:
    assert graded("hotel.book('York')", book(city="York")).reason == "missing: city"


def test_without_accepted_values_the_targets_own_count() -> None:
    target = book(city="York", guest={"ids": [1, 2]}, rooms=["a"])
    assert graded(target, target).value == 1.0
    assert graded(book(city="York", guest={"ids": 1}, rooms=["a"]), target).value == 0.0
    assert graded(book(city="Bath"), target, None, json.dumps(book(city="bath"))).value == 1.0


def test_functions_are_read_from_openais_tools_too() -> None:
    found = functions(json.dumps({"tools": [{"type": "function", "function": BOOK}]}))
    assert found["hotel.book"].required == ("city",)
    assert functions("plain words") == {}


DEEP = ("f(a=" + "x+" * 400 + "x)", "f" + ".a" * 1500 + "()", "[" * 900 + "]" * 900)
"""What can be read, and is too deep for what comes after."""


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"name": ' * 3000, "f(" * 3000, "\x00f(a=1)", "f(**{})", "[f(a=1), 2]", *DEEP]
)
def test_hostile_answers_do_not_raise(text: str) -> None:
    assert all(call.name for call in read_answer(text).calls)


WRONG_ON_THE_LEADERBOARD = {"function-calling-test-0180": "an accepted argument is none of its function's"}


def rows(shared_data: Path) -> list[Example]:
    folder = shared_data / "function-calling"
    return [e for half in ("train", "test") for e in read_rows(folder / f"{half}.jsonl").examples]


def test_every_public_target_is_right_by_its_own_scorer(shared_data: Path) -> None:
    failing = {e.id for e in rows(shared_data) if function_call(Completion(text=e.target), e).value < 1}
    assert failing == set(WRONG_ON_THE_LEADERBOARD)


def test_public_targets_are_right_in_other_forms_too(shared_data: Path) -> None:
    for example in rows(shared_data):
        calls = json.loads(example.target)["calls"]
        python = "\n".join(
            f"{c['name']}({', '.join(f'{name}={value!r}' for name, value in c['arguments'].items())})" for c in calls
        )
        tools = {"tool_calls": [{"function": {**c, "arguments": json.dumps(c["arguments"])}} for c in calls]}
        if example.id not in WRONG_ON_THE_LEADERBOARD:
            for text in (python, json.dumps(tools), f"```json\n{example.target}\n```"):
                assert function_call(Completion(text=text), example).value == 1.0, (example.id, text)


def test_planted_mistakes_in_public_targets_are_wrong(shared_data: Path) -> None:
    silent = called = 0
    for example in rows(shared_data):
        calls = json.loads(example.target)["calls"]
        offered = functions(example.input)
        some = next(iter(offered))
        if not calls:
            silent += 1
            planted = [[{"name": some, "arguments": {}}]]
        else:
            called += 1
            first = calls[0]
            planted = [
                [],
                [{**first, "name": first["name"] + "_2"}, *calls[1:]],
                [{**first, "arguments": {**first["arguments"], "invented": 1}}, *calls[1:]],
                [*calls, first],
            ]
            planted += [
                [{**first, "arguments": {k: v for k, v in first["arguments"].items() if k != name}}, *calls[1:]]
                for name in offered[first["name"]].required
            ]
            planted += [
                [{**first, "arguments": {**first["arguments"], name: "no such value at all"}}, *calls[1:]]
                for name in first["arguments"]
            ]
        for mistake in planted:
            assert function_call(Completion(text=json.dumps({"calls": mistake})), example).value == 0.0, example.id
    assert (silent, called) == (294, 799)
