"""Models that vLLM serves: its processes, who of them is asked, and adapters of ours on them."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from shouldtune.errors import CannotMeasure, InputError, ModelUnavailable
from shouldtune.exporting import Wish, export
from shouldtune.exporting.asking import sent
from shouldtune.exporting.source import open_source
from shouldtune.models import vllm as vllm_module
from shouldtune.models.keys import canonical
from shouldtune.models.open import open_fitted, open_model, save_fitted
from shouldtune.models.vllm import Fleet, VllmModel, open_vllm
from shouldtune.models.vllm_process import Weights, gpus, serve_command
from shouldtune.models.vllm_server import SharedTime, VllmServer
from shouldtune.run import load_run
from shouldtune.serving.winner import Winner
from shouldtune.tuning import open_tunable
from shouldtune.types import Completion, Conversation, Measurement, Message, Options, TuneSettings
from shouldtune.workers.cluster import Cluster
from shouldtune.workers.pool import Pool
from shouldtune.workers.spread import Spread, SpreadTunable
from shouldtune.workers.wire import Recipe
from tests.exporting_world import small_run
from tests.in_process_cluster import InProcessCluster
from tests.test_rechecking import looked
from tests.tiny_llama import write_tiny_gguf

for name in ("gguf", "tokenizers", "safetensors", "jinja2", "llguidance", "torch", "aiohttp"):
    pytest.importorskip(name)

DOUBLE = f"{shlex.quote(sys.executable)} {shlex.quote(str(Path(__file__).parent / 'vllm_double.py'))}"
ASKED = [Message("user", "inn 3 the in in in ")]
TEXTS = [Conversation((Message("user", f"inn {n} the {'in ' * (n % 5)}"),), f"c{n % 3}") for n in range(12)]
SHORT = Options(max_tokens=6)
SETTINGS = TuneSettings(rank=4, alpha=8, learning_rate=1e-2, epochs=2, batch_size=4, seed=1)


@pytest.fixture(autouse=True)
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SHOULDTUNE_VLLM", DOUBLE)
    monkeypatch.setenv("VLLM_API_KEY", "")  # so that one that is made up is gone after the test
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(vllm_module, "_FLEETS", {})
    for name in ("SHOULDTUNE_VLLM_URL", "SHOULDTUNE_VLLM_ARGS"):
        monkeypatch.delenv(name, raising=False)
    yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny model as Hugging Face lays it out."""
    from shouldtune.models.local import open_local

    write_tiny_gguf(tmp_path / "tiny.gguf")
    return open_local(f"gguf:{tmp_path / 'tiny.gguf'}").identity.folder


def say(monkeypatch: pytest.MonkeyPatch, text: str, *more: str) -> None:
    monkeypatch.setenv("SHOULDTUNE_VLLM_ARGS", shlex.join(["--double-say", text, *more]))


def asked_of(model: VllmModel, times: int = 1) -> list[Completion]:
    """So many answers, asked at once; the servers are stopped then."""

    async def go() -> list[Completion]:
        try:
            return await asyncio.gather(*(model.complete(ASKED) for _ in range(times)))
        finally:
            await model.aclose()

    return asyncio.run(go())


def test_a_server_is_started_asked_and_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    say(monkeypatch, "hello")
    model = open_model("vllm:some/model")
    assert isinstance(model, VllmModel)
    answers = asked_of(model, 5)
    assert {(each.text, each.engine, each.error) for each in answers} == {("hello", "vllm-9.9.9", None)}
    assert all(each.compute_s is not None and 0 < each.compute_s <= (each.latency_s or 0) + 0.05 for each in answers)
    assert list((tmp_path / "cache" / "vllm").iterdir()) == []  # neither its log nor its template is left


