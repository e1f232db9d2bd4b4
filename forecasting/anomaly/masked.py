"""A masked generative model of a series: p(a hidden run of steps | what lies around it).

A run of consecutive steps is hidden; a bidirectional dilated CNN sees the rest and gives, for every hidden step, a
mixture of logistic distributions. One network serves both uses:

- score: -log p of a window, every step given only the surroundings of the window (one pass a window);
- sample: steps drawn from left to right, the run growing shorter by one each time, which is the chain rule for
  p(window | surroundings) exactly, because a window whose first steps are known is a shorter window.

Masks in the manner of masked language models (Devlin et al. 2019) and of MaskGIT (Chang et al. 2022); the mixture of
logistics after Salimans et al. 2017 (PixelCNN++), here continuous. Values are standardised steps at the model's
resolution, not native samples.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lab import device as devices

_BATCH = 24  # crops an update
_CROPS_AT_ONCE = 64  # crops a forward pass when scoring: bounds the memory
SWEEPS = 2  # times that a draw is gone over again


@dataclass(frozen=True)
class Shape:
    """Lengths of the model in steps: `window` longest hidden run, `context` seen on each side, `lags` echoes shown."""

    window: int
    context: int
    lags: tuple[int, ...]

    @property
    def crop(self) -> int:
        return self.window + 2 * self.context


class MaskedNetwork(nn.Module):
    """Residual dilated CNN over a crop, wide enough to see `context` steps to both sides of every step.

    The value one period (and one cycle) before and after each step is shown too, where it is not hidden: a few
    hundred updates then suffice to learn what repeats.
    """

    def __init__(self, shape: Shape, channels: int = 32, components: int = 5, dropout: float = 0.1):
        super().__init__()
        self.shape = shape
        sights = 1 + 2 * len(shape.lags)  # the crop itself and each lag to both sides
        self.first = nn.Conv1d(2 * sights, channels, 1)
        self.blocks = nn.ModuleList()
        reach, dilation = 0, 1
        while reach < shape.context:
            self.blocks.append(nn.Conv1d(channels, 2 * channels, 3, padding=dilation, dilation=dilation))
            reach += dilation
            dilation *= 2
        self.reach = reach  # steps to either side that a step's mixture depends on
        self.mix = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in self.blocks)
        self.dropout = nn.Dropout1d(
            dropout
        )  # whole channels: drawing a coin for every step would cost more than the convolutions
        self.head = nn.Conv1d(channels, 3 * components, 1)
        # components start apart, or they would learn the same thing
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(
                torch.cat([torch.zeros(components), torch.linspace(-1, 1, components), -torch.ones(components)])
            )

    def forward(self, sights: Tensor, first: int = 0, last: int | None = None) -> Tensor:
        """(batch, 2 x sights, steps) -> (batch, steps, components, 3): weight logit, mean, log scale.

        first, last: only the steps [first, last) of these, and no block works out what they do not depend on.
        """
        steps = sights.shape[-1]
        last = steps if last is None else last
        rest = self.reach  # of the blocks still to come
        begin, end = max(0, first - rest), min(steps, last + rest)  # the steps in x
        x = self.first(sights[..., begin:end])
        for block, mix in zip(self.blocks, self.mix, strict=True):
            rest -= block.dilation[0]
            kept = slice(max(0, first - rest) - begin, min(steps, last + rest) - begin)
            value, gate = block(x)[..., kept].chunk(2, dim=1)
            x = x[..., kept] + mix(self.dropout(torch.tanh(value) * torch.sigmoid(gate)))
            begin += kept.start
        return self._mixture(x)

    def at(self, sights: Tensor, step: int) -> Tensor:
        """What `forward` says of one step, (batch, components, 3), without working out the others.

        Dilations double from one block to the next, so of the steps that a block puts out the next one needs every
        second only: each is a convolution of stride 2, and the lattice of steps thins out until one is left.
        """
        first, last, steps = step - self.reach, step + self.reach + 1, sights.shape[-1]
        sights = functional.pad(sights[..., max(0, first) : last], (max(0, -first), max(0, last - steps)))
        places = torch.arange(first, last, device=sights.device)
        inside = ((places >= 0) & (places < steps)).to(sights.dtype)  # forward's convolutions see zeros outside
        x = self.first(sights)
        for block, mix in zip(self.blocks, self.mix, strict=True):
            around = functional.conv1d(x * inside, block.weight, block.bias, stride=2)
            value, gate = around.chunk(2, dim=1)
            x = x[..., 1:-1:2] + mix(self.dropout(torch.tanh(value) * torch.sigmoid(gate)))
            inside = inside[1:-1:2]
        return self._mixture(x)[:, 0]

    def _mixture(self, x: Tensor) -> Tensor:
        batch, _, steps = x.shape
        return self.head(x).view(batch, 3, -1, steps).permute(0, 3, 2, 1)  # (batch, steps, components, 3)


def log_density(mixture: Tensor, value: Tensor) -> Tensor:
    """log p of `value` (...) under mixtures of logistics (..., components, 3).

    With d = (x - mean) / s a logistic has log density -d - log s - 2 log(1 + exp(-d)). The scale is kept above 0.02
    standard deviations: a series that repeats exactly must not make the density unbounded.
    """
    logit, mean, log_scale = mixture.unbind(-1)
    log_scale = log_scale.clamp(min=float(np.log(0.02)))
    distance = (value.unsqueeze(-1) - mean) * torch.exp(-log_scale)
    parts = -distance - log_scale - 2 * functional.softplus(-distance)
    return torch.logsumexp(functional.log_softmax(logit, -1) + parts, -1)


def draw(mixture: Tensor, generator: torch.Generator) -> Tensor:
    """One value from each mixture (rows, components, 3) -> (rows,).

    Components of less than 5 % and the outermost 2 % of the chosen one on either side are not drawn (as with nucleus
    sampling of tokens): one stray step would lead all the steps after it astray.
    """
    logit, mean, log_scale = mixture.unbind(-1)
    weight = logit.softmax(-1)
    chosen = torch.multinomial(weight * (weight >= 0.05), 1, generator=generator)  # (rows, 1)
    u = 0.02 + 0.96 * torch.rand(chosen.shape, generator=generator)
    scale = log_scale.clamp(min=float(np.log(0.02))).exp()
    return (mean.gather(-1, chosen) + scale.gather(-1, chosen) * torch.logit(u)).squeeze(-1)


@dataclass(frozen=True)
class Masks:
    """Hidden runs, one a row, all (rows,) of positions in the series: run = [first, last), known part = [lo, hi).

    past, future: whether the echoes, a period and a cycle before and after, are shown; (rows,) bool.
    """

    first: Tensor
    last: Tensor
    lo: Tensor
    hi: Tensor
    past: Tensor
    future: Tensor


def look(series: Tensor, masks: Masks, shape: Shape) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees for each mask, and what it should say.

    series: (rows, n), or (1, n) for one series that all masks share.
    Returns sights (rows, 2 x sights, crop), target (rows, crop) and hidden (rows, crop) bool. The crop starts `context`
    steps before the run. Values are taken relative to the mean of what is visible in the crop, so that a
    level that drifts slowly is no surprise; where nothing is visible, a value is 0 and its flag is 0.
    """
    length = series.shape[1]
    steps = masks.first[:, None] - shape.context + torch.arange(shape.crop)  # (rows, crop) positions in the series
    row = torch.arange(len(series))[:, None] if len(series) > 1 else torch.zeros(1, 1, dtype=torch.long)

    def seen(at: Tensor) -> tuple[Tensor, Tensor]:
        run = (at >= masks.first[:, None]) & (at < masks.last[:, None])
        visible = (at >= masks.lo[:, None]) & (at < masks.hi[:, None]) & ~run
        return series[row, at.clamp(0, length - 1)], visible

    values, visible = seen(steps)
    centre = (values * visible).sum(1, keepdim=True) / visible.sum(1, keepdim=True).clamp(min=1)
    sights = [(values - centre) * visible, visible]
    for lag in shape.lags:
        for shift, shown in ((-lag, masks.past), (lag, masks.future)):
            echo, known = seen(steps + shift)
            known = known & shown[:, None]
            sights += [(echo - centre) * known, known]
    hidden = (steps >= masks.first[:, None]) & (steps < masks.last[:, None])
    return torch.stack([sight.to(series.dtype) for sight in sights], 1), values - centre, hidden


