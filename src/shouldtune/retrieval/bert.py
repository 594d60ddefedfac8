"""A BERT encoder's forward pass from its safetensors: texts as token ids in, one vector a text out.

The architecture is that of Devlin et al. (2019, arXiv:1810.04805); the vector is the mean over a text's tokens at
length one, as Reimers and Gurevych's sentence encoders have it (2019, arXiv:1908.10084).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from shouldtune.errors import ModelUnavailable


@dataclass(frozen=True)
class Bert:
    """The weights, by the names in their file, and the few numbers of the shape."""

    weights: dict[str, Tensor]
    layers: int
    heads: int
    epsilon: float

    @staticmethod
    def read(folder: Path) -> Bert:
        """`config.json` and `model.safetensors` of a folder. Raises ModelUnavailable."""
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            weights = load_file(folder / "model.safetensors")
        except (OSError, ValueError) as error:
            raise ModelUnavailable(f"the encoder cannot be read: {error}", where=folder) from None
        if config.get("model_type") != "bert" or config.get("hidden_act") != "gelu":
            raise ModelUnavailable("this is no BERT encoder", where=folder / "config.json")
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return Bert(
            {name: weight.to(device) for name, weight in weights.items()},
            config["num_hidden_layers"],
            config["num_attention_heads"],
            config["layer_norm_eps"],
        )

    @torch.inference_mode()
    def encode(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """(texts, width) of unit length, float32 on the CPU; each row holds the token ids of one text, at least one."""
        longest = max(len(row) for row in rows)
        ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
        real = torch.tensor([[True] * len(row) + [False] * (longest - len(row)) for row in rows])
        device = self.weights["embeddings.word_embeddings.weight"].device
        ids, real = ids.to(device), real.to(device)
        x = self._embedded(ids)
        for layer in range(self.layers):
            x = self._layer(f"encoder.layer.{layer}", x, real)
        weight = real.unsqueeze(-1).to(x.dtype)
        mean = (x * weight).sum(1) / weight.sum(1)
        return functional.normalize(mean, dim=-1).cpu()

    def _embedded(self, ids: Tensor) -> Tensor:
        """(texts, tokens) to (texts, tokens, width)."""
        x = functional.embedding(ids, self.weights["embeddings.word_embeddings.weight"])
        x = x + self.weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = x + self.weights["embeddings.token_type_embeddings.weight"][0]
        return self._norm("embeddings.LayerNorm", x)

    def _layer(self, name: str, x: Tensor, real: Tensor) -> Tensor:
        """Attention among a text's real tokens, then the two wide layers; each is added to what went in."""

        def parted(part: str) -> Tensor:
            found = self._linear(f"{name}.attention.self.{part}", x)
            return found.view(*x.shape[:2], self.heads, -1).transpose(1, 2)

        seen = functional.scaled_dot_product_attention(
            parted("query"), parted("key"), parted("value"), attn_mask=real[:, None, None, :]
        )
        mixed = self._linear(f"{name}.attention.output.dense", seen.transpose(1, 2).flatten(2))
        x = self._norm(f"{name}.attention.output.LayerNorm", x + mixed)
        wide = functional.gelu(self._linear(f"{name}.intermediate.dense", x))
        return self._norm(f"{name}.output.LayerNorm", x + self._linear(f"{name}.output.dense", wide))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return functional.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(x, x.shape[-1:], weight, bias, self.epsilon)
