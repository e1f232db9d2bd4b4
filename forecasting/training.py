"""Windows over a series, the closed-form linear forecast, and the loop that fits a network to them."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

Report = Callable[[int, dict[str, float]], None]
Measure = Callable[[Tensor, Tensor], Tensor]  # (forecast, truth) -> one number
Forecast = Callable[[Tensor], Tensor]  # (windows, lookback, channels) -> (windows, horizon, channels)

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # ridge penalties tried, in units of the mean squared input


def windows(values: Tensor, lookback: int, horizon: int) -> Tensor:
    """Every stretch of lookback + horizon steps of `values` (time, channels), as a view: nothing is copied.

    Returns (windows, lookback + horizon, channels); window i begins at step i.
    """
    return values.unfold(0, lookback + horizon, 1).transpose(1, 2)


def split(count: int, horizon: int, share: float) -> tuple[int, int]:
    """How `count` windows in time order divide: (windows to train on, first window to validate on).

    Validation takes the last `share` of the windows, at least one. Windows that would forecast a step that validation
    also forecasts are left out of both: their targets are the answers. Too few windows for that give (count, count):
    all are trained on and none is left to stop early by.
    """
    first = count - max(1, round(share * count))
    last = first - (horizon - 1)  # the targets of window last - 1 end just before those of window `first` begin
    if share <= 0 or last < max(2, horizon):
        return count, count
    return last, first


# --- linear ---------------------------------------------------------------------------------------------------------


def ridge(inputs: np.ndarray, targets: np.ndarray, strength: float) -> np.ndarray:
    """Weights W (outputs, features) that minimise |targets - inputs W'|^2 + strength |W|^2, without an intercept.

    inputs (rows, features), targets (rows, outputs).
    """
    gram = inputs.T @ inputs
    gram[np.diag_indices_from(gram)] += strength
    return np.linalg.solve(gram, inputs.T @ targets).T


def pairs(view: np.ndarray, lookback: int) -> tuple[np.ndarray, np.ndarray]:
    """Windows (windows, lookback + horizon, channels) as rows (windows * channels, ...), minus the last input."""
    rows = view.transpose(0, 2, 1).reshape(-1, view.shape[1])
    rows = rows - rows[:, lookback - 1 : lookback]
    return rows[:, :lookback], rows[:, lookback:]


def moments(values: Tensor, count: int, lookback: int, horizon: int) -> tuple[Tensor, Tensor]:
    """X'X (lookback, lookback) and X'Y (lookback, horizon) of the first `count` windows of `values` (time, channels).

    The rows of X and Y are a window's inputs and targets minus its last input, a row for each channel, in float64.
    No window is cut out for it: a step down and to the right, the products of two lags are those of the same series but
    for one at either end, so that the first row, which is the autocorrelation, gives all others.
    """
    width = lookback + horizon
    values = values.double()[: count + width - 1]
    values = values - values.mean(0)  # windows minus their last value stay as they were, and less is rounded off
    spectrum, begun = (torch.fft.rfft(part, 2 * len(values), dim=0) for part in (values, values[:count]))
    autocorrelation = torch.fft.irfft(spectrum * begun.conj(), 2 * len(values), dim=0)[:width].sum(1)
    products = torch.empty(lookback, width, dtype=torch.float64)
    products[0], products[:, 0] = autocorrelation, autocorrelation[:lookback]
    entering = values[count : count + lookback - 1] @ values[count : count + width - 1].T
    leaving = values[: lookback - 1] @ values[: width - 1].T
    for lag, change in enumerate(entering - leaving):
        products[lag + 1, 1:] = products[lag, :-1] + change
    last = lookback - 1
    less = products - products[:, last : last + 1] - products[last] + products[last, last]
    return less[:, :lookback], less[:, lookback:]


def solve(gram: Tensor, cross: Tensor, strength: float) -> Tensor:
    """Ridge weights (horizon, lookback) from `moments`; strength in units of the mean squared input times the rows."""
    unit = max(float(gram.diagonal().mean()), 1e-8)
    penalty = strength * unit * torch.eye(len(gram), dtype=gram.dtype)
    return torch.linalg.solve(gram + penalty, cross).T


def fit_linear(
    values: np.ndarray, lookback: int, horizon: int, share: float = 0.2
) -> tuple[np.ndarray, np.ndarray, float]:
    """A ridge forecast of the window minus its last value; its strength is the one that validates best.

    values (time, channels). Returns (weights from the part before validation, weights from everything, strength), each
    of the weights (horizon, lookback). Strengths are relative: multiplied by rows x mean squared input.
    """
    series = torch.from_numpy(values)
    view = windows(series, lookback, horizon)
    last, first = split(len(view), horizon, share)
    early = moments(series, last, lookback, horizon)
    if first == len(view):  # nothing to validate on: a penalty in the middle
        best = solve(*early, 0.1).numpy()
        return best, best, 0.1
    x, y = pairs(view[first:].numpy(), lookback)
    candidates = [(solve(*early, strength).numpy(), strength) for strength in STRENGTHS]
    best, strength = min(candidates, key=lambda pair: float(np.abs(y - x @ pair[0].T).mean()))
    return best, solve(*moments(series, len(view), lookback, horizon), strength).numpy(), strength


# --- networks -------------------------------------------------------------------------------------------------------


def absolute(forecast: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute error."""
    return (forecast - truth).abs().mean()


