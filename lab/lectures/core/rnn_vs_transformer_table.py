"""The table of RNNs and Transformer, cell by cell: time at equal work, gradient to the first input, recall of it.

Lecture: L0, Deep Learning in Wilderness; also L4 ("Highly parallelizable, Reduces serial computation")
Slide: Transformer, the replacement of RNNs: RNNs vs Transformer
Says: "Parallel computing: RNN x, Transformer o. Vanishing gradient: RNN o, Transformer x. Forgetting problem: RNN o,
    Transformer x"
Doubt: o is good in the first row and bad in the other two. Parallel is true of training; in generation a Transformer
    too goes token by token, and each costs more than the one before. It forgets nothing inside its window and
    everything outside. The LSTM, which the same lecture calls a remedy, has no column; it is measured here, with forget
    gates half open as they are drawn, and needs more steps than these to remember.
Kind: chance
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, COLOURS, DARK_GREY, canvas, label
from lab.stats import bootstrap

TIMED = (16, 32, 64, 128, 256, 512)
"""Steps of the sequences whose passes are timed."""
WORK = 0.12e9
"""Multiplications and additions of each forward pass, whatever the length: the longer, the fewer sequences."""
TRACED = (10, 25, 50, 100, 200)
"""Steps of the sequences through which gradients are followed."""
RECALLED = (10, 30, 100)
"""Steps after which the first token is asked for."""
SYMBOLS = 8
RATES = (1e-3, 3e-3, 1e-2)
"""Adam's; each net has at each length the one with which an extra start recalls best."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(3, 1, 20, quick=2)
    """Random starts of each net that learns to recall; of gradients three times as many; rounds of timing."""
    steps: int = setting(400, 1, 5000, quick=8)
    """Adam steps on 32 fresh sequences each; training ends before if nothing is left to learn."""
    width: int = setting(32, 4, 256)
    """Features of a token and units of a state, where nets recall and gradients are followed."""


class Recurrent(nn.Module):
    """One recurrent layer: (batch, T, width) -> (batch, T, width)."""

    def __init__(self, cell: Callable[..., nn.Module], width: int):
        super().__init__()
        self.cell = cell(width, width, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x)[0]


def attention(width: int) -> nn.Module:
    """One layer of a Transformer, two heads, pre-norm: (batch, T, width) -> the same."""
    return nn.TransformerEncoderLayer(width, 2, 4 * width, dropout=0, batch_first=True, norm_first=True)


NETS: dict[str, Callable[[int], nn.Module]] = {
    "RNN": lambda width: Recurrent(nn.RNN, width), "LSTM": lambda width: Recurrent(nn.LSTM, width),
    "Transformer": attention,
}  # fmt: skip


def work(kind: str, width: int, length: int) -> float:
    """Multiplications and additions of a forward pass per token: 2 for every weight, and attention's T x T products."""
    return {"RNN": 4, "LSTM": 16, "Transformer": 24}[kind] * width**2 + 4 * length * width * (kind == "Transformer")


def seconds(kind: str, length: int, width: int = 64) -> float:
    """CPU time of one forward and backward pass of WORK; on one thread, so that other programs do not count."""
    torch.manual_seed(0)
    count = max(1, round(WORK / length / work(kind, width, length)))
    net, x = NETS[kind](width), torch.randn(count, length, width)
    started = time.process_time()
    net(x).sum().backward()
    return (time.process_time() - started) * WORK / (count * length * work(kind, width, length))


def one_by_one(kind: str, length: int = 256, width: int = 64) -> float:
    """CPU time of a forward pass token by token, as in generation without a cache, over that of all tokens at once."""
    torch.manual_seed(0)
    net, x = NETS[kind](width).eval(), torch.randn(1, length, width)
    with torch.no_grad():
        started = time.process_time()
        for _ in range(10):
            net(x)
        at_once = (time.process_time() - started) / 10
        started, state = time.process_time(), None
        for step in range(length):
            if isinstance(net, Recurrent):
                _, state = net.cell(x[:, step : step + 1], state)
            else:
                net(x[:, : step + 1])
        return (time.process_time() - started) / at_once


