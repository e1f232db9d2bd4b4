"""Where in the training part lay surroundings like those of a hidden run: what a masked model may go by.

A model that is shown the nearest cases need not hold them in its weights (Khandelwal et al. 2020, kNN-LM; Borgeaud et
al. 2022, RETRO). With a few dozen periods to learn from, that decides between learning and overfitting.
"""

from typing import NamedTuple

import torch
from scipy.fft import next_fast_len
from torch import Tensor
from torch.nn import functional

MOST = 20_000  # steps that are remembered, the newest: bounds the time of a look-up


class Masks(NamedTuple):
    """Hidden runs, one a row: run = [first, last), known part = [lo, hi), all positions in the series, (rows,)."""

    first: Tensor
    last: Tensor
    lo: Tensor
    hi: Tensor

    @classmethod
    def of(cls, rows: int, first: int, last: int, lo: int, hi: int) -> "Masks":
        """The same run in every one of `rows` rows."""
        return cls(*(torch.full((rows,), place) for place in (first, last, lo, hi)))


class Found(NamedTuple):
    """Stretches of the training part for each of some hidden runs, nearest first; (rows, stretches) each."""

    places: Tensor
    """The step of the training part that stands for the first hidden one."""
    shifts: Tensor
    """What to add to its values, so that its surroundings lie at the level of the run's: the median of what is between
    them, as an anomaly may lie there too.
    """
    distances: Tensor
    """Root mean square difference of the surroundings; infinite where there is no such stretch."""

    def after(self, steps: int) -> "Found":
        """The same stretches, for runs that begin `steps` later."""
        return self._replace(places=self.places + steps)


class Recall:
    """The training part `values` (n,), to be searched.

    reaches: how many steps to either side of a run are compared; count: stretches for each reach. The training part
    is cut into `count` pieces and each gives its best one, so that they are not the same stretch a step apart.
    longest: steps of the longest hidden run. For a run within the training part itself, say so: what overlaps with it
    is passed over.
    """

    def __init__(self, values: Tensor, reaches: tuple[int, ...], longest: int, count: int):
        self.reaches, self.longest, self.count = reaches, longest, count
        self.forgotten = max(0, len(values) - MOST)
        values = values[self.forgotten :].detach()
        self.pad = max(reaches) + longest
        self.candidates = max(min(count, len(values)), len(values) - longest + 1)  # places to begin at
        padded = torch.cat([values[:1].expand(self.pad), values, values[-1:].expand(self.pad + longest)])
        self.padded = padded
        self.size = next_fast_len(len(padded), real=True)  # what wraps around is never read
        self.spectrum = torch.fft.rfft(padded, self.size)
        self.sums = torch.stack([padded, padded**2]).double().cumsum(1)  # up to each step, and with it

    @torch.no_grad()
    def nearest(self, series: Tensor, masks: Masks, own: bool = False) -> Found:
        """Stretches for the hidden runs of a `series` (rows or 1, n). own: the series is the training part."""
        found = [self._nearest(series, masks, own, reach) for reach in self.reaches]
        return Found(*(torch.cat(each, 1) for each in zip(*found, strict=True)))

    def _nearest(self, series: Tensor, masks: Masks, own: bool, reach: int) -> Found:
        first, last, lo, hi = masks
        width = last - first
        before = torch.minimum(first - lo, torch.full_like(first, reach))  # steps that are compared on this side
        after = torch.minimum(hi - last, (self.longest + reach - width).clamp(0, reach))
        steps = first[:, None] - reach + torch.arange(self.longest + 2 * reach)  # (rows, steps)
        row = torch.arange(len(series))[:, None] if len(series) > 1 else torch.zeros(1, 1, dtype=torch.long)
        left = (steps >= (first - before)[:, None]) & (steps < first[:, None])
        right = (steps >= last[:, None]) & (steps < (last + after)[:, None])
        weight = (left | right).float()
        count = weight.sum(1, keepdim=True).clamp(min=1)
        values = series[row, steps.clamp(0, series.shape[1] - 1)]
        level = (values * weight).sum(1, keepdim=True) / count
        values = (values - level) * weight
        # the sum over what is compared of (value - level - (x - its own level))^2, for every place at once: with sums
        # S, S(value^2) - 2 S(value x) + S(x^2) - S(x)^2 / count; the second is a correlation
        sought = torch.fft.rfft(values, self.size).conj()
        begin = self.pad - reach
        product = torch.fft.irfft(sought * self.spectrum, self.size)[:, begin : begin + self.candidates]
        shapes, which = torch.unique(torch.stack([before, width, after], 1), dim=0, return_inverse=True)
        spread = torch.stack([self._spread(*shape) for shape in shapes.tolist()])
        distance = values.square().sum(1, keepdim=True) - 2 * product + spread[which]
        if own:
            apart = width.clamp(min=reach)
            away = torch.arange(self.candidates) - (first - self.forgotten)[:, None]
            distance = distance.masked_fill(away.abs() < apart[:, None], torch.inf)
        pieces = distance.tensor_split(self.count, dim=1)
        low, at = zip(*(piece.min(1) for piece in pieces if piece.shape[1]), strict=True)
        ends = torch.tensor([piece.shape[1] for piece in pieces if piece.shape[1]]).cumsum(0)
        places = torch.stack(at, 1) + torch.cat([ends.new_zeros(1), ends[:-1]])
        distances, order = torch.stack(low, 1).sort(1)
        places = places.gather(1, order)
        gap = series[row, steps.clamp(0, series.shape[1] - 1)][:, None] - self._at(places, reach, steps.shape[1])
        shifts = median(gap, weight[:, None].bool()).squeeze(-1)
        short = self.count - places.shape[1]  # a training part of fewer steps than pieces
        return Found(
            functional.pad(places, (0, short)),
            functional.pad(shifts, (0, short)),
            functional.pad((distances.clamp(min=0) / count).sqrt(), (0, short), value=torch.inf),
        )

    def _spread(self, before: int, width: int, after: int) -> Tensor:
        """S(x^2) - S(x)^2 / count of what lies around a run at each place, (candidates,).

        before, width, after: steps before the run, of the run and after it.
        """

        def up_to(step: int) -> Tensor:
            return self.sums[:, self.pad + step - 1 :][:, : self.candidates]

        sums = up_to(0) - up_to(-before)
        if after:
            sums = sums + (up_to(width + after) - up_to(width))
        total, square = sums
        return (square - total**2 / max(1, before + after)).float()

    def read(self, found: Found, before: int, steps: int) -> Tensor:
        """What lies in the stretches from `before` steps before the run on, shifted; (rows, stretches, steps)."""
        return self._at(found.places, before, steps) + found.shifts[..., None]

    def _at(self, places: Tensor, before: int, steps: int) -> Tensor:
        """The training part from `before` steps before each place (rows, stretches) on; (rows, stretches, steps)."""
        at = places[..., None] - before + torch.arange(steps) + self.pad
        return self.padded[at.clamp(0, len(self.padded) - 1)]


def median(values: Tensor, counted: Tensor) -> Tensor:
    """The median along the last axis, which stays as one of length 1, of those that are counted; 0 of none.

    Of an even number the lower of the two in the middle, as torch has it.
    """
    found = torch.where(counted, values, torch.nan).nanmedian(-1, keepdim=True).values
    return found.nan_to_num(0.0)
