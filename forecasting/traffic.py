"""A seeded generator of hourly web traffic whose clean course is known.

views(t) = level * trend * yearly * weekly * daily * holiday * (1 + burst) * noise, rounded to whole views. The factors
are returned too, so that a forecast, or what a detector calls normal, can be held against the truth.
"""

import numpy as np
import pandas as pd

WEEKLY = (1.04, 1.08, 1.08, 1.06, 0.98, 0.78, 0.82)  # Monday to Sunday: a site people read at work
HOLIDAYS = ("01-01", "05-01", "12-24", "12-25", "12-26", "12-31")  # month-day, every year
BURST = (0.3, 1.5)  # least and most extra views at the start of a burst, relative to the normal ones
RECOVERY = 3.0  # hours after which half of a burst is gone: a link shared, then forgotten
MEMORY = 0.6  # correlation of the noise from hour to hour


def web_traffic_parts(
    days: int = 56, seed: int = 0, start: str = "2024-01-01", level: float = 1000.0, growth: float = 0.3,
    daily: float = 0.6, yearly: float = 0.15, holiday: float = 0.35, bursts: float = 0.5, noise: float = 0.06,
) -> pd.DataFrame:  # fmt: skip
    """The series and what it is made of, hourly.

    days: length. seed: of bursts and noise; all else is the same for every seed. start: the first day, at 00:00.
    level: views an hour at the start. growth: the relative gain a year, compounded.
    daily, yearly: amplitude of the cycle, relative: working hours carry the day, and July is the year's lowest month.
        At weekends the day is flatter and three hours later; the weekly factor itself is WEEKLY.
    holiday: the share of views that a holiday (HOLIDAYS) loses.
    bursts: how many begin in a week, on average (Poisson); each adds BURST times the normal views
        and halves every RECOVERY hours. noise: standard deviation of its logarithm, which has MEMORY.

    Returns a frame with columns views, normal (views expected without bursts and noise), trend, yearly, weekly, daily,
    holiday, burst, noise; normal is level times the first five factors.
    """
    index = pd.date_range(start, periods=24 * days, freq="h", name="time")
    random = np.random.default_rng(seed)
    hours = np.arange(len(index))
    weekday, hour = index.dayofweek.to_numpy(), index.hour.to_numpy()
    weekend = weekday >= 5
    angle = 2 * np.pi * (hour - np.where(weekend, 3, 0)) / 24
    # lowest at 03:00, broad top from 10:00 to 20:00
    shape = -0.8 * np.cos(angle - 2 * np.pi * 3 / 24) - 0.2 * np.cos(2 * (angle - 2 * np.pi * 3 / 24))
    parts = pd.DataFrame(index=index)
    parts["trend"] = (1 + growth) ** (hours / (24 * 365.25))
    parts["yearly"] = 1 + yearly * np.cos(2 * np.pi * (index.dayofyear.to_numpy() - 15) / 365.25)
    parts["weekly"] = np.array(WEEKLY)[weekday]
    parts["daily"] = 1 + daily * np.where(weekend, 0.7, 1.0) * shape
    parts["holiday"] = np.where(index.strftime("%m-%d").isin(HOLIDAYS), 1 - holiday, 1.0)
    parts["burst"] = _bursts(len(index), bursts / (7 * 24), random)
    parts["noise"] = np.exp(_correlated(len(index), noise, random))
    normal = level * parts[["trend", "yearly", "weekly", "daily", "holiday"]].prod(axis=1)
    parts.insert(0, "normal", normal)
    parts.insert(0, "views", (normal * (1 + parts["burst"]) * parts["noise"]).round())
    return parts


def web_traffic(days: int = 56, seed: int = 0, **settings: float) -> pd.Series:
    """The column views of `web_traffic_parts`, which documents the settings: float64, hourly DatetimeIndex."""
    return web_traffic_parts(days, seed, **settings)["views"]  # type: ignore[arg-type]


def _bursts(length: int, rate: float, random: np.random.Generator) -> np.ndarray:
    """Relative extra views (length,): a burst begins with chance `rate` an hour."""
    height = np.where(random.random(length) < rate, random.uniform(*BURST, length), 0.0)
    decay = 0.5 ** (np.arange(int(12 * RECOVERY)) / RECOVERY)
    return np.convolve(height, decay)[:length]


def _correlated(length: int, deviation: float, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise (length,) of that standard deviation, each step MEMORY times the one before plus something new."""
    noise = random.normal(0, deviation, length)
    for step in range(1, length):
        noise[step] = MEMORY * noise[step - 1] + np.sqrt(1 - MEMORY**2) * noise[step]
    return noise