def reach(kind: str, length: int, width: int, seed: int) -> float:
    """log10 of |dL/dx_1| / |dL/dx_T| before training, L a random projection of the last output; mean of 8 sequences."""
    torch.manual_seed(seed)
    net = NETS[kind](width).double()  # in float32 the gradient of an RNN is 0 after 160 steps
    x = torch.randn(8, length, width, dtype=torch.float64, requires_grad=True)
    (net(x)[:, -1] @ torch.randn(width, dtype=torch.float64)).sum().backward()
    assert x.grad is not None
    norm = x.grad.norm(dim=2)  # (sequence, step)
    return float((norm[:, 0] / norm[:, -1]).log10().mean())


class Recall(nn.Module):
    """Reads a sequence of symbols and says, at its end, which was the first: (batch, T) -> (batch, SYMBOLS)."""

    def __init__(self, kind: str, length: int, width: int):
        super().__init__()
        self.embed, self.body = nn.Embedding(SYMBOLS, width), NETS[kind](width)
        self.positions = nn.Parameter(0.1 * torch.randn(length, width)) if kind == "Transformer" else None
        self.head = nn.Linear(width, SYMBOLS)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        return self.head(self.body(x if self.positions is None else x + self.positions)[:, -1])


def recall(kind: str, length: int, rate: float, settings: Settings, seed: int) -> float:
    """Share of 1,000 fresh sequences whose first symbol is told right after training."""
    torch.manual_seed(seed)
    net = Recall(kind, length, settings.width)
    optimiser = torch.optim.Adam(net.parameters(), rate)
    for _ in range(settings.steps):
        tokens = torch.randint(SYMBOLS, (32, length))
        loss = nn.functional.cross_entropy(net(tokens), tokens[:, 0])
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if loss.item() < 0.01:
            break
    with torch.no_grad():
        tokens = torch.randint(SYMBOLS, (1000, length))
        return (net(tokens).argmax(1) == tokens[:, 0]).float().mean().item()


def slope(x, y) -> float:
    return float(np.polyfit(x, y, 1)[0])


