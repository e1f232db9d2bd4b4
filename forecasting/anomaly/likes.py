"""How much a window's likes in the training part surprised: what is rare, but was seen before, is no anomaly.

A place is compared with its neighbours rather than with all there is, as the local outlier factor compares densities
(Breunig et al. 2000).
"""

import torch
from torch import Tensor

COUNT = 3  # likes of a window, one from each third of what is remembered: the nearest would be one place, a step apart
_AT_ONCE = 500  # windows compared at once: bounds the memory


class Likes:
    """Windows of `window` steps of a training part, to look up those most like a given one, whatever their level.

    steps: (m,), m at least `window`; surprises: of each of them, by each width of hidden run, (widths, m).
    """

    def __init__(self, steps: Tensor, surprises: Tensor, window: int):
        self.surprises, self.window = surprises, window
        self.references = _level(steps.unfold(0, window, 1))  # (places, window)
        self.lengths = self.references.square().sum(1)

    @torch.no_grad()
    def surprise(self, series: Tensor, first: int, last: int) -> Tensor:
        """What the likes of the windows around the steps [first, last) of series (n,) surprised by there, at most.

        (widths, last - first). A window that would reach over an end of the series stands at that end; a series shorter
        than a window has no likes: -inf.
        """
        if len(series) < self.window:
            return self.surprises.new_full((len(self.surprises), last - first), -torch.inf)
        at = torch.arange(first, last)
        starts = (at - self.window // 2).clamp(0, len(series) - self.window)
        low = int(starts[0])
        windows = series[low : int(starts[-1]) + self.window].unfold(0, self.window, 1)
        found = torch.cat([self._places(part) for part in windows.split(_AT_ONCE)])
        there = found[starts - low] + (at - starts)[:, None]  # (last - first, COUNT)
        return self.surprises[:, there].amax(-1)

    def _places(self, windows: Tensor) -> Tensor:
        """Where the likes of windows (rows, window) begin: of each part of what is remembered the nearest."""
        apart = (
            self.lengths - 2 * _level(windows) @ self.references.T
        )  # squared distance, up to the window's own length
        parts = [part for part in apart.tensor_split(COUNT, dim=1) if part.shape[1]]
        begins = torch.tensor([0] + [part.shape[1] for part in parts[:-1]]).cumsum(0)
        return torch.stack([part.argmin(1) for part in parts], 1) + begins


def _level(windows: Tensor) -> Tensor:
    return windows - windows.mean(1, keepdim=True)
