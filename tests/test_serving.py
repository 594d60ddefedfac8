"""What a request means, what is refused and how, and what is kept: the served app asked without a network."""

from __future__ import annotations

import asyncio
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.errors import InputError
from shouldtune.ladder import climb
from shouldtune.models.plain import Constant, Echo, Nearest
from shouldtune.models.prompted import NearestPassages, Prompted
from shouldtune.retrieval.chunks import Passage
from shouldtune.serving import Address, read_keys, serve, start
from shouldtune.serving.keeping import Kept, told_path
from shouldtune.serving.limits import Limits
from shouldtune.serving.winner import open_winner
from shouldtune.task import load_task
from shouldtune.task.rows import read_rows
from shouldtune.types import Completion, Failure, Message, Options
from tests.conftest import MakeTask, numbered_rows
from tests.serving_world import (
    BEARER,
    KEY,
    Words,
    app,
    ask,
    asked,
    chat,
    chat_body,
    house_of,
    winner_of,
)

ROUTES = ["/v1/chat/completions", "/v1/models", "/v1/models/toy", "/v1/feedback", "/healthz", "/metrics", "/", "/nope"]
VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
CHAT = "/v1/chat/completions"


def told(words: Words, **more: Any) -> Options:
    """The options that the model was asked with."""
    assert chat(app(house_of(Prompted(words, options=Options(max_tokens=50)))), **more).status == 200
    return words.told[-1]


# ---------------------------------------------------------------- what a request means


def test_an_answer_has_openais_form_and_its_usage() -> None:
    reply = chat(app(), temperature=0.5, user="somebody", metadata={"what": "ever"}).json
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "toy"
    assert reply["choices"][0]["message"]["content"] == "to be or not"
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}


def test_the_input_goes_through_the_rungs_own_prompt_and_is_read_as_the_loader_reads_it() -> None:
    words = Words()
    guarded = app(house_of(Prompted(words, "Say it.", shots=(("a", "b"),))))
    assert chat(guarded, "  to be \n").status == 200
    assert [message.content for message in words.asked[0]] == ["Say it.", "a", "b", "to be"]
    assert chat(guarded, [{"type": "text", "text": "to "}, {"type": "text", "text": "do"}]).status == 200
    assert words.asked[1][-1] == Message("user", "to do")


def test_several_turns_are_the_transcript_that_the_loader_makes_of_such_a_row(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes?"}]
    turns.append({"role": "user", "content": "to be"})
    words = Words()
    body = {"model": "toy", "messages": turns}
    assert asked(app(house_of(Prompted(words))), "POST", CHAT, body).status == 200
    row = {"messages": [*turns, {"role": "assistant", "content": "or not"}]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    assert words.asked[0][-1].content == read_rows(tmp_path / "rows.jsonl").examples[0].input


def test_a_request_says_how_it_is_answered_and_the_rung_says_the_rest() -> None:
    words = Words()
    assert told(words) == Options(max_tokens=50)
    assert told(words, max_tokens=256) == Options(max_tokens=256)
    assert told(words, max_completion_tokens=3, temperature=0.7, seed=-5, stop="x").max_tokens == 3
    assert (words.told[-1].temperature, words.told[-1].seed, words.told[-1].stop) == (0.7, -5, ("x",))
    assert told(words, max_tokens=10**6).max_tokens == Limits().max_tokens
    assert told(words, temperature=1e-30).temperature == 0.0
    assert told(words, top_p=0.5, n=1, stop=["a", "b"], logit_bias={}, tools=[]).stop == ("a", "b")
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert told(words, response_format=form).schema == schema
    assert told(words, response_format={"type": "json_object"}).schema == {"type": "object"}


def test_the_rungs_own_form_stays() -> None:
    schema = {"type": "object", "required": ["label"]}
    guarded = app(house_of(Prompted(Words(), options=Options(schema=schema))))
    assert chat(guarded, response_format={"type": "json_object"}).status == 200
    other = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "array"}}}
    assert "a form of their own" in chat(guarded, response_format=other).message
    labelled = app(house_of(Prompted(Words(), options=Options(choices=("a", "b")))))
    assert chat(labelled, response_format={"type": "json_object"}).status == 400


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ({"n": 2}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 1, "top_p": 0.1}, "top_p"),
        ({"presence_penalty": 1}, "presence_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"seed": 2**70}, "seed"),
        ({"stop": [""]}, "stop"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "stream_options": 3}, "stream_options"),
        ({"response_format": {"type": "yaml"}}, "response_format"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ],
)
def test_what_cannot_be_done_is_refused_and_names_its_field(more: dict[str, Any], param: str) -> None:
    refused = asked(app(), "POST", CHAT, {**chat_body(), **more})
    assert refused.status == 400
    assert refused.json["error"]["param"] == param
    assert refused.json["error"]["type"] == "invalid_request_error"


