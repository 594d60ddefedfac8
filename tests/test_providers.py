"""Where models are asked, and with which key: only at the address that the user wrote, and no key anywhere else."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import CannotMeasure, InputError, ShouldTuneError
from shouldtune.models.api_keys import HIDDEN, hide, key_of, load_env_file, read_env_file
from shouldtune.models.ledger import Ledger
from shouldtune.models.ledgered import Ledgered
from shouldtune.models.open import open_fitted, open_model
from shouldtune.models.prices import id_of, listed_price
from shouldtune.models.providers import PROVIDERS, address_of, checked_url, is_remote
from shouldtune.models.remote import Remote, open_remote, remote_of
from shouldtune.models.retrying import CallPatience
from shouldtune.task import load_task
from shouldtune.types import Completion, Message, ModelSpec, Options
from tests.conftest import MakeTask, numbered_rows
from tests.faulty_server import FaultyServer
from tests.test_cli import in_its_own_process, shouldtune

CANARY = "sk-canary/8f3a+Zq"
ONCE = CallPatience(attempts=2, first_wait_s=0.001, limit_s=5.0)


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize("provider", [p for p in PROVIDERS if p.base_url], ids=lambda p: p.prefix)
def test_a_prefix_names_an_address_and_a_key(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model_id = f"{provider.prefix}:vendor/name:free"
    address = address_of(model_id)
    assert (address.name, address.base_url, address.key_variable) == (
        "vendor/name:free",
        provider.base_url,
        provider.key_variable,
    )
    assert is_remote(model_id) and checked_url(provider.base_url) == provider.base_url
    assert id_of(remote_of(model_id).spec()) == model_id
    if provider.needs_key:
        monkeypatch.delenv(provider.key_variable, raising=False)
        with pytest.raises(CannotMeasure, match=provider.key_variable):
            open_model(model_id)
        monkeypatch.setenv(provider.key_variable, "k")
    assert open_remote(model_id).base_url == provider.base_url


def test_azure_is_where_its_endpoint_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_OPENAI_ENDPOINT", raising=False)
    with pytest.raises(CannotMeasure, match="AZURE_OPENAI_ENDPOINT"):
        address_of("azure:gpt")
    assert listed_price("azure:gpt") is None
    for endpoint in (
        "https://me.openai.azure.com",
        "https://me.openai.azure.com/",
        "https://me.openai.azure.com/openai/v1/",
    ):
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", endpoint)
        assert address_of("azure:gpt").base_url == "https://me.openai.azure.com/openai/v1"


def tricks() -> list[str]:
    """Addresses that two readers may take for different ones, or that no model server has."""
    hosts = [
        "good.example@evil.example",
        "user:pass@evil.example",
        "good.example%40evil.example",
        "good.example\\@evil.example",
        "evil.example\\.good.example",
        "good.example\t.evil.example",
        "good.example\r\nX: y",
        "good.example evil.example",
        "evil。example",
        "еvil.example",
        "ⓔvil.example",
        "evil.example\u200b",
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "metadata.google.internal",
        "METADATA.google.internal.",
        "100.100.100.200",
        "168.63.129.16",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "0xa9.0xfe.0xa9.0xfe",
        "169.254.43518",
        "127.1",
        "1.2.3.4.5",
        "224.0.0.1",
        "",
        "..",
    ]
    places = ["/v1", "/v1/", ":80/v1", ":80", ""]
    found = [f"{scheme}://{host}{place}" for host in hosts for place in places for scheme in ("http", "https")]
    paths = ["/../v1", "/v1/..", "/v1/./x", "//evil.example/v1", "/v1//x", "/v1?key=x", "/v1;x", "/%2e%2e/v1", "/v1%00"]
    found += [f"http://good.example{path}" for path in paths]
    found += [f"http://good.example:{port}/v1" for port in ("0", "65536", "99999", "-1", "8x", "٣")]
    found += [
        f"{s}good.example/v1" for s in ("ftp://", "file:///", "http:", "http:/", "http:///", "HTTP://", "javascript:")
    ]
    return found


def test_an_address_that_could_be_read_in_two_ways_is_refused() -> None:
    assert len(tricks()) >= 300
    for url in tricks():
        with pytest.raises(ShouldTuneError):
            checked_url(url)
        with pytest.raises(ShouldTuneError):
            open_model(f"{url}#m")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:11434/v1",
        "https://me.openai.azure.com/openai/v1",
        "http://[::1]:8080/v1",
        "http://10.0.0.5/v1",
        "https://gateway.example/v1/account-1/team_2/openai",
        "http://gpu-box:8000",
    ],
)
def test_an_ordinary_address_is_called_as_it_stands(url: str) -> None:
    from yarl import URL

    assert checked_url(url) == url
    assert str(URL(f"{url}/chat/completions", encoded=True)) == f"{url}/chat/completions"


def ask(server: FaultyServer, **changes: Any) -> Completion:
    async def go() -> Completion:
        model = replace(open_remote(server.model_id), patience=ONCE, **changes)
        try:
            return await model.complete([Message("user", "q")])
        finally:
            await model.aclose()

    with server.running():
        return asyncio.run(go())


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest", "http://127.0.0.1:9/x", "//evil.example", "/v1/other"]
)
def test_no_redirect_is_followed(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_API_KEY", CANARY)
    server = FaultyServer(first=("redirect",), location=place)
    completion = ask(server)
    assert (completion.failure, len(server.came)) == ("permanent", 1)
    assert completion.error is not None and "307" in completion.error


def test_a_saved_model_cannot_have_a_key_sent_elsewhere(tmp_path: Path) -> None:
    for key, url in (("OPENAI_API_KEY", "https://evil.example/v1"), ("PATH", "https://evil.example/v1")):
        spec = {"kind": "remote", "name": "m", "base_url": url, "key_variable": key}
        (tmp_path / "model.json").write_text(json.dumps(spec))
        with pytest.raises(InputError, match="not sent"):
            open_fitted(tmp_path)


# ---------------------------------------------------------------- keys


def test_a_file_of_keys_is_read_line_by_line_and_its_errors_repeat_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.env"
    file.write_text("# mine\n\nexport A_KEY='one two'\nB_KEY = two=2 \nC_KEY=\"#3\"\nD_KEY=\n")
    assert read_env_file(file) == {"A_KEY": "one two", "B_KEY": "two=2", "C_KEY": "#3", "D_KEY": ""}
    monkeypatch.setenv("B_KEY", "mine")
    for name in ("A_KEY", "C_KEY", "D_KEY"):
        monkeypatch.delenv(name, raising=False)
    load_env_file(file)
    assert (os.environ.pop("A_KEY"), os.environ["B_KEY"]) == ("one two", "mine")
    for name in ("C_KEY", "D_KEY"):
        del os.environ[name]
    file.write_text(f"A=1\n{CANARY}\n")
    with pytest.raises(InputError) as caught:
        read_env_file(file)
    assert str(caught.value).startswith(f"{file}:2") and CANARY not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_env_file(tmp_path / "none")


def test_a_key_that_can_be_none_is_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for odd in ("a\nb", "two words", "schlüssel", "a\tb"):
        monkeypatch.setenv("SHOULDTUNE_API_KEY", odd)
        with pytest.raises(InputError) as caught:
            key_of("SHOULDTUNE_API_KEY")
        assert odd not in str(caught.value)


def test_every_form_of_a_key_is_hidden() -> None:
    forms = [CANARY, json.dumps(CANARY), base64.b64encode(CANARY.encode()).decode(), CANARY.encode().hex()]
    for form in [*forms, f"https://h?key={CANARY}", json.dumps({"Authorization": f"Bearer {CANARY}"})]:
        assert CANARY not in hide(form, CANARY) and HIDDEN in hide(form, CANARY)
    assert hide("text", "") == hide("text", "t") == "text"


def test_a_key_that_a_server_sends_back_is_in_no_answer_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_API_KEY", CANARY)
    echoed = f"{'x' * 190} Incorrect API key provided: {CANARY}"  # cut at 200 characters, in the middle of the key
    for fault in ("429", "500", "error_in_200", ""):
        server = FaultyServer(faults={fault: 1.0}, error=echoed, answer=lambda body: echoed)
        completion = ask(server)
        assert CANARY[:6] not in repr(completion), fault
    with pytest.raises(CannotMeasure) as caught:
        ask(FaultyServer(faults={"401": 1.0}, error=echoed))
    assert CANARY[:6] not in repr(caught.value) + str(caught.value) + caught.value.hint
    assert CANARY not in repr(open_remote("http://h/v1#m")) + repr(vars(open_remote("http://h/v1#m")))


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("401", 4),
        ("mixed", 0),
        *(pytest.param(f, 0, marks=pytest.mark.slow) for f in ("429", "500", "timeout", "lost")),
    ],
)
def test_no_key_is_in_what_a_run_prints_or_writes(fault: str, code: int, make_task: MakeTask, tmp_path: Path) -> None:
    keys = tmp_path / "keys.env"
    keys.write_text(f"SHOULDTUNE_API_KEY={CANARY}\nSHOULDTUNE_TIMEOUT_S=1\n")
    mixed = {"429": 0.02, "malformed": 0.1, "error_in_200": 0.1, "truncated": 0.1, "redirect": 0.1}
    server = FaultyServer(
        faults=mixed if fault == "mixed" else {fault: 1.0 if code else 0.2},
        error={"message": f"key {CANARY} of Bearer {CANARY}"},
        location=f"http://127.0.0.1:9/{CANARY}",
        answer=lambda body: f"I was sent {CANARY}",
    )
    with server.running():
        folder = make_task(numbered_rows(60), model=server.model_id, tune=None, probes=False)
        done = shouldtune("run", folder, "--rungs", "zero_shot", "--env-file", keys)
    assert done.returncode == code, done.stderr
    assert {said.get("Authorization") for said in server.headers} == {f"Bearer {CANARY}"}
    seen = done.stdout + done.stderr
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert CANARY not in seen and not any(CANARY.encode() in text for text in written)
    assert code or len(written) > 3


def test_a_key_in_an_address_is_refused_before_anything_is_written(make_task: MakeTask) -> None:
    for model in (f"http://me:{CANARY}@127.0.0.1:9/v1#m", f"http://127.0.0.1:9/v1?key={CANARY}#m"):
        folder = make_task(numbered_rows(60), model=model, tune=None)
        done = shouldtune("run", folder)
        assert done.returncode == 2
        assert CANARY not in done.stdout + done.stderr
        assert not (folder / "runs").exists()


def test_a_bug_keeps_its_traceback_and_no_key_is_in_it(make_task: MakeTask, tmp_path: Path) -> None:
    keys = tmp_path / "keys.env"
    keys.write_text(f"SHOULDTUNE_API_KEY={CANARY}\n")
    with FaultyServer().running() as server:
        folder = make_task(numbered_rows(60), model=server.model_id, tune=None, scorer="mine.py:score", probes=False)
        (folder / "mine.py").write_text("def score(completion, example):\n    raise RuntimeError('a bug of mine')\n")
        done = in_its_own_process("run", folder, "--rungs", "zero_shot", "--env-file", keys)
    assert "a bug of mine" in done.stderr
    assert done.returncode != 0
    assert CANARY not in done.stdout + done.stderr


# ---------------------------------------------------------------- the ledger's key


def changed(rng: random.Random) -> tuple[ModelSpec, list[Message], Options]:
    """A request in which one field differs from the usual one."""
    model = Remote("m", "http://h/v1", "SHOULDTUNE_API_KEY")
    messages, options = [Message("system", "s"), Message("user", "q")], Options()
    word = f"{rng.getrandbits(60):x}"
    kind = rng.randrange(12)
    if kind == 0:
        model = replace(model, name=f"m{word}")
    elif kind == 1:
        model = replace(model, base_url=f"http://h{word}/v1")
    elif kind == 2:
        model = replace(model, key_variable=f"K{word}")
    elif kind == 3:
        messages[1] = Message("user", f"q{word}")
    elif kind == 4:
        messages[0] = Message("system", f"s{word}")
    elif kind == 5:
        messages.insert(1, Message("assistant", word))
    else:
        number = rng.getrandbits(60)
        fields: list[dict[str, Any]] = [
            {"max_tokens": 257 + number},
            {"temperature": 1e-9 + number / 2**60},
            {"seed": 1 + number},
            {"stop": (word,)},
            {"choices": (word, "b")},
            {"schema": {"type": "object", "required": [word]}},
        ]
        options = replace(options, **fields[kind - 6])
    return model.spec(), messages, options


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_another_request_never_finds_the_answer_to_this_one(n: int, tmp_path: Path) -> None:
    class Numbered:
        """Says how often it was asked."""

        asked = 0

        def __init__(self, spec: ModelSpec) -> None:
            self.told = spec

        async def complete(self, messages: Any, options: Options = Options()) -> Completion:
            Numbered.asked += 1
            return Completion(str(Numbered.asked), cost_usd=0.0)

        def spec(self) -> ModelSpec:
            return self.told

    async def go() -> None:
        rng = random.Random(0)
        requests = [changed(rng) for _ in range(n)]
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            ask = [lambda r=r: Ledgered(Numbered(r[0]), ledger).complete(r[1], r[2]) for r in requests]
            first = [c.text for c in await asyncio.gather(*(one() for one in ask))]
            again = [c.text for c in await asyncio.gather(*(one() for one in ask))]
        assert len(set(first)) == Numbered.asked == n
        assert first == again

    asyncio.run(go())


def test_a_password_in_the_address_of_what_is_tuned_is_not_repeated_and_what_is_only_asked_is_not_tuned(
    make_task: MakeTask,
) -> None:
    with pytest.raises(InputError, match="a password cannot stand") as caught:
        load_task(make_task(numbered_rows(60), tune="http://me:hunter2@127.0.0.1:9/v1#m"))
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"
    with pytest.raises(InputError, match="cannot be tuned"):
        load_task(make_task(numbered_rows(60), tune="any:anthropic/claude-1"))


def test_a_placeholder_in_place_of_a_key_changes_no_reply() -> None:
    for placeholder in ("token", "EMPTY", "lm-studio"):
        assert hide(f'{{"prompt_{placeholder}s": 7}}', placeholder) == f'{{"prompt_{placeholder}s": 7}}'
