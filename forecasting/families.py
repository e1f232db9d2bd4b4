"""What the LTSF benchmark compares: families of networks, each with one fixed setting for all data, and their members.

A family's forecast is the mean of its members: two lookbacks, each with and without the linear skip branch. The only
thing about it that the data choose is the pair of lookbacks: the two whose ridge forecasts, averaged, validate best,
which takes seconds. Which subset of members validates best is reported beside it ("chosen"), as is every member, so
that what averaging and the skip contribute can be read off (the ablation).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from forecasting import ltsf, training
from forecasting.networks import fast
from forecasting.networks.cnn import CNN
from forecasting.networks.cnn_lstm import CNNLSTM
from forecasting.networks.linear import DLinear, NLinear
from forecasting.networks.lstm import LSTM
from forecasting.networks.mixed import Mixed
from forecasting.networks.norm import Reversible, fold, unfold
from forecasting.networks.plain import PlainLSTM, PlainTransformer
from forecasting.networks.transformer import Transformer
from lab.errors import InputError

LOOKBACKS = (336, 504, 720, 1440, 2160)
"""Steps that forecasts may look back, unless others are given; a task takes two of them."""
VALIDATED = 360  # so many windows of the validation part stand for all: neighbours share all but one step
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)  # ridge penalties, in units of the mean squared input

_PLAN = training.Plan(
    max_epochs=8, steps_per_epoch=64, patience=3, batch=128, learning_rate=1e-3, warm_up=0.3, averaging=0.99
)


@dataclass(frozen=True)
class Family:
    """A kind of network with its settings: the same for every series, horizon and lookback."""

    network: Callable[..., nn.Module]
    dropout: float
    learning_rate: float = 3e-3
    loss: training.Measure = training.absolute
    patches: tuple[int, int, int] = (16, 24, 96)
    """Steps a patch for lookbacks up to 336, up to 720 and beyond."""
    lookbacks: tuple[int, ...] = ()
    """Of its members; left out, the task's two."""
    skips: tuple[bool, ...] = (True, False)
    """Whether members start from the closed-form ridge forecast, which then stays frozen."""
    reversible: bool = True
    mix: bool = False
    """Whether channels see each other."""

    def patch(self, lookback: int) -> int:
        """Steps a patch of a window of `lookback` steps."""
        return self.patches[(lookback > 336) + (lookback > 720)]


FAMILIES = {
    "cnn": Family(CNN, 0.5),
    "lstm": Family(partial(LSTM, half=True), 0.5, patches=(48, 48, 96)),
    "transformer": Family(Transformer, 0.3),
    "transformer-mixed": Family(Transformer, 0.3, mix=True),
    "cnn-lstm": Family(CNNLSTM, 0.5, patches=(48, 48, 96)),
    "dlinear": Family(
        DLinear, 0.0, 1e-3, loss=training.squared, patches=(25, 25, 25), skips=(False,), reversible=False
    ),
    "nlinear": Family(NLinear, 0.0, 1e-3, loss=training.squared, skips=(False,), reversible=False),
    "plain-lstm": Family(PlainLSTM, 0.1, 1e-3, lookbacks=(96,), skips=(False,), reversible=False),
    "plain-transformer": Family(PlainTransformer, 0.1, 1e-3, lookbacks=(96,), skips=(False,), reversible=False),
}
MAIN = ("cnn", "lstm", "transformer")
"""The families that "combined" is the mean of."""


class Member(NamedTuple):
    """Forecasts of one fitted model, (windows, horizon, channels) each."""

    lookbacks: tuple[int, ...]
    skip: bool
    validation: Tensor
    test: Tensor
    seconds: float
    history: Sequence[dict[str, float]] = ()
    """Of its training, a dict an epoch: see `training.fit`."""


class Wanted(NamedTuple):
    """A member to be fitted."""

    family: str
    lookback: int
    skip: bool

    @property
    def label(self) -> str:
        return f"{self.family}-{self.lookback}{'-skip' * self.skip}"


Fits = Callable[[list[Wanted]], Iterator[Member]]
"""What makes members, in the order in which they are wanted."""


class Score(NamedTuple):
    """A row of the benchmark's table."""

    model: str
    lookback: str
    validation_mse: float
    mse: float
    mae: float
    seconds: float


