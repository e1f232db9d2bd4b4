"""A net fits everything, labels drawn at random too: all of the training digits right, and none of it is knowledge.

Lecture: L2, 15. Deep Learning
Slide: Model view: neural network; Fit Everything?
Says: "Large searching space and fitting capacity -> Scaling law -> Data-driven -> Fit everything"
Doubt: Fitting everything is no virtue by itself. The same net fits shuffled labels as well, which has nothing to say of
    new digits (Zhang et al., 2017): that a net fits its data does not show that it learnt anything. Width, rate and
    epochs were settled on splits below 100; those that are told are numbered from 100.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLUE, GREY, VERMILION, canvas, label
from lab.stats import bootstrap

BATCH = 100
FIRST = 100
"""Number of the first split: none of those told has chosen a setting."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 30, quick=2)
    """Splits of the digits, shufflings of the labels and starts of the net."""
    epochs: int = setting(400, 1, 2000)
    """Passes over the training digits at most, in batches of 100; Adam, rate 0.003."""
    hidden: int = setting(512, 1, 2048, quick=256)
    """Hidden units of the net 64-hidden-10, ReLU."""
    train: int = setting(1300, 100, 1400, quick=300)
    """Training digits; the other digits are the test."""


def fit(x: torch.Tensor, y: torch.Tensor, test: torch.Tensor, truth: torch.Tensor, hidden: int, epochs: int, seed: int):
    """Per cent right on training (by the labels given) and test digits after each epoch: (epoch, 2).

    It ends when 99.5 % of the training labels are fitted, and keeps the last figures to the end.
    """
    draw = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(64, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))
    optimiser = torch.optim.Adam(net.parameters(), 0.003)
    path: list[list[float]] = []
    while len(path) < epochs and not (path and path[-1][0] >= 99.5):
        for batch in torch.randperm(len(x), generator=draw).split(BATCH):
            loss = torch.nn.functional.cross_entropy(net(x[batch]), y[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            path.append([100 * (net(z).argmax(1) == t).float().mean().item() for z, t in ((x, y), (test, truth))])
    return np.array(path + [path[-1]] * (epochs - len(path)))


def measure(settings: Settings) -> Outcome:
    from sklearn.datasets import load_digits

    images, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    paths = np.zeros((2, settings.seeds, settings.epochs, 2))  # (true or shuffled, seed, epoch, train or test)
    with console.bar("labels", 2 * settings.seeds, "nets") as advance:
        for seed in range(settings.seeds):
            order = torch.tensor(np.random.default_rng(FIRST + seed).permutation(len(y)))
            train, test = order[: settings.train], order[settings.train :]
            shuffled = y[train][torch.tensor(np.random.default_rng(1000 + FIRST + seed).permutation(len(train)))]
            for row, labels in enumerate((y[train], shuffled)):
                paths[row, seed] = fit(
                    x[train], labels, x[test], y[test], settings.hidden, settings.epochs, FIRST + seed
                )
                advance()
    # epochs until 99 % of the training labels are right; one more than there were if never
    reached = paths[..., 0] >= 99
    needed = np.where(reached.any(-1), reached.argmax(-1) + 1, settings.epochs + 1)  # (true or shuffled, seed)
    (true_fit, fitted), (true_test, test_right) = paths[:, :, -1, 0], paths[:, :, -1, 1]
    slower = needed[1] / needed[0]
    findings = [
        check("shuffled labels: training digits right, %", fitted.mean(), ">= 99", bootstrap(fitted, np.mean), fitted),
        doubt(check("shuffled labels: test digits right, %", test_right.mean(), "in 5 .. 15",
                    bootstrap(test_right, np.mean), test_right)),
        doubt(check("epochs to 99 %, shuffled labels over true", slower.mean(), "> 1", bootstrap(slower, np.mean),
                    slower)),
        report("true labels: training digits right, %", true_fit.mean(), bootstrap(true_fit, np.mean), true_fit),
        report("true labels: test digits right, %", true_test.mean(), bootstrap(true_test, np.mean), true_test),
        *(report(f"{name} labels: epochs to 99 %", row.mean(), bootstrap(row, np.mean), row)
          for name, row in zip(("true", "shuffled"), needed, strict=True)),
    ]  # fmt: skip
    weights = 65 * settings.hidden + 10 * (settings.hidden + 1)
    budget = (
        f"{2 * settings.seeds} nets of {weights:,} weights, up to {settings.epochs} epochs on {settings.train} digits "
        "each, until 99.5 % of the labels are fitted; means over seeds"
    )
    return Outcome(findings, picture(paths, findings), budget)


def picture(paths: np.ndarray, findings):
    """Per cent right on training and test digits over the epochs, true labels left, shuffled right."""
    figure, axes = canvas(1, 2, width=12.5, height=5.4, sharex=True, sharey=True)
    fitted, test, slower = (finding.measured for finding in findings[:3])
    titles = (
        f"True labels: {paths[0, :, -1, 1].mean():.0f} % of new digits right",
        f"Shuffled: {fitted:.0f} % fitted, {test:.0f} % of new digits right",
    )
    epochs = np.arange(1, paths.shape[2] + 1)
    for panel, runs, title in zip(axes[0], paths, titles, strict=True):
        for side, (colour, name) in enumerate(
            ((BLUE, "training digits, by the labels given"), (VERMILION, "new digits"))
        ):
            panel.plot(epochs, runs[:, :, side].T, color=colour, linewidth=1.2, alpha=0.5)
            panel.plot(epochs, runs[:, :, side].mean(0), color=colour, linewidth=3.5, label=name)
        panel.axhline(10, color=GREY, linewidth=1.5, linestyle="--", label="guessing")
        panel.set(ylim=(0, 102), xscale="log")
        panel.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
        label(panel, title, "epochs (thin: each start)", "right, %")
        panel.legend(loc="center left")
    found = f"Random labels are {'' if fitted >= 99 else 'not '}fitted too, in {slower:.1f} times the epochs"
    figure.suptitle(found, fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
