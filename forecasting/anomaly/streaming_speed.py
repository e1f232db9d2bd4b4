"""How long a detector takes to score a sample that has just come in: what `lab speed stream` measures."""

import time
from collections.abc import Sequence
from itertools import islice

import numpy as np
import pandas as pd

from forecasting.anomaly.catalogue import DETECTORS
from forecasting.anomaly.stream import Stream
from lab import console
from lab.device import threads

LIMIT = 5.0  # milliseconds a sample that are allowed


def measure(detector: str, periods: Sequence[int], training: int, samples: int, rounds: int) -> pd.DataFrame:
    """One row for each round and sample: round, period (samples), milliseconds; one thread, the periods in turn.

    Series are waves with noise, `training` samples to learn from. What a detector learns does not matter for how long
    it takes, so the masked one learns for one epoch only. Where a step is several samples, those that complete one are
    timed: the others cost nothing.
    """
    rows = []
    with threads(1), console.bar("stream", (rounds + 1) * len(periods), "periods") as advance:
        streams = {}
        for period in periods:
            made = DETECTORS[detector].make(0, "cpu").set_params(period=period, contamination=0)
            if "max_epochs" in made.get_params():
                made.set_params(max_epochs=1)
            learnt = Stream(made.fit(wave(training, period)))
            values = wave(training + rounds * samples * learnt.detector.factor_, period)[training:]
            streams[period] = learnt, iter(values)
            advance(1, f"period {period} learnt")
        for number in range(1, rounds + 1):
            for period, (stream, coming) in streams.items():
                for _ in range(samples):
                    stream.update(list(islice(coming, stream.detector.factor_ - 1)))
                    value = next(coming)
                    began = time.perf_counter()
                    stream.update(value)
                    rows.append((number, period, 1000 * (time.perf_counter() - began)))
                advance(1, f"period {period}: {np.median([each[2] for each in rows[-samples:]]):.1f} ms a sample")
    return pd.DataFrame(rows, columns=["round", "period", "milliseconds"])


def wave(length: int, period: int) -> np.ndarray:
    """A sine with a second harmonic and noise, (length,)."""
    angle = 2 * np.pi * np.arange(length) / period
    return np.sin(angle) + 0.3 * np.cos(2 * angle) + np.random.default_rng(period).normal(0, 0.1, length)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a period: the median of all, of the fastest and of the slowest round, the 95 % quantile; ms a sample."""
    rows = []
    for period, own in table.groupby("period", sort=False):
        medians = own.groupby("round")["milliseconds"].median()
        every = own["milliseconds"]
        rows.append((period, every.median(), medians.min(), medians.max(), every.quantile(0.95)))
    return pd.DataFrame(rows, columns=["period", "median", "fastest round", "slowest round", "95 %"])
