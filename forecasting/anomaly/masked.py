"""A masked generative model of a series: p(a hidden run of steps | what lies around it).

A run of consecutive steps is hidden; a bidirectional dilated CNN sees what lies around it, and the stretches of the
training part that had the most similar surroundings (`recall`), and gives, for every hidden step, a mixture of logistic
distributions. One network serves both uses:

- score: -log p of each step, when a run around it is hidden (one pass a run);
- sample: steps drawn from left to right, the run growing shorter by one each time, which is the chain rule for
  p(window | surroundings) exactly, because a window whose first steps are known is a shorter window.

Masks in the manner of masked language models (Devlin et al. 2019) and of MaskGIT (Chang et al. 2022); the mixture of
logistics after Salimans et al. 2017 (PixelCNN++), here continuous. Values are standardised steps at the model's
resolution, not native samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from forecasting.anomaly.recall import Found, Masks, Recall, median
from lab import device as devices

_BATCH = 24  # crops an update
_PARTS = 4  # that an update's crops are worked out in
_CROPS_AT_ONCE = 64  # crops a forward pass when scoring: bounds the memory
SWEEPS = 2  # times that a draw is gone over again
NOISE = 0.17  # scale of a logistic, 0.3 standard deviations of the series: what a score takes as noise
STRAY = 0.01  # density of a stray sample, anywhere: no step surprises by more than -log of it


@dataclass(frozen=True)
class Shape:
    """Lengths of the model in steps: `window` longest hidden run, `context` seen on each side.

    reaches: how much of the surroundings is compared to find similar ones; stretches: how many for each reach.
    """

    window: int
    context: int
    reaches: tuple[int, ...]
    stretches: int = 3

    @property
    def crop(self) -> int:
        return self.window + 2 * self.context


class MaskedNetwork(nn.Module):
    """Residual dilated CNN over a crop, wide enough to see `context` steps to both sides of every step.

    steps: the training part (n,), which it recalls stretches of: they say what comes here, and it learns how far to
    trust them. A few hundred updates suffice for that.
    """

    def __init__(self, shape: Shape, steps: Tensor, channels: int = 32, components: int = 5, dropout: float = 0.1):
        super().__init__()
        self.shape = shape
        self.recall = Recall(steps, shape.reaches, shape.window, shape.stretches)
        self.persistence = persistence(steps, shape, self.recall)
        sights = 1 + shape.stretches * len(shape.reaches)  # the crop itself and what is recalled
        self.first = nn.Linear(2 * sights, channels)
        # far steps first: the blocks after that, whose steps lie closer, have ever fewer to work out for a short run
        self.dilations = [2**power for power in reversed(range(shape.context.bit_length()))]
        self.reach = sum(self.dilations)  # steps to either side that a step's mixture depends on
        self.around = nn.ModuleList(nn.Linear(3 * channels, 2 * channels) for _ in self.dilations)
        self.mix = nn.ModuleList(nn.Linear(channels, channels) for _ in self.dilations)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, 3 * components)
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
        batch, _, steps = sights.shape
        begin, end = first - self.reach, (steps if last is None else last) + self.reach
        sights = functional.pad(sights[..., max(0, begin) : min(end, steps)], (max(0, -begin), max(0, end - steps)))
        x = self.first(sights.permute(2, 0, 1))  # (steps, batch, channels): what lies `far` away is a slice
        # a convolution as a product of matrices: the library's own would be prepared anew for each length of run
        for far, around, mix in zip(self.dilations, self.around, self.mix, strict=True):
            value, gate = around(torch.cat([x[: -2 * far], x[far:-far], x[2 * far :]], -1)).chunk(2, -1)
            kept = self.dropout(x.new_ones(x.shape[1:]))  # whole channels: a coin for every step would cost more
            x = x[far:-far] + mix(gated(value, gate) * kept)
        return self.head(x).view(len(x), batch, 3, -1).permute(1, 0, 3, 2)


def gated(value: Tensor, gate: Tensor) -> Tensor:
    """tanh(value) sigmoid(gate), as in WaveNet (van den Oord et al. 2016); this form of the tanh is the faster one."""
    return (2 * torch.sigmoid(2 * value) - 1) * torch.sigmoid(gate)


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


def look(series: Tensor, masks: Masks, network: MaskedNetwork, found: Found) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees for each mask, and what it should say.

    series: (rows, n), or (1, n) for one series that all masks share.
    Returns sights (rows, 2 x sights, crop), target (rows, crop) and hidden (rows, crop) bool. The crop starts `context`
    steps before the run. What is seen is relative to the median of what is visible in the crop, so that a level that
    drifts slowly is no surprise, and an anomaly there does not shift what is expected of the rest; where nothing is
    visible, a value is 0 and its flag is 0. What is recalled is bent over the run towards the steps at its edges
    (`bend`), and comes with the distance of its surroundings instead of a flag, 3 at most. The target is what a step
    lies above the mean of what is recalled: a short run in a smooth series is nearly told by its edges, and a network
    alone would take long to learn that.
    """
    seen, recalled, values, hidden = _surroundings(series, masks, network.shape, network.recall, found)
    seen, recalled = seen.detach(), recalled.detach()  # the gradient of a step is that of being where it is expected
    gap = seen[:, :1] - recalled
    recalled = recalled + bend(gap, seen[:, 1] > 0, masks, network.shape.context, network.persistence) * hidden[:, None]
    distances = found.distances.clamp(max=3)[..., None].expand_as(recalled)
    return torch.cat([seen, recalled, distances], 1), values - recalled.mean(1), hidden


