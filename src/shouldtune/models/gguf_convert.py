"""A llama-architecture GGUF as the files of a Hugging Face folder.

config.json  model.safetensors  tokenizer.json  tokenizer_config.json  chat_template.jinja
"""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from shouldtune.errors import ModelUnavailable
from shouldtune.models.gguf_file import GgufFile
from shouldtune.models.gguf_tokenizer import build_tokenizer
from shouldtune.models.llama_config import LlamaConfig, rope_frequencies, weight_shapes

if TYPE_CHECKING:
    import numpy as np


Dtype = Literal["bfloat16", "float32"]


def convert_files(gguf: Path, folder: Path, dtype: Dtype = "bfloat16") -> None:
    """Write the GGUF's model into `folder`. Raises ModelUnavailable when the file cannot be used.

    In bfloat16 it is half the size, and part of what training changed in a merged file would be rounded away.
    """
    file = GgufFile(gguf)
    config = _config(file) | {"torch_dtype": dtype}
    template = file.fields.get("tokenizer.chat_template")
    if not isinstance(template, str):
        raise ModelUnavailable(
            "the model has no chat template", where=gguf, hint="name an instruct model, not a base model"
        )
    tokenizer = build_tokenizer(file)
    if tokenizer.get_vocab_size() != config["vocab_size"]:
        raise ModelUnavailable("not a usable GGUF file: vocabulary and embeddings differ in size", where=gguf)
    (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        f"{role}_token": tokenizer.id_to_token(index)
        for role, index in (("bos", config["bos_token_id"]), ("eos", config["eos_token_id"][0]))
        if index is not None
    }
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config["max_position_embeddings"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | special, indent=1), encoding="utf-8")
    _write_weights(file, LlamaConfig.read(folder), folder / "model.safetensors", dtype)


def _config(file: GgufFile) -> dict[str, Any]:
    """The file's fields as a Hugging Face config.json."""
    fields = file.fields
    architecture = fields.get("general.architecture")
    if architecture != "llama":
        raise ModelUnavailable(
            f"the GGUF file is of the architecture {architecture!r}; only `llama` is known here",
            where=file.path,
            hint="serve it with llama.cpp or Ollama and name it http://host/v1#name",
        )
    if fields.get("llama.expert_count"):
        raise ModelUnavailable("mixtures of experts are not known here", where=file.path)

    def number(name: str, default: float | None = None) -> Any:
        value = fields.get(name, default)
        if not isinstance(value, (int, float)) or not 0 < value < 1 << 32:
            raise ModelUnavailable(f"not a usable GGUF file: the field {name} is missing or wrong", where=file.path)
        return value

    heads, width = number("llama.attention.head_count"), number("llama.embedding_length")
    embedding = file.tensors.get("token_embd.weight")
    ends = [fields.get(f"tokenizer.ggml.{role}_token_id") for role in ("eos", "eot")]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "vocab_size": embedding.shape[0] if embedding else 0,
        "hidden_size": width,
        "num_hidden_layers": number("llama.block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": number("llama.attention.head_count_kv", heads),
        "head_dim": number("llama.rope.dimension_count", width // heads),
        "intermediate_size": number("llama.feed_forward_length"),
        "rms_norm_eps": round(number("llama.attention.layer_norm_rms_epsilon"), 12),
        "rope_theta": float(number("llama.rope.freq_base", 10_000.0)),
        "max_position_embeddings": number("llama.context_length"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": fields.get("tokenizer.ggml.bos_token_id"),
        "eos_token_id": list(dict.fromkeys(end for end in ends if isinstance(end, int))),
    }
    if not config["eos_token_id"]:
        raise ModelUnavailable("not a usable GGUF file: it names no token that ends an answer", where=file.path)
    return config | _rope_scaling(file, config)


def _rope_scaling(file: GgufFile, config: dict[str, Any]) -> dict[str, Any]:
    """Llama 3's scaling, which the file holds only as the divisor of each frequency.

    The four numbers behind the divisors are guessed from the models that exist, then checked.
    """
    if "rope_freqs.weight" not in file.tensors:
        return {}
    import numpy as np

    divisors = file.array("rope_freqs.weight")
    half, theta = config["head_dim"] // 2, config["rope_theta"]
    for original in (8192, 4096, 2048):
        scaling = (float(divisors.max()), 1.0, 4.0, float(original))
        wanted = theta ** (-np.arange(half) / half) / divisors
        if np.allclose(rope_frequencies(theta, half, scaling), wanted, rtol=1e-3):
            names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
            return {"rope_scaling": {"rope_type": "llama3", **dict(zip(names, scaling, strict=True))}}
    raise ModelUnavailable("the GGUF file scales positions in an unknown way", where=file.path)


def _write_weights(file: GgufFile, config: LlamaConfig, path: Path, dtype: Dtype) -> None:
    """Write the safetensors file tensor by tensor: a large model never lies in memory as a whole.

    Format: https://github.com/huggingface/safetensors#format
    """
    shapes = weight_shapes(config)
    names = {gguf_name(name): name for name in shapes}
    kind, width = ("BF16", 2) if dtype == "bfloat16" else ("F32", 4)
    strange = sorted(set(file.tensors) - set(names) - {"rope_freqs.weight"})
    if strange:
        raise ModelUnavailable(f"the GGUF file holds a tensor that is not known here: {strange[0]}", where=file.path)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for stored, name in names.items():
        tensor = file.tensors.get(stored)
        if tensor is None or tensor.shape != shapes[name]:
            have = "missing" if tensor is None else f"of shape {tensor.shape}, not {shapes[name]}"
            raise ModelUnavailable(f"not a usable GGUF file: the tensor {stored} is {have}", where=file.path)
        start, end = end, end + width * math.prod(tensor.shape)
        header[name] = {"dtype": kind, "shape": tensor.shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as target:
        target.write(struct.pack("<Q", len(text)) + text)
        for stored, name in names.items():
            values = file.array(stored)
            if name.endswith(INTERLEAVED):
                values = _undo_permutation(values, config.head_width)
            target.write(_bfloat16(values) if kind == "BF16" else values.astype("<f4").tobytes())


_PARTS = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
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


def gguf_name(name: str) -> str:
    """model.layers.3.mlp.up_proj.weight -> blk.3.ffn_up.weight"""
    stem = name.removesuffix(".weight")
    if match := re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem):
        return f"blk.{match[1]}.{_PARTS[match[2]]}.weight"
    return f"{_PARTS[stem]}.weight"


INTERLEAVED = ("q_proj.weight", "k_proj.weight")
"""Weights whose rows GGUF holds in another order: it interleaves the two halves of each head for RoPE."""


def permuted(values: np.ndarray[Any, Any], head_width: int) -> np.ndarray[Any, Any]:
    """Rows of q and k from Hugging Face's order to GGUF's, as llama.cpp's converter puts them."""
    rows, columns = values.shape
    halves = values.reshape(rows // head_width, 2, head_width // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def _undo_permutation(values: np.ndarray[Any, Any], head_width: int) -> np.ndarray[Any, Any]:
    """Rows of q and k back to Hugging Face's order."""
    rows, columns = values.shape
    pairs = values.reshape(rows // head_width, head_width // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _bfloat16(values: np.ndarray[Any, Any]) -> bytes:
    """The bytes of the values in bfloat16, rounded to nearest even."""
    import numpy as np

    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return rounded.astype(np.uint16).tobytes()
