"""The table of SGDM against Adam for three nets, each at its best rate: Adam is faster, and nowhere worse for certain.

Lecture: L2, 15. Deep Learning
Slide: Summary (The Problem of Adam; table SGDM, Adam)
Says: "Training Speed: Slow, Fast; Convergence: Good, Poor; Stability: Good, Poor; Generalization: Good, Poor"
Doubt: The table names no net, no data and no rate. Each cell here is a number for a CNN, an LSTM and a Transformer:
    speed is read as steps to a loss of 0.3, convergence as the training loss at the end, stability as how often that
    loss rises in the second half, generalization as the test digits right. That Adam can fail to converge at all
    (Reddi et al., 2018) is true of a gradient made for it: it is the last figure.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

RATES = {"SGDM": (0.003, 0.01, 0.03, 0.1, 0.3, 1.0), "Adam": (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)}
COLOURS = {"SGDM": BLUE, "Adam": ORANGE}
EVERY, GOAL = 10, 0.3
CELLS = ("speed", "convergence", "stability", "generalization")


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(6, 2, 50, quick=3)
    """Random starts and orders of the digits, none of which chose the rates."""
    steps: int = setting(300, 20, 10000, quick=20)
    """Steps on 50 digits each; rates stay as they are."""
    momentum: float = setting(0.9, 0.0, 0.999)
    """Of SGDM."""


class Rows(nn.Module):
    """Reads an image as a series of 8 rows, with an LSTM (its last state) or a Transformer (the mean)."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind
        if kind == "LSTM":
            self.body: nn.Module = nn.LSTM(8, 32, batch_first=True)
        else:
            self.place = nn.Parameter(0.1 * torch.randn(8, 32))
            self.inward = nn.Linear(8, 32)
            self.body = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
        self.out = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (image, 64) -> logits (image, 10)
        rows = x.reshape(-1, 8, 8)
        if self.kind == "LSTM":
            return self.out(self.body(rows)[0][:, -1])
        return self.out(self.body(self.inward(rows) + self.place).mean(1))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten(),
        nn.Linear(64, 10),
    )  # fmt: skip


