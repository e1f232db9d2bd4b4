"""A fitted masked detector on disk, as safetensors and JSON: nothing that runs when it is read."""

from dataclasses import asdict, fields
from pathlib import Path

from forecasting.anomaly.detectors import MaskedDetector
from lab import checkpoint
from lab.errors import InputError

LEARNED = (
    "period_",
    "cycle_",
    "factor_",
    "window_",
    "widths_",
    "normal_",
    "known_",
    "mean_",
    "scale_",
    "threshold_",
    "normal_scores_",
    "train_",
)


def save(folder: str | Path, detector: MaskedDetector) -> None:
    """Write the fitted `detector` to `folder`. Raises InputError for one of another kind."""
    if not isinstance(detector, MaskedDetector):
        raise InputError(
            f"{type(detector).__name__} cannot be saved, only a MaskedDetector; fit it anew, which is quick"
        )
    detector.check_is_fitted()
    params = {name: value for name, value in detector.get_params().items() if name not in ("device", "progress")}
    state = {
        "params": params, "learned": {name: getattr(detector, name) for name in LEARNED},
        "shape": asdict(detector.network_.shape), "network": dict(detector.network_.state_dict()),
    }  # fmt: skip
    checkpoint.save(Path(folder), 0, state, keep=1)


def load(folder: str | Path, device: str = "auto") -> MaskedDetector:
    """The detector as it was when saved. Raises InputError if there is none, or a damaged or older one."""
    import torch

    from forecasting.anomaly.masked import MaskedNetwork, Shape
    from lab.device import choose

    newest = max(Path(folder).glob("step-*"), default=None)
    if newest is None:
        raise InputError(f"{folder} holds no saved detector; name the folder `model` of a run of lab detect")
    try:
        state = checkpoint.load(newest)
    except checkpoint.CorruptCheckpoint as error:
        raise InputError(f"the saved detector is damaged: {error}; run lab detect again") from error
    other = InputError(f"{folder} holds a detector that another version of the lab saved; run lab detect again")
    if set(state["learned"]) != set(LEARNED) or set(state["shape"]) != {field.name for field in fields(Shape)}:
        raise other
    detector = MaskedDetector(**state["params"], device=device)
    for name, value in state["learned"].items():
        setattr(detector, name, value)
    shape = state["shape"] | {"reaches": tuple(state["shape"]["reaches"])}
    steps = torch.as_tensor(detector.train_[: detector._cut()], dtype=torch.float32)
    network = MaskedNetwork(Shape(**shape), steps)
    if set(state["network"]) != set(network.state_dict()):
        raise other
    network.load_state_dict(state["network"])
    detector.network_, detector.history_ = network.to(choose(device)).eval(), []
    detector._remember()
    detector._is_fitted = True
    return detector