def measure(settings: Settings) -> Outcome:
    rounds = [{kind: [seconds(kind, length) for length in TIMED] for kind in NETS} for _ in range(settings.seeds + 1)]
    timed = {
        kind: np.array([each[kind] for each in rounds[1:]]) for kind in NETS
    }  # (round, length); the first warms up
    traced = {kind: np.array([[reach(kind, length, settings.width, seed) for length in TRACED]
                              for seed in range(3 * settings.seeds)]) for kind in NETS}  # fmt: skip
    kept = {kind: np.zeros((settings.seeds, len(RECALLED))) for kind in NETS}
    with console.bar("recall", len(NETS) * len(RECALLED) * (settings.seeds + len(RATES)), "fits") as advance:
        for kind in NETS:
            for column, length in enumerate(RECALLED):
                tried = {}
                for rate in RATES:
                    tried[rate] = recall(kind, length, rate, settings, 1000)
                    advance()
                best = max(tried, key=lambda rate: tried[rate])
                for seed in range(settings.seeds):
                    kept[kind][seed, column] = recall(kind, length, best, settings, seed)
                    advance(1, f"{kind}, {length} steps")
    growth = {kind: [slope(np.log(TIMED), np.log(each)) for each in timed[kind]] for kind in NETS}
    decay = {kind: [slope(TRACED, each) for each in traced[kind]] for kind in NETS}

    def cell(name: str, values, condition: str = "") -> Finding:
        middle, interval = float(np.median(values)), bootstrap(values)
        return check(name, middle, condition, interval, values) if condition else report(name, middle, interval, values)

    chance, last = 1 / SYMBOLS, f"after {RECALLED[-1]} steps"
    findings = [
        cell("parallel, RNN x: time at equal work grows with T to the power", growth["RNN"], "> 0.1"),
        cell("parallel, Transformer o: time at equal work grows with T to the power", growth["Transformer"], "< 0.1"),
        cell("vanishing, RNN o: log10 of the gradient to the first input, per step", decay["RNN"], "< 0"),
        cell("vanishing, Transformer x: log10 of the gradient to the first input, per step", decay["Transformer"],
             "in -0.01 .. 0.01"),
        cell(f"forgetting, RNN o: recall of the first token {last}", kept["RNN"][:, -1], f"<= {chance + 0.05}"),
        cell(f"forgetting, Transformer x: recall of the first token {last}", kept["Transformer"][:, -1], "> 0.95"),
        cell("power of the RNN less that of the Transformer",
             np.subtract(growth["RNN"], growth["Transformer"]), "> 0"),
        cell("LSTM: time at equal work grows with T to the power", growth["LSTM"]),
        cell("LSTM: log10 of the gradient to the first input, per step", decay["LSTM"]),
        *(cell(f"{kind}: recall of the first token after {length} steps", kept[kind][:, column])
          for kind in NETS for column, length in enumerate(RECALLED) if kind == "LSTM" or column < 2),
        *(report(f"{kind}: 256 tokens one by one over all at once, time", one_by_one(kind)) for kind in NETS),
    ]  # fmt: skip
    budget = (
        f"forward and backward pass of {WORK / 1e6:.0f} million operations, {settings.seeds} rounds, CPU time; "
        f"gradients of {3 * settings.seeds} starts before training; recall: {settings.seeds} starts of up to "
        f"{settings.steps} Adam steps on 32 sequences, {SYMBOLS} symbols, rate out of {len(RATES)} by an extra start"
    )
    return Outcome(findings, picture(timed, traced, kept, findings), budget)


def picture(timed, traced, kept, findings: list[Finding]):
    """One panel for each row of the table: seconds, gradient and recall against T; titles give the cells' verdicts."""
    figure, axes = canvas(1, 3, width=15, height=5.2)
    colours = {"RNN": DARK_GREY, "LSTM": COLOURS["lstm"], "Transformer": COLOURS["transformer"]}
    panels = (
        ("Parallel", TIMED, {kind: 1000 * each for kind, each in timed.items()}, "time at equal work, ms"),
        ("Vanishing", TRACED, traced, "log10 gradient, first / last input"),
        ("Forgetting", RECALLED, kept, "first token recalled"),
    )
    for panel, row, (name, lengths, values, y) in zip(axes[0], range(0, 6, 2), panels, strict=True):
        for kind, each in values.items():
            panel.plot(lengths, np.median(each, 0), "o-", color=colours[kind], linewidth=3, markersize=8, label=kind)
            panel.fill_between(lengths, each.min(0), each.max(0), color=colours[kind], alpha=0.2, linewidth=0)
        held = [cell for cell, each in zip(("RNN's", "Transformer's"), findings[row:], strict=False) if each.holds]
        cells = ("neither cell holds", f"only the {held[0]} cell holds" if held else "", "both cells hold")[len(held)]
        label(panel, f"{name}: {cells}", "sequence length T, steps", y)
        panel.title.set_fontsize(16)
    time_panel, gradient, memory = axes[0]
    time_panel.set(xscale="log", yscale="log")
    time_panel.set_xticks(TIMED, map(str, TIMED))
    time_panel.set_yticks([5, 10, 20, 50, 100], ["5", "10", "20", "50", "100"])
    time_panel.minorticks_off()
    gradient.axhline(0, color=BLACK, linewidth=0.8)
    memory.axhline(1 / SYMBOLS, color=BLACK, linestyle=":", linewidth=1.2)
    memory.text(RECALLED[-1], 1 / SYMBOLS - 0.02, "chance", ha="right", va="top", fontsize=12)
    memory.set_ylim(0, 1.05)
    memory.legend(loc="center right")
    return figure
