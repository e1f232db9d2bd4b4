"""Attribution of one forecast, written into a run: the table, the figure, and the check by counterfactual.

The check: the stretch of the past that counts most is redrawn as it would normally have been (by the anomaly bench's
masked model), and the forecast made again. Shapley values say what the stretch is worth against the usual past; the
redrawn stretch says what it is worth against what would have been normal just there.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecasting import attribution, clocks, models
from forecasting.anomaly import words
from forecasting.attribution import Attribution
from forecasting.forecaster import NetworkForecaster
from lab import console, plots_networks
from lab.errors import InputError
from lab.run import Run

METRICS = ("forecast/mean", "forecast/usual", "forecast/shapley_gap", "forecast/gradients_gap")


@dataclass(frozen=True)
class Told:
    finding: str
    metrics: dict[str, float]


def attribute(
    series: pd.Series, model: str, horizon: int, lookback: int | None, groups: int, samples: int, max_epochs: int,
    seed: int, device: str, run: Run,
) -> Told:  # fmt: skip
    """Fit `model` to `series` and explain its forecast of what follows; see `forecasting.attribution`."""
    forecaster = fit(series, model, horizon, lookback, max_epochs, seed, device)
    values = series.to_numpy(float)
    found = attribution.attribute(forecaster, values, groups, seed)
    gaps = found.additivity()
    start, end = found.strongest()
    past = series.index[-forecaster.lookback_ :]
    worth = float(found.shapley[start:end].sum())
    metrics = {
        "forecast/mean": found.forecast, "forecast/usual": found.usual_forecast,
        "forecast/shapley_gap": gaps["shapley"], "forecast/gradients_gap": gaps["gradients"],
        "forecast/strongest": worth,
    }  # fmt: skip
    fan = redrawn(values, forecaster, found, samples, seed, device) if samples else None
    if fan is not None:
        metrics["forecast/mean_if_normal"] = float(np.median(attribution.forecasts(forecaster, fan)))
    columns = {
        "time": clocks.stamps(past, series.attrs),
        "value": found.window,
        "usual": found.usual,
        "shapley": found.shapley,
    }
    columns["integrated_gradients"] = found.gradients
    if found.grad_cam is not None:
        columns["grad_cam"] = found.grad_cam
    run.table("attributions", pd.DataFrame(columns))
    unit = str(series.name)
    finding = says(found, past, worth, unit, metrics.get("forecast/mean_if_normal"), series.attrs.get("zone"))
    steps = np.arange(-len(past), 0)
    run.figure(
        "forecast/attribution",
        plots_networks.attribution(steps, found.window, found.usual, found.shapley, found.gradients, found.grad_cam,
                                   (start, end), None if fan is None else fan[:, start:end], finding, unit),
    )  # fmt: skip
    run.text("note", finding)
    run.scalars(metrics, 0)
    return Told(finding, metrics)


def fit(
    series: pd.Series, model: str, horizon: int, lookback: int | None, max_epochs: int, seed: int, device: str
) -> NetworkForecaster:
    """The network fitted to all of the series, with a progress bar."""
    from forecasting.datasets import season

    with console.bar(model, max_epochs, "epochs") as advance:
        setting = models.Setting(
            season(series), lookback, max_epochs, seed, device,
            callback=lambda _, losses: advance(1, ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items())),
        )  # fmt: skip
        forecaster = models.MODELS[model].make(setting)
        forecaster.fit(series, fh=np.arange(1, horizon + 1))
    return forecaster


def redrawn(
    values: np.ndarray, forecaster: NetworkForecaster, found: Attribution, samples: int, seed: int, device: str
) -> np.ndarray | None:
    """The past with its strongest stretch as it would normally be, `samples` times: (samples, lookback).

    None where the series before it is too short to learn what is normal from.
    """
    from forecasting.anomaly import counterfactual
    from forecasting.anomaly.detectors import MaskedDetector

    first = len(values) - len(found.window)
    start, end = (first + place for place in found.strongest())
    try:
        season = forecaster.season_ if forecaster.season_ > 1 else None
        detector = MaskedDetector(season, contamination=0, random_state=seed, device=device).fit(values[:start])
        drawn = counterfactual.explain(detector, values, (start, end), samples, seed, tries=1)
    except InputError as error:
        console.messages.print(f"no counterfactual: {error}", markup=False)
        return None
    return drawn.whole()[:, first:]


def says(
    found: Attribution, past: pd.Index, worth: float, unit: str, normal: float | None, zone: str | None = None
) -> str:
    """What came out, in a sentence; zone: whose clocks tell the times of `past`, which is in UTC then."""
    start, end = found.strongest()
    amount = words.amount
    higher = "higher" if found.forecast > found.usual_forecast else "lower"
    difference = amount(abs(found.forecast - found.usual_forecast))
    if zone is not None and isinstance(past, pd.DatetimeIndex):
        when = f"{words.span(clocks.shown(past, zone), start, end)} ({zone})"
    else:
        when = words.span(past, start, end)
    mean, instead = words.amounts(found.forecast, found.forecast if normal is None else normal)
    text = (
        f"The forecast of {unit}, {mean} on average, is {difference} {higher} than from the usual "
        f"past. What counts most: {when[:1].lower()}{when[1:]} ({'+' if worth > 0 else ''}{amount(worth)})"
    )
    return text + (f"; had that been normal, it would be {instead}." if normal is not None else ".")
