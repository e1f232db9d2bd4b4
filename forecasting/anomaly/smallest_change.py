"""The smallest change of an interval that brings the score under the threshold, by the gradient of the score.

min over c of |c|_1 + lambda * excess(x + c), as Wachter, Mittelstadt and Russell (2017), equations 1 to 4, put it for
classifiers; the excess is what the score has above the threshold, summed over the interval. Adam on the excess, and a
soft threshold for |c|_1 (a proximal step), so that what need not change stays as it is. lambda follows the result: up
while the score is above the threshold, down once it is below, which keeps the search at the border. The gradient of a
step takes all others as they are (`masked.surprises`): it points to where the step is expected now, and follows as they
move; through the surroundings it would also pull what is expected towards the anomaly.
"""

from typing import TYPE_CHECKING

import numpy as np

from forecasting.anomaly.base import one_column
from forecasting.anomaly.counterfactual import check, check_kind
from lab.device import threads

if TYPE_CHECKING:
    from forecasting.anomaly.detectors import MaskedDetector

ROUNDS = 120
_RATE = 0.08  # standard deviations an update
_PULL = 0.01  # soft threshold an update, standard deviations, to begin with
_MARGIN = 0.02  # of the way from the normal scores' median to the threshold: aim a little below


@threads(1)
def smallest_change(
    detector: "MaskedDetector", values: np.ndarray, interval: tuple[int, int], rounds: int = ROUNDS
) -> np.ndarray:
    """[start, end) of `values` (n,) changed as little as need be for a score at or below the threshold; (end - start,).

    Where no such change is found within `rounds` updates, the one with the lowest score. A model step's change is
    spread over its samples by straight lines, down to none at the edges, so that nothing jumps. Raises InputError as
    `counterfactual.explain` does.
    """
    check_kind(detector)
    values, (start, end) = one_column(values), interval
    check(len(values), start, end, 1, detector.period_)
    factor = detector.factor_
    first, last = start // factor, -(-end // factor)

    def path(change: np.ndarray) -> np.ndarray:
        return values[start:end] + _spread(change, first, start, end, factor) * detector.scale_

    def score(change: np.ndarray) -> float:
        return detector.peak(np.concatenate([values[:start], path(change), values[end:]]), start, end)

    none = np.zeros(last - first)
    if score(none) <= detector.threshold_:
        return values[start:end].copy()
    found = _search(detector, detector._steps(values), first, last, rounds)
    # nearest first; the search sees model steps, the judge sees samples: stretch a little where that tells
    for change in sorted(found, key=lambda each: np.abs(each).sum()):
        for stretch in (1.0, 1.1, 1.25):
            if score(stretch * change) <= detector.threshold_:
                return path(_shrunk(stretch * change, score, detector.threshold_))
    return path(min([none, *found], key=score))


def _search(detector: "MaskedDetector", steps: np.ndarray, first: int, last: int, rounds: int) -> list[np.ndarray]:
    """Changes of the steps [first, last) that came under the threshold, the five nearest; else the last one."""
    import torch

    series = torch.as_tensor(steps, dtype=torch.float32)[None]
    change = torch.zeros(last - first, requires_grad=True)
    optimiser = torch.optim.Adam([change], lr=_RATE)
    usual = float(np.median(detector.normal_scores_))
    aim = detector.threshold_ - _MARGIN * (detector.threshold_ - usual)
    pull, under = _PULL, []
    for _ in range(rounds):
        now = series.clone()
        now[0, first:last] += change
        excess = torch.relu(detector.step_scores(now, first, last) - aim).sum()
        if excess.item() == 0:
            under.append(change.detach().clone().numpy())
            pull *= 1.15
        else:
            pull = max(1e-4, 0.97 * pull)
            (change.grad,) = torch.autograd.grad(excess, change)
            optimiser.step()
        with torch.no_grad():
            change.copy_(change.sign() * (change.abs() - pull).clamp(min=0))
    return sorted(under, key=lambda each: np.abs(each).sum())[:5] or [change.detach().numpy()]


def _shrunk(change: np.ndarray, score, threshold: float) -> np.ndarray:
    """The smallest multiple of `change` found by bisection that is still under the threshold."""
    low, high = 0.0, 1.0
    for _ in range(6):
        middle = (low + high) / 2
        low, high = (low, middle) if score(middle * change) <= threshold else (middle, high)
    return high * change


def _spread(change: np.ndarray, first: int, start: int, end: int, factor: int) -> np.ndarray:
    """Changes of steps first, first + 1, ... as changes of the samples [start, end), straight lines between centres."""
    if factor == 1:
        return change
    centres = (first + np.arange(len(change)) + 0.5) * factor - 0.5
    inside = (centres > start - 1) & (centres < end)
    at = np.concatenate([[start - 1], centres[inside], [end]])
    return np.interp(np.arange(start, end), at, np.concatenate([[0.0], change[inside], [0.0]]))
