"""Neural net against support vector machine on digits: who is better with how much data, and what training costs.

Lecture: L2, 15. Deep Learning
Slide: Model view: neural network (table)
Says: "Data Requirements: Requires large datasets for training. | Works well with small to medium-sized datasets."
    "Training Time: Computationally expensive, especially for deep learning. | Slower training for large datasets,
    quadratic complexity in training."
Doubt: The table is a matter of sizes and gives none: below which n the machine is ahead, and from which n the net. Both
    learners stand as they are, with no search for settings.
Kind: chance
"""

import time
from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLUE, DARK_GREY, GREY, ORANGE, canvas, label
from lab.stats import bootstrap

SIZES = (20, 50, 100, 200, 400, 800, 1400)
"""Digits to train on."""
LENGTHS = (1000, 2000, 4000, 8000)
"""Rows of the noisy two-class data on which the training time of the machine is taken."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 1, 50, quick=4)
    """Splits into training and 397 test digits, each with its own start of the net."""
    steps: int = setting(300, 1, 10000, quick=50)
    """Full-batch Adam steps of the net, 64-128-10 with ReLU, rate 0.003."""
    longest: int = setting(8000, 2000, 32000, quick=2000)
    """Rows of the largest data set for the training time."""
    repeats: int = setting(5, 1, 20, quick=2)
    """How often each training time is taken, on new data each time."""


def nets(x: torch.Tensor, y: torch.Tensor, test: torch.Tensor, steps: int) -> np.ndarray:
    """Digits that nets trained side by side see in test (seed, image, 64); x (seed, n, 64), y (seed, n)."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(len(x))]
    w1 = torch.stack([torch.randn(64, 128, generator=draw) for draw in draws]) * (2 / 64) ** 0.5
    w2 = torch.stack([torch.randn(128, 10, generator=draw) for draw in draws]) * (2 / 128) ** 0.5
    weights = [w1, torch.zeros(len(x), 1, 128), w2, torch.zeros(len(x), 1, 10)]
    optimiser = torch.optim.Adam([each.requires_grad_() for each in weights], 0.003)

    def logits(z: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(torch.baddbmm(weights[1], z, weights[0]))
        return torch.baddbmm(weights[3], hidden, weights[2])  # (seed, image, digit)

    for _ in range(steps):
        # a mean over images, a sum over nets: no net's gradient depends on another
        loss = torch.nn.functional.cross_entropy(logits(x).transpose(1, 2), y, reduction="sum") / x.shape[1]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return logits(test).argmax(-1).numpy()


def accuracies(settings: Settings, advance) -> tuple[np.ndarray, np.ndarray]:
    """Per cent right of net and machine on the same test digits: two of (size, seed)."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    x, y = load_digits(return_X_y=True)
    x = x / 16
    orders = [np.random.default_rng(seed).permutation(len(y)) for seed in range(settings.seeds)]
    test = np.stack([order[1400:] for order in orders])  # (seed, 397)
    net, machine = np.zeros((2, len(SIZES), settings.seeds))
    for row, n in enumerate(SIZES):
        train = np.stack([order[:n] for order in orders])
        images = torch.tensor(x, dtype=torch.float32)
        seen = nets(images[train], torch.tensor(y[train]), images[test], settings.steps)
        net[row] = 100 * (seen == y[test]).mean(1)
        for seed in range(settings.seeds):
            fitted = SVC(C=10).fit(x[train[seed]], y[train[seed]])  # Gaussian kernel, gamma = 1 / (features x variance)
            machine[row, seed] = 100 * fitted.score(x[test[seed]], y[test[seed]])
        advance()
    return net, machine


def training_times(settings: Settings, advance) -> tuple[np.ndarray, np.ndarray]:
    """Sizes (n,) and the machine's training seconds (repeat, n), on two classes of which a tenth is mislabelled."""
    from sklearn.datasets import make_classification
    from sklearn.svm import SVC

    lengths = np.array([n for n in (500, *LENGTHS, 16000, 32000) if n <= settings.longest])
    seconds = np.zeros((settings.repeats, len(lengths)))
    for repeat in range(settings.repeats):
        for column, n in enumerate(lengths):
            x, y = make_classification(int(n), 20, n_informative=10, flip_y=0.2, random_state=repeat)
            started = time.thread_time()  # of this thread alone, whatever else the machine is doing
            SVC(cache_size=1000).fit(x, y)
            seconds[repeat, column] = time.thread_time() - started
        advance()
    return lengths, seconds


def measure(settings: Settings) -> Outcome:
    with console.bar("net and machine", len(SIZES) + settings.repeats, "parts") as advance:
        net, machine = accuracies(settings, advance)
        lengths, seconds = training_times(settings, advance)
    lead = machine - net
    slopes = [np.polyfit(np.log(lengths), np.log(taken), 1)[0] for taken in seconds]
    ahead = [n for n, row in zip(SIZES, lead, strict=True) if bootstrap(row, np.mean)[1] < 0]
    findings = [
        *(check(f"lead of the machine at n = {n}, points", row.mean(), "> 0", bootstrap(row, np.mean), row)
          for n, row in zip(SIZES, lead, strict=True) if n <= 100),
        check("lead of the net at n = 1400, points", -lead[-1].mean(), "> 0", bootstrap(-lead[-1], np.mean), -lead[-1]),
        check("training time of the machine grows with n to the power", float(np.mean(slopes)), "in 1.7 .. 2.3",
              bootstrap(slopes, np.mean), slopes),
        report("smallest n at which the net is ahead for certain (nan: none)", min(ahead, default=np.nan)),
        report("net at n = 1400, % right", net[-1].mean(), bootstrap(net[-1], np.mean), net[-1]),
        report("machine at n = 1400, % right", machine[-1].mean(), bootstrap(machine[-1], np.mean), machine[-1]),
        report(f"training time of the machine at {lengths[-1]} rows, s", float(np.median(seconds[:, -1]))),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} splits of digits at {len(SIZES)} sizes: a net 64-128-10, {settings.steps} full-batch Adam "
        f"steps, and a machine with Gaussian kernel, C = 10; {settings.repeats} training times at {len(lengths)} "
        f"sizes, up to {lengths[-1]} rows"
    )
    return Outcome(findings, picture(net, machine, lengths, seconds, findings), budget)


