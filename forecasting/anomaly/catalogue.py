"""Every detector by name, with the one setting that is used for all series alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from lab.errors import InputError, unknown


@dataclass(frozen=True)
class Entry:
    """How to make a detector, from a seed and a device; what it is in a line; what it needs installed."""

    make: Callable[[int, str], Any]
    what: str
    needs: str | None = None


def _ensemble(seed: int, device: str) -> Any:
    from forecasting.anomaly.ensemble import EnsembleDetector

    return EnsembleDetector(random_state=seed, device=device)


def _join(seed: int, device: str) -> Any:
    from forecasting.anomaly.joins import JoinDetector

    return JoinDetector()


def _matrix_profile(seed: int, device: str) -> Any:
    from forecasting.anomaly.joins import MatrixProfileDetector

    return MatrixProfileDetector()


def _patches(seed: int, device: str) -> Any:
    from forecasting.anomaly.patches import PatchDetector

    return PatchDetector(random_state=seed, device=device)


def _patches_trained(seed: int, device: str) -> Any:
    from forecasting.anomaly.patches import PatchDetector

    return PatchDetector(networks=1, updates=200, random_state=seed, device=device)


def _masked(seed: int, device: str) -> Any:
    from forecasting.anomaly.detectors import MaskedDetector

    return MaskedDetector(random_state=seed, device=device)


def _forecast(seed: int, device: str) -> Any:
    from forecasting.anomaly.residual import ForecastResidualDetector

    return ForecastResidualDetector()


def _autoencoder(seed: int, device: str) -> Any:
    from forecasting.anomaly.reconstruction import AutoencoderDetector

    return AutoencoderDetector(random_state=seed, device=device)


def _variational(seed: int, device: str) -> Any:
    from forecasting.anomaly.reconstruction import AutoencoderDetector

    return AutoencoderDetector(variational=True, random_state=seed, device=device)


def _pca(seed: int, device: str) -> Any:
    from forecasting.anomaly.classical import PCADetector

    return PCADetector()


def _kmeans(seed: int, device: str) -> Any:
    from forecasting.anomaly.classical import KMeansDetector

    return KMeansDetector(random_state=seed)


def _interpolation(seed: int, device: str) -> Any:
    from forecasting.anomaly.classical import InterpolationDetector

    return InterpolationDetector()


def _zscore(seed: int, device: str) -> Any:
    from forecasting.anomaly.classical import RollingZScoreDetector

    return RollingZScoreDetector()


DETECTORS: dict[str, Entry] = {
    "ensemble": Entry(_ensemble, "join, patches and interpolation under a gate of contrast"),
    "join": Entry(_join, "distance to the nearest training window, regularised z-normalisation"),
    "patches": Entry(_patches, "distance of patch embeddings, two untrained CNNs"),
    "patches-trained": Entry(_patches_trained, "the same, one CNN trained self-supervised"),
    "masked": Entry(_masked, "-log p of each window given its surroundings, masked dilated CNN"),
    "forecast": Entry(_forecast, "residual of a ridge forecast"),
    "autoencoder": Entry(_autoencoder, "reconstruction error"),
    "variational": Entry(_variational, "reconstruction error of a variational autoencoder"),
    "kmeans": Entry(_kmeans, "distance to the nearest of 100 centres of training windows"),
    "pca": Entry(_pca, "what principal components of training windows leave over"),
    "interpolation": Entry(_interpolation, "residual of ridge regression on 12 neighbours a side"),
    "matrix-profile": Entry(_matrix_profile, "self-join of the whole series, stumpy", "stumpy"),
    "zscore": Entry(_zscore, "distance from the mean of the period before"),
}


def check(names: Sequence[str]) -> list[str]:
    """The detectors of these names, in their order; none names all that can run here. Raises InputError for others."""
    for name in names:
        if name not in DETECTORS:
            raise unknown("detector", name, DETECTORS)
        if (needs := DETECTORS[name].needs) and not find_spec(needs):
            raise InputError(f"detector {name} needs {needs}; install it with pip install 'rl-timeseries-lab[peers]'")
    return list(dict.fromkeys(names)) or [
        name for name, entry in DETECTORS.items() if not entry.needs or find_spec(entry.needs)
    ]