def test_tuned_candidates_answer_as_in_this_process_through_one_server(folder: Path, tmp_path: Path) -> None:
    async def here() -> list[str]:
        tunable = open_tunable(f"hf:{folder}", tmp_path / "here")
        assert tunable is not None
        tuned = [each async for each in tunable.tune(TEXTS, SETTINGS)]
        return [(await each.complete(ASKED, SHORT)).text for each in (tunable, *tuned)]

    async def there() -> list[str]:
        tunable = open_tunable(f"vllm:{folder}", tmp_path / "there")
        assert tunable is not None
        try:
            tuned = [each async for each in tunable.tune(TEXTS, SETTINGS)]
            texts = [(await each.complete(ASKED, SHORT)).text for each in (tunable, *tuned)]
            save_fitted(tuned[-1], tmp_path / "saved")
            again = open_fitted(tmp_path / "saved")
            assert again.spec() == {**tuned[-1].spec(), "adapter": {**again.spec()["adapter"]}}
            texts.append((await again.complete(ASKED, SHORT)).text)
            assert len(vllm_module._FLEETS) == 1
        finally:
            await tunable.aclose()  # type: ignore[attr-defined]
        return texts

    at_home = asyncio.run(here())
    served = asyncio.run(there())
    assert served == [*at_home, at_home[-1]]
    assert len(set(at_home)) > 1, "an adapter that changes nothing would prove nothing"


def test_workers_ask_and_train_through_servers_of_their_own(folder: Path, tmp_path: Path) -> None:
    async def here() -> list[str]:
        tunable = open_tunable(f"hf:{folder}", tmp_path / "here")
        assert tunable is not None
        tuned = [each async for each in tunable.tune(TEXTS, SETTINGS)]
        return [(await each.complete(ASKED, SHORT)).text for each in (tunable, *tuned)]

    async def there() -> list[Completion]:
        pool = Pool(cast(Cluster, InProcessCluster(2)), Recipe(f"vllm:{folder}"), 2)
        try:
            tuned = [each async for each in SpreadTunable(pool, store=tmp_path / "there").tune(TEXTS, SETTINGS)]
            return [await each.complete(ASKED, SHORT) for each in (Spread(pool), *tuned)]
        finally:
            await pool.aclose()

    answers = asyncio.run(there())
    assert [each.text for each in answers] == asyncio.run(here())
    assert {each.engine for each in answers} == {"vllm-9.9.9"}


@pytest.mark.slow
def test_over_ray_the_answers_are_those_of_one_process(folder: Path, tmp_path: Path) -> None:
    """Two workers of a Ray of the run's own, each with its server; a fine-tune trained on one, answered by both."""
    pytest.importorskip("ray")
    record = small_run(tmp_path / "codes", f"hf:{folder}", "few_shot,fine_tune")
    file = json.loads((tmp_path / "codes" / "shouldtune.yaml").read_text())
    served = {**file, "model": f"vllm:{folder}", "tune": f"vllm:{folder}"}
    there = tmp_path / "served"
    there.mkdir()
    (there / "shouldtune.yaml").write_text(json.dumps(served))
    (there / "examples.jsonl").write_bytes((tmp_path / "codes" / "examples.jsonl").read_bytes())
    command = [sys.executable, "-m", "shouldtune.cli", "run", str(there), "--on", "ray", "--workers", "2", "--json"]
    command += ["--all-rungs", "--whole-holdout", "--rungs", "few_shot,fine_tune"]
    command += ["--per-worker-cpus", "0.5"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    )
    assert done.returncode == 0, done.stderr[-4000:]
    (run_file,) = (there / "runs").glob("*/run.json")
    over_ray = load_run(run_file.parent)
    assert [said(each) for each in over_ray.measurements] == [said(each) for each in record.measurements]
    assert {p.completion.engine for m in over_ray.measurements for p in m.predictions} == {"vllm-9.9.9"}


def said(measured: Measurement) -> tuple[str, list[tuple[str, str]]]:
    return measured.rung, [(each.example_id, each.completion.text) for each in measured.predictions]


def test_training_at_home_and_behind_vllm_is_the_same_training(folder: Path, tmp_path: Path) -> None:
    first, second = (open_tunable(f"{kind}:{folder}", tmp_path) for kind in ("hf", "vllm"))
    assert first is not None and second is not None
    places = {each.folder_for(TEXTS, SETTINGS) for each in (first, second)}  # type: ignore[attr-defined]
    assert len(places) == 1