def test_another_models_name_is_not_found() -> None:
    refused = chat(app(), model="gpt-4o")
    assert (refused.status, refused.json["error"]["code"]) == (404, "model_not_found")
    assert asked(app(), "GET", "/v1/models/gpt-4o").status == 404
    assert asked(app(), "GET", "/v1/models/toy").json["id"] == "toy"
    assert [model["id"] for model in asked(app(), "GET", "/v1/models").json["data"]] == ["toy"]


def test_a_stream_has_a_role_pieces_an_end_and_usage_where_asked() -> None:
    events = chat(app(), stream=True, stream_options={"include_usage": True}).events
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [delta.get("content") for delta in deltas[1:-1]] == ["to", " be", " or", " not"]
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None] * 5 + ["stop"]
    assert events[-1]["choices"] == []
    assert events[-1]["usage"]["total_tokens"] == 11
    plain = chat(app(), stream=True)
    assert plain.body.endswith(b"data: [DONE]\n\n")
    assert all("usage" not in event for event in plain.events)


def test_answers_name_the_passages_that_stood_in_their_prompt() -> None:
    passages = NearestPassages((Passage("pay.md", "Pay", "grades"), Passage("car.md", "Car", "charging")), 1)
    guarded = app(house_of(Prompted(Words(), passages=passages)))
    expected = {"passages": ["pay.md"], "cited": ["pay.md"]}
    assert chat(guarded, "grades").json["choices"][0]["message"]["shouldtune"] == expected
    assert chat(guarded, "grades", stream=True).events[-1]["choices"][0]["delta"]["shouldtune"] == expected
    assert "shouldtune" not in chat(app()).json["choices"][0]["message"]


def test_models_without_decoding_are_served_too() -> None:
    assert chat(app(house_of(Echo()))).json["choices"][0]["message"]["content"] == "to be or not"
    nearest = Nearest((("red rose", "flower"), ("old oak", "tree"), ("blue iris", "flower")))
    assert chat(app(house_of(nearest)), "a red rose").json["choices"][0]["message"]["content"] == "flower"
    assert chat(app(house_of(Constant("x"))), stream=True).events[1]["choices"][0]["delta"]["content"] == "x"
    assert chat(app(house_of(Constant("cut \ud83d"))), "x").json["choices"][0]["message"]["content"] == "cut ?"
    assert chat(app(house_of(Echo())), response_format={"type": "json_object"}).status == 400


# ---------------------------------------------------------------- functions


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


