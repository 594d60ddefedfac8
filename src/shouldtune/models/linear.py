"""A frozen linear layer, and the quicker product for few rows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as nn

_FEW_ROWS = 256
"""Up to here the product with reordered weights is quicker, up to twice so; above it there is no difference."""


class Linear:
    """x [N, inputs] -> x weight^T [N, outputs]."""

    def __init__(self, weight: Tensor) -> None:
        """weight [outputs, inputs]"""
        self.weight = weight
        self._reordered: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) > _FEW_ROWS or torch.is_grad_enabled() or not _can_reorder(self.weight):
            return nn.linear(x, self.weight)
        if self._reordered is None:
            self._reordered = torch.ops.mkldnn._reorder_linear_weight(self.weight, None)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self._reordered, None, "none", [], "")
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