def squared(forecast: Tensor, truth: Tensor) -> Tensor:
    """Mean squared error."""
    return (forecast - truth).square().mean()


@dataclass(frozen=True)
class Plan:
    """How a network is fitted."""

    max_epochs: int = 30
    """Most epochs; one ends with a look at the validation error."""
    steps_per_epoch: int = 40
    """Gradient steps an epoch, however long the series: neighbouring windows say much the same, so a long series
    needs no full pass, and a short one needs more steps than it has batches."""
    patience: int = 6
    """Epochs without a better validation error before it stops."""
    batch: int = 32
    """Windows a gradient step, drawn at random, each of one channel."""
    joint: bool = False
    """Windows have all their channels instead, so that these can be mixed; batch / channels of them a gradient step."""
    learning_rate: float = 2e-3
    """Of AdamW, at its highest; it falls to nought along a cosine over max_epochs."""
    warm_up: float = 0.0
    """Share of all steps in which the learning rate rises from a 25th (one cycle; Smith and Topin, 2019)."""
    averaging: float = 0.0
    """Decay of a running mean of the weights, a step; above 0, that mean is what is validated and kept."""
    weight_decay: float = 1e-2
    validation: float = 0.2
    """Share of the windows, the last ones, that early stopping watches."""


def fit(
    network: nn.Module, values: Tensor, lookback: int, horizon: int, plan: Plan, generator: torch.Generator,
    report: Report | None = None, measure: Measure = absolute, starts: tuple[Tensor, Tensor] | None = None,
    loss: Measure | None = None,
) -> list[dict[str, float]]:  # fmt: skip
    """Train `network` in place on windows of `values` (time, channels), leaving it with its best weights, in eval mode.

    `measure` is the validation error and, unless another `loss` is given, the loss; the mean absolute error is what
    MASE scores. `generator` (on the CPU) draws the windows. starts: the first steps of the windows (to train on, to
    validate on), where they are not those that `split` finds: `values` may be several series, one behind the other,
    and no window lies across two of them.
    Returns one dict an epoch: "train_loss", "learning_rate" (at its end) and, where there is a validation part,
    "validation_loss".
    """
    view = windows(values, lookback, horizon)
    if starts is None:
        last, first = split(len(view), horizon, plan.validation)
        starts = torch.arange(last), torch.arange(first, len(view))
    training, held_out = starts
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True
    )
    schedule = _schedule(plan, optimiser)
    mean = _RunningMean(network, plan.averaging) if plan.averaging else None
    kept = mean.network if mean else network
    loss = loss or measure
    history: list[dict[str, float]] = []
    has_validation = len(held_out) > 0
    best, best_weights, best_epoch = np.inf, None, -1
    if has_validation:  # the untrained network is a forecast too (the last value, or the linear skip)
        best = error(kept, view, lookback, held_out, measure)
        best_weights = copy.deepcopy(kept.state_dict())
    for epoch in range(plan.max_epochs):
        network.train()
        losses = []
        for rows in _batches(view, training, plan, generator):
            missed = loss(network(rows[:, :lookback]), rows[:, lookback:])
            optimiser.zero_grad(set_to_none=True)
            missed.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            if mean:
                mean.update()
            losses.append(missed.detach())
        entry = {"train_loss": float(torch.stack(losses).mean()), "learning_rate": schedule.get_last_lr()[0]}
        if has_validation:
            entry["validation_loss"] = error(kept, view, lookback, held_out, measure)
            if entry["validation_loss"] < best:
                best, best_epoch = entry["validation_loss"], epoch
                best_weights = copy.deepcopy(kept.state_dict())
        history.append(entry)
        if report:
            network.eval()  # who is told may look at what it forecasts
            report(epoch, entry)
        if has_validation and epoch - best_epoch >= plan.patience:
            break
    network.load_state_dict(best_weights if best_weights is not None else kept.state_dict())
    network.eval()
    return history