def test_a_climb_through_vllm_can_be_checked_again_and_exported(folder: Path, tmp_path: Path) -> None:
    """What was asked of a server, and trained beside it, is known for it: no call is new, the weights are ours."""
    record = small_run(tmp_path / "codes", f"vllm:{folder}", "few_shot,fine_tune")
    few_shot, tuned = record.measurements
    assert (few_shot.rung, tuned.rung) == ("few_shot", "fine_tune")
    assert {p.completion.engine for m in record.measurements for p in m.predictions} == {"vllm-9.9.9"}
    assert {p.completion.text for p in few_shot.predictions} != {p.completion.text for p in tuned.predictions}
    task = tmp_path / "codes"
    file = json.loads((task / "shouldtune.yaml").read_text())
    (task / "shouldtune.yaml").write_text(json.dumps({**file, "economics": {"per_month": 1000}}))
    assert looked(record.folder).needed == ()
    (task / "shouldtune.yaml").write_text(json.dumps(file))
    done = export(record.folder, "peft", Wish("fine_tune", tmp_path / "out", parity=False))
    assert (tmp_path / "out" / "adapter_model.safetensors").exists(), done
    manifest = (tmp_path / "out" / "export.json").read_text()
    assert str(tmp_path) not in manifest
    source = open_source(record.folder, "few_shot")
    assert sent(source, "x", few_shot.predictions[0])[1] == {"max_tokens": 4, "temperature": 0.0, "seed": 0}


def test_a_name_on_the_hub_is_not_trained_here(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it is no folder on this machine"):
        open_tunable("vllm:some/model", tmp_path)


@pytest.mark.parametrize("bad", ["vllm:", "vllm: ", "vllm:--help"])
def test_what_names_nothing_is_refused(bad: str) -> None:
    with pytest.raises(InputError, match="names no model"):
        open_model(bad)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="holds no safetensors"):
        open_vllm(f"vllm:{tmp_path}")


def test_what_vllm_says_stands_in_the_error_and_its_log_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "a-key-of-some-length")
    monkeypatch.setenv("SHOULDTUNE_VLLM_ARGS", shlex.join(["--double-refuse", "no room for the cache"]))
    with pytest.raises(CannotMeasure, match="ended with status 1: ValueError: no room") as caught:
        asked_of(open_vllm("vllm:some/model"))
    log = Path((caught.value.hint or "").removeprefix("its own words are in "))
    assert "bye" in log.read_text()
    assert "a-key-of" not in str(caught.value)


def test_where_there_is_no_vllm_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_VLLM", "no-such-vllm")
    with pytest.raises(CannotMeasure) as caught:
        asked_of(open_vllm("vllm:some/model"))
    assert "export SHOULDTUNE_VLLM=" in (caught.value.hint or "")


def test_each_gpu_has_a_server_and_calls_go_where_there_is_least_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    say(monkeypatch, "$GPU")
    model = open_vllm("vllm:some/model")
    assert model.concurrency == 512
    texts = [each.text for each in asked_of(model, 8)]
    assert sorted(texts) == ["2"] * 4 + ["5"] * 4


def test_a_server_sees_no_key_of_a_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-for-servers")
    say(monkeypatch, "$KEYS")
    assert "OPENAI_API_KEY" not in asked_of(open_vllm("vllm:some/model"))[0].text.split()


def test_a_server_that_dies_is_started_again_and_no_answer_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_module, "RESTARTS", 2)
    say(monkeypatch, "hello", "--double-die-after", "4")
    model = open_vllm("vllm:some/model")

    async def go() -> list[Completion]:
        try:
            return [await model.complete(ASKED) for _ in range(8)]
        finally:
            await model.aclose()

    assert [(each.text, each.error) for each in asyncio.run(go())] == [("hello", None)] * 8


