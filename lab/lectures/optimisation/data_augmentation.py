"""Copies of a digit that are still that digit gain nothing for certain; half turns cost sixes and nines their names.

Lecture: L2, 15. Deep Learning
Slide: Overfitting: Data Augmentation; Solutions to overfitting
Says: "Solutions to overfitting: Data augmentation; Model constraints: regularization, architecture, dropout; Early
    stop"
Doubt: The slide names no condition. A changed copy must keep its label: shifting a digit by a pixel or tilting it does,
    turning it by 180 degrees makes a six of a nine. That is not enough: these digits fill their 8 x 8 pixels, and a
    shift pushes strokes out of them, as no test digit is. (Tilts were added when shifts had been measured.)
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, VERMILION, canvas, label
from lab.stats import bootstrap

SIZES = (50, 100, 200, 400)
"""Digits to train on; 997 others are the test."""
WAYS = {"none": GREY, "shift": BLUE, "tilt": GREEN, "turn": VERMILION}


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(20, 2, 50, quick=3)
    """Splits of the digits, each with its own start of the nets."""
    images: int = setting(200, 50, 400)
    """Training digits at which the claim is judged: 50, 100, 200 or 400, else the next smaller of these."""
    steps: int = setting(400, 1, 10000, quick=60)
    """Full-batch Adam steps, rate 0.003; at each step every image is changed anew, or not."""
    pixels: int = setting(1, 0, 4)
    """How far digits are shifted at most, down and across, of 8 pixels."""
    degrees: float = setting(15.0, 0.0, 180.0)
    """How far digits are tilted at most, to either side."""


def copies(way: str, images: torch.Tensor, pixels: int, degrees: float) -> torch.Tensor:
    """All that `way` may make of images (..., 8, 8): (copy, ..., 64), each as likely."""
    if way == "turn":
        made = [images, images.flip(-1, -2)]
    elif way == "tilt":
        flat = images.reshape(-1, 1, 8, 8)
        made = []
        for angle in torch.deg2rad(torch.linspace(-degrees, degrees, 9)):
            matrix = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
            grid = torch.nn.functional.affine_grid(
                matrix.expand(len(flat), 2, 3), list(flat.shape), align_corners=False
            )
            made.append(torch.nn.functional.grid_sample(flat, grid, align_corners=False).reshape(images.shape))
    elif way == "shift":
        edge = torch.nn.functional.pad(images, (pixels,) * 4)
        reach = range(2 * pixels + 1)
        made = [edge[..., row : row + 8, column : column + 8] for row in reach for column in reach]
    else:
        made = [images]
    return torch.stack(made).flatten(-2)


def nets(ways: torch.Tensor, y: torch.Tensor, test: torch.Tensor, steps: int) -> np.ndarray:
    """Digits that nets 64-128-10 see in test (seed, image, 64), trained side by side on ways (copy, seed, n, 64)."""
    count, seeds, n, _ = ways.shape
    draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
    w1 = torch.stack([torch.randn(64, 128, generator=draw) for draw in draws]) * (2 / 64) ** 0.5
    w2 = torch.stack([torch.randn(128, 10, generator=draw) for draw in draws]) * (2 / 128) ** 0.5
    weights = [w1, torch.zeros(seeds, 1, 128), w2, torch.zeros(seeds, 1, 10)]
    optimiser = torch.optim.Adam([each.requires_grad_() for each in weights], 0.003)

    def logits(z: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(weights[3], torch.relu(torch.baddbmm(weights[1], z, weights[0])), weights[2])

    pick = torch.Generator().manual_seed(0)
    which, image = torch.arange(seeds)[:, None], torch.arange(n)
    for _ in range(steps):
        x = ways[torch.randint(count, (seeds, n), generator=pick), which, image]  # (seed, n, 64)
        # a mean over images, a sum over nets: no net's gradient depends on another
        loss = torch.nn.functional.cross_entropy(logits(x).transpose(1, 2), y, reduction="sum") / n
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return logits(test).argmax(-1).numpy()


def measure(settings: Settings) -> Outcome:
    x, y = load_digits(return_X_y=True)
    orders = np.stack([np.random.default_rng(seed).permutation(len(y)) for seed in range(settings.seeds)])
    images, truth = torch.tensor(x / 16, dtype=torch.float32).reshape(-1, 8, 8), torch.tensor(y)
    test, wanted = images[orders[:, 800:]].flatten(-2), y[orders[:, 800:]]
    right = {way: np.zeros((len(SIZES), settings.seeds, 3)) for way in WAYS}  # all digits, 6 and 9, the others
    with console.bar("augmentation", len(WAYS) * len(SIZES), "sizes") as advance:
        for way in WAYS:
            for row, n in enumerate(SIZES):
                made = copies(way, images[orders[:, :n]], settings.pixels, settings.degrees)
                hit = nets(made, truth[orders[:, :n]], test, settings.steps) == wanted  # (seed, image)
                twins = np.isin(wanted, (6, 9))
                for column, kind in enumerate((np.ones_like(twins), twins, ~twins)):
                    right[way][row, :, column] = 100 * (hit & kind).sum(1) / kind.sum(1)
                advance()
    row = max(i for i, n in enumerate(SIZES) if n <= settings.images)
    gain = {way: right[way] - right["none"] for way in ("shift", "tilt", "turn")}  # (size, seed, kind), points

    def points(name: str, values: np.ndarray, condition: str = "") -> Finding:
        mean, interval = float(values.mean()), bootstrap(values, np.mean)
        return check(name, mean, condition, interval, values) if condition else report(name, mean, interval, values)

    findings = [
        points(f"shifts: gain on test digits at n = {SIZES[row]}, points", gain["shift"][row, :, 0], "> 0"),
        points(f"tilts: gain on test digits at n = {SIZES[row]}, points", gain["tilt"][row, :, 0], "> 0"),
        doubt(points(f"half turns: gain on sixes and nines at n = {SIZES[row]}, points", gain["turn"][row, :, 1],
                     "< 0")),
        points(f"half turns: gain on the other digits at n = {SIZES[row]}, points", gain["turn"][row, :, 2]),
        points(f"shifts: gain on sixes and nines at n = {SIZES[row]}, points", gain["shift"][row, :, 1]),
        *(points(f"{way}s: gain at n = {n} (all sizes), points", gain[way][i, :, 0])
          for way in ("shift", "tilt") for i, n in enumerate(SIZES)),
        points(f"no copies: right at n = {SIZES[row]}, %", right["none"][row, :, 0]),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} splits, nets 64-128-10 at {len(SIZES)} sizes and 4 ways, {settings.steps} full-batch Adam "
        "steps each; 997 test digits; means over splits"
    )
    return Outcome(findings, picture(right, gain, row, findings, settings), budget)


def picture(right, gain, row: int, findings: list[Finding], settings: Settings):
    """Left: right against n, all digits. Right: gain on sixes and nines and on the others, at the n that is judged."""
    figure, axes = canvas(1, 2, width=13, height=5.4)
    left, panel = axes[0]
    names = {
        "none": "no copies",
        "shift": f"shifted by up to {settings.pixels} pixel",
        "tilt": f"tilted by up to {settings.degrees:g}°",
        "turn": "turned by 180°",
    }
    for way, colour in WAYS.items():
        band = np.array([bootstrap(each, np.mean) for each in right[way][..., 0]])
        left.fill_between(SIZES, band[:, 0], band[:, 1], color=colour, alpha=0.25, linewidth=0)
        left.plot(SIZES, right[way][..., 0].mean(1), "o-", color=colour, linewidth=3, label=names[way])
    left.set_xscale("log")
    left.set_xticks(SIZES, [str(n) for n in SIZES])
    left.minorticks_off()
    label(left, "", "training digits (band: 95 % over splits)", "test digits right, %")
    left.legend(fontsize=14, loc="lower right")
    left.set_title("All ten digits", loc="left", fontsize=16)
    places = 0
    for way, colour in (("shift", BLUE), ("tilt", GREEN), ("turn", VERMILION)):
        for column in (1, 2):  # sixes and nines, the others
            values = gain[way][row, :, column]
            panel.bar(places, values.mean(), color=colour, alpha=0.75, width=0.7)
            panel.plot([places] * len(values), values, ".", color=BLACK, alpha=0.5)
            places += 1
    panel.axhline(0, color=BLACK, linewidth=1)
    panel.set_xticks(
        range(6), [f"{way}\n{kind}" for way in ("shifted", "tilted", "turned") for kind in ("6, 9", "others")]
    )
    label(panel, "", "", f"gain at {SIZES[row]} digits (dots: splits), points")
    panel.set_title(f"{gain['turn'][row, :, 1].mean():+.1f} points on 6 and 9 when turned", loc="left", fontsize=16)
    gained, tilted, lost = findings[:3]
    found = f"Shifts {gained.measured:+.1f} points, tilts {tilted.measured:+.1f} at {SIZES[row]} digits"
    told = "half turns cost sixes and nines" if lost.holds else "half turns cost little"
    figure.suptitle(f"{found}; {told}", fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