def test_offered_functions_become_an_input_of_the_task_and_calls_come_back_as_openai_tells_them() -> None:
    answer = json.dumps({"calls": [{"name": "weather", "arguments": {"town": "Ghent"}}]})
    guarded = app(house_of(Constant(answer), offers="functions"))
    for reply in (chat(guarded, tools=[TOOL]).json["choices"][0],):
        assert reply["finish_reason"] == "tool_calls"
        assert reply["message"]["content"] is None
        called = reply["message"]["tool_calls"][0]
        assert called["function"]["name"] == "weather"
        assert json.loads(called["function"]["arguments"]) == {"town": "Ghent"}
    for unsayable in ("weather(towns={1, 2})", "weather(degrees=1e999)", "weather(town=...)"):
        guarded_too = app(house_of(Constant(unsayable), offers="functions"))
        assert chat(guarded_too, tools=[TOOL]).json["choices"][0]["message"]["content"] == unsayable
        assert chat(guarded_too, tools=[TOOL], stream=True).body.endswith(b"data: [DONE]\n\n")
    last = chat(guarded, tools=[TOOL], stream=True).events[-1]["choices"][0]
    assert last["finish_reason"] == "tool_calls"
    assert last["delta"]["tool_calls"][0]["function"]["name"] == "weather"


def test_the_input_with_functions_has_the_form_of_the_tasks_rows() -> None:
    words = Words()
    guarded = app(house_of(Prompted(words), offers="functions"))
    assert chat(guarded, "weather?", tools=[TOOL]).status == 200
    sent = json.loads(words.asked[0][-1].content)
    assert sent == {"messages": [{"role": "user", "content": "weather?"}], "functions": [TOOL["function"]]}
    assert (
        chat(app(house_of(Constant('{"calls": []}'), offers="tools")), tools=[TOOL]).json["choices"][0]["message"][
            "content"
        ]
        == ""
    )
    assert chat(guarded, tools=[TOOL], tool_choice="required").status == 400


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("failure", "status"),
    [("permanent", 400), ("refused", 400), ("transient", 503), ("malformed", 502), ("unknown", 504), (None, 500)],
)
def test_a_failed_call_is_an_error_with_a_status_of_its_own(failure: Failure | None, status: int) -> None:
    failed = Completion("", finish_reason="error", error=f"{KEY} refused", failure=failure)
    guarded = app(house_of(Prompted(Words(failing=failed)), say=lambda line: None))
    for stream in (False, True):
        assert chat(guarded, stream=stream).status == status


def test_another_servers_words_are_not_handed_on() -> None:
    failed = Completion("", finish_reason="error", error=f"key {KEY} is wrong", failure="permanent")

    class Behind(Words):
        def spec(self) -> dict[str, Any]:
            return {"kind": "remote", "name": "x", "base_url": "http://127.0.0.1:1/v1", "key_variable": ""}

    lines: list[str] = []
    refused = chat(app(house_of(Behind(failing=failed), say=lines.append)))
    assert refused.status == 400
    assert KEY not in refused.body.decode() + "".join(lines)


def test_an_answer_that_takes_too_long_is_ended() -> None:
    slow = Words(pause=0.2)
    guarded = app(house_of(slow, Limits(answer_s=0.3)))
    assert chat(guarded).status == 504
    streamed = chat(guarded, stream=True)
    assert streamed.events[-1]["error"]["code"] == "timeout"
    assert not streamed.body.endswith(b"[DONE]\n\n")
    assert slow.here == []


def test_when_the_house_is_full_one_is_told_to_come_back() -> None:
    guarded = app(house_of(Words(pause=0.05), Limits(at_once=2)))

    async def go() -> list[Any]:
        return await asyncio.gather(*(ask(guarded, "POST", CHAT, chat_body()) for _ in range(5)))

    replies = asyncio.run(go())
    assert sorted(reply.status for reply in replies) == [200, 200, 429, 429, 429]
    full = next(reply for reply in replies if reply.status == 429)
    assert int(full.headers["retry-after"]) >= 1
    assert full.json["error"]["type"] == "rate_limit_error"
    assert chat(guarded).status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_the_work_of_a_client_who_leaves_is_given_up(stream: bool) -> None:
    slow = Words(pause=0.5)
    lines: list[str] = []
    guarded = app(house_of(slow, say=lines.append))

    async def go() -> None:
        await ask(guarded, "POST", CHAT, chat_body("word " * 100, stream=stream), leaves_after=0.1)
        assert slow.here == []  # before the next word

    asyncio.run(go())
    assert lines[-1].split()[2] == "left"


