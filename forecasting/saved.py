"""Fitted forecasters on disk, as safetensors and JSON: nothing that runs when it is read.

FOLDER/NAME/ is a checkpoint of `lab.checkpoint`, one for each forecaster; what it holds is in `_state`.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting.base import DirectForecaster
from forecasting.exogenous import Effect
from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    NetworkForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
)  # fmt: skip
from forecasting.intervals import Conformal
from lab import checkpoint
from lab.errors import InputError

CLASSES: dict[str, type[DirectForecaster]] = {
    kind.__name__: kind
    for kind in (SeasonalNaiveForecaster, RidgeForecaster, CNNForecaster, LSTMForecaster, TransformerForecaster)
}  # fmt: skip
HERE = ("device", "callback")  # constructor arguments that belong to the machine, not to the model


def save(folder: str | Path, forecasters: Mapping[str, DirectForecaster]) -> None:
    """Write each fitted forecaster under `folder`.

    Raises TypeError for a setting that JSON does not hold, InputError for one fitted to a panel of series.
    """
    for name, forecaster in forecasters.items():
        checkpoint.save(Path(folder) / name, 0, _state(forecaster), keep=1)


def load(folder: str | Path, device: str = "auto") -> dict[str, DirectForecaster]:
    """The forecasters under `folder`, by name, as they were when saved.

    Raises InputError if there is none, or if one is damaged.
    """
    found = {}
    for path in sorted(Path(folder).glob("*/step-*")):
        try:
            found[path.parent.name] = _restored(checkpoint.load(path), device)
        except checkpoint.CorruptCheckpoint as error:
            raise InputError(f"the saved model is damaged: {error}; make the forecast again") from error
    if not found:
        raise InputError(f"{folder} holds no saved model; name the folder of a run of lab forecast")
    return found


def _state(forecaster: DirectForecaster) -> dict[str, Any]:
    if not hasattr(forecaster, "history_"):
        raise InputError("a forecaster of a panel holds one for each series; save those of its forecasters_")
    learned = {name: getattr(forecaster, name) for name in forecaster.fitted}
    for name in ("effect_", "conformal_"):
        if learned[name] is not None:
            learned[name] = {field.name: getattr(learned[name], field.name) for field in fields(learned[name])}
    params = {name: value for name, value in forecaster.get_params(deep=False).items() if name not in HERE}
    # what the next forecast sees, and the errors that the next `update` takes note of; fewer than 3 have no frequency
    rows = max(forecaster.lookback_ + forecaster.horizon_ - 1, 3)
    state = {
        "class": type(forecaster).__name__, "params": params, "learned": learned,
        "history": _frame(forecaster.history_.iloc[-rows:]),
        "known": None if forecaster.known_ is None else _frame(forecaster.known_.iloc[-rows:]),
        "first": forecaster.first_ + max(0, len(forecaster.history_) - rows),
        "series": forecaster._y_metadata["mtype"] == "pd.Series",
        "steps": [int(step) for step in forecaster.fh.to_relative(forecaster.cutoff)],
    }  # fmt: skip
    if isinstance(forecaster, NetworkForecaster):
        state["network"] = dict(forecaster.network_.state_dict())
    return state


def _restored(state: dict[str, Any], device: str) -> DirectForecaster:
    kind = CLASSES[state["class"]]
    params = dict(state["params"])
    if issubclass(kind, NetworkForecaster):
        params["device"] = device
    learned = {**state["learned"], "first_": state["first"]}
    if learned["effect_"] is not None:
        learned["effect_"] = Effect(**learned["effect_"])
    if learned["conformal_"] is not None:
        learned["conformal_"] = Conformal(**learned["conformal_"])
    if issubclass(kind, NetworkForecaster):
        empty = kind(**params)
        for name in ("lookback_", "horizon_", "patch_"):
            setattr(empty, name, learned[name])
        skip = np.zeros((empty.horizon_, empty.lookback_)) if empty.skip else None
        network = empty.build(skip, len(state["history"]["columns"]))
        network.load_state_dict(state["network"])
        learned.update(network_=network.eval(), losses_=[])
    known = None if state["known"] is None else _unframed(state["known"])
    history: pd.DataFrame | pd.Series = _unframed(state["history"])
    if state.get("series", history.shape[1] == 1):  # and so are its forecasts; older ones do not say
        history = history.squeeze(axis=1)
        history.name = None if history.name == 0 else history.name  # what sktime calls a nameless one inside
    return kind(**params).restore(learned, history, known, state["steps"])


def _frame(frame: pd.DataFrame) -> dict[str, Any]:
    """A table on a regular index, as plain values."""
    index = frame.index
    if isinstance(index, pd.RangeIndex) or pd.api.types.is_integer_dtype(index):
        where = {"kind": "count", "start": int(index[0]), "step": int(index[1] - index[0]) if len(index) > 1 else 1}
    else:
        frequency = index.freqstr or pd.infer_freq(index)
        kind = "period" if isinstance(index, pd.PeriodIndex) else "time"
        zone = str(index.tz) if kind == "time" and index.tz is not None else None
        where = {"kind": kind, "start": str(index[0]), "frequency": frequency, "zone": zone}
    return {
        "index": {**where, "name": index.name}, "columns": list(frame.columns),
        "values": [column.tolist() if column.dtype.kind not in "fiub" else np.array(column, np.float64)
                   for _, column in frame.items()],
    }  # fmt: skip


def _unframed(state: dict[str, Any]) -> pd.DataFrame:
    where, rows = state["index"], len(state["values"][0])
    if where["kind"] == "count":
        index: pd.Index = pd.RangeIndex(where["start"], where["start"] + rows * where["step"], where["step"])
    elif where["kind"] == "period":
        index = pd.period_range(where["start"], periods=rows, freq=where["frequency"])
    else:
        start = pd.Timestamp(where["start"])
        start = start if where["zone"] is None else start.tz_convert(where["zone"])
        index = pd.date_range(start, periods=rows, freq=where["frequency"])
    index.name = where["name"]
    return pd.DataFrame(dict(zip(state["columns"], state["values"], strict=True)), index=index)