def _surroundings(
    series: Tensor, masks: Masks, shape: Shape, recall: Recall, found: Found
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For each crop: what is visible and its flag (rows, 2, crop), what is recalled, not bent (rows, stretches, crop),
    all values and which are hidden (rows, crop).
    """
    steps = masks.first[:, None] - shape.context + torch.arange(shape.crop)  # (rows, crop) positions in the series
    row = torch.arange(len(series))[:, None] if len(series) > 1 else torch.zeros(1, 1, dtype=torch.long)
    hidden = (steps >= masks.first[:, None]) & (steps < masks.last[:, None])
    visible = (steps >= masks.lo[:, None]) & (steps < masks.hi[:, None]) & ~hidden
    values = series[row, steps.clamp(0, series.shape[1] - 1)]
    centre = median(values.detach()[:, None], visible[:, None]).squeeze(1)
    values = values - centre
    seen = torch.stack([values * visible, visible.to(series.dtype)], 1)
    there = recall.read(found, shape.context, shape.crop) - centre[:, None]
    return seen, torch.where(found.distances.isfinite()[..., None], there, 0.0), values, hidden


def bend(gap: Tensor, visible: Tensor, masks: Masks, context: int, persistence: float) -> Tensor:
    """The gap to be expected within each run, given that before it and that after it; 0 from a side that is unseen.

    As of a process whose neighbours correlate by `persistence` r (the bridge of Ornstein and Uhlenbeck): t steps from
    one edge and u from the other, (r^t - r^(t + 2u)) / (1 - r^(2t + 2u)) of the former's, and the same the other way.
    Near r = 1 that is a straight line; near 0 the edges tell nothing. gap (rows, stretches, crop); visible (rows,
    crop). Returns (rows, stretches, crop), of use within the run.
    """
    crop, width = gap.shape[2], (masks.last - masks.first)[:, None]
    t = (torch.arange(crop) - context + 1).clamp(min=1).double().expand(len(gap), -1)  # (rows, crop)
    u = (width + 1 - t).clamp(min=1)
    left = visible[:, context - 1 : context]
    end = (context + width).clamp(max=crop - 1)
    right = visible.gather(1, end) & (context + width < crop)
    r = min(persistence, 0.9999)
    whole = 1 - r ** (2 * t + 2 * u)
    from_left = torch.where(right, (r**t - r ** (t + 2 * u)) / whole, r**t) * left
    from_right = torch.where(left, (r**u - r ** (u + 2 * t)) / whole, r**u) * right
    before, after = gap[..., context - 1 : context], gap.gather(2, end[:, None].expand(-1, gap.shape[1], 1))
    return before * from_left[:, None].to(gap.dtype) + after * from_right[:, None].to(gap.dtype)


def persistence(steps: Tensor, shape: Shape, recall: Recall) -> float:
    """How much of the gap between a series and what is recalled of its like is still there a step on; 0 to 1.

    Its correlation with the next step's, around random runs of the training part `steps` (n,).
    """
    masks = training_masks(len(steps), shape, 4 * _BATCH, torch.Generator().manual_seed(0))
    found = recall.nearest(steps[None], masks, own=True)
    seen, recalled, _, _ = _surroundings(steps[None], masks, shape, recall, found)
    both = seen[:, 1:, 1:] * seen[:, 1:, :-1] * found.distances.isfinite()[..., None]  # (rows, stretches, crop - 1)
    gap = seen[:, :1] - recalled
    here, there = gap[..., :-1], gap[..., 1:]
    squares = (both * (here.square() + there.square())).sum() / 2
    return max(0.0, float((both * here * there).sum() / squares.clamp(min=1e-12)))


def training_masks(length: int, shape: Shape, rows: int, generator: torch.Generator) -> Masks:
    """Random runs in a series of `length` steps: mostly with both sides visible, some with one side or a part of one.

    Widths are 1 .. window, short ones more often (every draw ends with them). One in seven has nothing after
    it and may be longer, as at the end of a series or at the start of a long gap; one in ten has nothing before. Of
    the others a fifth see less than `context` steps before or after, as near the ends of a series.
    """
    u, place, kind, side = torch.rand(4, rows, generator=generator)
    open_end, open_start = kind < 0.15, kind > 0.9
    widest = torch.where(open_end, shape.window + shape.context, shape.window).clamp(max=length)
    width = (1 + (u**2 * widest).long()).clamp(max=length)
    first = (place * (length - width + 1)).long()
    last = first + width
    before, after = (10 * side * shape.context).long(), (10 * (1 - side) * shape.context).long()
    lo = torch.where(open_start, first, torch.where(side < 0.1, first - before, 0))
    hi = torch.where(open_end, last, torch.where(side > 0.9, last + after, length))
    return Masks(first, last, lo.clamp(min=0), hi.clamp(max=length))


def loss(
    network: MaskedNetwork, series: Tensor, masks: Masks, noise: Tensor | None = None, own: bool = False
) -> Tensor:
    """Mean -log p a hidden step, each mask of equal weight. series: (1, n); own: it is the training part.

    Masks of like widths go through the network together, as far as the longest of them: most are much shorter than the
    longest.
    """
    found = network.recall.nearest(series, masks, own)
    sights, target, hidden = look(series, masks, network, found)
    if noise is not None:
        sights = sights + noise * sights.ne(0)
    device, context = network.head.weight.device, network.shape.context
    width, total = masks.last - masks.first, torch.zeros((), device=device)
    for rows in width.argsort().tensor_split(_PARTS):
        run = slice(context, context + int(width[rows].max()))  # where a crop has the runs
        mixture = network(sights[rows].to(device), run.start, run.stop)
        surprise = -log_density(mixture, target[rows, run].to(device)) * hidden[rows, run].to(device)
        total = total + (surprise.sum(1) / width[rows].to(device)).sum()
    return total / len(width)


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
        series = torch.as_tensor(values, dtype=torch.float32)[None]
        network = MaskedNetwork(shape, series[0]).to(device)
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
                value = loss(network, series, masks, noise, own=True)
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


def surprises(network: MaskedNetwork, series: Tensor, masks: Masks, width: int, own: bool = False) -> Tensor:
    """How surprising each step of some hidden runs of at most `width` steps is, given the rest; (rows, width), nats.

    -log(p(x) + STRAY), with every component of the mixture blurred by NOISE: a sample that is a little off where the
    model is very sure is no event, and one stray sample counts for less than a long stretch that is off. Where a run
    is shorter, the rest is 0. series: (1, n); own: it is the training part. Gradients flow back to the series, but to
    each step only as one of a run, not as surroundings, and as if there were no STRAY: they point to where the step is
    expected, from afar too.
    """
    run = (network.shape.context, network.shape.context + width)  # where a crop has the runs
    parts = []
    for first, last, lo, hi in zip(*(each.split(_CROPS_AT_ONCE) for each in masks), strict=True):
        part = Masks(first, last, lo, hi)
        sights, target, hidden = look(series, part, network, network.recall.nearest(series, part, own))
        with torch.no_grad():
            mixture = network(sights.to(network.head.weight.device), *run).cpu()
        plain = -log_density(blurred(mixture, NOISE), target[:, slice(*run)])
        bounded = -torch.log(torch.exp(-plain) + STRAY)
        parts.append((plain + (bounded - plain).detach()) * hidden[:, slice(*run)])
    return torch.cat(parts)


def blurred(mixture: Tensor, noise: float) -> Tensor:
    """Mixtures (..., components, 3) with sqrt(s^2 + noise^2) for each scale s: variances add, shapes nearly do."""
    logit, mean, log_scale = mixture.unbind(-1)
    return torch.stack([logit, mean, 0.5 * torch.log(torch.exp(2 * log_scale) + noise**2)], -1)


@devices.threads(1)  # gains nothing from two threads, and gives the same numbers on any machine
@torch.no_grad()
def sample(
    network: MaskedNetwork, values: np.ndarray, first: int, last: int, count: int, seed: int, sweeps: int = SWEEPS
) -> np.ndarray:
    """`count` draws of the steps [first, last) of `values` (n,) given all other steps; (count, last - first).

    From left to right, each step given the surroundings and the steps drawn so far; then `sweeps` times over: pieces
    of a quarter of the longest run, each hidden and drawn again given all else (block Gibbs sampling), which mends
    where the way from left to right went astray. What `values` holds inside the interval is never looked at.

    Where the interval goes on beyond the model's longest run, what lies after is out of sight at first, and the level
    may drift: each path is drawn on past the end, by as much as is seen to either side, and what it is off there in the
    mean is taken off along the way, as a Brownian bridge comes of a Brownian motion.
    """
    generator = torch.Generator().manual_seed(seed)
    shape, length = network.shape, len(values)
    paths = torch.as_tensor(values, dtype=torch.float32).repeat(count, 1)
    paths[:, first:last] = 0.0
    piece = max(1, shape.window // 4)

    def draw_piece(begin: int, end: int, most: int, open_end: bool = False) -> None:
        """Draw [begin, end) of each path, while [begin, most) is hidden; what is recalled is looked up at the start."""
        found = None
        for step in range(begin, end):
            # with more still to draw than one run holds, hide everything to the end of the crop
            far = open_end or most - step > shape.window
            hidden_to = min(most, step + shape.window + shape.context)
            masks = Masks.of(count, step, hidden_to, 0, hidden_to if far else length)
            found = network.recall.nearest(paths, masks) if found is None else found.after(1)
            _draw_step(network, paths, masks, found, generator)

    beyond = min(length, last + shape.context) if last - first > shape.window and first > 0 else last
    for begin in range(first, beyond, piece):
        draw_piece(begin, min(beyond, begin + piece), beyond, beyond > last)
    if beyond > last:
        after = torch.as_tensor(values[last:beyond], dtype=torch.float32)
        gap = (after - paths[:, last:beyond]).mean(1, keepdim=True)
        paths[:, first:last] += gap * torch.arange(1, last - first + 1) / (last - first + 1)
        paths[:, last:beyond] = after
    for sweep in range(sweeps):
        for begin in range(first - sweep * piece // max(1, sweeps), last, piece):  # pieces that lie elsewhere each time
            draw_piece(max(first, begin), min(last, begin + piece), min(last, begin + piece))
    return paths[:, first:last].numpy()


def _draw_step(network: MaskedNetwork, paths: Tensor, masks: Masks, found: Found, generator: torch.Generator) -> None:
    """Draw the first hidden step of each path (count, n), in place."""
    step, context = int(masks.first[0]), network.shape.context
    paths[:, step] = 0.0
    sights, values_seen, _ = look(paths, masks, network, found)
    mixture = network(sights.to(network.head.weight.device), context, context + 1).cpu()[:, 0]
    # `values_seen` is relative to the crop's centre, and the step itself holds 0: its negative is the centre
    paths[:, step] = draw(mixture, generator) - values_seen[:, context]
