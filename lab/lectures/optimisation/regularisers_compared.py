"""Six remedies against overfitting narrow the gap between training and test; not each of them helps on new digits.

Lecture: L2, 15. Deep Learning; L3, KDDM2
Slide: Solutions to overfitting (L2); Prerequisites (L3)
Says: "Solutions to overfitting: Data augmentation; Model constraints: regularization, architecture, dropout; Early
    stop" (L2). "Regularization (L1, L2 norm, Dropout, Early Stopping)" (L3)
Doubt: A gap can be closed from the wrong side: a net that learns nothing has none. So the digits that are read right
    stand beside it. Each remedy has a strength, which the slides leave open; here it is chosen on held-out digits.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREY, VERMILION, canvas, label
from lab.stats import bootstrap

REMEDIES: dict[str, tuple[float, ...]] = {
    "none": (0,),
    "L2": (1e-4, 1e-3, 1e-2, 1e-1),
    "L1": (1e-5, 1e-4, 1e-3, 1e-2),
    "dropout": (0.2, 0.5, 0.8),
    "fewer units": (4, 8, 16, 32),
    "shifted copies": (0.1, 0.2, 0.5, 1.0),
}
"""Strengths tried: weight of Σ w² and Σ |w| in the loss, share of hidden units dropped, hidden units, share of images
that are shifted by a pixel at each step. Early stopping has none: it goes back to the step of least held-out loss."""
EVERY = 10


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(6, 2, 50, quick=3)
    """Splits of the digits, each with its own start of the nets."""
    steps: int = setting(300, 10, 10000, quick=50)
    """Full-batch Adam steps, rate 0.003."""
    images: int = setting(150, 50, 600)
    """Training digits; 100 others are held out to choose strengths and the step to stop at, the rest is the test."""
    noise: float = setting(0.1, 0.0, 0.9)
    """Share of the training and held-out labels that are drawn at random: overfitting needs something to overfit to."""
    hidden: int = setting(128, 8, 1024)
    """Hidden units of the net 64-hidden-10, ReLU."""


@dataclass(frozen=True)
class Path:
    """What one training went through, every 10 steps: (look, seed) each."""

    train: np.ndarray
    """Cross entropy on the training images as they are, nats."""
    held: np.ndarray
    test: np.ndarray
    right: np.ndarray
    """Test digits right, %, by their true labels."""


Data = dict[str, tuple[torch.Tensor, torch.Tensor]]


def split(settings: Settings) -> Data:
    """Images (seed, n, 64) and labels (seed, n) to train on, held out and to test; "truth": test, with its true labels.

    Test labels are as noisy as the others: a gap is one between two draws of the same kind.
    """
    x, y = load_digits(return_X_y=True)
    n = settings.images
    rows = {"train": slice(0, n), "held": slice(n, n + 100), "test": slice(n + 100, None)}
    rows["truth"] = rows["test"]
    parts: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in rows}
    for seed in range(settings.seeds):
        random = np.random.default_rng(seed)
        order = random.permutation(len(y))
        noisy = np.where(random.uniform(size=len(y)) < settings.noise, random.integers(10, size=len(y)), y[order])
        for name, place in rows.items():
            parts[name].append((x[order[place]] / 16, (y[order] if name == "truth" else noisy)[place]))
    return {
        name: (torch.tensor(np.stack([x for x, _ in each]), dtype=torch.float32),
               torch.tensor(np.stack([y for _, y in each]))) for name, each in parts.items()
    }  # fmt: skip


def shifted(x: torch.Tensor, share: float, random: torch.Generator) -> torch.Tensor:
    """x (seed, n, 64) with so large a share of the images moved by a pixel, down or across or both."""
    edge = torch.nn.functional.pad(x.reshape(*x.shape[:2], 8, 8), (1,) * 4)
    made = torch.stack([edge[..., i : i + 8, j : j + 8].flatten(-2) for i in range(3) for j in range(3)])
    which = torch.randint(9, x.shape[:2], generator=random)
    which = torch.where(torch.rand(x.shape[:2], generator=random) < share, which, 4)  # 4: where it was
    return made[which, torch.arange(len(x))[:, None], torch.arange(x.shape[1])]


def train(remedy: str, strength: float, data: Data, settings: Settings) -> Path:
    """Train a net a seed side by side, with one remedy."""
    (x, y), seeds = data["train"], settings.seeds
    hidden = int(strength) if remedy == "fewer units" else settings.hidden
    draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    w1 = torch.stack([torch.randn(64, hidden, generator=draw) for draw in draws]) * (2 / 64) ** 0.5
    w2 = torch.stack([torch.randn(hidden, 10, generator=draw) for draw in draws]) * (2 / hidden) ** 0.5
    weights = [w1.requires_grad_(), torch.zeros(seeds, 1, hidden, requires_grad=True), w2.requires_grad_(),
               torch.zeros(seeds, 1, 10, requires_grad=True)]  # fmt: skip
    optimiser, random = torch.optim.Adam(weights, 0.003), torch.Generator().manual_seed(0)

    def logits(z: torch.Tensor, drop: float = 0) -> torch.Tensor:
        h = torch.relu(torch.baddbmm(weights[1], z, weights[0]))
        if drop:
            h = h * (torch.rand(h.shape, generator=random) >= drop) / (1 - drop)
        return torch.baddbmm(weights[3], h, weights[2])

    def loss(z: torch.Tensor, y: torch.Tensor, drop: float = 0) -> torch.Tensor:
        each = torch.nn.functional.cross_entropy(logits(z, drop).transpose(1, 2), y, reduction="none")
        return each.mean(1)  # (seed,): none depends on another

    penalty: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"L2": torch.square, "L1": torch.abs}
    looks: list[list[np.ndarray]] = [[], [], [], []]
    for step in range(settings.steps):
        z = shifted(x, strength, random) if remedy == "shifted copies" else x
        total = loss(z, y, strength if remedy == "dropout" else 0).sum()
        if remedy in penalty:
            total = total + strength * sum(penalty[remedy](w).sum() for w in (w1, w2))
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
        if step % EVERY == EVERY - 1:
            with torch.no_grad():
                for look, part in zip(looks, ("train", "held", "test"), strict=False):
                    look.append(loss(*data[part]).numpy())
                right = logits(data["truth"][0]).argmax(-1) == data["truth"][1]
                looks[3].append(100 * right.float().mean(1).numpy())
    return Path(*map(np.array, looks))


def measure(settings: Settings) -> Outcome:
    data = split(settings)
    best: dict[str, tuple[float, Path]] = {}
    with console.bar("remedies", sum(map(len, REMEDIES.values())), "trainings") as advance:
        for remedy, strengths in REMEDIES.items():
            paths = []
            for strength in strengths:
                paths.append((strength, train(remedy, strength, data, settings)))
                advance()
            best[remedy] = min(paths, key=lambda each: float(each[1].held[-1].mean()))
    ends = {name: (path.train[-1], path.test[-1], path.right[-1]) for name, (_, path) in best.items()}
    plain = best["none"][1]
    stop, seeds = plain.held.argmin(0), np.arange(settings.seeds)
    ends["early stop"] = (plain.train[stop, seeds], plain.test[stop, seeds], plain.right[stop, seeds])
    gap = {name: test - fit for name, (fit, test, _) in ends.items()}

    def told(name: str, values: np.ndarray, condition: str = "") -> Finding:
        mean, interval = float(values.mean()), bootstrap(values, np.mean)
        return check(name, mean, condition, interval, values) if condition else report(name, mean, interval, values)

    remedies = [name for name in ends if name != "none"]
    chosen = {name: f" ({best[name][0]:g})" if name in best else "" for name in remedies}
    last = settings.steps // EVERY * EVERY
    findings = [
        *(told(f"{name}: gap cut, nats", gap["none"] - gap[name], "> 0") for name in remedies),
        told(f"early stop: step, of {last}", EVERY * (stop + 1.0), f"< {last}"),
        *(told(f"{name}{chosen[name]}: gain on test digits, points", ends[name][2] - ends["none"][2])
          for name in remedies),
        told("no remedy: gap, nats", gap["none"]),
        told("no remedy: test digits right, %", ends["none"][2]),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} splits of {settings.images} digits, {settings.noise:.0%} of their labels random; nets "
        f"64-{settings.hidden}-10, {settings.steps} full-batch Adam steps; {sum(map(len, REMEDIES.values())) - 1} "
        "trainings of strengths chosen on 100 held-out digits"
    )
    return Outcome(findings, picture(best, ends, stop, findings), budget)


def picture(best: dict[str, tuple[float, Path]], ends, stop: np.ndarray, findings: list[Finding]):
    """Left: losses of the net without remedy, and where it should stop. Right: gap and digits right of each remedy."""
    figure, axes = canvas(1, 2, width=13.5, height=5.6)
    left, panel = axes[0]
    path = best["none"][1]
    steps = EVERY * np.arange(1, len(path.train) + 1)
    for values, colour, name in ((path.train, BLUE, "training digits"), (path.test, VERMILION, "test digits")):
        left.plot(steps, values, color=colour, linewidth=1, alpha=0.3)
        left.plot(steps, values.mean(1), color=colour, linewidth=3.5, label=name)
    at = EVERY * (np.median(stop) + 1)
    left.axvline(at, color=BLACK, linestyle="--", linewidth=2, label=f"early stop, median step {at:.0f}")
    left.set(xscale="log")
    label(left, "", "steps (thin: each split)", "cross entropy, nats")
    left.legend(fontsize=13)
    left.set_title("No remedy: the gap opens", loc="left", fontsize=16)
    for name, (fit, test, right) in ends.items():
        gap = test - fit
        spread = bootstrap(right, np.mean)
        panel.plot([gap.mean()] * 2, spread, color=GREY, linewidth=2, zorder=1)
        panel.plot(bootstrap(gap, np.mean), [right.mean()] * 2, color=GREY, linewidth=2, zorder=1)
        panel.plot(gap.mean(), right.mean(), "o", color=VERMILION if name == "none" else BLUE, markersize=12)
        below = -18 if name == "early stop" else 7  # it ends near others
        panel.annotate(name, (gap.mean(), right.mean()), (9, below), textcoords="offset points", fontsize=14)
    widest = max((test - fit).mean() for fit, test, _ in ends.values())
    panel.set(xlim=(None, 1.25 * widest))
    label(panel, "", "gap: test less training loss, nats (lines: 95 %)", "test digits right, %")
    cut = sum(finding.holds is True for finding in findings[:6])
    better = sum(finding.interval[0] > 0 for finding in findings[7:13] if finding.interval)
    panel.set_title(f"Right for certain on more digits: {better} of 6", loc="left", fontsize=16)
    figure.suptitle(f"{cut} of 6 remedies narrow the gap; {better} read more digits for certain", fontsize=18,
                    fontweight="bold", x=0.01, ha="left")  # fmt: skip
    return figure
