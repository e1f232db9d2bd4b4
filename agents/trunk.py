"""The layers that see Atari's frames, and on a CPU their gradient step by hand.

`Trunk` is a torch.nn.Sequential of convolutions and a hidden layer. On a CPU it works out the same sums with the same
weights, but from oneDNN's parts: a convolution and its ReLU are one, weights are made ready once for all that happens
between two steps, and what no later gradient waits for is shared with another thread.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from agents.helper import Helper, Shared, breathe
from agents.optimizers import RowsAdam

BLOCK = 4  # pixels a side: the stride of the first convolution
_conv_relu = getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None
_conv_bfloat16 = _conv_relu is not None and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def tiles(frames: Tensor) -> Tensor:
    """Frames (n, height, width) in tiles of 4 x 4 pixels: (n, height / 4, width / 4, 16)."""
    n, height, width = frames.shape
    rows, columns = height // BLOCK, width // BLOCK
    if frames.dtype == torch.uint8:  # four bytes that lie side by side are moved as one number
        words = frames.contiguous().view(torch.int32).view(n, rows, BLOCK, columns)
        return words.transpose(2, 3).contiguous().view(torch.uint8)
    return frames.reshape(n, rows, BLOCK, columns, BLOCK).transpose(2, 3).flatten(3)


def blocks(state: Tensor) -> Tensor:
    """States (batch, stack, height, width), or their tiles (batch, stack, height / 4, width / 4, 16), in blocks of
    4 x 4 pixels of all frames: (batch, 16 * stack, height / 4, width / 4).

    Channels last, in the order (frame, row, column within the block).
    """
    if state.ndim == 4:
        state = tiles(state.flatten(0, 1)).unflatten(0, state.shape[:2])
    if state.dtype == torch.uint8 and state.device.type != "mps":  # a tile's 16 bytes are moved as one number
        moved = state.view(torch.complex128).movedim(1, 3).contiguous().view(torch.uint8)
    else:
        moved = state.movedim(1, 3)  # (batch, rows, columns, stack, 16)
    return moved.flatten(3).permute(0, 3, 1, 2)


class BlockConv2d(nn.Conv2d):
    """A convolution of stride 4 over pixels, computed as one of stride 1 over their `blocks`: the same sums.

    The strided form has a channel a frame, the blocks 16, which is how wide a CPU's matrix instructions want them.
    """

    def __init__(self, stack: int, filters: int, side: int):
        """side: of a filter, in pixels."""
        super().__init__(stack, filters, side, stride=BLOCK)

    def over_blocks(self) -> Tensor:
        """The weights, (filters, 16 * stack, side / 4, side / 4)."""
        weight = self.weight.unflatten(3, (-1, BLOCK)).unflatten(2, (-1, BLOCK))
        return weight.permute(0, 1, 3, 5, 2, 4).flatten(1, 3)

    def over_pixels(self, weight: Tensor) -> Tensor:
        """What `over_blocks` does, undone."""
        side = self.kernel_size[0] // BLOCK
        weight = weight.contiguous().view(-1, self.in_channels, BLOCK, BLOCK, side, side)
        return weight.permute(0, 1, 4, 2, 5, 3).reshape(self.weight.shape)

    def forward(self, x: Tensor) -> Tensor:
        return functional.conv2d(x, self.over_blocks(), self.bias)


class Trunk(nn.Sequential):
    """Convolutions, the first a BlockConv2d, nn.Flatten, and a hidden layer, with a ReLU after each.

    (batch, stack, 84, 84) or the blocks of it, pixels in [0, 1] or uint8 -> (batch, hidden)
    """

    def __init__(self, *layers: nn.Module):
        super().__init__(*layers)
        self.helper: Helper | None = None  # with which convolutions' gradients are shared; see `finish`
        self.adam: RowsAdam | None = None  # which moves the hidden layer's weights by itself
        self.shared: list[Shared[None]] = []
        self._ready: tuple[Any, _Ready] | None = None

    @property
    def convolutions(self) -> list[nn.Conv2d]:
        return [layer for layer in self if isinstance(layer, nn.Conv2d)]

    @property
    def hidden(self) -> nn.Linear:
        layer = self[-2]
        assert isinstance(layer, nn.Linear)
        return layer

    def forward(self, x: Tensor) -> Tensor:
        where, kind = x.device.type, torch.float32
        if torch.is_autocast_enabled(where):
            kind = torch.get_autocast_dtype(where)
        if x.shape[1] == self[0].in_channels:
            x = blocks(x)
        scale = 1 / 255 if x.dtype == torch.uint8 else 1.0
        x = x.to(kind)
        if where == "cpu" and type(self.hidden) is nn.Linear and not x.requires_grad:
            with torch.autocast(where, enabled=False):
                made: Tensor = _ByHand.apply(self, x, scale, *self.parameters())
        else:
            made = super().forward(x.mul_(scale) if scale != 1 else x)
        return made

    def ready(self, kind: torch.dtype, scale: float) -> "_Ready":
        """The weights as `_ByHand` wants them, made anew where they have changed."""
        key = (kind, scale, *(weight._version for weight in self.parameters()))
        if self._ready is None or self._ready[0] != key:
            kernels = []
            for layer in self.convolutions:
                weight, stride = layer.weight, list(layer.stride)
                if isinstance(layer, BlockConv2d):
                    weight, stride = layer.over_blocks() * scale, [1, 1]
                weight = weight.detach().to(kind, memory_format=torch.channels_last)
                kernels.append(_Kernel(weight, layer.bias.detach().to(kind), stride))
            matrix = self.adam.copy(kind) if self.adam else self.hidden.weight.detach().to(kind)
            self._ready = key, _Ready(kernels, matrix, self.hidden.bias.detach().to(kind))
        return self._ready[1]

    def changed(self) -> None:
        """To be said where weights were changed by an optimiser, of which tensors keep no count."""
        self._ready = None

    def finish(self) -> None:
        """Have all gradients of the convolutions."""
        while self.shared:
            self.shared.pop().finish()


class _Kernel(NamedTuple):
    """Of a convolution with a ReLU."""

    weight: Tensor
    bias: Tensor
    stride: list[int]

    def forward(self, x: Tensor) -> Tensor:
        if _conv_relu is None or (x.dtype == torch.bfloat16 and not _conv_bfloat16):
            return functional.conv2d(x, self.weight, self.bias, self.stride).relu_()
        made: Tensor = _conv_relu(x, self.weight, self.bias, [0, 0], self.stride, [1, 1], 1, "relu", [], "")
        return made

    def backward(self, gradient: Tensor, x: Tensor, *, to_x: bool, to_weight: bool) -> tuple[Tensor | None, ...]:
        """To the input, the weights and the bias, of the gradient before the ReLU; None where it is not wanted."""
        wanted = [to_x, to_weight, to_weight]
        found: tuple[Tensor | None, ...] = torch.ops.aten.convolution_backward(
            gradient, x, self.weight, [len(self.weight)], self.stride, [0, 0], [1, 1], False, [0, 0], 1, wanted
        )
        return found


class _Ready(NamedTuple):
    """A Trunk's weights, ready to compute with."""

    kernels: list[_Kernel]
    matrix: Tensor  # (hidden, features)
    bias: Tensor  # (hidden,)


