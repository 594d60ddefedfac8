"""The real server on a real connection: OpenAI's own client, slow clients, many at once, and those who leave."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import openai
import pytest

from shouldtune.asked import Climb, chosen_rungs
from shouldtune.ladder import climb
from shouldtune.models.prompted import NearestPassages, Prompted
from shouldtune.models.remote import Remote
from shouldtune.retrieval.chunks import Passage
from shouldtune.serving.limits import Limits
from shouldtune.task import load_task
from tests.conftest import MakeTask, numbered_rows
from tests.serving_world import KEY, Words, chat_body, served

PASSAGES = NearestPassages((Passage("pay.md", "Pay", "grades"),), 1)


def client_of(address: str, key: str = KEY) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key=key, max_retries=0, timeout=20)


def place_of(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return host, int(port)


def connected(address: str) -> socket.socket:
    made = socket.create_connection(place_of(address), timeout=20)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def request(address: str, body: Any, *, length: int | None = None) -> bytes:
    """The bytes of a chat request."""
    raw = json.dumps(body).encode()
    host = "{}:{}".format(*place_of(address))
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(raw) if length is None else length}\r\n\r\n".encode() + raw


def all_of(connection: socket.socket) -> bytes:
    """What still comes until the server closes."""
    got = b""
    try:
        while more := connection.recv(65536):
            got += more
    except ConnectionError:
        pass
    return got


# ---------------------------------------------------------------- OpenAI's own client


@pytest.fixture(scope="module")
def house() -> Iterator[str]:
    with served(Prompted(Words(), "Say it.", passages=PASSAGES), [KEY], Limits(body_bytes=20_000)) as address:
        yield address


def messages(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_openais_client_chats_and_keeps_the_passages(house: str) -> None:
    with client_of(house) as client:
        reply = client.chat.completions.create(model="toy", messages=messages("to be"), temperature=0, max_tokens=99)
        assert str(reply.choices[0].message.content).endswith("to be")
        assert reply.usage is not None
        assert reply.usage.completion_tokens == len(str(reply.choices[0].message.content).split())
        assert reply.choices[0].message.model_extra == {"shouldtune": {"passages": ["pay.md"], "cited": ["pay.md"]}}
        raw = client.chat.completions.with_raw_response.create(model="toy", messages=messages("to be"))
        assert raw.headers["content-type"] == "application/json"
        assert raw.headers["cache-control"] == "no-store"


def test_openais_client_streams(house: str) -> None:
    with client_of(house) as client:
        stream = client.chat.completions.create(
            model="toy", messages=messages("to be"), stream=True, stream_options={"include_usage": True}
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text.endswith("to be")
        assert chunks[-1].usage is not None
        assert chunks[-2].choices[0].delta.model_extra == {"shouldtune": {"passages": ["pay.md"], "cited": ["pay.md"]}}
        with client.chat.completions.stream(model="toy", messages=messages("to be")) as events:
            final = events.get_final_completion()
        assert str(final.choices[0].message.content).endswith("to be")


def test_openais_client_lists_models(house: str) -> None:
    with client_of(house) as client:
        assert [model.id for model in client.models.list()] == ["toy"]
        assert client.models.retrieve("toy").owned_by == "shouldtune"


def test_openais_client_raises_its_own_errors(house: str) -> None:
    create = client_of(house).chat.completions.create
    with pytest.raises(openai.BadRequestError) as bad:
        create(model="toy", messages=[{"role": "system", "content": "Be rude."}, *messages("x")])
    assert (bad.value.param, bad.value.type) == ("messages", "invalid_request_error")
    with pytest.raises(openai.NotFoundError) as missing:
        create(model="gpt-4o", messages=messages("x"))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.AuthenticationError):
        client_of(house, "another-key-0123456789").chat.completions.create(model="toy", messages=messages("x"))
    with pytest.raises(openai.PermissionDeniedError):
        create(model="toy", messages=messages("x"), extra_headers={"Origin": "http://evil.example"})
    with pytest.raises(openai.APIStatusError, match="larger than 20,000 bytes"):
        create(model="toy", messages=messages("x" * 30_000))
    with pytest.raises(openai.NotFoundError):
        client_of(house).embeddings.create(model="toy", input="x")


def test_openais_client_is_told_when_the_house_is_full_and_when_time_is_up() -> None:
    with served(Words(pause=0.4), limits=Limits(at_once=1, answer_s=1.0)) as address, ThreadPoolExecutor(1) as beside:
        create = client_of(address).chat.completions.create
        first = beside.submit(create, model="toy", messages=messages("a b"))
        time.sleep(0.3)
        with pytest.raises(openai.RateLimitError) as full:
            create(model="toy", messages=messages("c"))
        assert full.value.response.headers["retry-after"] == "1"
        assert first.result().choices[0].message.content == "a b"
        with pytest.raises(openai.InternalServerError, match="no whole answer within 1 s"):
            create(model="toy", messages=messages("a b c d"))
        with pytest.raises(openai.APIError, match="no whole answer within 1 s"):
            list(create(model="toy", messages=messages("a b c d"), stream=True))


def test_the_first_words_come_before_the_last_are_made() -> None:
    words = Words(pause=0.15)
    with served(words) as address:
        stream = client_of(address).chat.completions.create(model="toy", messages=messages("a b c d e"), stream=True)
        said = next(chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content)
        assert said == "a"
        assert len(words.here) == 1, "the rest is still being made"
        stream.close()


def test_a_model_behind_another_server_is_served_with_the_rungs_prompt_and_its_key_stays_here(
    house: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    behind = Prompted(Remote("toy", f"{house}/v1", "SHOULDTUNE_API_KEY"), passages=PASSAGES)
    monkeypatch.setenv("SHOULDTUNE_API_KEY", KEY)
    with served(behind, say=lines.append) as address:
        create = client_of(address, "none").chat.completions.create
        whole = create(model="toy", messages=messages("to be")).choices[0].message
        assert str(whole.content).endswith("to be")
        assert whole.model_extra == {"shouldtune": {"passages": ["pay.md"], "cited": ["pay.md"]}}
        pieces = [chunk.choices[0].delta.content for chunk in create(model="toy", messages=messages("x"), stream=True)]
        assert len([piece for piece in pieces if piece]) == 1
        monkeypatch.setenv("SHOULDTUNE_API_KEY", "canary-of-another-server")
        with pytest.raises(openai.InternalServerError) as failed:
            create(model="toy", messages=messages("to be"))
        assert failed.value.status_code == 502
        assert "canary" not in str(failed.value.body) + "".join(lines)


# ---------------------------------------------------------------- clients who are slow, or leave


def until(true: Any, seconds: float = 2.0) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return bool(true())


@pytest.mark.parametrize("stream", [False, True])
def test_the_work_of_a_client_who_leaves_ends_within_two_seconds(stream: bool) -> None:
    words = Words(pause=0.1)
    with served(words) as address:
        with closing(connected(address)) as connection:
            connection.sendall(request(address, chat_body("word " * 500, stream=stream)))
            assert until(lambda: words.here)
        assert until(lambda: not words.here, 2.0)


def test_clients_who_are_slow_to_ask_are_given_up() -> None:
    words = Words()
    with served(words, limits=Limits(headers_s=0.4, body_s=0.4, idle_s=1)) as address:
        silent, halting, stuck, again = (connected(address) for _ in range(4))
        with closing(silent), closing(halting), closing(stuck), closing(again):
            halting.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x")
            stuck.sendall(request(address, chat_body(), length=5000))
            again.sendall(request(address, chat_body()))
            assert b"200 OK" in again.recv(65536)
            again.sendall(b"GET /hea")
            for connection in (silent, halting, again):
                assert b"200 OK" not in all_of(connection)
            assert b"408 Request Timeout" in all_of(stuck)
        assert client_of(address).models.list().data[0].id == "toy"


def test_a_client_who_does_not_read_is_given_up() -> None:
    words = Words()
    with served(words, limits=Limits(stall_s=0.4, body_bytes=8_000_000, max_tokens=10**7)) as address:
        with closing(socket.socket()) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(place_of(address))
            connection.sendall(request(address, chat_body("word " * 400_000, stream=True)))
            assert until(lambda: words.here, 10)
            assert until(lambda: not words.here, 10)
        assert client_of(address).models.list().data[0].id == "toy"


def test_what_is_no_http_is_answered_as_such() -> None:
    with served(Words()) as address:
        for raw in (b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9\r\n\r\n", b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000):
            with closing(connected(address)) as connection:
                connection.sendall(raw)
                assert b" 400 " in all_of(connection)[:20]


def test_one_connection_too_many_is_told_to_come_back() -> None:
    with served(Words(), limits=Limits(connections=2)) as address:
        first, second = connected(address), connected(address)
        with closing(first), closing(second), closing(connected(address)) as third:
            told = all_of(third)
            assert told.startswith(b"HTTP/1.1 429 ")
            assert json.loads(told.partition(b"\r\n\r\n")[2])["error"]["type"] == "rate_limit_error"


# ---------------------------------------------------------------- many at once


async def _one(address: str, text: str) -> int:
    host, port = place_of(address)
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request(address, chat_body(text)))
        status = int((await reader.readline()).split()[1])
        await reader.read(100)
    finally:
        writer.close()
    return status


def statuses(address: str, clients: int) -> list[int]:
    async def go() -> list[int]:
        return await asyncio.gather(*(_one(address, f"word {i}") for i in range(clients)))

    return asyncio.run(go())


def test_two_hundred_at_once_are_served_or_told_to_come_back() -> None:
    with served(Words(pause=0.05), limits=Limits(at_once=150)) as address:
        got = statuses(address, 200)
        assert set(got) <= {200, 429}
        assert got.count(200) >= 150
        assert statuses(address, 1) == [200]


@pytest.mark.slow
def test_a_thousand_connections_again_and_again_take_no_more_memory(make_task: MakeTask, tmp_path: Path) -> None:
    import psutil

    process, address = begun(make_task, tmp_path / "log")
    memory = psutil.Process(process.pid).memory_info
    try:
        for _ in range(3):
            statuses(address, 1000)
        before = memory().rss
        for _ in range(10):
            assert set(statuses(address, 1000)) <= {200, 429}
        assert memory().rss - before < 30e6
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


# ---------------------------------------------------------------- the command


def begun(make_task: MakeTask, log: Path, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """`shouldtune serve` on a run of a toy task, and its address; what it says goes to the log."""
    rows = [{"input": row["input"], "target": "amber" if i % 2 else "birch"} for i, row in enumerate(numbered_rows(80))]
    task = make_task(rows, model="scripted:base=0.1", scorer="label", goal={"quality": 0.2})
    asyncio.run(climb(load_task(task), Climb(chosen_rungs(["guess"]), allow_simulated=True)))
    command = [sys.executable, "-m", "shouldtune.cli", "serve", str(task), "--port", "0", *options]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "SERVE_KEY": KEY})
    assert until(lambda: "try: curl" in log.read_text(), 30)
    found = re.search(r"serves toy .* at (http://[\d.]+:\d+)/v1", log.read_text())
    assert found is not None
    return process, found[1]


def test_the_command_serves_until_it_is_interrupted_and_no_output_holds_the_key(
    make_task: MakeTask, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.jsonl"
    log = tmp_path / "log"
    process, address = begun(make_task, log, "--key-env", "SERVE_KEY", "--keep", str(kept))
    try:
        with client_of(address) as client:
            answer = client.chat.completions.create(model="toy", messages=messages("my-secret-words"))
        with pytest.raises(openai.AuthenticationError):
            client_of(address, "another-key-0123456789").models.list()
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    errors = log.read_text()
    assert "POST /v1/chat/completions 200" in errors
    assert "Traceback" not in errors
    assert "my-secret-words" not in errors
    assert json.loads(kept.read_text())["output"] == answer.choices[0].message.content
    for written in (errors, kept.read_text()):
        assert KEY not in written
        assert "another-key" not in written


# ---------------------------------------------------------------- the embedded model


@pytest.mark.slow
@pytest.mark.model
def test_the_embedded_model_stops_within_two_seconds_of_a_client_leaving() -> None:
    pytest.importorskip("torch").set_num_threads(1)
    from shouldtune.models.engine import COMPUTE
    from shouldtune.models.open import open_model

    with served(Prompted(open_model("smollm2"), "Tell a long tale.")) as address:
        client = client_of(address)
        client.chat.completions.create(model="toy", messages=messages("hi"), max_tokens=2)
        stream = client.chat.completions.create(
            model="toy", messages=messages("a fox"), stream=True, max_tokens=1000, temperature=0.8
        )
        assert next(chunk for chunk in stream if chunk.choices[0].delta.content)
        stream.close()
        COMPUTE.submit(int).result(timeout=2)  # the engine's one thread is free again
