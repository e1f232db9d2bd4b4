"""A 1D convolution is a 2D one on a picture of one row; whether it classifies series best is another question.

Lecture: L0, Deep Learning in Wilderness; also L1 ("Recurrent neural networks (RNNs): time series data")
Slide: Convolutional Neural Network (CNN) for Images Only? The answer is No; CNN for Time Series Processing
Says: "2D convolutional layer", "1D convolutional layer". "So popular that CNN is dominantly used for this task in the
    literature."
Doubt: Popularity is not accuracy, and no number is given. Five classifiers therefore meet on four sets of series: nets
    of the same size, trained alike, and the nearest neighbour, which has nothing to train. Each net has the
    normalisation that is usual for it, and the CNN's is a large part of what it is good for: it is told without, too.
    The sets are small (36 to 67 series to learn from): what wins here need not win on thousands.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import rankdata
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import COLOURS, GREY, PURPLE, canvas, label
from lab.stats import bootstrap

SETS = ("ItalyPowerDemand", "GunPoint", "ArrowHead", "BasicMotions")
"""The four shortest of one length that come with sktime: a day's demand, a hand, an arrowhead, a watch."""
WEIGHTS = 6000
"""Of every net, as nearly as a whole width allows."""
RATES = (1e-3, 3e-3, 1e-2)
"""Adam's, of which each net has on each set the one that is best on a third of the training part."""
TOKENS = 24
"""Patches that a series is cut into for the LSTM and the Transformer."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 1, 30, quick=2)
    """Random starts of each net on each set."""
    steps: int = setting(200, 1, 5000, quick=10)
    """Full-batch Adam steps."""


class Series(NamedTuple):
    """A set: series (n, channels, length), standardised by the training part, and classes (n,)."""

    x: Tensor
    y: Tensor
    test_x: Tensor
    test_y: Tensor
    classes: int


def load(name: str) -> Series:
    from sktime.datasets import load_UCR_UEA_dataset

    x, y = load_UCR_UEA_dataset(name, split="train", return_type="numpy3d")
    test_x, test_y = load_UCR_UEA_dataset(name, split="test", return_type="numpy3d")
    names, y = np.unique(y, return_inverse=True)
    centre, spread = x.mean((0, 2), keepdims=True), x.std((0, 2), keepdims=True)
    scaled = [torch.tensor((part - centre) / spread, dtype=torch.float32) for part in (x, test_x)]
    return Series(scaled[0], torch.tensor(y), scaled[1], torch.tensor(np.searchsorted(names, test_y)), len(names))


def mlp(channels: int, length: int, classes: int, width: int) -> nn.Module:
    layers = [nn.Linear(channels * length, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, classes))


def cnn(channels: int, length: int, classes: int, width: int, normalised: bool = True) -> nn.Module:
    """Three convolutions along time and the mean over time (after Wang, Yan and Oates, 2017)."""

    def block(wide_in: int, wide_out: int, kernel: int) -> list[nn.Module]:
        norm = [nn.BatchNorm1d(wide_out)] if normalised else []
        return [nn.Conv1d(wide_in, wide_out, kernel, padding="same"), *norm, nn.ReLU()]

    body = [*block(channels, width, 7), nn.MaxPool1d(2), *block(width, 2 * width, 5), nn.MaxPool1d(2)]
    head = [nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(width, classes)]
    return nn.Sequential(*body, *block(2 * width, width, 3), *head)


class Patches(nn.Module):
    """(n, channels, length) -> (n, tokens, channels x patch); steps that fill no patch are left out at the start."""

    def __init__(self, patch: int):
        super().__init__()
        self.patch = patch

    def forward(self, x: Tensor) -> Tensor:
        x = x[..., x.shape[2] % self.patch :].unflatten(2, (-1, self.patch))  # (n, channels, tokens, patch)
        return x.transpose(1, 2).flatten(2)


class LSTM(nn.Module):
    def __init__(self, channels: int, length: int, classes: int, width: int):
        super().__init__()
        patch = max(1, length // TOKENS)
        self.patches, self.cell = Patches(patch), nn.LSTM(channels * patch, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(self.patches(x))[1][0][0])  # from the last hidden state


class Transformer(nn.Module):
    def __init__(self, channels: int, length: int, classes: int, width: int):
        super().__init__()
        patch = max(1, length // TOKENS)
        self.embed = nn.Sequential(Patches(patch), nn.Linear(channels * patch, 2 * width))
        self.positions = nn.Parameter(0.1 * torch.randn(length // patch, 2 * width))
        self.layer = nn.TransformerEncoderLayer(2 * width, 2, 4 * width, dropout=0, batch_first=True, norm_first=True)
        self.head = nn.Sequential(nn.LayerNorm(2 * width), nn.Linear(2 * width, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.embed(x) + self.positions).mean(1))


BARE = "CNN without batch normalisation"
NETS: dict[str, Callable[[int, int, int, int], nn.Module]] = {
    "CNN": cnn, "LSTM": LSTM, "Transformer": Transformer, "MLP": mlp, BARE: partial(cnn, normalised=False),
}  # fmt: skip


def size(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def fitting(kind: str, data: Series) -> Callable[[], nn.Module]:
    """Makes nets of that kind for the set, of the width whose number of weights is nearest to WEIGHTS."""
    shape = data.x.shape[1], data.x.shape[2], data.classes
    with torch.random.fork_rng(devices=[]):
        width = min(range(2, 120), key=lambda width: abs(size(NETS[kind](*shape, width)) - WEIGHTS))
    return lambda: NETS[kind](*shape, width)


def accuracy(make: Callable[[], nn.Module], x, y, test_x, test_y, rate: float, steps: int, seed: int) -> float:
    """Share of the test series right, after full-batch training."""
    torch.manual_seed(seed)
    net = make()
    optimiser = torch.optim.Adam(net.parameters(), rate)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.cross_entropy(net(x), y).backward()
        optimiser.step()
    with torch.no_grad():
        return (net.eval()(test_x).argmax(1) == test_y).float().mean().item()


def choose_rate(make: Callable[[], nn.Module], data: Series, steps: int) -> float:
    """The rate that is best on a third of the training part, held out; of equal ones the middle or the lower."""
    fit, held = train_test_split(np.arange(len(data.y)), test_size=1 / 3, stratify=data.y, random_state=0)
    x, y = data.x, data.y
    scores = {rate: accuracy(make, x[fit], y[fit], x[held], y[held], rate, steps, 0) for rate in RATES}
    return max((RATES[1], RATES[0], RATES[2]), key=lambda rate: scores[rate])


def nearest(data: Series) -> float:
    """Accuracy of the class of the nearest training series, by Euclidean distance."""
    distance = torch.cdist(data.test_x.flatten(1), data.x.flatten(1))
    return (data.y[distance.argmin(1)] == data.test_y).float().mean().item()


def difference(seed: int) -> float:
    """Largest difference between Conv1d and Conv2d of one row with the same weights, on 4 series of 3 channels."""
    torch.manual_seed(seed)
    flat, wide = nn.Conv1d(3, 8, 7, padding=3), nn.Conv2d(3, 8, (1, 7), padding=(0, 3))
    wide.load_state_dict({"weight": flat.weight[:, :, None], "bias": flat.bias})
    x = torch.randn(4, 3, 150)
    return (flat(x) - wide(x[:, :, None])[:, :, 0]).abs().max().item()


def ranked(right: np.ndarray) -> np.ndarray:
    """Mean rank over the sets (classifier, seed) of accuracies (classifier, set, seed); ties share a rank."""
    return rankdata(-right.round(9), axis=0).mean(1)


def measure(settings: Settings) -> Outcome:
    off = [difference(seed) for seed in range(settings.seeds)]
    right = np.zeros((len(NETS) + 1, len(SETS), settings.seeds))  # (classifier, set, seed)
    sizes = []
    with console.bar("series classifiers", len(NETS) * len(SETS) * (settings.seeds + 1), "fits") as advance:
        for column, data in enumerate(map(load, SETS)):
            right[-1, column] = nearest(data)
            for row, kind in enumerate(NETS):
                make = fitting(kind, data)
                sizes.append(size(make()))
                rate = choose_rate(make, data, settings.steps)
                advance()
                for seed in range(settings.seeds):
                    right[row, column, seed] = accuracy(make, *data[:4], rate, settings.steps, seed)
                    advance(1, f"{kind}, {SETS[column]}")
    names = [*(name for name in NETS if name != BARE), "1-NN"]
    bare = list(NETS).index(BARE)
    unnormalised, right = right[bare], np.delete(right, bare, axis=0)
    ranks = ranked(right)
    lead, without = (each[0] - each[1:].min(0) for each in (ranks, ranked(np.stack([unnormalised, *right[1:]]))))

    def told(name: str, values: np.ndarray) -> Finding:
        return report(name, float(values.mean()), bootstrap(values, np.mean), values)

    findings = [
        check("Conv2d of one row against Conv1d, largest difference", max(off), "< 1e-6", values=off),
        check("CNN's mean rank less the best of the others'", float(lead.mean()), "< 0", bootstrap(lead, np.mean),
              lead),
        doubt(check("the same without its batch normalisation", float(without.mean()), ">= 0",
                    bootstrap(without, np.mean), without)),
        report(f"weights of a net over {WEIGHTS}, farthest from 1",
               max(sizes, key=lambda n: abs(n - WEIGHTS)) / WEIGHTS),
        *(told(f"mean rank of {name} of {len(names)}", each) for name, each in zip(names, ranks, strict=True)),
        *(told(f"accuracy of {name} on {title}", right[row, column])
          for row, name in enumerate(names) for column, title in enumerate(SETS)),
        *(told(f"accuracy of the {BARE} on {title}", row) for row, title in zip(unnormalised, SETS, strict=True)),
    ]  # fmt: skip
    budget = (
        f"{len(NETS)} nets of about {WEIGHTS} weights on {len(SETS)} sets, {settings.seeds} starts of "
        f"{settings.steps} full-batch steps each, the rate out of {len(RATES)} chosen on a third of the training "
        f"part, then the test part"
    )
    return Outcome(findings, picture(names, right, ranks), budget)


def picture(names: list[str], right: np.ndarray, ranks: np.ndarray):
    """Accuracy of every start on every set, and the mean ranks."""
    figure, axes = canvas(1, 2, width=14, height=5.4, width_ratios=[1.9, 1])
    left, panel = axes[0]
    colours = {"CNN": COLOURS["cnn"], "LSTM": COLOURS["lstm"], "Transformer": COLOURS["transformer"], "MLP": PURPLE,
               "1-NN": GREY}  # fmt: skip
    for row, name in enumerate(names):
        for column in range(len(SETS)):
            place = column + 0.15 * (row - 2)
            values = right[row, column]
            left.plot(np.full(len(values), place), values, "o", color=colours[name], markersize=6, alpha=0.5)
            left.plot(place, values.mean(), "_", color=colours[name], markersize=20, markeredgewidth=4,
                      label=name if column == 0 else None)  # fmt: skip
    left.set_xticks(range(len(SETS)), SETS)
    left.set_ylim(None, 1.02)
    label(left, "Which net is best depends on the set", "", "test series classified right")
    left.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    middle = ranks.mean(1)
    order = np.argsort(-middle)
    panel.barh([names[row] for row in order], middle[order], color=[colours[names[row]] for row in order], height=0.6)
    for place, row in enumerate(order):
        low, high = bootstrap(ranks[row], np.mean)
        if np.isfinite(low):
            panel.hlines(place, low, high, color="black", linewidth=2.5)
        panel.text(0.08, place, f"{middle[row]:.1f}", color="white", va="center", fontsize=15, fontweight="bold")
    panel.set_xlim(0, len(names))
    first = names[order[-1]]
    label(panel, f"{first} has the best mean rank", "mean rank, 1 is best; line: 95 % over starts")
    for each in (left, panel):
        each.title.set_fontsize(16)
    return figure
