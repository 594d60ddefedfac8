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
        if torch.is_grad_enabled():
            return nn.linear(x, self.weight)
        if not self._held.is_mkldnn:
            if not _can_reorder(self._held):
                return nn.linear(x, self._held)
            self._held = torch.ops.mkldnn._reorder_linear_weight(self._held, None)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._held, None, "none", [], "")
        return product


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
