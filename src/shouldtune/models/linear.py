"""A frozen linear layer, in the form that the CPU multiplies quickest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nn


class Linear:
    """x [N, inputs] -> x weight^T [N, outputs].

    Its first use for an answer puts the weight into oneDNN's own order: with few rows, as in decoding, the product is
    then up to twice as quick, with many no slower. Only that order is kept.
    """

    def __init__(self, weight: Tensor, *, shared: bool = False) -> None:
        """weight [outputs, inputs]; `shared` where somebody else holds it too, so that letting go saves nothing."""
        self._held = weight
        self._plain = weight if shared else None

    @property
    def weight(self) -> Tensor:
        """[outputs, inputs]; a copy where only the other order is kept."""
        if self._plain is not None:
            return self._plain
        return self._held.to_dense() if self._held.is_mkldnn else self._held

    def __call__(self, x: Tensor) -> Tensor:
        return self._product(x, "none") if self.reordered() else nn.linear(x, self.weight)

    def silu(self, x: Tensor) -> Tensor:
        """silu(x weight^T), taken while the product is at hand."""
        return self._product(x, "swish") if self.reordered() else nn.silu(nn.linear(x, self.weight))

    def times(self, x: Tensor, other: Tensor) -> Tensor:
        """other * (x weight^T), both [N, outputs]; the same."""
        if not self.reordered():
            return other * nn.linear(x, self.weight)
        product: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, other, self._held, None, "mul")
        return product

    def reordered(self) -> bool:
        """Whether the weight is in oneDNN's order now; an answer's first use puts it there where this build can."""
        if torch.is_grad_enabled():
            return False
        if not self._held.is_mkldnn and _can_reorder(self._held):
            self._held = torch.ops.mkldnn._reorder_linear_weight(self._held, None)
        return self._held.is_mkldnn

    def _product(self, x: Tensor, after: str) -> Tensor:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._held, None, after, [], "")
        return product


class GatedLinear:
    """The first half of a gated MLP: x [N, inputs] -> silu(x gate^T) * (x up^T) [N, width]."""

    def __init__(self, gate: Tensor, up: Tensor) -> None:
        """gate, up [width, inputs]"""
        self.gate, self.up = Linear(gate), Linear(up)

    @property
    def weight(self) -> Tensor:
        """[2 * width, inputs], gate first: a copy."""
        return torch.cat([self.gate.weight, self.up.weight])

    def __call__(self, x: Tensor) -> Tensor:
        return self.up.times(x, self.gate.silu(x))


def _can_reorder(weight: Tensor) -> bool:
    """Whether this build and this CPU have the product for the weight's type."""
    if weight.device.type != "cpu" or not _HAS_PRODUCT:
        return False
    return weight.dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


# torch's own compiler uses these; they are not promised, so a build without them does without.
_HAS_PRODUCT = torch.backends.mkldnn.is_available() and all(  # type: ignore[no-untyped-call]
    hasattr(torch.ops.mkldnn, name)
    for name in ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
)
