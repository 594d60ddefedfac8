"""The client for OpenAI-compatible servers, against a real server on the loopback interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shouldtune.errors import CannotMeasure, InputError
from shouldtune.measure import measure
from shouldtune.models.doubles import Scripted
from shouldtune.models.open import open_fitted, open_model, save_fitted
from shouldtune.models.remote import Remote, open_remote
from shouldtune.models.replies import read_reply, without_keys
from shouldtune.models.retrying import CallPatience
from shouldtune.models.tool_calling import ToolCalling, read_offer
from shouldtune.rungs.native_tools import NativeTools
from shouldtune.scorers.function_call import function_call
from shouldtune.types import Completion, Example, Fitted, Message, Models, Options, Skipped, Task

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
GOOD = {
    "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    "model": "m-1",
}


def ask(handler: Handler, options: Options = Options(), *, timeout_s: float = 5.0, path: str = "/v1") -> Completion:
    """Serve `handler`, ask it one question, and stop."""

    async def go() -> Completion:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        quick = CallPatience(attempts=2, first_wait_s=0.01)
        model = Remote("m", f"http://127.0.0.1:{port}{path}", "SHOULDTUNE_API_KEY", timeout_s, patience=quick)
        try:
            return await model.complete([Message("system", "s"), Message("user", "q")], options)
        finally:
            await model.aclose()
            await runner.cleanup()

    return asyncio.run(go())


def answering(body: Any, status: int = 200) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=body if isinstance(body, str) else json.dumps(body), status=status)

    return handler


def test_an_answer_comes_back_with_its_usage() -> None:
    completion = ask(answering(GOOD))
    assert (completion.text, completion.prompt_tokens, completion.completion_tokens) == ("hello", 5, 2)
    assert completion.engine == "m-1"
    assert completion.cost_usd is None
    assert completion.latency_s is not None and completion.latency_s > 0


def test_cached_tokens_are_read_where_a_server_tells_them() -> None:
    def cached(details: Any) -> int | None:
        return ask(answering({**GOOD, "usage": {**GOOD["usage"], "prompt_tokens_details": details}})).cached_tokens

    assert cached({"cached_tokens": 4}) == 4
    assert cached({"cached_tokens": 0}) == 0
    assert [cached(strange) for strange in (None, {}, [], {"cached_tokens": -1}, {"cached_tokens": "4"})] == [None] * 5
    assert ask(answering(GOOD)).cached_tokens is None


def test_a_refusal_costs_nothing_and_what_a_lost_call_costs_is_not_known() -> None:
    assert ask(answering({"error": "slow down"}, 429)).cost_usd == 0.0
    assert ask(answering("not json")).cost_usd is None


def test_the_request_carries_messages_options_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_API_KEY", "sk-secret")
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        seen.update(await request.json(), key=request.headers.get("Authorization"))
        return web.json_response(
            {**GOOD, "choices": [{"message": {"content": '{"label": "b"}'}, "finish_reason": "stop"}]}
        )

    completion = ask(handler, Options(max_tokens=7, seed=3, stop=("x",), choices=("a", "b")))
    assert completion.text == "b"
    assert seen["key"] == "Bearer sk-secret"
    assert seen["messages"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    assert (seen["max_tokens"], seen["seed"], seen["stop"]) == (7, 3, ["x"])
    assert seen["response_format"]["json_schema"]["schema"]["properties"]["label"]["enum"] == ["a", "b"]
    assert "sk-secret" not in json.dumps(Remote("m", "http://h/v1", "SHOULDTUNE_API_KEY").spec())


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"error": {"message": "slow down"}}, 429, "429"),
        ("oops", 500, "500"),
        ({"error": {"message": "inside"}}, 200, "inside a 200"),
        ("not json", 200, "not a chat completion"),
        ({"choices": []}, 200, "not a chat completion"),
        ({"choices": [{"message": {"content": None}}]}, 200, "no text"),
        ("[" * 100_000, 200, "not a chat completion"),
    ],
)
def test_what_goes_wrong_is_a_failed_completion_that_says_so(body: Any, status: int, says: str) -> None:
    completion = ask(answering(body, status))
    assert completion.failed
    assert completion.error is not None and says in completion.error
    assert completion.finish_reason == "error"


@pytest.mark.parametrize("message", [None, "hello", 1, {"tool_calls": [{"function": None}]}, {"tool_calls": ["f"]}])
def test_a_message_of_another_shape_is_a_failed_call_where_tools_were_offered(message: Any) -> None:
    tools = Options(tools=({"type": "function", "function": {"name": "f"}},))
    completion = ask(answering({"choices": [{"message": message}]}), tools)
    assert completion.error is not None and "not a chat completion" in completion.error


def test_a_slow_server_is_a_failed_call() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(2)
        return web.json_response(GOOD)

    completion = ask(handler, timeout_s=0.2)
    assert completion.error == "no answer within 0.2 s"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refused_key_or_unknown_model_ends_the_run(status: int) -> None:
    with pytest.raises(CannotMeasure, match=str(status)):
        ask(answering({"error": "no"}, status))


def test_a_redirect_is_not_followed() -> None:
    async def handler(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("http://169.254.169.254/latest")

    assert "307" in str(ask(handler).error)


def test_a_truncated_answer_says_so() -> None:
    body = {**GOOD, "choices": [{"message": {"content": "hel"}, "finish_reason": "length"}]}
    assert ask(answering(body)).finish_reason == "length"


def test_a_host_that_is_not_there_ends_the_run_with_a_hint() -> None:
    model = Remote("m", "http://127.0.0.1:9/v1")

    async def go() -> None:
        try:
            await model.complete([Message("user", "q")])
        finally:
            await model.aclose()

    with pytest.raises(CannotMeasure, match="cannot reach") as caught:
        asyncio.run(go())
    assert caught.value.hint


def test_ids_are_understood_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_remote("http://h:1/v1#name").name == "name"
    with pytest.raises(InputError, match="names no model"):
        open_remote("http://h:1/v1")
    with pytest.raises(CannotMeasure, match="OPENAI_API_KEY"):
        open_model("openai:gpt-5-mini")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    assert open_remote("openai:gpt-5-mini").base_url == "https://api.openai.com/v1"
    with pytest.raises(InputError, match="names no model"):
        open_model("gpt-5")


# ---------------------------------------------------------------- tools

OFFER = {
    "messages": [{"role": "user", "content": "How far is the moon?"}],
    "functions": [
        {
            "name": "space.distance",
            "description": "Distance between two bodies.",
            "parameters": {
                "type": "dict",
                "properties": {"a": {"type": "string"}, "type": {"type": "float"}, "c": {"type": "any"}},
                "required": ["a"],
            },
        }
    ],
}


def test_functions_in_an_input_are_sent_as_tools_and_calls_come_back_as_json() -> None:
    seen: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(await request.json())
        call = {"function": {"name": "space_distance", "arguments": '{"a": "moon"}'}}
        return web.json_response({"choices": [{"message": {"content": None, "tool_calls": [call]}}]})

    tools = read_offer(json.dumps(OFFER))
    assert tools is not None
    completion = ask(handler, Options(tools=tools[1]))
    assert json.loads(completion.text) == {"calls": [{"name": "space_distance", "arguments": {"a": "moon"}}]}
    function = seen[0]["tools"][0]["function"]
    assert function["name"] == "space_distance"
    assert function["parameters"] == {
        "type": "object",
        "properties": {"a": {"type": "string"}, "type": {"type": "number"}, "c": {}},
        "required": ["a"],
    }


def test_a_description_of_parameters_comes_out_as_json_schema() -> None:
    from jsonschema import Draft202012Validator

    parameters = {
        "type": "dict",
        "properties": {
            "since": {"anyOf": [{"type": "str"}, {"enum": [1, "dict"]}], "default": {}},
            "kind": {"type": ["str", "null"], "const": {"type": "int"}},
            "default": {"type": "float"},
            "names": {"type": "tuple", "items": {}},
        },
    }
    offer = read_offer(json.dumps({**OFFER, "functions": [{"name": "f", "parameters": parameters}]}))
    assert offer is not None
    made = offer.tools[0]["function"]["parameters"]
    Draft202012Validator.check_schema(made)
    assert made["type"] == "object"
    assert made["properties"] == {
        "since": {"anyOf": [{"type": "string"}, {"enum": [1, "dict"]}], "default": {}},
        "kind": {"type": ["string", "null"], "const": {"type": "int"}},
        "default": {"type": "number"},
        "names": {"type": "array", "items": {}},
    }


def test_calls_come_back_under_the_names_that_the_input_offers() -> None:
    functions = [{"name": name} for name in ("a.b", "a_b", "plain", "x" * 70, "x" * 80)]
    offered = json.dumps({**OFFER, "functions": functions})
    asked: list[str] = []

    class Calls:
        async def complete(self, messages: Any, options: Options = Options()) -> Completion:
            asked.extend(tool["function"]["name"] for tool in options.tools)
            return Completion(json.dumps({"calls": [{"name": name, "arguments": {}} for name in asked]}))

        def spec(self) -> dict[str, Any]:
            return {}

    answer = asyncio.run(ToolCalling(Calls()).complete([Message("user", offered)]))
    assert asked == ["a_b", "a_b_2", "plain", "x" * 64, "x" * 62 + "_2"]
    assert [call["name"] for call in json.loads(answer.text)["calls"]] == [f["name"] for f in functions]


def test_words_without_a_call_are_the_answer_and_broken_arguments_are_kept() -> None:
    tools = Options(tools=({"type": "function", "function": {"name": "f"}},))
    assert ask(answering({"choices": [{"message": {"content": "no function fits"}}]}), tools).text == "no function fits"
    broken = {"choices": [{"message": {"tool_calls": [{"function": {"name": "f", "arguments": "{a:"}}]}}]}
    assert json.loads(ask(answering(broken), tools).text)["calls"][0]["arguments"] == "{a:"
    assert ask(answering({"choices": [{"message": {"tool_calls": [{}]}}]}), tools).failed


@pytest.mark.parametrize("text", ["hello", "[]", "{}", '{"messages": [], "functions": []}', '{"functions": [1]}'])
def test_an_input_of_another_form_offers_nothing(text: str) -> None:
    assert read_offer(text) is None


def test_the_rung_of_tools_is_chosen_scored_and_opened_again(tmp_path: Path) -> None:
    rows = [
        Example(f"e{i}", json.dumps({**OFFER, "messages": [{"role": "user", "content": f"body {i}"}]}), target)
        for i in range(40)
        for target in [json.dumps({"calls": [{"name": "space.distance", "arguments": {"a": f"body {i}"}}]})]
    ]

    async def handler(request: web.Request) -> web.Response:
        body = await request.json()
        told = json.dumps({"a": body["messages"][-1]["content"]})
        name = "space_distance" if body["messages"][0]["role"] == "user" else "another"  # the instruction confuses it
        return web.json_response(
            {"choices": [{"message": {"tool_calls": [{"function": {"name": name, "arguments": told}}]}}]}
        )

    async def go() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        model = Remote("m", f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        try:
            task = Task("t", "Answer with JSON.", tuple(rows), function_call)
            fitted = await NativeTools().fit(task, Models(model))
            assert isinstance(fitted, Fitted)
            assert fitted.notes == ("without the instruction",)
            assert [trial.score for trial in fitted.trials] == [1.0, 0.0]
            save_fitted(fitted.model, tmp_path)
            again = open_fitted(tmp_path)
            assert again.spec() == fitted.model.spec()
            predictions = await measure(again, rows[:4], function_call)
            assert [p.score.value for p in predictions if p.score] == [1.0] * 4
            await again.model.aclose()  # type: ignore[attr-defined]
        finally:
            await model.aclose()
            await runner.cleanup()

    asyncio.run(go())


def test_a_model_here_and_inputs_without_functions_skip_the_rung_of_tools() -> None:
    plain = Task("t", "i", (Example("e", "q", "a"),), function_call)
    offering = Task("t", "i", (Example("e", json.dumps(OFFER), "a"),), function_call)
    for task in (plain, offering):
        assert isinstance(asyncio.run(NativeTools().fit(task, Models(Scripted({})))), Skipped)


def test_half_of_a_pair_of_characters_in_a_reply_can_be_written_and_a_key_in_its_escapes_is_hidden() -> None:
    choice = {"message": {"content": "half \ud83d"}, "finish_reason": "stop"}
    said = read_reply(json.dumps({"choices": [choice], "model": "\ud83d"}), 0.1, [], Options())
    assert (said.text, said.engine) == ("half ?", "?")
    wrong = read_reply(json.dumps({"error": "no: \ud83d sk-a-long-canary"}), 0.1, [], Options())
    assert without_keys(wrong, "sk-a-long-canary").error == "an error inside a 200: no: ? [key]"