# ---------------------------------------------------------------- bodies


def test_bodies_that_are_too_large_or_of_another_type_are_refused() -> None:
    assert asked(app(house_of(limits=Limits(body_bytes=100))), "POST", CHAT, chat_body("x" * 200)).status == 413
    assert asked(app(), "POST", CHAT, b"a=b", {"content-type": "application/x-www-form-urlencoded"}).status == 415
    assert asked(app(), "POST", CHAT, b"{}", {"content-length": "9" * 40}).status == 413
    for raw in (b"", b"[]", b"{", b"\xff", b'{"model": "\\ud800"}', b"[" * 100_000, b'{"seed": NaN}', b"9" * 9000):
        assert asked(app(), "POST", CHAT, raw).status == 400


ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["model", "messages", "n", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"]
FIELDS += ["stream", "stream_options", "tools", "tool_choice", "response_format", "presence_penalty", "logit_bias"]
FIELDS += ["frequency_penalty", "logprobs", "user", "functions", "id", "answer", "score"]
GOOD: dict[str, Any] = {"model": "toy", "messages": [{"role": "user", "content": "to be"}]}
ROLES = some.sampled_from(["user", "assistant", "system", "developer", "tool", "x"])
CONTENTS = some.text(max_size=30) | some.lists(some.fixed_dictionaries({"type": some.just("text"), "text": ANYTHING}))
TURNS = some.lists(some.fixed_dictionaries({"role": ROLES, "content": CONTENTS | ANYTHING}), max_size=4)
NEARLY = some.dictionaries(some.sampled_from(FIELDS), ANYTHING, max_size=3).map(lambda changed: {**GOOD, **changed})
TALKS = TURNS.map(lambda turns: {**GOOD, "messages": turns})
BODIES = some.one_of(
    some.binary(max_size=200),
    ANYTHING.map(lambda value: json.dumps(value).encode()),
    (NEARLY | TALKS).map(lambda value: json.dumps(value).encode()),
    some.tuples(NEARLY, some.integers(0, 99)).map(lambda pair: json.dumps(pair[0]).encode()[: -pair[1] or None]),
)


def no_body_is_our_fault(examples: int, folder: Path) -> None:
    house = house_of(Prompted(Words(), "Say it."), offers="functions")
    house.kept = Kept(folder / "kept.jsonl")
    guarded = app(house, keys=[KEY])
    statuses: set[int] = set()

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(body=BODIES, path=some.sampled_from([CHAT, CHAT, CHAT, "/v1/feedback"]))
    def sent(body: bytes, path: str) -> None:
        reply = runner.run(ask(guarded, "POST", path, body, BEARER))
        statuses.add(reply.status)
        assert 200 <= reply.status < 500
        assert reply.status == 200 or "error" in reply.json

    with asyncio.Runner() as runner:
        sent()
    house.kept.close()
    assert {200, 400} <= statuses


def test_no_body_makes_the_server_fail(tmp_path: Path) -> None:
    no_body_is_our_fault(200, tmp_path)


@pytest.mark.slow
def test_none_of_ten_thousand_bodies_makes_the_server_fail(tmp_path: Path) -> None:
    no_body_is_our_fault(10_000, tmp_path)


# ---------------------------------------------------------------- who may ask


FOREIGN: list[dict[str, str]] = [
    {"host": "evil.example"},
    {"host": "evil.example:8000"},
    {"host": "127.0.0.1.evil.example:8000"},
    {"host": "127.0.0.1:8001"},
    {"host": ""},
    {"host": "localhost:8000@evil.example"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9999"},
    {"origin": "file://"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
]


@pytest.mark.parametrize("foreign", FOREIGN, ids=str)
def test_hostile_hosts_and_origins_are_refused_on_every_route_and_method(
    foreign: dict[str, str], tmp_path: Path
) -> None:
    house = house_of()
    house.kept = Kept(tmp_path / "kept.jsonl")
    guarded = app(house, keys=[KEY])
    for route in ROUTES:
        for verb in VERBS:
            refused = asked(guarded, verb, route, chat_body(), {**BEARER, **foreign})
            assert refused.status in (403, 421), (verb, route)
            assert not any("access-control" in name for name in refused.headers)
    house.kept.close()


def test_the_names_of_this_machine_and_those_allowed_are_hosts() -> None:
    hosts = Address("192.168.1.7", 8000, ("models.example", "models.example:443")).hosts(8000)
    guarded = app(keys=[KEY], hosts=hosts)
    for host in ("127.0.0.1:8000", "LOCALHOST:8000", "[::1]:8000", "192.168.1.7:8000", "models.example"):
        assert asked(guarded, "GET", "/v1/models", headers={**BEARER, "host": host}).status == 200
    own = {**BEARER, "host": "models.example", "origin": "https://models.example", "sec-fetch-site": "same-origin"}
    assert asked(guarded, "GET", "/v1/models", headers=own).status == 200
    assert asked(guarded, "GET", "/v1/models", headers={**BEARER, "host": "192.168.1.7"}).status == 421
    assert "localhost" in Address("::1", 80).hosts(80)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"authorization": KEY},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {KEY}x"},
        {"authorization": f"Bearer {KEY[:-1]}"},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer \xff"},
        {"x-api-key": KEY},
    ],
    ids=str,
)
def test_without_the_key_every_route_but_health_is_closed(sent: dict[str, str]) -> None:
    guarded = app(keys=["another-key-0123456789", KEY])
    for route in ROUTES:
        for verb in VERBS:
            refused = asked(guarded, verb, route, chat_body(), sent)
            if route != "/healthz":
                assert refused.status == 401, (verb, route)
                assert refused.json["error"]["code"] == "invalid_api_key"
    assert asked(guarded, "GET", "/healthz").status == 200
    assert asked(guarded, "GET", "/v1/models", headers=BEARER).status == 200