class _ByHand(torch.autograd.Function):
    """Trunk's layers one after the other: x (batch, channels, height, width) -> (batch, hidden)."""

    @staticmethod
    def forward(ctx: Any, trunk: Trunk, x: Tensor, scale: float, *parameters: Tensor) -> Tensor:
        """scale: of x, 1 for pixels in [0, 1]; parameters: the trunk's, in their order."""
        ready = trunk.ready(x.dtype, scale)
        seen = [x]
        for kernel in ready.kernels:
            seen.append(kernel.forward(seen[-1]))
            breathe()
        flat = seen[-1].flatten(1)
        if trunk.adam is not None:
            trunk.adam.finish()
        # With the matrix on the left, which oneDNN need not bring into another order first.
        made = torch.addmm(ready.bias[:, None], ready.matrix, flat.t()).t().relu_()
        ctx.trunk, ctx.ready, ctx.scale = trunk, ready, scale
        ctx.save_for_backward(made, flat, *seen)
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        trunk, ready = ctx.trunk, ctx.ready
        made, flat, *seen = ctx.saved_tensors
        at_hidden = _through_relu(gradient, made)
        back = (at_hidden @ ready.matrix).view(seen[-1].shape).contiguous(memory_format=torch.channels_last)
        found: list[Tensor | None] = []
        for kernel, layer, x, y in reversed(list(zip(ready.kernels, trunk.convolutions, seen, seen[1:], strict=False))):
            back, first = _through_relu(back, y), x is seen[0]
            share = trunk.helper is not None and not first  # that of the first, which comes last, would be waited for
            to_x, to_weight, to_bias = kernel.backward(back, x, to_x=not first, to_weight=not share)
            if share:
                trunk.shared.append(trunk.helper.share(partial(_give, layer, kernel, back, x)))
            else:
                to_weight, to_bias = to_weight.float(), to_bias.float()
            if first:
                to_weight = layer.over_pixels(to_weight) * ctx.scale
            found = [to_weight, to_bias, *found]
            back = to_x
        to_matrix = None
        if trunk.adam is None:
            to_matrix = (at_hidden.t() @ flat).float()
        else:
            trunk.adam.product = at_hidden, flat
        return None, None, None, *found, to_matrix, at_hidden.sum(0).float()


def _through_relu(gradient: Tensor, made: Tensor) -> Tensor:
    passed: Tensor = torch.ops.aten.threshold_backward(gradient, made, 0)
    return passed


def _give(layer: nn.Conv2d, kernel: _Kernel, gradient: Tensor, x: Tensor) -> None:
    """Give a convolution its gradients."""
    _, to_weight, to_bias = kernel.backward(gradient, x, to_x=False, to_weight=True)
    assert to_weight is not None and to_bias is not None
    # in the weights' own order, which an optimiser takes for granted, not channels last
    layer.weight.grad, layer.bias.grad = torch.empty_like(layer.weight).copy_(to_weight), to_bias.float()
