"""A frozen linear layer whose weight is reordered once for the processor's matrix kernels (oneDNN).

Measured on a processor with AVX512-BF16: 1.15 times the speed of the plain layer in float32, 1.06 in bfloat16.
"""

from typing import Any

import torch
from torch import nn

ROWS_HINT = 512
"""Tokens that the order of the weight is chosen for; other numbers work as well."""


class Packed(nn.Module):
    """The layer's weight in oneDNN's own order."""

    def __init__(self, packed: torch.Tensor, bias: torch.Tensor | None, in_features: int) -> None:
        super().__init__()
        self._packed, self._bias, self._in_features = packed, bias, in_features
        self._operator: Any = torch.ops.mkldnn._linear_pointwise.default

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x W^T + bias. x [..., I] -> [..., O]."""
        y: torch.Tensor = self._operator(x, self._packed, self._bias, "none", [], "")
        return y

    def dense_weight(self) -> torch.Tensor:
        """Return the weight [O, I] in float32, exactly: products with ones and zeros do not round."""
        dtype = torch.float32 if self._bias is None else self._bias.dtype
        y: torch.Tensor = self._operator(torch.eye(self._in_features, dtype=dtype), self._packed, None, "none", [], "")
        return y.float().T.contiguous()


def pack(linear: nn.Linear) -> Packed | None:
    """Pack a layer and drop its plain weight; None, and nothing changed, where this build or processor has no way."""
    weight = linear.weight
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available() or not hasattr(
            torch.ops.mkldnn, "_reorder_linear_weight"):
        return None
    if weight.dtype not in (torch.float32, torch.bfloat16):
        return None
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), ROWS_HINT)
    bias = None if linear.bias is None else linear.bias.detach()
    layer = Packed(packed, bias, linear.in_features)
    # Its type is still asked for; its memory is not needed twice.
    linear.weight = nn.Parameter(weight.detach().new_empty(0), requires_grad=False)
    return layer
