"""Training changes what it should, as peft would, survives being killed, and is never done twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shouldtune.errors import InputError
from shouldtune.models.local import LocalModel, open_local
from shouldtune.tuning.lora import LocalTunable, epoch_batches, learning_rate, training_key
from shouldtune.types import Conversation, Message, Options, Tunable, TuneSettings
from tests.tiny_llama import write_tiny_gguf

for name in ("gguf", "tokenizers", "safetensors", "jinja2", "llguidance"):
    pytest.importorskip(name)
torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # the model is too small for two

from safetensors.torch import load_file, save_file  # noqa: E402

from shouldtune.models.engine import COMPUTE, load_base  # noqa: E402
from shouldtune.models.llama import Llama  # noqa: E402
from shouldtune.models.llama_config import LlamaConfig, weight_shapes  # noqa: E402
from shouldtune.tuning import packing, training  # noqa: E402
from shouldtune.tuning.trainable import Adam, TrainableLora  # noqa: E402
from shouldtune.tuning.training import Text, accumulate  # noqa: E402

SETTINGS = TuneSettings(rank=4, alpha=8, learning_rate=1e-2, epochs=3, batch_size=4, seed=1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    write_tiny_gguf(folder / "tiny.gguf")
    return folder


@pytest.fixture
def model(place: Path, monkeypatch: pytest.MonkeyPatch) -> LocalModel:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(place / "cache"))
    return open_local(f"gguf:{place / 'tiny.gguf'}", engine="torch-fp32")


def conversations(count: int = 12) -> list[Conversation]:
    return [
        Conversation(
            (Message("system", "Name the code."), Message("user", f"inn {n} the {'in ' * (n % 5)}")), f"c{n % 3}"
        )
        for n in range(count)
    ]


def train(
    model: LocalModel,
    store: Path,
    settings: TuneSettings = SETTINGS,
    on_step: Callable[[int, int, float], None] | None = None,
    epochs: int = 99,
) -> list[LocalModel]:
    """The tuned models of the first `epochs` epochs."""

    async def collect() -> list[LocalModel]:
        tuned = []
        stream = LocalTunable(model, store, on_step).tune(conversations(), settings)
        async for each in stream:
            tuned.append(each)
            if len(tuned) == epochs:
                break
        await stream.aclose()  # type: ignore[attr-defined]
        return tuned

    return asyncio.run(collect())


def adapter_bytes(tuned: LocalModel) -> bytes:
    assert tuned.identity.adapter is not None
    return (tuned.identity.adapter / "adapter_model.safetensors").read_bytes()


# ---------------------------------------------------------------- what training does


def test_training_moves_the_adapter_and_leaves_the_base_as_it_was(model: LocalModel, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base = load_base(model.identity.folder, model.identity.engine).model
    before = [block.qkv.weight.clone() for block in base.blocks] + [base.embedding.clone()]
    tuned = train(model, tmp_path)
    after = [block.qkv.weight for block in base.blocks] + [base.embedding]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    folders = [each.identity.adapter for each in tuned]
    first, last = (load_file(folder / "adapter_model.safetensors") for folder in (folders[0], folders[-1]) if folder)
    assert len(first) == 2 * 7 * 2  # layers, modules, sides
    for name, values in last.items():
        assert values.dtype == torch.float32
        assert values.abs().max() > 0, name
        assert not torch.equal(values, first[name]), name


def test_the_loss_falls_and_the_model_learns_its_examples(model: LocalModel, tmp_path: Path) -> None:
    steps: list[tuple[int, int, float]] = []
    settings = replace(SETTINGS, epochs=20)
    tuned = train(model, tmp_path, settings, on_step=lambda *step: steps.append(step))[-1]
    assert [step[0] for step in steps] == list(range(1, 61))
    assert {step[1] for step in steps} == {60}
    assert steps[-1][2] < steps[0][2] / 10

    async def answers() -> list[str]:
        asked = (tuned.complete(each.messages, Options(max_tokens=6)) for each in conversations())
        return [answer.text for answer in await asyncio.gather(*asked)]

    right = [got == each.answer for got, each in zip(asyncio.run(answers()), conversations(), strict=True)]
    assert sum(right) >= 10


def test_bfloat16_learns_too(model: LocalModel, tmp_path: Path) -> None:
    losses: list[float] = []
    rough = open_local(model.identity.id, engine="torch-bf16")
    tuned = train(rough, tmp_path, replace(SETTINGS, epochs=8), on_step=lambda done, total, loss: losses.append(loss))
    assert losses[-1] < losses[0] / 2
    answer = asyncio.run(tuned[-1].complete(conversations()[0].messages, Options(max_tokens=6)))
    assert answer.engine == "torch-bf16"
    assert answer.text in {each.answer for each in conversations()}


def test_an_adapter_changes_the_answer_and_the_base_still_answers_as_before(model: LocalModel, tmp_path: Path) -> None:
    async def answer(who: LocalModel) -> str:
        return (await who.complete(conversations()[0].messages, Options(max_tokens=6))).text

    before = asyncio.run(answer(model))
    tuned = train(model, tmp_path)[-1]
    assert asyncio.run(answer(tuned)) != before
    assert asyncio.run(answer(model)) == before


def test_the_tuned_models_spec_names_its_adapter(model: LocalModel, tmp_path: Path) -> None:
    specs = [tuned.spec() for tuned in train(model, tmp_path)]
    assert len({spec["adapter"]["sha256"] for spec in specs}) == 3
    assert Path(specs[2]["adapter"]["path"]).name == "epoch-3"
    assert {**specs[0], "adapter": None} == model.spec()
    reopened = open_local(specs[0]["model"], specs[0]["engine"]).with_adapter(
        Path(specs[0]["adapter"]["path"]), expected_sha256=specs[0]["adapter"]["sha256"]
    )
    assert reopened.spec() == specs[0]


def test_a_tunable_is_a_model_that_answers_with_its_base(model: LocalModel, tmp_path: Path) -> None:
    tunable = LocalTunable(model, tmp_path)
    assert isinstance(tunable, Tunable)
    assert tunable.spec() == model.spec()
    both = [asyncio.run(who.complete([Message("user", "a")], Options(max_tokens=5))).text for who in (tunable, model)]
    assert both[0] == both[1]


# ---------------------------------------------------------------- against peft


def texts_with_a_shared_prefix() -> list[Text]:
    shared = tuple(range(40, 64))
    return [Text((*shared, *range(70, 72 + n)), (*range(100 + n, 103 + 2 * n), 2)) for n in range(4)]


def gradient_of(lora: TrainableLora, texts: list[Text]) -> tuple[float, Any]:
    lora.gradient.zero_()
    loss = accumulate(lora, texts)
    return loss, lora.gradient.clone()


@pytest.fixture
def lora(model: LocalModel) -> TrainableLora:
    """An adapter in the midst of training: A and B both far from zero."""
    base = load_base(model.identity.folder, model.identity.engine).model
    lora = TrainableLora(base, rank=4, alpha=8, seed=0)
    lora.masters.add_(torch.randn(lora.masters.shape, generator=torch.Generator().manual_seed(1)), alpha=0.05)
    lora.refresh()
    return lora


@pytest.mark.filterwarnings("ignore::FutureWarning")  # between peft and transformers
def test_loss_and_gradient_equal_those_of_peft(model: LocalModel, lora: TrainableLora) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model.identity.folder, dtype=torch.float32)
    from shouldtune.models.adapter import MODULES

    wrapped = peft.get_peft_model(theirs, peft.LoraConfig(r=4, lora_alpha=8, target_modules=list(MODULES)))
    parameters = {k.replace(".default", ""): v for k, v in wrapped.named_parameters() if v.requires_grad}
    assert parameters.keys() == lora.tensors().keys()
    with torch.no_grad():
        for key, value in lora.tensors().items():
            parameters[key].copy_(value)
    texts = texts_with_a_shared_prefix()
    loss, gradient = gradient_of(lora, texts)
    total = torch.zeros(())
    for text in texts:
        logits = wrapped(torch.tensor([[*text.prompt, *text.answer]])).logits[0, len(text.prompt) - 1 : -1]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(text.answer), reduction="sum")
    (total / sum(len(text.answer) for text in texts)).backward()
    assert loss == pytest.approx(float(total.detach()) / sum(len(text.answer) for text in texts), rel=1e-5)
    lora.masters.copy_(gradient)  # to read the flat gradient by peft's names
    for key, value in lora.tensors().items():
        wanted = parameters[key].grad
        assert torch.allclose(value, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max())), key


def test_the_gradient_is_the_slope_of_the_loss_where_all_heads_are_wider_than_the_model(tmp_path: Path) -> None:
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 16, "head_dim": 8}
    config |= {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "intermediate_size": 24}
    config |= {"vocab_size": 300, "max_position_embeddings": 128, "rms_norm_eps": 1e-5, "rope_theta": 10_000.0}
    config |= {"hidden_act": "silu", "tie_word_embeddings": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    draw = torch.Generator().manual_seed(0)
    shapes = weight_shapes(LlamaConfig.read(tmp_path))
    weights = {name: torch.randn(shape, generator=draw) / shape[-1] ** 0.5 for name, shape in shapes.items()}
    save_file(weights, tmp_path / "model.safetensors")
    lora = TrainableLora(Llama(tmp_path, dtype=torch.float32), rank=4, alpha=8, seed=0)
    start = lora.masters + 0.1 * torch.randn(lora.masters.shape, generator=draw)
    texts = texts_with_a_shared_prefix()

    def at(masters: torch.Tensor) -> tuple[float, Any]:
        lora.masters.copy_(masters)
        lora.refresh()
        return gradient_of(lora, texts)

    _, gradient = at(start)
    step = 1e-2 * gradient / gradient.norm()
    slope = (at(start + step)[0] - at(start - step)[0]) / 2
    assert slope == pytest.approx(float(gradient @ step), rel=0.02)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # between peft and transformers
def test_peft_reads_a_trained_adapter_and_computes_the_same(model: LocalModel, tmp_path: Path) -> None:
    transformers, peft = pytest.importorskip("transformers"), pytest.importorskip("peft")
    tuned = train(model, tmp_path, replace(SETTINGS, epochs=8))[-1]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(model.identity.folder, dtype=torch.float32)
    theirs = peft.PeftModel.from_pretrained(theirs, str(tuned.identity.adapter))
    tokenizer = load_base(model.identity.folder, model.identity.engine).tokenizer
    for each in conversations()[:3]:
        ids = tokenizer.prompt(each.messages)
        whole = theirs.generate(input_ids=torch.tensor([ids]), max_new_tokens=4, do_sample=False, pad_token_id=0)
        ours = asyncio.run(tuned.complete(each.messages, Options(max_tokens=4)))
        assert ours.text == tokenizer.decode(whole[0, len(ids) :].tolist())


# ---------------------------------------------------------------- short cuts that must not show


def test_a_batch_cut_to_save_memory_has_the_same_gradient(lora: TrainableLora, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_with_a_shared_prefix()
    loss, gradient = gradient_of(lora, texts)
    for limit in (40, 20):  # parts; then single texts, computed a second time in the backward pass
        each = training._ACTIVATION_BYTES // training.tokens_at_once(lora.model)
        monkeypatch.setattr(training, "_ACTIVATION_BYTES", limit * each)
        assert abs(training.tokens_at_once(lora.model) - limit) <= 1
        cut_loss, cut_gradient = gradient_of(lora, texts)
        assert cut_loss == pytest.approx(loss, rel=1e-5)
        assert torch.allclose(cut_gradient, gradient, rtol=1e-3, atol=1e-6)


def test_sharing_the_prefix_does_not_change_the_gradient(lora: TrainableLora, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_with_a_shared_prefix()
    loss, gradient = gradient_of(lora, texts)
    monkeypatch.setattr(packing, "_SHORTEST_PREFIX", 10_000)
    plain_loss, plain_gradient = gradient_of(lora, texts)
    assert plain_loss == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(plain_gradient, gradient, rtol=1e-3, atol=1e-6)


def test_long_rows_attended_some_columns_at_a_time_have_the_same_gradient(
    lora: TrainableLora, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = texts_with_a_shared_prefix()
    loss, gradient = gradient_of(lora, texts)
    monkeypatch.setattr(packing, "_COLUMNS_AT_ONCE", 3)  # neither the prefix nor a row is a multiple of it
    cut_loss, cut_gradient = gradient_of(lora, texts)
    assert cut_loss == pytest.approx(loss, rel=1e-5)
    assert torch.allclose(cut_gradient, gradient, rtol=1e-3, atol=1e-6)


def test_the_first_step_of_adamw_is_the_rate_for_every_weight_with_a_gradient(lora: TrainableLora) -> None:
    before = lora.masters.clone()
    accumulate(lora, texts_with_a_shared_prefix())
    moved = lora.gradient.abs() > 1e-6
    sign = lora.gradient.sign()
    lora.step(0.01)
    assert torch.allclose((lora.masters - before)[moved], -0.01 * sign[moved], rtol=0.02, atol=1e-6)
    assert lora.gradient.abs().max() == 0


@pytest.mark.parametrize("adam", [Adam(), Adam(0.8, 0.99, nesterov=True), Adam(0.6, 0.9), Adam(nesterov=True)])
def test_steps_are_those_of_torchs_own_optimisers(model: LocalModel, adam: Adam) -> None:
    base = load_base(model.identity.folder, model.identity.engine).model
    lora = TrainableLora(base, rank=4, alpha=8, seed=0, adam=adam)
    theirs = torch.nn.Parameter(lora.masters.clone())
    betas = (adam.beta1, adam.beta2)
    optimiser = (
        torch.optim.NAdam([theirs], betas=betas, momentum_decay=1e6)  # so that its momentum is constant
        if adam.nesterov
        else torch.optim.AdamW([theirs], betas=betas, weight_decay=0.0)
    )
    draw = torch.Generator().manual_seed(2)
    for step in range(1, 8):
        gradient = torch.randn(theirs.shape, generator=draw)
        gradient *= 0.5 / gradient.norm()  # below what is clipped
        lora.gradient.copy_(gradient)
        lora.step(0.01 / step)
        theirs.grad, optimiser.param_groups[0]["lr"] = gradient, 0.01 / step
        optimiser.step()
        assert torch.allclose(lora.masters, theirs.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changed", [{"beta1": 0.5}, {"beta2": 0.9}, {"nesterov": False}, {"warmup": 0.5}])
def test_training_goes_its_settings_way(model: LocalModel, tmp_path: Path, changed: dict[str, Any]) -> None:
    both = [train(model, tmp_path, settings, epochs=1)[0] for settings in (SETTINGS, replace(SETTINGS, **changed))]
    assert adapter_bytes(both[0]) != adapter_bytes(both[1])


# ---------------------------------------------------------------- killed, resumed, repeated


def test_a_training_that_was_stopped_goes_on_with_the_same_result(model: LocalModel, tmp_path: Path) -> None:
    whole = train(model, tmp_path / "whole")
    for stopped_after in (1, 2):
        store = tmp_path / f"stopped-{stopped_after}"
        train(model, store, epochs=stopped_after)
        steps: list[int] = []
        resumed = train(model, store, on_step=lambda done, total, loss: steps.append(done))  # noqa: B023
        assert steps == list(range(3 * stopped_after + 1, 10))
        assert [adapter_bytes(each) for each in resumed] == [adapter_bytes(each) for each in whole]


def test_a_training_killed_in_the_midst_of_an_epoch_goes_on_with_the_same_result(
    model: LocalModel, tmp_path: Path
) -> None:
    whole = train(model, tmp_path / "whole")

    async def killed() -> None:
        task: asyncio.Task[None]

        async def run() -> None:
            stream = LocalTunable(model, tmp_path / "killed", kill_in_the_second_epoch)
            async for _ in stream.tune(conversations(), SETTINGS):
                pass

        def kill_in_the_second_epoch(done: int, total: int, loss: float) -> None:
            if done == 4:
                task.cancel()

        task = asyncio.create_task(run())
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(killed())
    COMPUTE.submit(int).result()
    assert [adapter_bytes(each) for each in train(model, tmp_path / "killed")] == [adapter_bytes(e) for e in whole]


@pytest.mark.parametrize("how", ["cut off", "of an older layout"])
def test_a_damaged_state_costs_only_the_time_to_train_again(model: LocalModel, tmp_path: Path, how: str) -> None:
    whole = train(model, tmp_path / "whole")
    train(model, tmp_path / "damaged", epochs=2)
    (state,) = (tmp_path / "damaged").glob("*/state-2.safetensors")
    if how == "cut off":
        state.write_bytes(state.read_bytes()[:50])
    else:
        save_file({name: value.flip(0) for name, value in load_file(state).items()}, state, {"steps": "2"})
    assert [adapter_bytes(each) for each in train(model, tmp_path / "damaged")] == [adapter_bytes(e) for e in whole]


def test_epochs_on_disk_are_yielded_without_training_or_torch(model: LocalModel, tmp_path: Path) -> None:
    wanted = [tuned.spec() for tuned in train(model, tmp_path)]
    code = """
