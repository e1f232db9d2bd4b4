"""Detection by patch embedding: how far is a patch from the normal ones, in the eyes of a small 1-D CNN?

The network need not be trained: random convolutions keep apart what differs in shape (as in ROCKET, Dempster et al.
2020). Trained, it follows PaAno (Park and Kang 2026, arXiv 2602.01359): a triplet loss draws a patch to its close
neighbour in time and away from far ones, a second loss asks whether one patch comes right before another.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.anomaly.base import ScoreDetector, spread
from forecasting.anomaly.joins import regularised
from lab import device as devices

_BATCH = 64
_AT_ONCE = 4_096  # patches a forward pass: bounds the memory


class PatchEncoder(nn.Module):
    """Three convolutions and the mean over each quarter: a patch (batch, steps) as a vector (batch, 4 * features).

    The mean makes it a matter of what is in a quarter of the patch, not exactly where. Over the whole patch it forgets
    the order of things (a beat with its parts swapped is a beat); over eighths it minds every shift.
    """

    def __init__(self, features: int = 64, parts: int = 4):
        super().__init__()
        self.parts = parts
        self.layers = nn.Sequential(
            nn.Conv1d(1, features // 2, 7, padding=3), nn.GELU(),
            nn.Conv1d(features // 2, features, 5, stride=2, padding=2), nn.GELU(),
            nn.Conv1d(features, features, 3, stride=2, padding=1), nn.GELU(),
        )  # fmt: skip

    def forward(self, patches: Tensor) -> Tensor:
        return functional.adaptive_avg_pool1d(self.layers(patches[:, None]), self.parts).flatten(1)


@torch.no_grad()
def embed(encoder: nn.Module, patches: np.ndarray) -> Tensor:
    """Patches (n, steps) as unit vectors (n, features) on the CPU."""
    device = next(encoder.parameters()).device
    parts = [
        functional.normalize(encoder(torch.from_numpy(patches[start : start + _AT_ONCE]).to(device)), dim=1).cpu()
        for start in range(0, len(patches), _AT_ONCE)
    ]
    return torch.cat(parts)


def cosine_distance(queries: Tensor, memory: Tensor, neighbours: int) -> np.ndarray:
    """Mean cosine distance of each unit vector (n, d) to its nearest `neighbours` among `memory` (m, d); (n,)."""
    count = min(neighbours, len(memory))
    near = [
        (part @ memory.T).topk(count, dim=1).values.mean(1)  # (rows,)
        for part in queries.split(_AT_ONCE)
    ]
    return 1 - torch.cat(near).double().numpy()


def train(encoder: nn.Module, patches: np.ndarray, updates: int, generator: torch.Generator) -> list[float]:
    """Self-supervised training of `encoder` on all windows of a series in order, (n, steps); returns the losses.

    Triplet loss on cosine distances, margin 0.5: a patch, one that begins up to a sixteenth of its length later or
    earlier, and another of the batch. And cross-entropy of a linear layer that is to tell the patch right before a
    patch from another of the batch, given both embeddings.
    """
    device = next(encoder.parameters()).device
    count, width = patches.shape
    near = max(1, width // 16)
    features = encoder(torch.zeros(1, width, device=device)).shape[1]
    follows = nn.Linear(2 * features, 1).to(device)
    optimiser = torch.optim.AdamW([*encoder.parameters(), *follows.parameters()], lr=1e-3, weight_decay=1e-4)
    losses = []
    for _ in range(updates):
        anchor = torch.randint(min(width, count - 1), count, (_BATCH,), generator=generator)
        shift = torch.randint(1, near + 1, (_BATCH,), generator=generator)
        sign = 2 * torch.randint(0, 2, (_BATCH,), generator=generator) - 1
        beside = (anchor + sign * shift).clamp(0, count - 1)
        before = (anchor - width).clamp(min=0)
        chosen = torch.cat([anchor, beside, before]).numpy()
        parts = functional.normalize(encoder(torch.from_numpy(patches[chosen]).to(device)), dim=1).split(_BATCH)
        here, positive, previous = parts  # (batch, features) each
        negative = here.roll(1, 0)
        triplet = functional.relu(0.5 + (here * negative).sum(1) - (here * positive).sum(1)).mean()
        pairs = torch.cat([torch.cat([previous, here], 1), torch.cat([previous.roll(1, 0), here], 1)])
        target = torch.cat([torch.ones(_BATCH), torch.zeros(_BATCH)]).to(device)
        loss = triplet + functional.binary_cross_entropy_with_logits(follows(pairs)[:, 0], target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


class PatchDetector(ScoreDetector):
    """Mean cosine distance of each patch's embedding to the nearest ones of the training part.

    Patches of one period, at least 64 steps: what is odd about a sample of a short period shows in its company only.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    networks : int
        Encoders, each from other random weights, whose distances are summed.
    updates : int
        Steps of self-supervised training (see `train`), each on 64 patches; 0 leaves the weights random.
    memory : int
        Training patches to compare with at most, evenly spread.
    neighbours : int
        Nearest of them that are averaged.
    random_state : int
    device : "auto", "cpu" or "cuda"

    Attributes
    ----------
    encoders_ : the networks; memories_ : one tensor (patches, features) for each; losses_ : one list for each.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.patches import PatchDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = PatchDetector(networks=1).fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _tags = {"capability:random_state": True, "property:randomness": "derandomized"}  # noqa: RUF012 - sktime's convention
    _refit: ClassVar[bool] = True
    _shortest_window: ClassVar[int] = 64

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        networks: int = 2,
        updates: int = 0,
        memory: int = 4_000,
        neighbours: int = 3,
        random_state: int = 0,
        device: str = "auto",
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.networks = networks
        self.updates = updates
        self.memory = memory
        self.neighbours = neighbours
        self.random_state = random_state
        self.device = device
        super().__init__()

    def _stride(self) -> int:
        return max(1, self.window_ // 16)

    def _patches(self, steps: np.ndarray) -> np.ndarray:
        return regularised(steps, self.window_)[:: self._stride()]

    @devices.threads(1)
    def _learn(self, steps: np.ndarray) -> None:
        device = devices.choose(self.device)
        patches = regularised(steps, self.window_)
        with torch.random.fork_rng(devices=[]):  # leave the caller's random state alone
            torch.manual_seed(self.random_state)
            self.encoders_ = [PatchEncoder().to(device) for _ in range(self.networks)]
            generator = torch.Generator().manual_seed(self.random_state)
            self.losses_ = [train(encoder, patches, self.updates, generator) for encoder in self.encoders_]
        kept = patches[:: -(-len(patches) // self.memory)]
        self.memories_ = [embed(encoder, kept) for encoder in self.encoders_]

    @devices.threads(1)
    def _score(self, steps: np.ndarray) -> np.ndarray:
        patches = self._patches(steps)
        distance = sum(
            cosine_distance(embed(encoder, patches), memory, self.neighbours)
            for encoder, memory in zip(self.encoders_, self.memories_, strict=True)
        )
        return spread(np.asarray(distance), self.window_, self._stride(), len(steps))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [
            {"networks": 1, "updates": 2, "device": "cpu"},
            {"period": 6, "quantile": 0.9, "contamination": 0.1, "memory": 5, "neighbours": 1, "device": "cpu"},
        ]
