"""What a server does not take of a request, what it ignores, and what it does not tell."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from shouldtune.models.bill import Bill
from shouldtune.models.remote import open_remote
from shouldtune.models.replies import read_reply
from shouldtune.models.requests import Manner, request_body
from shouldtune.models.retrying import CallPatience
from shouldtune.types import Completion, Message, Options
from tests.faulty_server import FaultyServer

QUESTION = [Message("system", "s"), Message("user", "q")]
LABELS = Options(choices=("Yes", "no"))
SCHEMA = Options(schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]})


def ask(server: FaultyServer, options: Sequence[Options]) -> list[Completion]:
    """Ask one model one question under each of these, one after the other."""

    async def go() -> list[Completion]:
        model = replace(open_remote(server.model_id), patience=CallPatience(first_wait_s=0.01, limit_s=5.0))
        try:
            return [await model.complete(QUESTION, each) for each in options]
        finally:
            await model.aclose()

    with server.running():
        return asyncio.run(go())


def read(message: Any, options: Options = Options(), **reply: Any) -> Completion:
    choice = {"message": message, "finish_reason": reply.pop("finish_reason", "stop")}
    return read_reply(json.dumps({"choices": [choice], **reply}), 0.1, QUESTION, options)


# ---------------------------------------------------------------- what it does not take


def test_fields_that_a_reasoning_model_refuses_are_left_out_and_that_is_remembered() -> None:
    server = FaultyServer(
        refuses={
            "max_tokens": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "temperature": "Unsupported value: 'temperature' does not support 0.0 with this model.",
            "seed": "Unknown parameter: 'seed'.",
        }
    )
    first, second = ask(server, [Options(max_tokens=9)] * 2)
    assert (first.text, first.lost, second.text) == ("hello", 0, "hello")
    assert len(server.bodies) == 5  # three refusals, then two answers
    last = server.bodies[-1]
    assert last["max_completion_tokens"] == 9
    assert not {"max_tokens", "temperature", "seed"} & set(last)


def test_a_refusal_of_something_else_is_told_and_not_tried_again() -> None:
    server = FaultyServer(refuses={"messages": "this model's maximum context length is 4096 tokens"})
    (completion,) = ask(server, [Options()])
    assert (completion.failure, completion.cost_usd, len(server.bodies)) == ("permanent", 0.0, 1)
    assert completion.error is not None and "context length" in completion.error


@pytest.mark.parametrize(
    ("options", "answer", "text"), [(LABELS, "yes.", "Yes"), (SCHEMA, '```json\n{"n": 1}\n```', '{"n": 1}')]
)
def test_a_form_that_is_refused_is_asked_for_in_words_once_and_for_all(
    options: Options, answer: str, text: str
) -> None:
    server = FaultyServer(lambda body: answer, refuses={"response_format": "response_format is not supported"})
    completions = ask(server, [options] * 2)
    assert [(c.text, c.form_missed) for c in completions] == [(text, False)] * 2
    assert ["response_format" in body for body in server.bodies] == [True, False, False]
    system = server.bodies[-1]["messages"][0]["content"]
    assert system.startswith("s\n\nAnswer with") and ("Yes" in system or "integer" in system)


def test_what_is_asked_for_in_words_leaves_the_question_as_it_was() -> None:
    body = request_body("m", [Message("user", "q")], LABELS, Manner(form_in_words=True))
    assert [said["role"] for said in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == "q"


# ---------------------------------------------------------------- what it ignores


@pytest.mark.parametrize(
    ("answer", "text", "missed"),
    [
        ('{"label": "no"}', "no", False),
        ("no", "no", False),
        (' "YES" ', "Yes", False),
        ("maybe", "maybe", True),
        ('{"label": "maybe"}', "maybe", True),
        ('{"label": 1}', "1", True),
        ("[" * 10_000, "[" * 10_000, True),
        ("NaN", "NaN", True),
    ],
)
def test_a_label_is_read_and_an_answer_that_is_none_is_told(answer: str, text: str, missed: bool) -> None:
    completion = read({"content": answer}, LABELS)
    assert (completion.text, completion.form_missed, completion.failed) == (text, missed, False)


@pytest.mark.parametrize(
    ("answer", "missed"), [('{"n": 3}', False), ('{"n": "3"}', True), ("three", True), ("[" * 10_000, True)]
)
def test_an_answer_is_held_against_its_schema(answer: str, missed: bool) -> None:
    assert read({"content": answer}, SCHEMA).form_missed == missed
    assert not read({"content": answer}, SCHEMA, finish_reason="length").form_missed  # cut off: told as that


def test_what_a_server_ignores_is_counted_in_the_bill() -> None:
    server = FaultyServer(lambda body: "maybe", faults={"ignores_form": 1.0})
    bill = Bill()
    for completion in ask(server, [LABELS, Options()]):
        bill.add(completion)
    assert bill.spent().form_missed == 1


# ---------------------------------------------------------------- what it does not tell


@pytest.mark.parametrize("fault", ["no_usage", "wrong_usage"])
def test_tokens_that_no_server_told_are_estimated_said_to_be_so_and_never_priced(fault: str) -> None:
    (completion,) = ask(FaultyServer(faults={fault: 1.0}), [Options()])
    assert completion.tokens_estimated
    assert (completion.prompt_tokens, completion.completion_tokens) == (10, 2)
    bill = Bill()
    bill.add(completion)
    assert bill.spent().estimated == 1


def test_what_a_server_tells_is_taken_as_it_is() -> None:
    (completion,) = ask(FaultyServer(), [Options()])
    assert not completion.tokens_estimated
    usage = {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 4}}
    completion = read({"content": "a"}, usage=usage)
    assert (completion.prompt_tokens, completion.completion_tokens, completion.cached_tokens) == (5, 0, 4)


# ---------------------------------------------------------------- what is no answer


def test_a_refusal_is_one_and_a_cut_off_thought_is_no_failure() -> None:
    assert read({"content": None, "refusal": "I cannot help with that"}).failure == "refused"
    assert read({"content": ""}, finish_reason="content_filter").failure == "refused"
    assert read({"content": None}).failure == "malformed"
    cut = read({"content": None}, finish_reason="length")
    assert (cut.text, cut.finish_reason, cut.failed) == ("", "length", False)
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert read({"content": parts}).text == "ab"


@pytest.mark.parametrize(
    ("status", "error", "failure", "asked"),
    [
        ("400", {"code": "content_filter", "message": "filtered"}, "refused", 1),
        ("403", {"message": "your input was flagged"}, "refused", 1),
        ("413", "too large", "permanent", 1),
        ("504", "upstream took too long", "unknown", 2),
        ("408", "slow", "transient", 6),
        ("529", "overloaded", "transient", 6),
    ],
)
def test_refusals_are_told_apart(status: str, error: Any, failure: str, asked: int) -> None:
    server = FaultyServer(faults={status: 1.0}, error=error)
    (completion,) = ask(server, [Options()])
    assert (completion.failure, len(server.came)) == (failure, asked)
    assert completion.lost == (2 if failure == "unknown" else 0)