def test_unknown_routes_and_methods_are_errors_in_openais_form() -> None:
    for verb, route, status in (("GET", "/nope", 404), ("GET", CHAT, 405), ("POST", "/v1/models", 405)):
        refused = asked(app(), verb, route)
        assert refused.status == status
        assert set(refused.json["error"]) == {"message", "type", "param", "code"}
    assert asked(app(), "GET", CHAT).headers["allow"] == "POST"
    assert asked(app(), "POST", "/v1/feedback", {"id": "x", "score": 1}).status == 404


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104  that it is refused is the point
def test_other_machines_may_not_ask_without_a_key(host: str) -> None:
    with pytest.raises(InputError, match="so it needs a key"):
        serve(winner_of(Words()), Address(host, 0), (), Limits(), None, print, print)


def test_keeping_needs_a_key_and_a_taken_port_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a key"):
        serve(winner_of(Words()), Address(port=0), (), Limits(), tmp_path / "kept.jsonl", print, print)
    with pytest.raises(InputError, match="no address of this machine"):
        serve(winner_of(Words()), Address("\x00", 0), (), Limits(), None, print, print)


def test_keys_come_from_the_environment_or_a_file_for_the_owners_eyes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVE_KEY", KEY)
    assert read_keys("SERVE_KEY", None) == (KEY,)
    file = tmp_path / "keys"
    file.write_text(f"{KEY}\n\nanother-key-0123456789\n")
    file.chmod(0o600)
    assert read_keys(None, file) == (KEY, "another-key-0123456789")
    file.chmod(0o644)
    with pytest.raises(InputError, match="others may read"):
        read_keys(None, file)
    monkeypatch.setenv("SERVE_KEY", "short")
    for wrong in ("SERVE_KEY", "NOT_SET"):
        with pytest.raises(InputError, match="at least 16 characters") as caught:
            read_keys(wrong, None)
        assert "short" not in str(caught.value)
    assert read_keys(None, None) == ()


