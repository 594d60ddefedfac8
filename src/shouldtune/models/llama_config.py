"""The shape of a Llama-architecture model, read from its config.json."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shouldtune.errors import ModelUnavailable

RopeScaling = tuple[float, float, float, float]
"""Llama 3's (factor, low frequency factor, high frequency factor, original window)."""


@dataclass(frozen=True)
class LlamaConfig:
    """What the forward pass must know. Names follow Hugging Face's config.json where they are plain."""

    vocabulary: int
    width: int
    """The hidden size."""
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    norm_epsilon: float
    rope_theta: float
    window: int
    """Tokens that prompt and answer may have together."""
    eos: tuple[int, ...]
    """Token ids that end an answer."""
    bos: int | None = None
    tied: bool = False
    """Whether the output head is the embedding table."""
    rope_scaling: RopeScaling | None = None

    @classmethod
    def read(cls, folder: Path) -> LlamaConfig:
        """Read `folder/config.json`. Raises ModelUnavailable when it is missing or not of this architecture."""
        path = folder / "config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"the model's configuration cannot be read: {error}", where=path) from None
        try:
            return cls._from(raw, path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelUnavailable(f"the model's configuration lacks or garbles {error}", where=path) from None

    @classmethod
    def _from(cls, raw: dict[str, Any], path: Path) -> LlamaConfig:
        if raw.get("model_type") != "llama":
            raise ModelUnavailable(
                f"the architecture {raw.get('model_type')!r} is not known here; `llama` is",
                where=path,
                hint="serve it with vLLM or Ollama and name it http://host/v1#name",
            )
        if raw.get("attention_bias") or raw.get("mlp_bias") or raw.get("hidden_act", "silu") != "silu":
            raise ModelUnavailable("biases and activations other than silu are not known here", where=path)
        if raw.get("quantization_config"):
            raise ModelUnavailable("the weights are quantised; unquantised safetensors are needed", where=path)
        rope = raw.get("rope_parameters") or {}
        heads = int(raw["num_attention_heads"])
        eos = raw.get("eos_token_id")
        return cls(
            vocabulary=int(raw["vocab_size"]),
            width=int(raw["hidden_size"]),
            layers=int(raw["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(raw.get("num_key_value_heads") or heads),
            head_width=int(raw.get("head_dim") or int(raw["hidden_size"]) // heads),
            mlp_width=int(raw["intermediate_size"]),
            norm_epsilon=float(raw["rms_norm_eps"]),
            rope_theta=float(rope.get("rope_theta") or raw.get("rope_theta") or 10_000.0),
            window=int(raw["max_position_embeddings"]),
            eos=tuple(eos) if isinstance(eos, list) else () if eos is None else (int(eos),),
            bos=raw.get("bos_token_id"),
            tied=bool(raw.get("tie_word_embeddings", False)),
            rope_scaling=_rope_scaling(raw.get("rope_scaling") or rope, path),
        )


def _rope_scaling(rope: dict[str, Any], path: Path) -> RopeScaling | None:
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind == "default":
        return None
    if kind != "llama3":
        raise ModelUnavailable(f"the position scaling {kind!r} is not known here", where=path)
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    factor, low, high, original = (float(rope[name]) for name in names)
    return factor, low, high, original


def rope_frequencies(theta: float, half: int, scaling: RopeScaling | None) -> list[float]:
    """Radians a position for each of the `half` pairs of a head's dimensions.

    Llama 3's scaling: https://github.com/meta-llama/llama-models, `apply_scaling`.
    """
    plain = [theta ** (-index / half) for index in range(half)]
    if scaling is None:
        return plain
    factor, low, high, original = scaling
    scaled = []
    for frequency in plain:
        turns = original * frequency / math.tau
        blend = min(1.0, max(0.0, (turns - low) / (high - low)))
        scaled.append(frequency * (blend + (1 - blend) / factor))
    return scaled


def weight_shapes(config: LlamaConfig) -> dict[str, tuple[int, ...]]:
    """Every tensor of the model by its Hugging Face name, with its shape (rows are outputs)."""
    width, inner = config.width, config.mlp_width
    query, key = config.heads * config.head_width, config.kv_heads * config.head_width
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocabulary, width)}
    for index in range(config.layers):
        block = f"model.layers.{index}."
        shapes |= {
            block + "input_layernorm.weight": (width,),
            block + "self_attn.q_proj.weight": (query, width),
            block + "self_attn.k_proj.weight": (key, width),
            block + "self_attn.v_proj.weight": (key, width),
            block + "self_attn.o_proj.weight": (width, query),
            block + "post_attention_layernorm.weight": (width,),
            block + "mlp.gate_proj.weight": (inner, width),
            block + "mlp.up_proj.weight": (inner, width),
            block + "mlp.down_proj.weight": (width, inner),
        }
    shapes["model.norm.weight"] = (width,)
    if not config.tied:
        shapes["lm_head.weight"] = (config.vocabulary, width)
    return shapes
