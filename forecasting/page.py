"""What a person sees of a forecast: two figures, and one HTML page that needs nothing but itself.

The page's chart is drawn here, as SVG, in colours that follow the reader's light or dark setting; a slider (pointer,
touch or arrow keys) reads the values off. Without scripts all but that and the sorting of tables still works.
"""

import base64
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from matplotlib.figure import Figure

from forecasting import svg
from forecasting.clocks import extended, shown, spoken, stamps
from lab import plots
from lab.jsonfile import strict, write_text

POINTS = 1000  # of the series' end that the page draws, at most
DARK = {plots.BLUE: "#4AA8E0", plots.BLACK: "#FFFFFF", plots.DARK_GREY: "#BBBBBB", plots.GREY: "#8A8A8A"}
"""What replaces a colour that is hard to see on a dark page."""


@dataclass(frozen=True)
class View:
    """A comparison, as `benchmark.compare` made it."""

    series: pd.Series
    forecasts: pd.DataFrame
    """Columns model, origin, time, forecast, lower, upper, truth, row (counted from the start of the series)."""
    table: pd.DataFrame | None
    """The leaderboard; None for a forecast by a saved model that was not measured again."""
    horizon: int
    origins: int
    nominal: float
    context: int
    """Rows before the forecast that the figures show."""
    note: str = ""
    """What is said in the leaderboard's place."""

    @property
    def models(self) -> list[str]:
        """Best first."""
        return list(self.forecasts["model"].unique()) if self.table is None else order(self.table)

    def ahead(self, model: str) -> pd.DataFrame:
        """The forecast of what follows the series."""
        rows = self.forecasts
        return rows[(rows["model"] == model) & (rows["row"] >= len(self.series))]


def order(table: pd.DataFrame) -> list[str]:
    """The models of a leaderboard, best first."""
    return list(table.sort_values(["MASE", "MAE"])["model"])


def times(view: View) -> pd.Index:
    """Of the series and the horizon after it, for drawing: datetimes, on the clocks they are shown in, or counts."""
    index = extended(view.series.index, view.horizon)
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    zone = view.series.attrs.get("zone")
    return shown(index, zone) if zone else index


# --- figures --------------------------------------------------------------------------------------------------------


def comparison(view: View) -> Figure:
    """The last held-out horizon with every model's forecast of it, beside the errors over all of them."""
    assert view.table is not None
    count, horizon = len(view.series), view.horizon
    shown = pd.Series(view.series.to_numpy(), times(view)[:count])
    rows = view.forecasts
    last = rows[rows["row"].between(count - horizon, count - 1) & rows["truth"].notna()]
    forecasts = {str(name): part["forecast"].to_numpy()[-horizon:] for name, part in last.groupby("model")}
    ranked = view.table.sort_values(["MASE", "MAE"])
    scores = dict(zip(ranked["model"], ranked["MASE"], strict=True))
    history = shown.iloc[-horizon - view.context : count - horizon + 1]  # one step more: the lines meet
    return plots.forecast_comparison(
        history, shown.iloc[-horizon:], forecasts, scores, str(view.series.name), view.origins
    )


def ahead(view: View) -> Figure:
    """What follows the series: the best model's forecast with its interval, the others' as lines."""
    count, index = len(view.series), times(view)
    history = pd.Series(view.series.to_numpy(), index[:count]).iloc[-view.context - view.horizon :]
    parts = {name: view.ahead(name) for name in view.models}
    forecasts = {name: part["forecast"].to_numpy() for name, part in parts.items()}
    bounds = parts[view.models[0]][["lower", "upper"]].to_numpy()
    measured = None
    if view.table is not None:
        measured = float(view.table.set_index("model").loc[view.models[0], "coverage"])
    return plots.forecast_ahead(
        history, index[count:], forecasts, bounds, view.nominal, str(view.series.name), measured
    )


# --- page -----------------------------------------------------------------------------------------------------------


def write(path: Path, view: View) -> None:
    """Write the page."""
    template = Environment(loader=PackageLoader("forecasting", "."), autoescape=True, trim_blocks=True)
    text = template.get_template("page.html").render(**_contents(view))
    write_text(path, text)