NETS: dict[str, Callable[[], nn.Module]] = {
    "CNN": cnn, "LSTM": lambda: Rows("LSTM"), "Transformer": lambda: Rows("Transformer"),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training."""

    loss: np.ndarray
    """Cross entropy on all training digits, nats, every 10 steps; infinite if it is not a number."""
    held: float
    """The same on the held-out digits, at the end."""
    right: float
    """Test digits right at the end, %."""

    @property
    def reached(self) -> float:
        """Steps to a training loss of 0.3; twice as many as there were if never."""
        there = self.loss <= GOAL
        return EVERY * float(there.argmax() + 1 if there.any() else 2 * len(self.loss))

    @property
    def rises(self) -> float:
        """Share of the looks of the second half at which the training loss is higher than at the one before."""
        late = self.loss[len(self.loss) // 2 :]
        return float((late[1:] > late[:-1]).mean()) if len(late) > 1 else 0.0


Data = dict[str, tuple[torch.Tensor, torch.Tensor]]


def train(name: str, rule: str, rate: float, seed: int, data: Data, settings: Settings) -> Run:
    """One net by one rule."""
    torch.manual_seed(seed)
    net, random = NETS[name](), torch.Generator().manual_seed(seed)
    optimiser: torch.optim.Optimizer = (
        torch.optim.SGD(net.parameters(), rate, momentum=settings.momentum)
        if rule == "SGDM"
        else torch.optim.Adam(net.parameters(), rate)
    )
    x, y = data["train"]
    losses: list[float] = []
    for step in range(settings.steps):
        rows = torch.randint(len(x), (50,), generator=random)
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % EVERY == EVERY - 1:
            losses.append(loss_of(net, data["train"]))
    with torch.no_grad():
        right = 100 * (net(data["test"][0]).argmax(1) == data["test"][1]).float().mean().item()
    return Run(np.array(losses), loss_of(net, data["held"]), right)


def loss_of(net: nn.Module, data: tuple[torch.Tensor, torch.Tensor]) -> float:
    with torch.no_grad():
        loss = nn.functional.cross_entropy(net(data[0]), data[1]).item()
    return loss if np.isfinite(loss) else np.inf


def periodic(rule: str, steps: int = 6000) -> np.ndarray:
    """x in -1..1 under gradients 3, -1, -1, 3, ... (Reddi et al., 2018, theorem 1): the sum falls towards x = -1.

    Rates fall as 0.5 / sqrt(t). "Adam" has that theorem's β1 = 0 and β2 = 1/10; "Adam, usual" .9 and .999.
    """
    x, m, v, path = 0.0, 0.0, 0.0, []
    b1, b2 = {"SGDM": (0.9, 0.0), "Adam": (0.0, 0.1), "Adam, usual": (0.9, 0.999)}[rule]
    for t in range(1, steps + 1):
        g = 3.0 if t % 3 == 1 else -1.0
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        step = m if rule == "SGDM" else m / (1 - b1**t) / ((v / (1 - b2**t)) ** 0.5 + 1e-8)
        x = float(np.clip(x - 0.5 / t**0.5 * step, -1, 1))
        path.append(x)
    return np.array(path)


def measure(settings: Settings) -> Outcome:
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    images, truth = torch.tensor((x[order] - x.mean()) / x.std(), dtype=torch.float32), torch.tensor(y[order])
    rows = {"train": slice(0, 1000), "held": slice(1000, 1297), "test": slice(1297, None)}
    data = {name: (images[place], truth[place]) for name, place in rows.items()}
    runs: dict[tuple[str, str], list[Run]] = {}
    rates: dict[tuple[str, str], float] = {}
    with console.bar("SGDM, Adam", len(NETS) * 2 * (6 + settings.seeds), "trainings") as advance:
        for name in NETS:
            for rule in RATES:
                tried = []
                for rate in RATES[rule]:
                    tried.append(train(name, rule, rate, 1000, data, settings).held)
                    advance()
                rates[name, rule] = RATES[rule][int(np.argmin(tried))]
                runs[name, rule] = []
                for seed in range(settings.seeds):
                    runs[name, rule].append(train(name, rule, rates[name, rule], seed, data, settings))
                    advance()
    findings = []
    for name in NETS:
        ours = [{rule: runs[name, rule][seed] for rule in RATES} for seed in range(settings.seeds)]
        cells = (
            ("speed: steps, SGDM over Adam", [both["SGDM"].reached / both["Adam"].reached for both in ours], "> 1"),
            ("convergence: last training loss, Adam over SGDM",
             [both["Adam"].loss[-1] / both["SGDM"].loss[-1] for both in ours], "> 1"),
            ("stability: share of rises, Adam less SGDM", [both["Adam"].rises - both["SGDM"].rises for both in ours],
             "> 0"),
            ("generalization: test digits right, SGDM less Adam, points",
             [both["SGDM"].right - both["Adam"].right for both in ours], "> 0"),
        )  # fmt: skip
        for cell, values, condition in cells:
            findings.append(check(f"{name}, {cell}", float(np.median(values)), condition, bootstrap(values), values))
    paths = {rule: periodic(rule) for rule in ("SGDM", "Adam", "Adam, usual")}
    findings += [
        doubt(check("periodic gradient: SGDM ends at (optimum -1)", paths["SGDM"][-1], "== -1 +- 0.1")),
        doubt(check("periodic gradient: Adam ends at (optimum -1)", paths["Adam"][-1], "> 0.9")),
        report("periodic gradient: Adam with β1 = .9, β2 = .999 ends at", paths["Adam, usual"][-1]),
        *(report(f"{name}, {rule} (rate {rate:g}): test digits right, %",
                 float(np.median([run.right for run in runs[name, rule]]))) for (name, rule), rate in rates.items()),
    ]  # fmt: skip
    trainings = len(NETS) * 2 * (6 + settings.seeds)
    budget = (
        f"{trainings} trainings of {settings.steps} steps on 50 of 1000 digits: for 3 nets and 2 rules each 6 rates, "
        f"chosen on 297 held-out digits, and {settings.seeds} starts at the best; 500 test digits; medians of starts"
    )
    return Outcome(findings, picture(runs, findings, paths), budget)


def picture(runs: dict[tuple[str, str], list[Run]], findings: list[Finding], paths: dict[str, np.ndarray]):
    """Above: training loss of the three nets, and the gradient made to fail. Below: the cells with their verdicts."""
    figure, axes = canvas(2, 4, width=15, height=8, height_ratios=[1.2, 1])
    for column, name in enumerate(NETS):
        panel, table = axes[:, column]
        for rule, colour in COLOURS.items():
            for number, run in enumerate(runs[name, rule]):
                steps = EVERY * np.arange(1, len(run.loss) + 1)
                panel.plot(steps, run.loss, color=colour, linewidth=1.6, alpha=0.6, label=None if number else rule)
        panel.axhline(GOAL, color=GREY, linestyle="--", linewidth=1.2)
        panel.set(yscale="log")
        label(panel, "", "steps (a line a start)", "training loss, nats" if column == 0 else "")
        panel.set_title(name, loc="left", fontsize=17, fontweight="bold")
        panel.legend(fontsize=13)
        table.axis("off")
        table.set(xlim=(0, 1), ylim=(-4.1, 0.3))
        for row, (cell, finding) in enumerate(zip(CELLS, findings[4 * column : 4 * column + 4], strict=True)):
            mark, colour = {True: ("holds", GREEN), False: ("fails", VERMILION), None: ("open", GREY)}[finding.holds]
            table.text(0.0, -row - 0.4, cell, fontsize=14, va="center")
            table.text(0.76, -row - 0.4, f"{finding.measured:.2g}", fontsize=13, va="center", ha="right", color=GREY)
            table.text(1.0, -row - 0.4, mark, fontsize=16, va="center", ha="right", color=colour, fontweight="bold")
            table.plot([0, 1], [-row - 0.9] * 2, color=LIGHT_GREY, linewidth=1)
    panel, note = axes[:, 3]
    for rule, colour in (("SGDM", BLUE), ("Adam", ORANGE), ("Adam, usual", GREEN)):
        panel.plot(np.arange(1, len(paths[rule]) + 1), paths[rule], color=colour, linewidth=1.8, label=rule)
    panel.set(xscale="log", ylim=(-1.15, 1.15))
    label(panel, "", "step", "x (best: -1)")
    panel.set_title("Gradients 3, -1, -1", loc="left", fontsize=17, fontweight="bold")
    panel.legend(fontsize=12, loc="center right")
    note.axis("off")
    text = (
        "speed: steps, SGDM / Adam\nconvergence: loss, Adam / SGDM\nstability: rises, Adam - SGDM\n"
        "generalization: points,\nSGDM - Adam"
    )
    note.text(0, 0.92, text, fontsize=13, va="top", transform=note.transAxes, color="#444444", linespacing=1.5)
    answers = [finding.holds for finding in findings[:12]]
    figure.suptitle(
        f"Of 12 cells {answers.count(True)} hold, {answers.count(False)} fail, {answers.count(None)} cannot be told",
        fontsize=18, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    return figure
