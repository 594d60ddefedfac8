"""Providers through any-llm: the real package, pointed at a server here that speaks Anthropic's API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from shouldtune.errors import CannotMeasure, InputError, ModelUnavailable
from shouldtune.models.any_llm import _keys, any_of
from shouldtune.models.open import open_model
from shouldtune.models.prices import id_of, listed_price
from shouldtune.models.retrying import CallPatience
from shouldtune.types import Completion, Message, Options

pytest.importorskip("any_llm", reason="the extra [providers] is not installed")
QUICK = CallPatience(first_wait_s=0.01, limit_s=10.0)
GOOD = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "model": "claude-1",
    "content": [{"type": "text", "text": "hello"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
KEY = "sk-ant-canary-1"
Reply = Callable[[int], web.StreamResponse]


def ask(reply: Reply, monkeypatch: pytest.MonkeyPatch, options: Options = Options()) -> tuple[Completion, list[Any]]:
    """(the answer, the bodies that the server saw)."""
    seen: list[Any] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.headers["x-api-key"] == KEY
        seen.append(await request.json())
        return reply(len(seen))

    async def go() -> Completion:
        app = web.Application()
        app.router.add_post("/v1/messages", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        monkeypatch.setenv("ANTHROPIC_BASE_URL", f"http://127.0.0.1:{runner.addresses[0][1]}")
        model = replace(open_model("any:anthropic/claude-1"), patience=QUICK)  # type: ignore[type-var]
        try:
            return await model.complete([Message("system", "s"), Message("user", "q")], options)
        finally:
            await model.aclose()  # type: ignore[attr-defined]
            await runner.cleanup()

    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    return asyncio.run(go()), seen


def says(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def error(kind: str, message: str = "no") -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def test_an_answer_comes_back_in_our_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    completion, seen = ask(lambda n: says(GOOD), monkeypatch, Options(max_tokens=9))
    assert (completion.text, completion.prompt_tokens, completion.completion_tokens) == ("hello", 7, 3)
    assert (completion.engine, completion.tokens_estimated, completion.failed) == ("claude-1", False, False)
    assert seen[-1]["max_tokens"] == 9 and seen[-1]["messages"] == [{"role": "user", "content": "q"}]
    assert "s" in json.dumps(seen[-1]["system"])


def test_only_our_own_retries_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    completion, seen = ask(lambda n: says(error("rate_limit_error"), 429, {"retry-after": "0"}), monkeypatch)
    assert (completion.failure, completion.cost_usd) == ("transient", 0.0)
    assert 4 <= len(seen) <= 6  # what the package itself does not take was left out first
    completion, seen = ask(lambda n: says(GOOD) if n > 2 else says(error("overloaded_error"), 529), monkeypatch)
    assert (completion.text, len(seen)) == ("hello", 3)


def test_what_cannot_succeed_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    completion, seen = ask(lambda n: says(error("invalid_request_error", "prompt is too long"), 400), monkeypatch)
    assert (completion.failure, len(seen)) == ("permanent", 1)
    with pytest.raises(CannotMeasure) as caught:
        ask(lambda n: says(error("authentication_error", f"invalid x-api-key {KEY}"), 401), monkeypatch)
    assert KEY not in str(caught.value) and "ANTHROPIC_API_KEY" in caught.value.hint


def test_no_redirect_is_followed_with_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    completion, seen = ask(lambda n: web.Response(status=307, headers={"Location": "/v1/messages?again"}), monkeypatch)
    assert completion.failed and len(seen) <= 3  # asked again by us at most, never at the other address


def test_ids_keys_and_packages_that_are_missing_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    for model_id in ("any:anthropic", "any:/x", "any:anthropic/"):
        with pytest.raises(InputError):
            open_model(model_id)
    for model_id in ("any:anthropic/claude-1", "any:nobody/x"):
        with pytest.raises(ModelUnavailable, match="cannot open"):
            open_model(model_id)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    assert id_of(open_model("any:anthropic/claude-1").spec()) == "any:anthropic/claude-1"
    assert listed_price("any:anthropic/claude-haiku-4-5") is not None
    assert listed_price("any:nobody/x") is None


def test_clients_that_close_at_once_are_closed_and_none_is_opened_to_be_closed() -> None:
    closed: list[str] = []
    model = any_of("any:gemini/g")
    asyncio.run(model.aclose())  # without a key: nothing was opened
    model.__dict__["_client"] = SimpleNamespace(client=SimpleNamespace(close=lambda: closed.append("closed")))
    asyncio.run(model.aclose())
    assert closed == ["closed"]


def test_both_keys_of_a_provider_with_two_are_known_and_the_time_for_a_call_is_the_users(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", "one-long-canary")
    monkeypatch.setenv("GOOGLE_API_KEY", "two-long-canary")
    assert _keys("GEMINI_API_KEY/GOOGLE_API_KEY") == ("one-long-canary", "two-long-canary")
    monkeypatch.setenv("SHOULDTUNE_TIMEOUT_S", "600")
    model = any_of("any:gemini/g")
    assert (model.timeout_s, model.patience.limit_s) == (600.0, 1500.0)