def picture(net, machine, lengths, seconds, findings: list[Finding]):
    """Left: % right of both against n. Right: training time of the machine against n."""
    figure, axes = canvas(1, 2, width=13, height=5.6)
    left, right = axes[0]
    for values, colour, name in ((machine, ORANGE, "support vector machine"), (net, BLUE, "neural net")):
        band = np.array([bootstrap(row, np.mean) for row in values])
        left.fill_between(SIZES, band[:, 0], band[:, 1], color=colour, alpha=0.25, linewidth=0)
        left.plot(SIZES, values.mean(1), "o-", color=colour, linewidth=3, markersize=8, label=name)
    left.set_xscale("log")
    left.set_xticks(SIZES, [str(n) for n in SIZES])
    left.minorticks_off()
    lead = findings[3]
    found = {True: "the net is ahead", False: "the net is not ahead", None: "it cannot be told who is ahead"}[
        lead.holds
    ]
    label(left, f"At 1400 digits {found}", "training digits (band: 95 % over splits)", "test digits right, %")
    slope, typical = findings[4].measured, np.median(seconds, 0)
    right.loglog(lengths, seconds.T, "o", color=GREY, markersize=7)
    right.loglog(lengths, typical, color=ORANGE, linewidth=3, label=f"measured: n to the {slope:.2f}")
    square = typical[-1] * (lengths / lengths[-1]) ** 2.0
    right.loglog(lengths, square, "--", color=DARK_GREY, linewidth=2, label="n²")
    right.set_xticks(lengths, [str(n) for n in lengths])
    right.minorticks_off()
    label(right, f"The machine's training time grows as n to the {slope:.1f}", "rows", "processor seconds")
    return figure