def test_calls_wait_for_a_server_that_is_slow_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shouldtune.models.vllm_server.timeout_s", lambda: 0.3)
    say(monkeypatch, "hello", "--double-die-after", "12", "--double-comes-up-after", "3")
    answers = asked_of(open_vllm("vllm:some/model"), 20)
    assert [(each.text, each.error) for each in answers] == [("hello", None)] * 20


def test_one_that_dies_again_and_again_is_given_up_with_its_last_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_module, "RESTARTS", 1)
    say(monkeypatch, "hello", "--double-die-after", "1")
    with pytest.raises(CannotMeasure, match="ended 2 times by itself: RuntimeError: the double dies") as caught:
        asked_of(open_vllm("vllm:some/model"))
    assert "the double dies" in Path((caught.value.hint or "").removeprefix("its own words are in ")).read_text()


def test_a_call_of_a_model_that_was_closed_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "hello", "--double-takes", "5")
    model = open_vllm("vllm:some/model")

    async def go() -> None:
        call = asyncio.ensure_future(model.complete(ASKED))
        while not (model.fleet._servers and model.fleet._servers[0].under_way):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await model.aclose()
        with pytest.raises(CannotMeasure, match="was closed"):
            await call
        assert model.fleet._servers == []

    asyncio.run(go())


@pytest.mark.parametrize("dies", [False, True])
def test_nothing_that_a_server_started_outlives_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dies: bool) -> None:
    child = tmp_path / "child"
    say(monkeypatch, "hello", "--double-child", str(child), *(["--double-die-after", "2"] if dies else []))
    monkeypatch.setattr(vllm_module, "RESTARTS", 0)
    model = open_vllm("vllm:some/model")

    async def go() -> None:
        try:
            await model.complete(ASKED)
            if dies:
                with pytest.raises(CannotMeasure):
                    await model.complete(ASKED)
        finally:
            await model.aclose()

    asyncio.run(go())
    stat, until = Path("/proc", child.read_text(), "stat"), time.monotonic() + 10
    while (alive := stat.exists() and ") Z " not in stat.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive


def test_a_candidate_is_asked_on_all_gpus_from_the_first_call_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    say(monkeypatch, "$GPU")
    tuned = open_vllm(f"vllm:{folder}")
    (tmp_path / "adapter").mkdir()
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (tmp_path / "adapter" / name).write_text("{}")
    answers = asked_of(tuned.with_adapter(tmp_path / "adapter"), 6)
    assert sorted(each.text for each in answers) == ["0"] * 3 + ["1"] * 3


def test_how_servers_are_told_to_compute_is_part_of_who_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = open_vllm("vllm:some/model").spec()
    monkeypatch.setenv("SHOULDTUNE_VLLM_ARGS", "--quantization fp8")
    quantised = open_vllm("vllm:some/model").spec()
    monkeypatch.setenv("SHOULDTUNE_VLLM_URL", "http://127.0.0.1:8000/v1")
    joined = open_vllm("vllm:some/model").spec()
    assert len({canonical(spec) for spec in (plain, quantised, joined)}) == 3


def test_a_winner_that_vllm_answers_for_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "hello")
    winner = Winner("n", "zero_shot", open_vllm("vllm:some/model"), None, 0)

    async def go() -> list[str | Completion]:
        try:
            await winner.warm()
            return [piece async for piece in winner.answer("x", Options())]
        finally:
            await winner.aclose()

    said = asyncio.run(go())
    assert isinstance(said[-1], Completion) and said[-1].text == "hello"


