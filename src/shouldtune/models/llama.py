"""The forward pass of a Llama-architecture model in plain torch.

Tokens are kept packed: a batch is one [tokens, width] matrix without padding, whatever its rows' lengths,
so the linear layers, nearly all of the work, never compute a pad. Only attention sees rows.

Shapes: N tokens of a batch, B rows, T columns of a key/value cache, H heads, K key/value heads, d head width.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as nn

from shouldtune.errors import ModelUnavailable
from shouldtune.models.linear import GatedLinear, Linear
from shouldtune.models.llama_config import LlamaConfig, rope_frequencies, weight_shapes

_PRODUCT = re.compile(r"\.layers\.\d+\.(self_attn|mlp)\.")
"""Names of the blocks' linear layers."""


@dataclass(frozen=True)
class Block:
    """One layer's weights."""

    attention_norm: Tensor
    qkv: Linear
    o: Linear
    mlp_norm: Tensor
    gate_up: GatedLinear
    down: Linear


class Adapter(Protocol):
    """Something that changes what the linear layers compute."""

    def linear(self, x: Tensor, base: Linear, layer: int, name: str) -> Tensor:
        """x [N, inputs] times the base's weight and the adapter's change of it: [N, outputs]."""
        ...

    def gated(self, x: Tensor, base: GatedLinear, layer: int) -> Tensor:
        """The same of the two layers of `gate_up`: [N, width]."""
        ...


Rotation = tuple[Tensor, Tensor]
"""Cosines and signed sines of N positions, each [N, 1, d]."""


class Llama:
    """A model's weights on one device in one type, and the steps of its forward pass."""

    def __init__(self, folder: Path, *, dtype: torch.dtype, device: str = "cpu") -> None:
        """Load the weights of a Hugging Face folder. Raises ModelUnavailable when they are missing or misshapen."""
        self.config = config = LlamaConfig.read(folder)
        self.dtype, self.device = dtype, torch.device(device)
        weights = _load(folder, weight_shapes(config), dtype, device)
        self.embedding = weights["model.embed_tokens.weight"]
        self.norm = weights["model.norm.weight"]
        self.head = Linear(weights.get("lm_head.weight", self.embedding), shared=True)
        self.blocks = [_block(weights, index) for index in range(config.layers)]
        frequencies = rope_frequencies(config.rope_theta, config.head_width // 2, config.rope_scaling)
        self._frequencies = torch.tensor(frequencies, dtype=torch.float32, device=device)

    def embed(self, ids: Tensor) -> Tensor:
        """ids [N] -> [N, width]"""
        return nn.embedding(ids, self.embedding)

    def rotation(self, positions: Tensor) -> Rotation:
        """What `project` turns queries and keys by; made once for all layers. positions [N]"""
        angles = positions[:, None, None].float() * self._frequencies
        cosine, sine = angles.cos(), angles.sin()
        # The sign goes with the sine, so that a rotation is two products and no negation.
        return torch.cat([cosine, cosine], -1).to(self.dtype), torch.cat([-sine, sine], -1).to(self.dtype)

    def project(
        self, x: Tensor, layer: int, rotation: Rotation, adapter: Adapter | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [N, H, d], keys [N, K, d] and values [N, K, d] of x [N, width]."""
        config, block = self.config, self.blocks[layer]
        normed = nn.rms_norm(x, (config.width,), block.attention_norm, config.norm_epsilon)
        fused = self._linear(normed, layer, "qkv", adapter).view(len(x), -1, config.head_width)
        return _rotated(fused, *rotation, config.heads, config.kv_heads)

    def finish(self, x: Tensor, attended: Tensor, layer: int, adapter: Adapter | None) -> Tensor:
        """The rest of the block: x [N, width] and attention's output [N, H * d] -> [N, width]."""
        config, block = self.config, self.blocks[layer]
        x = x + self._linear(attended, layer, "o", adapter)
        normed = nn.rms_norm(x, (config.width,), block.mlp_norm, config.norm_epsilon)
        inner = block.gate_up(normed) if adapter is None else adapter.gated(normed, block.gate_up, layer)
        return x + self._linear(inner, layer, "down", adapter)

    def normed(self, x: Tensor) -> Tensor:
        """x [N, width] after the last block -> what the head reads [N, width]"""
        return nn.rms_norm(x, (self.config.width,), self.norm, self.config.norm_epsilon)

    def logits(self, x: Tensor) -> Tensor:
        """x [N, width] after the last block -> [N, vocabulary]"""
        return self.head(self.normed(x))

    def _linear(self, x: Tensor, layer: int, name: str, adapter: Adapter | None) -> Tensor:
        base: Linear = getattr(self.blocks[layer], name)
        return base(x) if adapter is None else adapter.linear(x, base, layer, name)


def _rotated(fused: Tensor, cosine: Tensor, sine: Tensor, heads: int, kv_heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Split [N, H + 2 K, d] into queries, keys and values, the first two turned by their positions.

    Rotary position embedding with a head's two halves as pairs (https://arxiv.org/abs/2104.09864, in Hugging Face's
    layout). cosine and sine are [N, 1, d]; the sine's first half is negative.
    """
    turning = fused[:, : heads + kv_heads]
    first, second = turning.chunk(2, dim=-1)
    turned = torch.cat([second, first], dim=-1).mul_(sine).addcmul_(turning, cosine)
    return turned[:, :heads].contiguous(), turned[:, heads:].contiguous(), fused[:, heads + kv_heads :].contiguous()


def _block(weights: dict[str, Tensor], index: int) -> Block:
    def take(*names: str) -> Tensor:
        parts = [weights.pop(f"model.layers.{index}.{name}.weight") for name in names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    return Block(
        attention_norm=take("input_layernorm"),
        qkv=Linear(take("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
        o=Linear(take("self_attn.o_proj")),
        mlp_norm=take("post_attention_layernorm"),
        gate_up=GatedLinear(take("mlp.gate_proj"), take("mlp.up_proj")),
        down=Linear(take("mlp.down_proj")),
    )


def _load(folder: Path, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype, device: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError, safe_open

    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                for name in shapes.keys() & set(file.keys()):
                    weight = file.get_tensor(name).to(device=device, dtype=dtype)
                    # Of the mapped file nothing is held for good but what is copied here: once the linear layers have
                    # been put into another order, it is let go.
                    weights[name] = weight if _PRODUCT.search(name) else weight.clone()
        except (OSError, SafetensorError) as error:
            raise ModelUnavailable(f"the weights cannot be read: {error}", where=path) from None
    for name, shape in shapes.items():
        if name not in weights or weights[name].shape != shape:
            raise ModelUnavailable(f"the weight {name} is missing or not of shape {shape}", where=folder)
    return weights


def weight_files(folder: Path) -> list[Path]:
    """The folder's safetensors, one file or the shards its index names."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists() or not index.exists():
        return [single]
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelUnavailable(f"the index of the weights cannot be read: {error}", where=index) from None
    return [folder / Path(str(name)).name for name in sorted(names)]