def training_masks(length: int, shape: Shape, rows: int, generator: torch.Generator) -> Masks:
    """Random runs in a series of `length` steps: mostly with both sides visible, some with one side only.

    Widths are 1 .. window, short ones more often (every draw ends with them). One in seven has nothing after
    it and may be longer, as at the end of a series or at the start of a long gap; one in ten has nothing before.
    """
    u, place, kind, side = torch.rand(4, rows, generator=generator)
    open_end, open_start = kind < 0.15, kind > 0.9
    widest = torch.where(open_end, shape.window + shape.context, shape.window).clamp(max=length)
    width = (1 + (u**2 * widest).long()).clamp(max=length)
    first = (place * (length - width + 1)).long()
    last = first + width
    return Masks(
        first,
        last,
        torch.where(open_start, first, 0),
        torch.where(open_end, last, length),
        side < 0.65,
        (side < 0.4) | (side > 0.75),
    )


def loss(network: MaskedNetwork, series: Tensor, masks: Masks, noise: Tensor | None = None) -> Tensor:
    """Mean -log p a hidden step, each mask of equal weight. series: (1, n)."""
    sights, target, hidden = look(series, masks, network.shape)
    if noise is not None:
        sights = sights + noise * sights.ne(0)
    device = network.head.weight.device
    target, hidden = target.to(device), hidden.to(device)
    surprise = -log_density(network(sights.to(device)), target) * hidden
    return (surprise.sum(1) / hidden.sum(1).clamp(min=1)).mean()