# ---------------------------------------------------------------- what is told


def test_the_log_has_no_words_and_no_key_and_names_no_path_of_the_clients_choice() -> None:
    lines: list[str] = []
    guarded = app(house_of(say=lines.append), keys=[KEY])
    asked(guarded, "POST", CHAT, chat_body("my-secret-words"), BEARER)
    asked(guarded, "GET", f"/{KEY}\x1b[31m", headers=BEARER)
    asked(guarded, "GET", f"/v1/models/{KEY}", headers=BEARER)
    asked(guarded, "GET", "/healthz")
    assert [line.split()[:3] for line in lines] == [
        ["POST", CHAT, "200"],
        ["GET", "other", "404"],
        ["GET", "/v1/models/*", "404"],
    ]


def test_a_bug_is_told_by_its_place_and_not_by_its_words() -> None:
    class Broken(Words):
        async def stream(self, messages: Any, options: Options = Options()) -> Any:
            raise RuntimeError(messages[-1].content)
            yield  # what makes it a generator

    lines: list[str] = []
    refused = chat(app(house_of(Broken(), say=lines.append)), "my-secret-words")
    assert (refused.status, refused.json["error"]["type"]) == (500, "server_error")
    assert "RuntimeError at test_serving.py:" in lines[0]
    assert "my-secret-words" not in refused.body.decode() + "".join(lines)


def test_health_says_when_the_model_is_warm() -> None:
    house = house_of()
    house.warm = False
    assert asked(app(house), "GET", "/healthz").status == 503
    asyncio.run(house.winner.warm())
    house.warm = True
    assert asked(app(house), "GET", "/healthz").json == {"status": "ok"}


def test_metrics_count_requests_tokens_and_seconds() -> None:
    house = house_of()
    guarded = app(house)
    chat(guarded)
    chat(guarded, stream=True)
    chat(guarded, model="x")
    lines = asked(guarded, "GET", "/metrics").body.decode().splitlines()
    assert f'shouldtune_requests_total{{route="{CHAT}",status="200"}} 2' in lines
    assert f'shouldtune_requests_total{{route="{CHAT}",status="404"}} 1' in lines
    assert 'shouldtune_tokens_total{kind="completion"} 8' in lines
    assert "shouldtune_answer_seconds_count 2" in lines
    assert "shouldtune_first_text_seconds_count 1" in lines
    assert 'shouldtune_answer_seconds_bucket{le="+Inf"} 2' in lines
    assert "shouldtune_requests_under_way 0" in lines
    assert all(line.startswith(("#", "shouldtune_")) for line in lines)


# ---------------------------------------------------------------- what is kept


def keeping(path: Path) -> Any:
    house = house_of()
    house.kept = Kept(path)
    return house