import asyncio, json, sys
from pathlib import Path
from shouldtune.models.local import open_local
from shouldtune.tuning.lora import LocalTunable
from shouldtune.types import Conversation, Message, TuneSettings

model_id, store, settings, texts = json.loads(sys.argv[1])
texts = [Conversation(tuple(Message(*turn) for turn in turns), answer) for turns, answer in texts]

async def main():
    tunable = LocalTunable(open_local(model_id, "torch-fp32"), Path(store))
    specs = [tuned.spec() async for tuned in tunable.tune(texts, TuneSettings(**settings))]
    print(json.dumps([specs, "torch" in sys.modules]))

asyncio.run(main())
"""
    texts = [[[[turn.role, turn.content] for turn in each.messages], each.answer] for each in conversations()]
    given = json.dumps([model.identity.id, str(tmp_path), vars(SETTINGS), texts])
    told = subprocess.run([sys.executable, "-c", code, given], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout) == [wanted, False]


def test_nothing_is_left_behind_but_adapters(model: LocalModel, tmp_path: Path) -> None:
    train(model, tmp_path)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["epoch-1", "epoch-2", "epoch-3"]


def test_stopping_the_iteration_stops_training(model: LocalModel, tmp_path: Path) -> None:
    steps: list[int] = []
    train(model, tmp_path, on_step=lambda done, total, loss: steps.append(done), epochs=1)
    COMPUTE.submit(int).result()
    assert steps == [1, 2, 3]


def test_another_text_or_setting_is_another_training(model: LocalModel) -> None:
    keys = {
        training_key(model.spec(), conversations(), SETTINGS),
        training_key(model.spec(), conversations(11), SETTINGS),
        training_key(model.spec(), conversations(), replace(SETTINGS, seed=2)),
        training_key({**model.spec(), "revision": "other"}, conversations(), SETTINGS),
    }
    assert len(keys) == 4


# ---------------------------------------------------------------- schedule and input


def test_every_text_is_seen_once_an_epoch_in_an_order_of_its_own() -> None:
    lengths = [(n * 37) % 90 for n in range(101)]
    first = epoch_batches(lengths, 8, seed=3, epoch=1)
    assert sorted(index for batch in first for index in batch) == list(range(101))
    assert max(map(len, first)) == 8
    assert first == epoch_batches(lengths, 8, seed=3, epoch=1)
    assert first != epoch_batches(lengths, 8, seed=3, epoch=2)
    assert first != epoch_batches(lengths, 8, seed=4, epoch=1)


def test_a_batchs_texts_are_of_like_length() -> None:
    lengths = [(n * 37) % 90 for n in range(128)]
    for batch in epoch_batches(lengths, 8, seed=0, epoch=1):
        assert max(lengths[index] for index in batch) - min(lengths[index] for index in batch) <= 25


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    settings = TuneSettings(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(settings, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[9] == rates[10] == 1.0
    assert rates[55] == pytest.approx(0.5)
    assert rates[100] == 0.0
    assert learning_rate(settings, 0, 1) == 1.0
    assert learning_rate(replace(settings, warmup=0.0), 0, 100) == 1.0


def test_nothing_to_learn_is_an_input_error(model: LocalModel, tmp_path: Path) -> None:
    async def tune(texts: list[Conversation]) -> None:
        async for _ in LocalTunable(model, tmp_path).tune(texts, SETTINGS):
            pass

    with pytest.raises(InputError, match="no examples"):
        asyncio.run(tune([]))
    with pytest.raises(InputError, match="does not fit the window of 512"):
        asyncio.run(tune([Conversation((Message("user", "word " * 600),), "a")]))


def test_a_tuned_model_is_not_tuned_again(model: LocalModel, tmp_path: Path) -> None:
    tuned = train(model, tmp_path, epochs=1)[0]
    with pytest.raises(InputError):
        LocalTunable(tuned, tmp_path)