def _contents(view: View) -> dict[str, Any]:
    count, horizon = len(view.series), view.horizon
    first = max(0, count - min(POINTS, view.origins * horizon + 2 * view.context))
    index = times(view)[first:]
    rows = view.forecasts[view.forecasts["row"] >= first]
    truth = np.append(view.series.to_numpy(np.float64)[first:], np.full(horizon, np.nan))
    low, high = _limits(truth, rows, first)
    points = len(index)
    across = np.arange(points) / max(1, points - 1)  # 0 to 1

    def path(start: int, values: np.ndarray) -> str:
        """An SVG path of values from position `start` on, NaN left out."""
        return svg.line(across[start : start + len(values)], values, low, high)

    models = []
    for number, name in enumerate(view.models):
        of = rows[rows["model"] == name].sort_values("row")
        future = of[of["row"] >= count]
        upper, lower = (future[bound].to_numpy() for bound in ("upper", "lower"))
        band = ""
        if np.isfinite(upper).all() and np.isfinite(lower).all():
            back = path(count - first, lower)[1:].split("L")[::-1]
            band = path(count - first, upper) + "L" + "L".join(back) + "Z"
        past = [part for _, part in of[of["row"] < count].groupby("origin", sort=False)]
        other = plots.COLOURS["naive"] if "naive" in name else plots.PURPLE if number % 2 else plots.VERMILION
        colour = plots.COLOURS.get(name, other)
        models.append({
            "id": f"m{number}", "name": name, "plain": name not in ("cnn", "lstm", "transformer"),
            "colour": f"light-dark({colour}, {DARK.get(colour, colour)})", "shown": number == 0 or "naive" in name,
            "line": path(count - first - 1, np.append(truth[count - first - 1], future["forecast"])), "band": band,
            "past": [path(int(part["row"].iloc[0]) - first, part["forecast"].to_numpy()) for part in past],
            "data": of,
        })  # fmt: skip
    texts = stamps(extended(view.series.index, horizon)[first:], view.series.attrs)
    data = {
        "times": texts, "truth": svg.short(truth),
        "models": [{"id": model["id"], "name": model["name"], "start": int(model["data"]["row"].iloc[0]) - first}
                   | {column: svg.short(model["data"][column]) for column in ("forecast", "lower", "upper")}
                   for model in models],
    }  # fmt: skip
    best = view.models[0]
    future = view.ahead(best)
    edges = [{"at": round(100 * across[count - first - 1], 3), "text": "forecast"}]
    if view.table is not None and count - view.origins * horizon > first:
        edges.insert(0, {"at": round(100 * across[count - view.origins * horizon - first], 3), "text": "held out"})
    unit, share = str(view.series.name), f"{100 * view.nominal:g} %"
    columns = ["time", "model", "forecast", "lower", "upper"]
    table = pd.concat([view.ahead(name) for name in view.models])[columns]
    return {
        **_words(view, best, share), "models": models, "unit": unit, "nominal": share,
        "label": f"{unit} from {texts[0]} to {texts[count - first - 1]}, and forecasts to {texts[-1]}; "
        "the values are in the tables below",
        "truth": path(0, truth), "points": points, "last_time": texts[-1], "edges": edges,
        "x_ticks": svg.x_ticks(index), "y_ticks": svg.y_ticks(low, high), "best": best,
        "forecast": [[row.time, svg.number(row.forecast), svg.number(row.lower), svg.number(row.upper)]
                     for row in future.itertuples()],
        "file": "forecast.csv", "csv": base64.b64encode(table.to_csv(index=False).encode()).decode(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        # "</" would end the script
        "data": Markup(json.dumps(strict(data), separators=(",", ":")).replace("</", "<\\/")),
    }  # fmt: skip


def _words(view: View, best: str, share: str) -> dict[str, Any]:
    """Title, what was done, the warning, and the leaderboard."""
    zone = view.series.attrs.get("zone")
    about = f"{len(view.series):,} values to {stamps(view.series.index[-1:], view.series.attrs)[0]}"
    about += f"; times are those of {zone}" if zone else ""
    title = f"{view.series.name}: the next {spoken(view.series.index, view.horizon)}"
    if view.table is None:
        return {"title": title, "about": about, "warning": "", "protocol": view.note, "columns": [], "rows": []}
    table = view.table.set_index("model")
    naive = table[table.index.str.contains("naive")].sort_values(["MASE", "MAE"]).iloc[0]
    score = f"MASE {table.loc[best, 'MASE']:.3g}"
    beaten = "naive" not in best
    title += f", by {best} ({score}, {naive.name} {naive['MASE']:.3g})" if beaten else f", by {best} ({score})"
    others = len(table) > table.index.str.contains("naive").sum()
    columns = [column for column in view.table.columns if column != "origins"]
    return {
        "title": title, "about": about, "columns": columns,
        "warning": "" if beaten or not others else
        f"No model beats {best} on the held-out end of this series: take its forecast, or give more data.",
        "protocol": f"Errors over the last {view.origins} times {view.horizon} values, each forecast from what came "
        "before alone; less is better. MASE 1 is the error of the seasonal naive within the past, sMAPE is in percent "
        f"and MAE in the unit of {view.series.name}; better counts at how many of the {view.origins} a model is closer "
        f"than {naive.name}; coverage is the share of the values inside the {share} intervals.",
        "rows": [[svg.number(cell) if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else cell
                  for cell in row] for row in view.table[columns].to_numpy(object).tolist()],
    }  # fmt: skip


def _limits(truth: np.ndarray, rows: pd.DataFrame, first: int) -> tuple[float, float]:
    """Lowest and highest value to draw, with a margin: forecasts, and intervals as far as they stay near."""
    inner = np.concatenate([truth, rows["forecast"].to_numpy()])
    inner = inner[np.isfinite(inner)]
    low, high = float(inner.min()), float(inner.max())
    size = high - low if high > low else max(abs(high), 1.0)
    future = rows[rows["truth"].isna()][["lower", "upper"]].to_numpy()
    future = future[np.isfinite(future)]
    if len(future):
        low, high = max(low - size, min(low, future.min())), min(high + size, max(high, future.max()))
    margin = 0.04 * (high - low or size)
    return low - margin, high + margin
