"""CNN, LSTM and Transformer of one size forecast four series, beside models that need no network at all.

Lecture: L0, Deep Learning in Wilderness; also L1 ("Transformers: time series data"), L4 ("surpasses RNNs")
Slide: CNN for Time Series Processing; Goodbye RNN; Transformers for Time Series Forecasting
Says: "So popular that CNN is dominantly used for this task in the literature." "Goodbye Recurrent Neural Network (RNN)
    for Sequence Modeling". "Transformer, the replacement of RNNs"
Doubt: No series, no horizon, no error and no rival is named. On 144 to 289 points little is left to learn beyond the
    season; the rivals to beat are the last season and a linear regression, and the slides have neither. Here one net
    forecasts the whole season, and its first step is the forecast one step ahead.
Kind: chance
"""

from bisect import bisect
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from sktime.datasets import load_solar

from forecasting.benchmark import mase
from forecasting.datasets import load, season
from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    NetworkForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
    default_lookback,
    default_patch,
)  # fmt: skip
from forecasting.traffic import web_traffic
from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, COLOURS, DARK_GREY, canvas, label
from lab.stats import bootstrap, probability_of_improvement

SERIES = ("traffic", "airline", "seatbelts", "solar")
NETS: dict[str, type[NetworkForecaster]] = {
    "CNN": CNNForecaster, "LSTM": LSTMForecaster, "Transformer": TransformerForecaster,
}  # fmt: skip
RIVALS = ("naive", "seasonal naive", "linear")
REFERENCE = 32
"""Features of the Transformer; the others get the width that brings them nearest to its number of weights."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 20, quick=1)
    """Random starts of each net; of the generated traffic also the series."""
    epochs: int = setting(8, 1, 100, quick=1)
    """Of 40 gradient steps on 32 windows each, with early stopping on the last fifth of the training windows."""
    days: int = setting(180, 30, 1000, quick=30)
    """Of generated hourly traffic."""


def series(name: str, seed: int, days: int) -> pd.Series:
    """Views an hour (generated), air passengers a month, drivers killed or badly hurt a month, half-hourly solar."""
    if name == "traffic":
        return web_traffic(days, seed)
    if name == "airline":
        return load("airline")
    if name == "solar":
        return load_solar(api_version=None).astype(float)  # None: the week that comes with sktime, no download
    path = files("sktime").joinpath("datasets/data/seatbelts/seatbelts.csv")
    return pd.read_csv(str(path), index_col=0, parse_dates=True)["KSI"].astype(float).asfreq("MS")


@cache
def size(name: str, lookback: int, cycle: int, width: int) -> int:
    """Weights of a net of that width which forecasts one season."""
    network = NETS[name].network(lookback, cycle, default_patch(lookback, cycle), width=width)
    return sum(p.numel() for p in network.parameters())


def width_of(name: str, lookback: int, cycle: int) -> int:
    """Features that give a net as many weights as the Transformer of REFERENCE features, as nearly as can be."""
    if name == "Transformer":
        return REFERENCE
    wanted = size("Transformer", lookback, cycle, REFERENCE)
    above = 1 + bisect(range(1, 256), wanted, key=lambda width: size(name, lookback, cycle, width))
    return min((above - 1, above), key=lambda width: abs(size(name, lookback, cycle, width) - wanted))


def forecasters(start: int, cycle: int, seed: int, settings: Settings) -> dict[str, Any]:
    """The rivals and the nets for a series with `start` rows to learn from; all look back equally far."""
    lookback = default_lookback(start, cycle, cycle)
    made: dict[str, Any] = {
        "naive": SeasonalNaiveForecaster(lookback=1),
        "seasonal naive": SeasonalNaiveForecaster(lookback=cycle),
        "linear": RidgeForecaster(lookback=lookback),
    }
    for name, net in NETS.items():
        width = width_of(name, lookback, cycle)
        made[name] = net(lookback=lookback, width=width, max_epochs=settings.epochs, random_state=seed, device="cpu")
    return made


def relative_sizes(values: pd.Series) -> list[float]:
    """Weights of the nets for a series over those of the Transformer."""
    cycle = season(values)
    lookback = default_lookback(first_origin(len(values), cycle), cycle, cycle)
    weights = [size(name, lookback, cycle, width_of(name, lookback, cycle)) for name in NETS]
    return [each / weights[-1] for each in weights]


def roll(forecaster: Any, values: pd.Series, start: int) -> list[np.ndarray]:
    """Forecasts of a season from `start` on, every quarter of a season: fitted once, then only shown what came."""
    cycle = season(values)
    forecaster.fit(values.iloc[:start], fh=list(range(1, cycle + 1)))
    made = [forecaster.predict().to_numpy()]
    for origin in origins(len(values), start, cycle)[1:]:
        forecaster.update(values.iloc[origin - cycle // 4 : origin], update_params=False)
        made.append(forecaster.predict().to_numpy())
    return made


def origins(length: int, start: int, cycle: int) -> list[int]:
    return list(range(start, length - cycle + 1, cycle // 4))


def first_origin(length: int, cycle: int) -> int:
    """The last quarter is held out, in whole seasons: two at least, seven at most."""
    return length - cycle * int(np.clip(length // 4 // cycle, 2, 7))


def errors(values: pd.Series, made: list[np.ndarray], start: int) -> tuple[float, float]:
    """MASE one step ahead and of a season ahead, means over origins."""
    cycle, array = season(values), values.to_numpy()
    pairs = list(zip(origins(len(array), start, cycle), made, strict=True))
    one = [mase(array[at : at + 1], forecast[:1], array[:at], cycle) for at, forecast in pairs]
    whole = [mase(array[at : at + cycle], forecast, array[:at], cycle) for at, forecast in pairs]
    return float(np.mean(one)), float(np.mean(whole))


def measure(settings: Settings) -> Outcome:
    models = [*RIVALS, *NETS]
    scores = np.zeros((len(models), len(SERIES), 2, settings.seeds))  # MASE: (model, series, horizon, seed)
    fan: dict[str, list[np.ndarray]] = {name: [] for name in models}  # of the last season of the airline series
    with console.bar("forecast benchmark", len(SERIES) * settings.seeds * len(models), "fits") as advance:
        for column, name in enumerate(SERIES):
            for seed in range(settings.seeds):
                values = series(name, seed, settings.days)
                start = first_origin(len(values), season(values))
                for row, (model, forecaster) in enumerate(forecasters(start, season(values), seed, settings).items()):
                    made = roll(forecaster, values, start)
                    scores[row, column, :, seed] = errors(values, made, start)
                    if name == "airline":
                        fan[model].append(made[-1])
                    advance(1, f"{model}, {name}")
    sizes = [relative for name in SERIES for relative in relative_sizes(series(name, 0, settings.days))]
    mean = {model: scores[row].mean((0, 1)) for row, model in enumerate(models)}  # (seed,)
    findings = [
        *(check(f"MASE, mean of 8 tasks: {one} less {other}", (gap := mean[one] - mean[other]).mean(), condition,
                bootstrap(gap, np.mean), gap)
          for one, other, condition in (
              ("Transformer", "LSTM", "< 0"), ("CNN", "LSTM", "<= 0"), ("CNN", "Transformer", "<= 0"),
              *((net, rival, "< 0") for rival in ("seasonal naive", "linear") for net in NETS))),
        *(report(f"MASE, mean of 8 tasks: {model}", mean[model].mean(), bootstrap(mean[model], np.mean), mean[model])
          for model in models),
        *(report(f"how often {one} beats {other}", (win := wins(scores, models, one, other)).value, (win.low, win.high))
          for one, other in (("Transformer", "LSTM"), ("CNN", "LSTM"), ("CNN", "Transformer"),
                             *((net, "linear") for net in NETS))),
        report("weights of a net over those of the Transformer, least", min(sizes)),
        report("weights of a net over those of the Transformer, most", max(sizes)),
    ]  # fmt: skip
    budget = (
        f"{len(SERIES)} series ({settings.days} days of generated hourly traffic; 144 and 192 months; 289 half hours), "
        f"{settings.seeds} starts of 3 nets, up to {settings.epochs} epochs of 40 steps; the last quarter held out, "
        "two to seven seasons, an origin every quarter of a season; fitted once"
    )
    return Outcome(findings, picture(models, scores, fan, findings), budget)


def wins(scores: np.ndarray, models: list[str], one: str, other: str):
    """How probably a run of one has a lower MASE than one of the other, averaged over tasks, with its interval."""
    a, b = (-scores[models.index(name)].reshape(-1, scores.shape[-1]) for name in (one, other))
    return probability_of_improvement(a, b)


def picture(models: list[str], scores: np.ndarray, fan: dict[str, list[np.ndarray]], findings: list[Finding]):
    """MASE of every model on every task, who beats whom, and the forecasts of the airline's last season."""
    figure, axes = canvas(1, 3, width=17, height=5.6, width_ratios=[1.5, 1.1, 1.3])
    heat, matrix, panel = axes[0]
    table = scores.mean(3).reshape(len(models), -1)
    table = np.concatenate([table, table.mean(1, keepdims=True)], 1)
    net = min(NETS, key=lambda name: table[models.index(name), -1])
    ahead = next(each for each in findings if each.name.endswith(f"{net} less linear"))
    heat.imshow(np.log(table / table.min(0)), cmap="Oranges", aspect="auto", vmin=-0.1, vmax=3.5)
    for row, column in np.ndindex(*table.shape):
        first = table[row, column] == table[:, column].min()
        heat.text(column, row, f"{table[row, column]:.2f}", ha="center", va="center", fontsize=12,
                  fontweight="bold" if first else "normal")  # fmt: skip
    heat.set_xticks(range(2 * len(SERIES) + 1), ["1 step", "season"] * len(SERIES) + ["mean"])
    for place, name in enumerate(SERIES):
        heat.text(2 * place + 0.5, len(models) - 0.1, name, ha="center", va="top", fontsize=12)
    lead = {True: "beats linear", False: "does not beat linear", None: "is on a par with linear"}[ahead.holds]
    label(heat, f"MASE: the best net, {net}, {lead}")
    chance = np.array([[wins(scores, models, a, b).value if a != b else np.nan for b in models] for a in models])
    matrix.imshow(chance, cmap="PuOr", vmin=-0.4, vmax=1.4, aspect="auto")
    for row, column in np.ndindex(*chance.shape):
        if row != column:
            matrix.text(column, row, f"{chance[row, column]:.0%}", ha="center", va="center", fontsize=11)
    short = [name.replace("seasonal ", "seas. ").replace("Transformer", "Transf.") for name in models]
    matrix.set_xticks(range(len(models)), short, rotation=40, ha="right")
    label(matrix, "How often row beats column")
    for each in (heat, matrix):
        each.set_yticks(range(len(models)), short)
        each.spines[:].set_visible(False)
        each.tick_params(length=0)
    truth = load("airline").to_numpy()
    months = np.arange(-12, 12)
    panel.plot(months, truth[-24:], color=BLACK, linewidth=3, label="passengers")
    for model, colour in (("linear", DARK_GREY), *((net, COLOURS[net.lower()]) for net in NETS)):
        each = np.array(fan[model])
        panel.fill_between(range(12), each.min(0), each.max(0), color=colour, alpha=0.25, linewidth=0)
        panel.plot(range(12), each.mean(0), color=colour, linewidth=2, label=model,
                   linestyle="--" if model == "linear" else "-")  # fmt: skip
    panel.set_ylim(top=730)  # room for the legend
    panel.set_xticks(range(-12, 13, 6))
    label(panel, "Airline, last year; band: all starts", "months from the last origin", "thousand passengers a month")
    panel.legend(loc="upper left", fontsize=11)
    for each in axes[0]:
        each.title.set_fontsize(15)
    return figure
