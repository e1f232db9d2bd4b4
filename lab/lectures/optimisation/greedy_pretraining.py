"""Pre-training layer by layer: nothing for certain for deep sigmoid nets at their best rate, points for ReLU with BN.

Lecture: L2, 15. Deep Learning
Slide: The History of Backpropagation (2006, pre-training and fine-tuning)
Says: "Use greedy unsupervised learning to find a sensible set of weights one layer at a time. Then fine-tune with
    backpropagation." "We do not start backpropagation until we already have sensible weights that already do well at
    the task."
Doubt: Sensible weights were needed because deep sigmoid nets did not train from random ones. ReLU, He's weights and
    batch normalisation train without, so none is to be gained there if that was the reason: this is what is asked. Few
    labels are another reason. And weights found without labels do not "already do well at the task": they have not
    seen it.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLUE, DARK_GREY, GREY, ORANGE, canvas, label
from lab.stats import bootstrap

WIDTH = 64
KINDS = ("sigmoid", "ReLU + BN")
RATES = (0.001, 0.003, 0.01, 0.03)
"""Of fine-tuning; the best for each net on the held-out digits is taken. Up to 0.01 alone, pre-training looked like a
gain for sigmoid nets: the random ones need 0.03. At 0.1 both kinds of random net did worse on the held-out digits."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(16, 2, 50, quick=3)
    """Draws of the labelled digits, each with its own start of the nets."""
    layers: int = setting(5, 1, 20)
    """Hidden layers of 64 units."""
    labels: int = setting(65, 10, 600)
    """Labelled digits: 65 are 5 % of the 1297; the rest is used without labels."""
    pretrain: int = setting(600, 0, 10000, quick=30)
    """Adam steps for each layer as an autoencoder, on 200 unlabelled digits each, rate 0.003."""
    tune: int = setting(300, 1, 10000, quick=40)
    """Adam steps on all labelled digits with backpropagation."""
    hide: float = setting(0.2, 0.0, 0.9)
    """Share of its inputs that is hidden from a layer while it learns to tell them again (Vincent et al., 2008)."""


class Nets:
    """Nets 64-64-...-64-10, one a seed, side by side."""

    def __init__(self, kind: str, settings: Settings):
        self.kind, n = kind, settings.seeds
        draws = [torch.Generator().manual_seed(seed) for seed in range(n)]
        # variance 1/n for sigmoid units, 2/n for ReLU (He et al., 2015)
        spread = ((2 if kind == "ReLU + BN" else 1) / WIDTH) ** 0.5
        self.layers = []
        for _ in range(settings.layers):
            w = torch.stack([torch.randn(64, WIDTH, generator=draw) for draw in draws]) * spread
            self.layers.append((w, torch.zeros(n, 1, WIDTH), torch.ones(n, 1, WIDTH)))
        top = torch.stack([torch.randn(WIDTH, 10, generator=draw) for draw in draws]) / WIDTH**0.5
        self.top = (top, torch.zeros(n, 1, 10))
        self.norms: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * settings.layers

    def layer(self, number: int, x: torch.Tensor) -> torch.Tensor:
        """x (seed, image, 64) -> (seed, image, 64); the sums are normalised over the images at hand, or as fixed."""
        w, b, scale = self.layers[number]
        z = torch.bmm(x, w)
        if self.kind == "sigmoid":
            return torch.sigmoid(z + b)
        mean, var = self.norms[number] or (z.mean(1, True), z.var(1, keepdim=True, unbiased=False))
        return torch.relu((z - mean) / (var + 1e-5).sqrt() * scale + b)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        for number in range(len(self.layers)):
            x = self.layer(number, x)
        return torch.baddbmm(self.top[1], x, self.top[0])  # logits (seed, image, 10)

    def fix(self, x: torch.Tensor) -> None:
        """Normalise from here on with the statistics of x, as a trained net does."""
        self.norms = [None] * len(self.layers)
        for number, (w, _, _) in enumerate(self.layers):
            z = torch.bmm(x, w)
            self.norms[number] = (z.mean(1, True), z.var(1, keepdim=True, unbiased=False))
            x = self.layer(number, x)


def pretrain(nets: Nets, x: torch.Tensor, settings: Settings) -> None:
    """Each layer in turn learns to code what comes from below, x (seed, n, 64), so that it can be told again."""
    random = torch.Generator().manual_seed(0)
    for number, parts in enumerate(nets.layers):
        back = (torch.randn(len(x), WIDTH, 64, generator=random) / WIDTH**0.5, torch.zeros(len(x), 1, 64))
        both = [part.requires_grad_() for part in (*parts, *back)]
        optimiser = torch.optim.Adam(both, 0.003)
        for _ in range(settings.pretrain):
            seen = x[:, torch.randint(x.shape[1], (200,), generator=random)]
            kept = torch.rand(seen.shape, generator=random) >= settings.hide
            told = torch.baddbmm(back[1], nets.layer(number, seen * kept), back[0])
            loss = ((told - seen) ** 2).mean((1, 2)).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        nets.layers[number] = tuple(part.detach() for part in parts)
        with torch.no_grad():
            x = nets.layer(number, x)