class Task:
    """One series, horizon and seed: fits members and scores means of them."""

    def __init__(self, series: ltsf.Series, horizon: int, seed: int, device: torch.device):
        self.series, self.horizon, self.seed, self.device = series, horizon, seed, device
        last = ltsf.windows(series, 1, horizon)  # truths do not depend on the lookback
        self.truth = last.view[last.test][:, 1:]
        self.held_out = last.view[spread(last.validation)][:, 1:]
        self.curves: dict[str, list[dict[str, float]]] = {}  # of the members that `scores` has had, by label
        self.shown: dict[str, list[float]] = {}  # of its models: forecasts of the window that `example` is about
        self._skips: dict[int, Tensor] = {}

    def score(self, model: str, members: list[Member]) -> Score:
        """Errors of the mean of `members`; seconds are those of all their fits and forecasts."""
        lookbacks = "+".join(map(str, sorted({lookback for member in members for lookback in member.lookbacks})))
        mse, mae = ltsf.errors([member.test for member in members], self.truth)
        return Score(
            model, lookbacks, self.validation_error(members), mse, mae, sum(member.seconds for member in members)
        )

    def validation_error(self, members: list[Member]) -> float:
        """Mean squared error of the mean of `members` on the validation part."""
        return ltsf.errors([member.validation for member in members], self.held_out)[0]

    def lookbacks(self, wanted: tuple[int, ...]) -> list[int]:
        """Those that leave windows to train on. Raises InputError if none does."""
        most = self.series.borders[0] - self.horizon
        found = [lookback for lookback in wanted if lookback <= most]
        if not found:
            raise InputError(
                f"{self.series.name}: {self.series.borders[0]} rows to train on are too few for lookback "
                f"{min(wanted)} + horizon {self.horizon}; "
                + (f"give --lookbacks of at most {most}" if most > 0 else "give a longer file or a shorter horizon")
            )
        return found

    def example(self) -> tuple[list[float], list[float]]:
        """The middle validation window's last channel: (up to two horizons before, the horizon that came)."""
        starts = spread(ltsf.windows(self.series, 1, self.horizon).validation)
        middle = len(starts) // 2
        first = int(starts[middle]) + 1
        past = self.series.values[max(0, first - 2 * self.horizon) : first, -1]
        return past.tolist(), self.held_out[middle, :, -1].tolist()

    def show(self, name: str, members: list[Member]) -> None:
        """Keep what the mean of `members` forecasts for the `example`."""
        middle = torch.stack([member.validation[len(member.validation) // 2, :, -1] for member in members])
        self.shown[name] = middle.mean(0).tolist()

    def naive(self) -> Member:
        """The last season again and again."""
        season = self.series.season
        repeat = torch.arange(self.horizon) % season
        return self._member(season, False, lambda x: x[:, repeat], 0.0)

    def ridge(self, lookback: int) -> Member:
        """The closed-form linear forecast; the strength of its penalty is the one that validates best."""
        began = time.perf_counter()
        weights = self.skip(lookback)
        return self._member(lookback, True, lambda x: linear(weights, x), time.perf_counter() - began)

    def fit(self, wanted: Wanted, weights: Tensor | None = None) -> Member:
        """Train a network on the training part, watching the validation part.

        weights: the ridge's (horizon, lookback), for a member with the skip; left out, they are worked out.
        """
        name, lookback, skip = wanted
        family = FAMILIES[name]
        began = time.perf_counter()
        windows = ltsf.windows(self.series, lookback, self.horizon)
        if skip and weights is None:
            weights = self.skip(lookback)
        torch.manual_seed(self.seed)
        core = family.network(lookback, self.horizon, family.patch(lookback), dropout=family.dropout)
        if family.mix:
            core = Mixed(core, self.series.values.shape[1], dropout=family.dropout)
        network = Reversible(core, weights) if family.reversible else core
        network = network.to(self.device)
        # at most 131,072 of a long series' windows, half as many of a short one's: more are waste
        long = len(windows.training) > 20_000
        plan = replace(_PLAN, learning_rate=family.learning_rate, steps_per_epoch=128 if long else 64, joint=family.mix)
        history = training.fit(
            network, self.series.values.to(self.device), lookback, self.horizon, plan,
            torch.Generator().manual_seed(self.seed), measure=training.squared, loss=family.loss,
            starts=(windows.training, spread(windows.validation)),
        )  # fmt: skip
        member = self._member(lookback, skip, lambda x: network(x.to(self.device)).cpu(), time.perf_counter() - began)
        return member._replace(history=history)

    def skip(self, lookback: int) -> Tensor:
        """The ridge's weights (horizon, lookback)."""
        if lookback not in self._skips:
            self._skips[lookback] = self._weights(lookback)
        return self._skips[lookback]

    def _member(self, lookback: int, skip: bool, forecast: training.Forecast, seconds: float) -> Member:
        began = time.perf_counter()
        windows = ltsf.windows(self.series, lookback, self.horizon)
        validation, test = (
            ltsf.predict(forecast, windows, chosen, lookback) for chosen in (spread(windows.validation), windows.test)
        )
        return Member((lookback,), skip, validation, test, seconds + time.perf_counter() - began)

    def _weights(self, lookback: int) -> Tensor:
        """Ridge weights (horizon, lookback), fitted to the training part."""
        windows = ltsf.windows(self.series, lookback, self.horizon)
        gram, cross = training.moments(self.series.values, len(windows.training), lookback, self.horizon)

        def error(weights: Tensor) -> float:
            chosen = spread(windows.validation)
            made = ltsf.predict(lambda x: linear(weights, x), windows, chosen, lookback)
            return ltsf.errors([made], self.held_out)[0]

        candidates = (training.solve(gram, cross, strength).float() for strength in STRENGTHS)
        return min(candidates, key=error)


def spread(starts: Tensor) -> Tensor:
    """At most VALIDATED of `starts`, from the first to the last, evenly: they begin at all times of a day."""
    return starts[torch.linspace(0, len(starts) - 1, min(len(starts), VALIDATED)).round().long()]


def linear(weights: Tensor, x: Tensor) -> Tensor:
    """weights (horizon, lookback) on windows (n, lookback, channels) minus their last value: (n, horizon, channels)."""
    last = x[:, -1:]
    return unfold(fast.linear(fold(x - last), weights), x.shape[2]) + last


def scores(
    task: Task, names: tuple[str, ...], lookbacks: tuple[int, ...],
    fits: Fits | None = None, threads: int = 1,
) -> Iterator[Score]:  # fmt: skip
    """Every row of one task: the naive floor, the ridge, each family with its members, and the families combined.

    lookbacks: those to choose two from. fits: makes members, in the order in which they are wanted, where it shall not
    be one after the other. threads: work on ridges, each on one of them.
    """
    yield task.score("seasonal-naive", [task.naive()])
    with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
        ridges = list(pool.map(task.ridge, reversed(task.lookbacks(lookbacks))))[::-1]  # the longest first
    for member in ridges:
        yield task.score("ridge, one lookback", [member])
    searched = sum(member.seconds for member in ridges)
    pairs = [list(pair) for pair in combinations(ridges, 2)] or [ridges]
    tried = [task.score("ridge, two lookbacks", pair) for pair in pairs]
    yield from tried
    score, ridges = min(zip(tried, pairs, strict=True), key=lambda each: each[0].validation_mse)
    yield score._replace(model="ridge", seconds=searched)
    task.show("ridge", ridges)
    pair = tuple(lookback for member in ridges for lookback in member.lookbacks)
    wanted = {name: _wanted(task, name, pair) for name in names}
    made = (fits or partial(map, task.fit))([each for own in wanted.values() for each in own])
    means: dict[str, Member] = {}
    for name in names:
        members = []
        for each in wanted[name]:
            members.append(next(made))
            task.curves[each.label] = list(members[-1].history)
            if len(wanted[name]) > 1:
                yield task.score(f"{name}, {'skip' if each.skip else 'no skip'}", members[-1:])
        yield task.score(name, members)
        subsets = _subsets(members)
        if len(subsets) > 1:
            yield task.score(f"{name}, chosen", min(subsets, key=task.validation_error))
        task.show(name, members)
        means[name] = _mean(members)
        del members
    if all(name in means for name in MAIN):
        main = [means[name] for name in MAIN]
        yield task.score("combined", main)
        yield task.score("combined + ridge", [*main, _mean(ridges)])


def _wanted(task: Task, name: str, pair: tuple[int, ...]) -> list[Wanted]:
    """The members of a family: its own lookbacks or else `pair`, each with and without the skip."""
    family = FAMILIES[name]
    return [Wanted(name, *each) for each in product(task.lookbacks(family.lookbacks or pair), family.skips)]


def _subsets(members: list[Member]) -> list[list[Member]]:
    """Members of one lookback or all, with skip, without or both."""
    lookbacks = sorted({member.lookbacks for member in members})
    kinds = sorted({member.skip for member in members})
    groups = product(_some(lookbacks), _some(kinds))
    return [[member for member in members if member.lookbacks in ls and member.skip in ks] for ls, ks in groups]


def _some(values: list[Any]) -> list[tuple[Any, ...]]:
    """Each value alone, and all together: [1, 2] -> [(1,), (2,), (1, 2)]."""
    return [(value,) for value in values] + ([tuple(values)] if len(values) > 1 else [])


def _mean(members: list[Member]) -> Member:
    validation, test = (_average(parts) for parts in zip(*((m.validation, m.test) for m in members), strict=True))
    lookbacks = {lookback for member in members for lookback in member.lookbacks}
    return Member(tuple(sorted(lookbacks)), False, validation, test, sum(member.seconds for member in members))


def _average(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0].clone()
    for part in parts[1:]:
        total += part  # in place: new gigabytes would have to be asked of the system for every sum
    return total.div_(len(parts))