def _batches(view: Tensor, training: Tensor, plan: Plan, generator: torch.Generator) -> Iterator[Tensor]:
    """The windows of each step of an epoch: (batch, lookback + horizon, 1), or with all channels."""
    channels = view.shape[2]
    if plan.joint:
        size = (plan.steps_per_epoch, max(1, plan.batch // channels))
        for chosen in torch.randint(len(training), size, generator=generator):
            yield view[training[chosen]]
        return
    for chosen in torch.randint(len(training) * channels, (plan.steps_per_epoch, plan.batch), generator=generator):
        yield view[training[chosen // channels], :, chosen % channels].unsqueeze(2)


def _schedule(plan: Plan, optimiser: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    steps = plan.steps_per_epoch * plan.max_epochs
    if not plan.warm_up:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, plan.learning_rate, total_steps=steps, pct_start=plan.warm_up)


class _RunningMean:
    """`network`: a copy of another whose weights and running statistics are a running mean of that one's."""

    def __init__(self, followed: nn.Module, decay: float):
        self.network = copy.deepcopy(followed)
        self._decay, self._updates = decay, 0
        pairs = zip(_floating(self.network), _floating(followed), strict=True)
        self._mine, self._its = map(list, zip(*pairs, strict=True))

    def update(self) -> None:
        """To be called after every step; young means forget faster."""
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates)) if self._updates else 0.0
        torch._foreach_lerp_(self._mine, self._its, 1 - decay)
        self._updates += 1


def _floating(network: nn.Module) -> Iterator[Tensor]:
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            yield tensor.detach()


@torch.no_grad()
def error(
    network: nn.Module, view: Tensor, lookback: int, chosen: Tensor | None = None, measure: Measure = absolute,
    batch: int = 512,
) -> float:  # fmt: skip
    """Mean of `measure` over the `chosen` windows of `view` (windows, lookback + horizon, channels), or all of them.

    batch: windows x channels at a time: more would not stay in a processor's cache. The last, incomplete one counts for
    the windows it has.
    """
    network.eval()
    chosen = torch.arange(len(view)) if chosen is None else chosen
    total = 0.0
    for part in chosen.split(max(1, batch // view.shape[2])):
        rows = view[part]
        total += measure(network(rows[:, :lookback]), rows[:, lookback:]).item() * len(part)
    return total / len(chosen)