def test_answers_and_feedback_are_kept_and_what_is_known_of_them_is_an_example(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    house = keeping(path)
    guarded = app(house, keys=[KEY])

    def post(route: str, body: Any) -> Any:
        return asked(guarded, "POST", route, body, BEARER)

    ids = [post(CHAT, chat_body(f"question {i}", stream=i == 1)) for i in range(3)]
    first, third = (ids[place].json["id"] for place in (0, 2))
    second = ids[1].events[0]["id"]
    assert post("/v1/feedback", {"id": first, "score": 1}).json["example"] is True
    assert post("/v1/feedback", {"id": second, "answer": "the right one", "score": 0.2}).json["example"] is True
    assert post("/v1/feedback", {"id": third, "score": 0}).json["example"] is False
    assert post("/v1/feedback", {"id": first, "answer": "again"}).status == 409
    assert post("/v1/feedback", {"id": "chatcmpl-none", "score": 1}).status == 404
    for wrong in ({}, {"id": first}, {"id": first, "score": 2}, {"id": first, "answer": " "}, {"id": 3, "score": 1}):
        assert post("/v1/feedback", wrong).status == 400
    house.kept.close()
    assert [row.input for row in read_rows(path).examples][:3] == ["question 0", "question 1", "question 2"]
    known = read_rows(told_path(path)).examples
    assert [(e.id, e.input, e.target) for e in known] == [
        (first, "question 0", "question 0"),
        (second, "question 1", "the right one"),
    ]
    for file in (path, told_path(path)):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_server_that_starts_again_knows_its_answers_and_drops_a_row_that_was_never_finished(tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    house = keeping(path)
    answer_id = chat(app(house)).json["id"]
    house.kept.close()
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"id": "torn')
    house = keeping(path)
    assert path.read_bytes() == whole
    assert asked(app(house), "POST", "/v1/feedback", {"id": answer_id, "score": 1}).json["example"] is True
    house.kept.close()


def test_a_full_disk_leaves_no_torn_row_and_the_answer_still_goes_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.jsonl"
    house = keeping(path)
    lines: list[str] = []
    house.say = lines.append
    chat(app(house))
    before = path.read_bytes()
    write = os.write

    def full(file: int, data: bytes) -> int:
        write(file, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    assert chat(app(house)).status == 200
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert "No space left on device" in "".join(lines)
    assert house.metrics.not_kept == 1
    house.kept.close()


def test_files_that_are_no_place_to_keep_things_are_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open.jsonl"
    open_to_all.touch(0o644)
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "elsewhere.jsonl")
    other = tmp_path / "other.jsonl"
    other.write_text('{"input": "x"}\n')
    other.chmod(0o600)
    for path in (open_to_all, link, other, tmp_path, tmp_path / "missing" / "kept.jsonl"):
        with pytest.raises(InputError):
            Kept(path)


def test_a_private_file_whose_last_line_was_never_ended_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"precious": 1}')
    path.chmod(0o600)
    with pytest.raises(InputError, match="something else than kept answers"):
        Kept(path)
    assert path.read_text() == '{"precious": 1}'
    path.write_text('{"id": "a", "input": "x", "outp')  # a crash left this
    kept = Kept(path)
    assert path.read_text() == ""
    kept.close()


def test_two_servers_do_not_keep_answers_in_one_file(tmp_path: Path) -> None:
    first = Kept(tmp_path / "kept.jsonl")
    with pytest.raises(InputError, match="another server keeps its answers here"):
        Kept(tmp_path / "kept.jsonl")
    first.close()
    Kept(tmp_path / "kept.jsonl").close()


# ---------------------------------------------------------------- which model


def test_the_winner_of_a_run_or_a_rung_by_name_is_served(make_task: MakeTask) -> None:
    rows = [{"input": row["input"], "target": "amber" if i % 2 else "birch"} for i, row in enumerate(numbered_rows(80))]
    scripted = "scripted:base=0.1"
    task = make_task(rows, model=scripted, scorer="label", goal={"quality": 0.2})
    record = asyncio.run(climb(load_task(task), Climb(chosen_rungs(["guess"]), allow_simulated=True)))
    winner = open_winner(task)
    assert (winner.name, winner.rung) == ("toy", record.verdict.rung)
    assert winner.sample in {example.input for example in record.holdout}
    assert chat(app(house_of(winner.model))).status == 200
    for rung in ("../../x", "x", "/etc", "", "GUESS"):
        with pytest.raises(InputError, match="no model of rung") as caught:
            open_winner(task, rung or "\x00")
        assert "guess" in caught.value.hint
    assert open_winner(task, name="other").name == "other"
    with pytest.raises(InputError, match="so it needs a key"):
        start(task, None, None, Address("0.0.0.0", 0), (), Limits(), None, print)  # noqa: S104