@devices.threads(1)  # gains nothing from two threads, and gives the same numbers on any machine
def train(
    values: np.ndarray,
    held_out: np.ndarray,
    shape: Shape,
    epochs: int,
    seed: int,
    device: torch.device,
    advance: Callable[..., None] = lambda n=1, note="": None,
) -> tuple[MaskedNetwork, list[tuple[float, float]]]:
    """Fit to `values` (n,), keep the epoch best on `held_out` (m,); both standardised steps.

    Returns the network in evaluation mode and (training, held-out) loss in nats a step for every epoch. An epoch is 25
    updates of 24 crops, whatever the length of the series: time is bounded, not passes over the data.
    """
    updates = 25
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):  # leave the caller's random state alone
        torch.manual_seed(seed)
        network = MaskedNetwork(shape).to(device)
        series = torch.as_tensor(values, dtype=torch.float32)[None]
        check = torch.as_tensor(held_out, dtype=torch.float32)[None]
        check_masks = training_masks(check.shape[1], shape, 4 * _BATCH, torch.Generator().manual_seed(seed + 1))
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=max(2, epochs * updates))
        history: list[tuple[float, float]] = []
        best = (np.inf, {name: tensor.clone() for name, tensor in network.state_dict().items()})
        for _ in range(epochs):
            network.train()
            total = 0.0
            for _ in range(updates):
                masks = training_masks(series.shape[1], shape, _BATCH, generator)
                # a little noise on what is visible: when sampling, its own steps are visible too, and they are noisy
                noise = 0.05 * torch.randn(_BATCH, 1, shape.crop, generator=generator)
                value = loss(network, series, masks, noise)
                optimiser.zero_grad()
                value.backward()
                nn.utils.clip_grad_norm_(network.parameters(), 1.0)
                optimiser.step()
                schedule.step()
                total += value.item()
            network.eval()
            with torch.no_grad():
                checked = loss(network, check, check_masks).item()
            history.append((total / updates, checked))
            if checked < best[0]:
                best = (checked, {name: tensor.clone() for name, tensor in network.state_dict().items()})
            advance(1, f"{checked:.3f} nats a step")
    network.load_state_dict(best[1])
    return network.eval(), history


def surprises(network: MaskedNetwork, series: Tensor, starts: Tensor, width: int) -> Tensor:
    """Mean -log p a step, in nats, of each window [start, start + width) of a series given only what is around it.

    Two views of each are taken, one with the echoes of the past only and one with those of the future only, and the
    less surprised one counts: else the weeks before and after an anomaly would be flagged for being unlike it.
    series: (1, n); gradients flow back to it. starts: (windows,) may reach over either end of the series; only the
    steps inside count. Returns (windows,).
    """
    length = series.shape[1]
    means = []
    run = (network.shape.context, network.shape.context + width)  # where a crop has the window
    for chunk in starts.split(_CROPS_AT_ONCE):
        first, last = chunk.clamp(min=0), (chunk + width).clamp(max=length)
        lo, hi, yes = torch.zeros_like(first), torch.full_like(first, length), torch.ones_like(first, dtype=torch.bool)
        views = []
        for past in (yes, ~yes):
            sights, target, hidden = look(series, Masks(first, last, lo, hi, past, ~past), network.shape)
            target, hidden = target[:, slice(*run)], hidden[:, slice(*run)]
            density = log_density(network(sights.to(network.head.weight.device), *run).cpu(), target)
            views.append(-(density * hidden).sum(1) / hidden.sum(1).clamp(min=1))
        means.append(torch.minimum(*views))
    return torch.cat(means)