def tune(nets: Nets, data: dict[str, tuple[torch.Tensor, torch.Tensor]], rate: float, steps: int) -> np.ndarray:
    """Backpropagation through all layers on the labelled digits; per cent right of (held, test) digits, (2, seed)."""
    nets.layers = [tuple(part.clone().requires_grad_() for part in parts) for parts in nets.layers]
    nets.top = tuple(part.clone().requires_grad_() for part in nets.top)
    optimiser = torch.optim.Adam([part for parts in (*nets.layers, nets.top) for part in parts], rate)
    x, y = data["train"]
    for _ in range(steps):
        # a mean over images, a sum over nets: none depends on another
        loss = torch.nn.functional.cross_entropy(nets(x).transpose(1, 2), y, reduction="sum") / x.shape[1]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        nets.fix(x)
        hits = [(nets(images).argmax(-1) == labels).float().mean(1) for images, labels in (data["held"], data["test"])]
    return 100 * torch.stack(hits).numpy()


def split(settings: Settings) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Labelled, held-out (as many), unlabelled (all 1297 not in the test) and 500 test digits, standardised."""
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean()) / x.std()
    orders = np.stack([500 + np.random.default_rng(seed).permutation(1297) for seed in range(settings.seeds)])
    shuffled = np.random.default_rng(0).permutation(len(y))
    images, truth = torch.tensor(x[shuffled], dtype=torch.float32), torch.tensor(y[shuffled])
    n = settings.labels
    rows = {"train": orders[:, :n], "held": orders[:, n : 2 * n], "all": orders,
            "test": np.tile(np.arange(500), (settings.seeds, 1))}  # fmt: skip
    return {name: (images[place], truth[place]) for name, place in rows.items()}


def measure(settings: Settings) -> Outcome:
    data = split(settings)
    right: dict[tuple[str, bool], np.ndarray] = {}
    rates: dict[tuple[str, bool], float] = {}
    with console.bar("pre-training", 4 * len(RATES), "trainings") as advance:
        for kind in KINDS:
            for first in (False, True):
                start = Nets(kind, settings)
                if first:
                    pretrain(start, data["all"][0], settings)
                tried = []
                for rate in RATES:
                    nets = Nets(kind, settings)
                    nets.layers, nets.top = list(start.layers), start.top
                    tried.append(tune(nets, data, rate, settings.tune))
                    advance()
                best = int(np.argmax([held.mean() for held, _ in tried]))
                right[kind, first], rates[kind, first] = tried[best][1], RATES[best]
    gain = {kind: right[kind, True] - right[kind, False] for kind in KINDS}

    def told(name: str, values: np.ndarray, condition: str = "") -> Finding:
        mean, interval = float(values.mean()), bootstrap(values, np.mean)
        return check(name, mean, condition, interval, values) if condition else report(name, mean, interval, values)

    findings = [
        told(f"{settings.layers} sigmoid layers: gain by pre-training, points", gain["sigmoid"], "> 0"),
        doubt(told(f"{settings.layers} layers of ReLU + He + BN: gain by pre-training, points", gain["ReLU + BN"],
                   "in -2 .. 2")),
        *(told(f"{kind}, {'pre-trained' if first else 'random'} (rate {rates[kind, first]:g}): test digits right, %",
               values) for (kind, first), values in right.items()),
        told("pre-trained sigmoid over random ReLU + He + BN, points",
             right["sigmoid", True] - right["ReLU + BN", False]),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} draws of {settings.labels} labelled digits; nets of {settings.layers} layers of {WIDTH}, "
        f"{settings.pretrain} steps a layer without labels on 1297 digits, {settings.tune} with; {len(RATES)} rates "
        f"each, chosen on {settings.labels} held-out digits; 500 test digits"
    )
    return Outcome(findings, picture(right, gain, settings), budget)


def picture(right: dict[tuple[str, bool], np.ndarray], gain: dict[str, np.ndarray], settings: Settings):
    """Left: test digits right of the four nets. Right: what pre-training gains, draw by draw."""
    figure, axes = canvas(1, 2, width=13, height=5.4, width_ratios=[1.5, 1])
    left, panel = axes[0]
    names = [f"{kind}\n{'pre-trained' if first else 'random'}" for kind, first in right]
    for place, ((_, first), values) in enumerate(right.items()):
        left.bar(place, values.mean(), color=ORANGE if first else BLUE, alpha=0.8, width=0.65)
        left.plot(np.linspace(place - 0.2, place + 0.2, len(values)), values, "o", color=DARK_GREY, markersize=5)
        left.text(place, values.max() + 3, f"{values.mean():.1f}", ha="center", fontsize=16, fontweight="bold")
    left.set_xticks(range(len(names)), names, fontsize=14)
    left.set(ylim=(0, 107))
    label(left, "", "", "test digits right, % (dots: draws)")
    left.set_title(f"{settings.layers} hidden layers, {settings.labels} labels", loc="left", fontsize=16)
    panel.axhline(0, color=GREY, linewidth=1.5)
    words = []
    for place, kind in enumerate(KINDS):
        low, high = bootstrap(gain[kind], np.mean)
        words.append(f"{gain[kind].mean():+.1f} points" if low > 0 or high < 0 else "nothing for certain")
        panel.plot(np.linspace(place - 0.15, place + 0.15, len(gain[kind])), gain[kind], "o", color=GREY, markersize=7)
        panel.plot([place] * 2, [low, high], color=ORANGE, linewidth=4)
        panel.plot(place, gain[kind].mean(), "s", color=ORANGE, markersize=12)
    panel.set_xticks(range(2), KINDS, fontsize=15)
    panel.set(xlim=(-0.5, 1.5))
    label(panel, "", "", "gain by pre-training, points (bar: 95 %)")
    panel.set_title("What pre-training gains", loc="left", fontsize=16)
    figure.suptitle(f"Pre-training gives deep sigmoid nets {words[0]}, nets of today {words[1]}", fontsize=18,
                    fontweight="bold", x=0.01, ha="left")  # fmt: skip
    return figure