def test_an_adapter_is_loaded_anew_where_its_server_was(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go() -> tuple[list[str], list[str]]:
        tunable = open_tunable(f"vllm:{folder}", tmp_path / "store")
        assert tunable is not None
        try:
            tuned = [each async for each in tunable.tune(TEXTS, SETTINGS)][-1]
            before = [(await tuned.complete(ASKED, SHORT)).text]
            server = tuned.fleet._servers[0]  # type: ignore[attr-defined]
            [pid] = set(_with_port(server.url.removesuffix("/v1").rpartition(":")[2])) - {str(server._keeper.pid)}
            os.kill(int(pid), signal.SIGKILL)
            return before, [(await tuned.complete(ASKED, SHORT)).text]
        finally:
            await tunable.aclose()  # type: ignore[attr-defined]

    before, after = asyncio.run(go())
    assert before == after


def test_running_servers_are_joined_and_left_running(monkeypatch: pytest.MonkeyPatch) -> None:
    say(monkeypatch, "joined")
    monkeypatch.setenv("VLLM_API_KEY", "k")
    running = VllmServer(Weights("somebody/tiny"))

    async def go() -> list[Completion]:
        await running.start()
        monkeypatch.setenv("SHOULDTUNE_VLLM_URL", running.url)
        monkeypatch.setenv("SHOULDTUNE_VLLM", "not-to-be-started")
        model = open_vllm("vllm:somebody/tiny")
        try:
            first = await model.complete(ASKED)
            await model.aclose()
            other = VllmServer(Weights("another/tiny"), url=running.url)
            with pytest.raises(CannotMeasure, match="serves somebody/tiny, and not another/tiny"):
                await other.start()
            return [first, await model.complete(ASKED)]
        finally:
            await model.aclose()
            await running.stop()

    assert [each.text for each in asyncio.run(go())] == ["joined", "joined"]


def test_one_that_is_to_be_joined_and_is_not_there_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_VLLM_URL", "http://127.0.0.1:9/v1")
    with pytest.raises(CannotMeasure, match=r"no vLLM server answers at http://127\.0\.0\.1:9/v1"):
        asked_of(open_vllm("vllm:some/model"))


def test_a_killed_run_leaves_no_server(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from shouldtune.models.vllm import open_vllm
from shouldtune.types import Message
async def go():
    model = open_vllm("vllm:some/model")
    await model.complete([Message("user", "x")])
    print(model.fleet._servers[0].url, flush=True)
    await asyncio.sleep(60)
asyncio.run(go())
"""
    environment = {**os.environ, "SHOULDTUNE_VLLM_ARGS": "--double-say x"}
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stdout is not None
        port = run.stdout.readline().strip().removesuffix("/v1").rpartition(":")[2]
        assert port.isdigit()
        run.kill()
    until = time.monotonic() + 30
    while (left := _with_port(port)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []


def _with_port(port: str) -> list[str]:
    """The processes whose command line names a port."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode("utf-8", "replace").split("\0")
        except OSError:
            continue
        if "--port" in words and words[words.index("--port") + 1] == port:
            found.append(path.parent.name)
    return found


def test_a_machine_divides_itself_among_what_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [10.0]
    monkeypatch.setattr("shouldtune.models.vllm_server.monotonic", lambda: now[0])
    shared = SharedTime()
    first = shared.enter()
    now[0] += 2.0
    second = shared.enter()
    now[0] += 4.0
    assert shared.leave(first) == pytest.approx(2.0 + 2.0)
    now[0] += 1.0
    assert shared.leave(second) == pytest.approx(2.0 + 1.0)
    now[0] += 100.0
    third = shared.enter()
    now[0] += 3.0
    assert shared.leave(third) == pytest.approx(3.0)


def test_the_command_serves_adapters_and_what_the_user_adds_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_VLLM", "/opt/v/bin/vllm")
    monkeypatch.setenv("SHOULDTUNE_VLLM_ARGS", "--max-model-len 4096")
    command = serve_command(Weights("/m", None, takes_adapters=True), "base", 8123)
    assert command[:3] == ["/opt/v/bin/vllm", "serve", "/m"]
    assert "--enable-lora" in command and "--enable-prefix-caching" in command
    assert command[-2:] == ["--max-model-len", "4096"]
    assert "--enable-lora" not in serve_command(Weights("/m"), "base", 8123)


def test_gpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-3f, 1")
    assert gpus() == ["GPU-3f", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert gpus() == []


def test_a_fleet_has_one_server_where_there_is_no_gpu() -> None:
    assert Fleet(Weights("x")).size == 1