def latest(network: MaskedNetwork, series: Tensor, ends: Tensor, widths: Sequence[int]) -> Tensor:
    """`surprises` of the windows [end - width, end) where nothing from `end` on is known yet; (ends, widths).

    The less surprised of two views counts again: with the echoes of the past, and with none. All in one pass: a pass
    over few crops takes its time mostly for being started.
    """
    found = []
    run = (network.shape.context, network.shape.context + max(widths))  # where a crop has the windows
    for chunk in ends.split(_CROPS_AT_ONCE // 4):
        last = chunk[:, None].expand(-1, len(widths)).reshape(1, -1).expand(2, -1).reshape(-1)  # (views ends widths,)
        first = (last - torch.tensor(widths).repeat(len(last) // len(widths))).clamp(min=0)
        past = torch.arange(2).repeat_interleave(len(last) // 2) == 0
        masks = Masks(first, last, torch.zeros_like(last), last, past, torch.zeros_like(past))
        sights, target, hidden = look(series, masks, network.shape)
        target, hidden = target[:, slice(*run)], hidden[:, slice(*run)]
        density = log_density(network(sights.to(network.head.weight.device), *run).cpu(), target)
        means = -(density * hidden).sum(1) / hidden.sum(1).clamp(min=1)
        found.append(means.view(2, len(chunk), len(widths)).amin(0))
    return torch.cat(found)


@devices.threads(1)  # gains nothing from two threads, and gives the same numbers on any machine
@torch.no_grad()
def sample(
    network: MaskedNetwork, values: np.ndarray, first: int, last: int, count: int, seed: int, sweeps: int = SWEEPS
) -> np.ndarray:
    """`count` draws of the steps [first, last) of `values` (n,) given all other steps; (count, last - first).

    From left to right, each step given the surroundings and the steps drawn so far; then `sweeps` times over: pieces
    of a quarter of the longest run, each hidden and drawn again given all else (block Gibbs sampling), which mends
    where the way from left to right went astray. What `values` holds inside the interval is never looked at. Where the
    interval goes on beyond the model's longest run, what lies after is out of sight until the end comes near.
    """
    generator = torch.Generator().manual_seed(seed)
    shape, length = network.shape, len(values)
    paths = torch.as_tensor(values, dtype=torch.float32).repeat(count, 1)
    paths[:, first:last] = 0.0
    for step in range(first, last):
        # with more still to draw than one run holds, hide everything to the end of the crop
        far = last - step > shape.window
        end = min(last, step + shape.window + shape.context)
        _draw_step(network, paths, step, end, end if far else length, generator)
    piece = max(1, shape.window // 4)
    for sweep in range(sweeps):
        for begin in range(first - sweep * piece // max(1, sweeps), last, piece):  # pieces that lie elsewhere each time
            for step in range(max(first, begin), min(last, begin + piece)):
                _draw_step(network, paths, step, min(last, begin + piece), length, generator)
    return paths[:, first:last].numpy()


def _draw_step(network: MaskedNetwork, paths: Tensor, step: int, end: int, hi: int, generator: torch.Generator) -> None:
    """Draw one step of each path (count, n), in place; [step, end) is hidden, and all from `hi` on is out of sight."""
    count = len(paths)
    begin, last, most = (torch.full((count,), place) for place in (step, end, hi))
    paths[:, step] = 0.0
    shown = torch.ones(count, dtype=torch.bool)
    sights, values_seen, _ = look(paths, Masks(begin, last, torch.zeros_like(begin), most, shown, shown), network.shape)
    mixture = network.at(sights.to(network.head.weight.device), network.shape.context).cpu()
    # `values_seen` is relative to the crop's centre, and the step itself holds 0: its negative is the centre
    paths[:, step] = draw(mixture, generator) - values_seen[:, network.shape.context]
