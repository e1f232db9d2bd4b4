"""A Transformer on patches: embed, add position, two pre-norm layers, one linear head (after PatchTST, ICLR 2023)."""

from typing import Any

import torch
from torch import Tensor, nn

from forecasting.networks.dropout import Dropout
from forecasting.networks.fast import Linear, linear
from forecasting.networks.norm import fold, patches, unfold, zero_head


class Attention(nn.MultiheadAttention):
    """nn.MultiheadAttention; of some tens of tokens among themselves, on a CPU, written out: softmax(q k' / sqrt(d)) v.

    The library's fused kernel saves memory that matters for thousands of tokens, and takes 1.7 times as long for 30.
    """

    def __init__(self, width: int, heads: int):
        super().__init__(width, heads, batch_first=True)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Any:
        wants_more = args or options.get("need_weights", True) or options.get("attn_mask") is not None
        alone = query is key is value and query.ndim == 3 and query.device.type == "cpu"
        if wants_more or not alone or options.get("key_padding_mask") is not None:
            return super().forward(query, key, value, *args, **options)
        projected = linear(query, self.in_proj_weight, self.in_proj_bias)  # (batch, tokens, 3 * width)
        q, k, v = projected.unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (batch, heads, tokens, d)
        weights = (q * self.head_dim**-0.5 @ k.transpose(2, 3)).softmax(3)  # (batch, heads, tokens, tokens)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        return linear(mixed, self.out_proj.weight, self.out_proj.bias), None


class Transformer(nn.Module):
    """lookback, horizon, patch: in steps; width: size of a token; heads divides it."""

    def __init__(
        self, lookback: int, horizon: int, patch: int, width: int = 32, depth: int = 2, heads: int = 4,
        dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        self.patch = patch
        count = -(-lookback // patch)
        self.embed = Linear(patch, width)
        self.positions = nn.Parameter(0.02 * torch.randn(count, width))
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            dim_feedforward=2 * width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        layer.self_attn = Attention(width, heads)  # nothing is dropped out of it, as in PatchTST
        layer.linear1, layer.linear2 = Linear(width, 2 * width), Linear(2 * width, width)
        layer.activation_relu_or_gelu = 0  # without it torch takes a way of its own where nothing is trained
        layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
        # nested tensors serve padded sentences; pre-norm layers cannot use them and would warn
        self.layers = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Flatten(), Dropout(dropout), zero_head(width * count, horizon))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        channels = x.shape[2]
        x = patches(fold(x), self.patch)  # (batch * channels, patches, patch)
        x = self.layers(self.embed(x) + self.positions)  # (batch * channels, patches, width)
        return unfold(self.head(x), channels)
