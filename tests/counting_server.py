"""A chat server on the loopback interface that counts what it is asked and adds up the bill, whatever it tells."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from shouldtune.judgement import Price
from tests.loopback import ChatServer

Usage = Mapping[str, Any] | None


@dataclass
class CountingServer(ChatServer):
    """Answers are made from the question alone, so that two servers of one kind answer alike.

    Requests are told apart by their messages and how much may be answered.
    """

    answer: Callable[[str], str] = lambda question: "wrong"
    """From the last message to the answer."""
    usage: Callable[[int, int, int], Usage] = lambda read, written, cached: {
        "prompt_tokens": read,
        "completion_tokens": written,
        "prompt_tokens_details": {"cached_tokens": cached},
    }
    """What it tells of tokens, from what is true."""
    worst: bool = False
    """Whether every answer takes as many tokens as are allowed, and every byte is a token."""
    latency_s: float = 0.001
    tokens: list[tuple[int, int, int]] = field(default_factory=list)
    """(read, written, of the read ones cached) of every call, as billed."""

    @property
    def calls(self) -> int:
        return len(self.tokens)

    def billed(self, price: Price) -> float:
        """Dollars for every call that came, answered or not."""
        return sum(price.of(*each) or 0.0 for each in self.tokens)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json()
        text = self.answer(body["messages"][-1]["content"])
        size = sum(len(message["content"].encode()) for message in body["messages"])
        read, written, cached = size // 3, len(text) // 4 + 1, size // 6
        if self.worst:
            read, written, cached = size + 4 * len(body["messages"]), body["max_tokens"], 0
        said = [[message["role"], message["content"]] for message in body["messages"]]
        name = json.dumps({"messages": said, "max_tokens": body["max_tokens"]}, sort_keys=True)
        self.asked[hashlib.sha256(name.encode()).hexdigest()] += 1
        self.tokens.append((read, written, cached))
        with self.one_more():
            await asyncio.sleep(self.latency_s * (1 + self.calls % 5))
        reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "model": "m"}
        usage = self.usage(read, written, cached)
        return web.json_response(reply if usage is None else {**reply, "usage": usage})
