"""nn.Linear through oneDNN where that is quicker: on a processor, in float32, for more than a handful of rows.

PyTorch's own products of float32 matrices go through MKL. On an AMD EPYC (family 26) that reaches 100 GFLOP/s a core,
oneDNN, with which PyTorch works out its convolutions, 230; not measured on other processors.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_SMALL = 2**21  # multiplications; below, with gradients, the call costs as much as it saves or more


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x (..., inputs), weight (outputs, inputs), bias (outputs) -> (..., outputs), as torch.nn.functional.linear."""
    usual = x.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != torch.float32
    if usual or x.numel() * len(weight) < _SMALL or torch.is_autocast_enabled("cpu") or not _available():
        return functional.linear(x, weight, bias)
    made: Tensor = _Product.apply(x, weight, bias)
    return made


class Linear(nn.Linear):
    """nn.Linear, with the same weights and results (but for rounding)."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        rows = gradient.flatten(0, -2)
        to_x, to_weight, to_bias = ctx.needs_input_grad
        return (
            _product(gradient, weight.T) if to_x else None,
            _product(rows.T, x.flatten(0, -2).T) if to_weight else None,
            rows.sum(0) if to_bias else None,
        )


def _available() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
