"""A small series and a detector fitted to its normal part, shared by the tests of this folder."""

import numpy as np
import pytest

from forecasting.anomaly.base import ScoreDetector
from forecasting.anomaly.detectors import MaskedDetector

PERIOD = 20


def waves(length: int, seed: int = 0, period: float = PERIOD) -> np.ndarray:
    """A sine with a second harmonic and a little noise, (length,)."""
    t = 2 * np.pi * np.arange(length) / period
    return 10 + 3 * np.sin(t) + np.cos(2 * t) + np.random.default_rng(seed).normal(0, 0.1, length)


class Itself(ScoreDetector):
    """The score of a step is the step itself."""

    _refit = True

    def __init__(self, period=None, quantile=0.9, contamination=0):
        self.period, self.quantile, self.contamination = period, quantile, contamination
        self.learned = []
        super().__init__()

    def _learn(self, steps):
        self.learned.append(len(steps))

    def _score(self, steps):
        return steps


@pytest.fixture(scope="session")
def series() -> np.ndarray:
    """1,000 samples; 800 .. 819 are flat, which they never are elsewhere."""
    values = waves(1000)
    values[800:820] = 10.0
    return values


@pytest.fixture(scope="session")
def detector(series: np.ndarray) -> MaskedDetector:
    return MaskedDetector(max_epochs=6, device="cpu").fit(series[:600])
