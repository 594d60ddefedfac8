"""A Llama model so small that tests convert, run and train it in a moment, as the GGUF that llama.cpp would write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WIDTH, LAYERS, HEADS, KV_HEADS, HEAD_WIDTH, MLP_WIDTH, WINDOW = 64, 2, 4, 2, 16, 96, 512
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "1 2"]
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set told = messages[0]['content'] %}"
    "{% set messages = messages[1:] %}{% else %}{% set told = '' %}{% endif %}"
    "{{ '<|endoftext|>system\nToday Date: ' + strftime_now('%d %b %Y') + '\n\n' + told + '<|im_end|>' }}"
    "{% for message in messages %}{{'<|endoftext|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|endoftext|>assistant\n' }}{% endif %}"
)
"""As Llama 3.2's: the first token once, a system block with the day whether or not a chat has one."""
Weights = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


def byte_alphabet() -> list[str]:
    """GPT-2's 256 characters for the 256 bytes, in the order of the bytes."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte) if byte in shown else chr(next(rest)) for byte in range(256)]


def vocabulary() -> list[str]:
    return [*SPECIALS, *byte_alphabet(), *(merge.replace(" ", "") for merge in MERGES)]


def tiny_weights(seed: int = 0) -> Weights:
    """Random weights by Hugging Face's names, in Hugging Face's order of rows."""
    draw = np.random.default_rng(seed)
    key = KV_HEADS * HEAD_WIDTH

    def matrix(rows: int, columns: int) -> Any:
        return (draw.standard_normal((rows, columns)) / np.sqrt(columns) * 1.5).astype(np.float32)

    weights: Weights = {"model.embed_tokens.weight": matrix(len(vocabulary()), WIDTH) * 4}
    for layer in range(LAYERS):
        block = f"model.layers.{layer}."
        weights[block + "input_layernorm.weight"] = 1 + matrix(1, WIDTH)[0]
        weights[block + "self_attn.q_proj.weight"] = matrix(WIDTH, WIDTH)
        weights[block + "self_attn.k_proj.weight"] = matrix(key, WIDTH)
        weights[block + "self_attn.v_proj.weight"] = matrix(key, WIDTH)
        weights[block + "self_attn.o_proj.weight"] = matrix(WIDTH, WIDTH)
        weights[block + "post_attention_layernorm.weight"] = 1 + matrix(1, WIDTH)[0]
        weights[block + "mlp.gate_proj.weight"] = matrix(MLP_WIDTH, WIDTH)
        weights[block + "mlp.up_proj.weight"] = matrix(MLP_WIDTH, WIDTH)
        weights[block + "mlp.down_proj.weight"] = matrix(WIDTH, MLP_WIDTH)
    weights["model.norm.weight"] = 1 + matrix(1, WIDTH)[0]
    return weights


_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def _gguf_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    if stem in _GGUF_NAMES:
        return f"{_GGUF_NAMES[stem]}.weight"
    _, _, layer, part = stem.split(".", 3)
    return f"blk.{layer}.{_GGUF_NAMES[part]}.weight"


def _permute(values: Any, heads: int) -> Any:
    """What llama.cpp's converter does to q and k."""
    rows, columns = values.shape
    return values.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_tiny_gguf(
    path: Path,
    *,
    weights: Weights | None = None,
    architecture: str = "llama",
    fields: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    template: str = TEMPLATE,
    window: int = WINDOW,
    adds_bos: bool | None = None,
) -> Path:
    """Write the model; `fields` are further string fields, `extra` further tensors."""
    gguf = pytest.importorskip("gguf")
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(window)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(MLP_WIDTH)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    tokens = vocabulary()
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIALS else 1 for token in tokens])
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(template)
    if adds_bos is not None:
        writer.add_add_bos_token(adds_bos)
    for name, value in (fields or {}).items():
        writer.add_string(name, value)
    for name, values in (weights or tiny_weights()).items():
        heads = {"q_proj": HEADS, "k_proj": KV_HEADS}.get(name.split(".")[-2])
        stored = values if heads is None else _permute(values, heads)
        if name.endswith("down_proj.weight"):  # one kind of tensor quantised, as most are in real files
            blocks = gguf.quants.quantize(stored, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(_gguf_name(name), blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(_gguf_name(name), np.ascontiguousarray(stored))
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
