"""Peers from neuralforecast and statsforecast behind the few methods that the rolling comparison asks of a forecaster.

Settings: NHITS is as neuralforecast has it (Challu et al., AAAI 2023: 2.8 million weights), with its robust scaling of
windows where no column is known ahead; PatchTST has its authors' depth, a width of 64, which suits one series, and a
season a patch. Both minimise the absolute error, stop early by the last fifth of the rows, and have the lookback that
ours have. AutoARIMA searches by approximation, as R's does for seasons longer than a year of months, and is fitted to
the last rows at every origin. Columns known ahead are given to NHITS and AutoARIMA; PatchTST takes none. Intervals
of the networks come as ours do, from errors on held-out windows (`forecasting.intervals.Conformal`); AutoARIMA has its
own.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from forecasting.base import default_lookback, default_patch
from forecasting.intervals import Conformal

if TYPE_CHECKING:
    from forecasting.models import Setting

STEPS, CHECK, PATIENCE, RATE, WINDOWS = 1_000, 50, 5, 1e-3, 256
"""Gradient steps at most, between two looks at the validation error, looks without a better one, step size, batch."""

ORIGINS = 100  # held-out windows that intervals come from


@contextmanager
def _quiet() -> Iterator[None]:
    """Without these libraries' words about devices, loggers, deprecations and convergence."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Peer:
    """One series; fitted once, and shown newer rows by `update`. X has the rows of the series and of what follows."""

    takes_known = False
    """Whether it looks at the columns known ahead."""

    def get_tag(self, tag: str) -> bool:
        return tag == "capability:pred_int"

    def fit(self, y: pd.Series, X: pd.DataFrame | None, fh: list[int]) -> "Peer":
        self.series, self.horizon = y, len(fh)
        self.fitted = y.index
        self.frequency = getattr(y.index, "freq", None)
        with _quiet():
            self._fit(y.to_numpy(np.float64), self._known(X, y.index))
        return self

    def update(self, y: pd.Series, X: pd.DataFrame | None, update_params: bool) -> None:
        joined = pd.concat([self.series, y])  # the clocks' last row may come again, with the newer word on it
        self.series = joined[~joined.index.duplicated(keep="last")]

    def predict(self, X: pd.DataFrame | None) -> pd.Series:
        ahead = self._ahead()
        known = self._known(X, self.series.index.append(ahead))
        with _quiet():
            return pd.Series(self._predict(self.series.to_numpy(np.float64), known), ahead)

    def predict_interval(self, X: pd.DataFrame | None, coverage: float) -> pd.DataFrame:
        """Columns lower and upper."""
        ahead = self._ahead()
        known = self._known(X, self.series.index.append(ahead))
        with _quiet():
            bounds = self._predict_interval(self.series.to_numpy(np.float64), known, coverage)
        return pd.DataFrame(bounds, ahead, ["lower", "upper"])

    def _known(self, X: pd.DataFrame | None, index: pd.Index) -> np.ndarray:
        """(len(index), columns): numbers, in standard deviations of the rows fitted, and words as switches; without
        those that never change there."""
        if X is None or not self.takes_known:
            return np.empty((len(index), 0))
        numbers = pd.get_dummies(X, drop_first=True).astype(np.float64)
        seen = numbers.loc[self.fitted]
        changing = seen.columns[seen.nunique() > 1]
        return ((numbers - seen.mean()) / seen.std()).loc[index, changing].to_numpy()

    def _ahead(self) -> pd.Index:
        index, last = self.series.index, self.series.index[-1]
        if isinstance(index, pd.PeriodIndex):
            return pd.period_range(last + 1, periods=self.horizon, freq=index.freq)
        step = last - index[-2]
        if isinstance(index, pd.DatetimeIndex):
            return pd.date_range(last, periods=self.horizon + 1, freq=self.frequency or step)[1:]
        return pd.RangeIndex(last + step, last + step * (self.horizon + 1), step)

    def _fit(self, values: np.ndarray, known: np.ndarray) -> None:
        raise NotImplementedError

    def _predict(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The `horizon` values after `values`; known: (len(values) + horizon, columns)."""
        raise NotImplementedError

    def _predict_interval(self, values: np.ndarray, known: np.ndarray, coverage: float) -> np.ndarray:
        """(horizon, 2): within which so much of them lies."""
        raise NotImplementedError


class NeuralPeer(Peer):
    """A model of neuralforecast: kind is "NHITS" or "PatchTST"."""

    def __init__(self, kind: str, setting: "Setting"):
        self.kind, self.setting = kind, setting
        self.takes_known = kind == "NHITS"

    def _fit(self, values: np.ndarray, known: np.ndarray) -> None:
        import neuralforecast.models
        from neuralforecast import NeuralForecast
        from neuralforecast.losses.pytorch import MAE

        from lab.device import choose

        cycle = self.setting.season
        lookback = self.setting.lookback or default_lookback(len(values), self.horizon, cycle)
        self.lookback = lookback
        patch = min(default_patch(lookback, cycle), lookback)
        held_out = max(self.horizon, len(values) // 5)
        # a window's quartiles know nothing of a switch that is off in most of it, and known columns come scaled
        scaler = "identity" if known.size else "robust"
        own: dict[str, Any] = {"scaler_type": scaler, "futr_exog_list": _names(known)} if self.kind == "NHITS" else {
            "patch_len": patch, "stride": patch, "hidden_size": 64, "n_heads": 4, "linear_hidden_size": 128,
            "dropout": 0.2, "fc_dropout": 0.2, "revin": True, "scaler_type": "identity",
        }  # fmt: skip
        model = getattr(neuralforecast.models, self.kind)(
            h=self.horizon, input_size=lookback, max_steps=STEPS, val_check_steps=CHECK, learning_rate=RATE,
            early_stop_patience_steps=PATIENCE, windows_batch_size=WINDOWS, loss=MAE(), random_seed=self.setting.seed,
            accelerator="gpu" if choose(self.setting.device).type == "cuda" else "cpu", devices=1, logger=False,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, **own,
        )  # fmt: skip
        self.mean, self.scale = values.mean(), values.std() or 1.0
        self.forecaster = NeuralForecast(models=[model], freq=1)
        self.forecaster.fit(self._frame(values, known), val_size=held_out)
        self.network_ = self.forecaster.models[0]
        self.conformal = self._calibrate(values, known, held_out)

    def _calibrate(self, values: np.ndarray, known: np.ndarray, held_out: int) -> Conformal:
        """From windows whose horizon lies in the last `held_out` rows."""
        first, last = max(self.lookback, len(values) - held_out), len(values) - self.horizon
        starts = np.unique(np.linspace(first, last, min(ORIGINS, last - first + 1)).astype(int))
        parts = [slice(start - self.lookback, start + self.horizon) for start in starts]
        seen = [values[part][: self.lookback] for part in parts]
        ahead = self._made([self._frame(*each) for each in zip(seen, [known[part] for part in parts], strict=True)])
        windows = (np.stack(seen) - self.mean) / self.scale
        truth = (np.stack([values[part][self.lookback :] for part in parts]) - self.mean) / self.scale
        stretches = held_out / self.horizon
        return Conformal.fit((truth - ahead)[:, :, None], windows[:, :, None], starts, self.setting.season, stretches)

    def _predict(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        return self._made([self._frame(values, known)])[0] * self.scale + self.mean

    def _predict_interval(self, values: np.ndarray, known: np.ndarray, coverage: float) -> np.ndarray:
        window = (values[-self.lookback :, None] - self.mean) / self.scale
        levels = (0.5 - coverage / 2, 0.5 + coverage / 2)
        offsets = self.conformal.offsets(levels, window, len(values))[:, :, 0].T
        return self._predict(values, known)[:, None] + offsets * self.scale

    def _made(self, frames: list[pd.DataFrame]) -> np.ndarray:
        """(frames, horizon): what follows where y of each of `frames` has ended, scaled."""
        rows = pd.concat([frame.assign(unique_id=f"{number:04}") for number, frame in enumerate(frames)])
        ahead = rows["y"].isna()
        made = self.forecaster.predict(rows[~ahead], futr_df=rows[ahead].drop(columns="y"))
        return made[self.kind].to_numpy(np.float64).reshape(len(frames), self.horizon)

    def _frame(self, values: np.ndarray, known: np.ndarray) -> pd.DataFrame:
        """A row for each of `known`; y is missing where `values` have ended."""
        scaled = np.full(len(known), np.nan, np.float32)
        scaled[: len(values)] = (values - self.mean) / self.scale
        columns = pd.DataFrame(known.astype(np.float32), columns=_names(known))
        return pd.DataFrame({"unique_id": "series", "ds": np.arange(len(known)), "y": scaled}).join(columns)


def _names(known: np.ndarray) -> list[str]:
    return [f"known{column}" for column in range(known.shape[1])]


class AutoARIMA(Peer):
    """statsforecast's search (Hyndman and Khandakar, 2008) over seasonal models."""

    takes_known = True

    def __init__(self, setting: "Setting"):
        self.setting = setting

    def _fit(self, values: np.ndarray, known: np.ndarray) -> None:
        from statsforecast.models import AutoARIMA as Search

        search = Search(season_length=self.setting.season, approximation=True)
        self.model = search.fit(values, known if known.size else None)

    def _predict(self, values: np.ndarray, known: np.ndarray) -> np.ndarray:
        return self._ahead_of(values, known)["mean"]

    def _predict_interval(self, values: np.ndarray, known: np.ndarray, coverage: float) -> np.ndarray:
        found = self._ahead_of(values, known, level=[level := 100 * coverage])
        return np.column_stack([found[f"{side}-{level}"] for side in ("lo", "hi")])

    def _ahead_of(self, values: np.ndarray, known: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
        return self.model.predict(self.horizon, known[len(values) :] if known.size else None, **options)
