"""LoRA adapters in peft's format on disk, and unmerged in use.

Unmerged, because a trained change is often smaller than a bfloat16 weight's last bit: merging would round it away.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shouldtune.errors import ModelUnavailable
from shouldtune.models.gguf_cache import sha256_of
from shouldtune.models.llama_config import LlamaConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from shouldtune.models.linear import GatedLinear, Linear

WEIGHTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class FusedPart:
    """One of peft's modules inside a fused linear layer."""

    module: str
    """Hugging Face's name below the layer: `self_attn.q_proj`."""
    outputs: int


@dataclass(frozen=True)
class FusedLinear:
    """A fused linear layer: what goes in, and the modules whose outputs stand one after another."""

    inputs: int
    parts: tuple[FusedPart, ...]

    @property
    def outputs(self) -> int:
        return sum(part.outputs for part in self.parts)


def fused_linears(config: LlamaConfig) -> dict[str, FusedLinear]:
    """The fused linear layers of one block, by the engine's name."""
    query, key = config.heads * config.head_width, config.kv_heads * config.head_width

    def fuse(inputs: int, **outputs: int) -> FusedLinear:
        parts = (FusedPart(name.replace("__", "."), size) for name, size in outputs.items())
        return FusedLinear(inputs, tuple(parts))

    return {
        "qkv": fuse(config.width, self_attn__q_proj=query, self_attn__k_proj=key, self_attn__v_proj=key),
        "o": fuse(query, self_attn__o_proj=config.width),
        "gate_up": fuse(config.width, mlp__gate_proj=config.mlp_width, mlp__up_proj=config.mlp_width),
        "down": fuse(config.mlp_width, mlp__down_proj=config.width),
    }


def peft_name(layer: int, module: str, side: str) -> str:
    """peft's key of a module's A (rank x inputs) or B (outputs x rank)."""
    return f"base_model.model.model.layers.{layer}.{module}.lora_{side}.weight"


def adapter_sha256(folder: Path) -> str:
    """An adapter's identity: the hash of its weights and settings. Raises ModelUnavailable."""
    return sha256_of(folder / WEIGHTS, folder / SETTINGS)


def peft_settings(rank: int, alpha: int, base: str) -> dict[str, Any]:
    """peft's adapter_config.json for LoRA on every linear layer."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": list(MODULES),
    }


class LoraAdapter:
    """A trained adapter, ready for the forward pass."""

    def __init__(self, folder: Path, config: LlamaConfig, *, dtype: torch.dtype, device: str | torch.device) -> None:
        """Read peft's two files. Raises ModelUnavailable when they are missing or do not fit the model."""
        import torch

        scale = _scale(folder / SETTINGS)
        weights = _read(folder / WEIGHTS)
        self._down: dict[tuple[int, str], Tensor] = {}
        self._up: dict[tuple[int, str], Tensor] = {}
        for layer in range(config.layers):
            for name, fused in fused_linears(config).items():
                downs, ups = [], []
                for part in fused.parts:
                    down, up = (weights.pop(peft_name(layer, part.module, side), None) for side in "AB")
                    if down is None or up is None:
                        continue
                    if down.shape != (len(down), fused.inputs) or up.shape != (part.outputs, len(down)):
                        raise ModelUnavailable(f"the adapter does not fit the model at {part.module}", where=folder)
                    downs.append((part, down))
                    ups.append(up.float() * scale)
                if downs:
                    self._down[layer, name] = torch.cat([down for _, down in downs]).to(device, dtype)
                    self._up[layer, name] = _block_diagonal(fused, [p for p, _ in downs], ups).to(device, dtype)
        if weights:
            raise ModelUnavailable(f"the adapter changes something unknown: {next(iter(weights))}", where=folder)

    def linear(self, x: Tensor, base: Linear, layer: int, name: str) -> Tensor:
        """x W^T + scale (x A^T) B^T, over the fused layer's modules at once."""
        product = base(x)
        down = self._down.get((layer, name))
        return product if down is None else product.addmm_(x @ down.T, self._up[layer, name].T)

    def gated(self, x: Tensor, base: GatedLinear, layer: int) -> Tensor:
        """silu(gate) * up, each changed as `linear` says."""
        from torch.nn import functional as nn

        down = self._down.get((layer, "gate_up"))
        if down is None:
            return base(x)
        low, up = x @ down.T, self._up[layer, "gate_up"]
        width = len(up) // 2
        gate = nn.silu(base.gate(x).addmm_(low, up[:width].T))
        return base.up(x).addmm_(low, up[width:].T).mul_(gate)


def _block_diagonal(fused: FusedLinear, present: list[FusedPart], ups: list[Tensor]) -> Tensor:
    """B of the fused layer: each module's B in its own rows and its own columns."""
    import torch

    whole = torch.zeros(fused.outputs, sum(up.shape[1] for up in ups))
    row = column = 0
    for part in fused.parts:
        if part in present:
            up = ups[present.index(part)]
            whole[row : row + part.outputs, column : column + up.shape[1]] = up
            column += up.shape[1]
        row += part.outputs
    return whole


def _scale(path: Path) -> float:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        rank, alpha = int(settings["r"]), float(settings["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelUnavailable(f"the adapter's settings cannot be read: {error}", where=path) from None
    unknown = [name for name in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save") if settings.get(name)]
    if settings.get("peft_type") != "LORA" or settings.get("bias", "none") != "none" or rank < 1 or unknown:
        raise ModelUnavailable("only plain LoRA adapters are known here", where=path)
    return alpha / (rank**0.5 if settings.get("use_rslora") else rank)


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelUnavailable(f"the adapter cannot be read: {error}", where=path) from None
