"""Several detectors as one: the one that is sure answers alone, else those that are good at everything vote."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from forecasting.anomaly.base import ScoreDetector, one_column
from forecasting.anomaly.contamination import contrast

SURE = 1.5  # contrast from which a member's highest peak is taken at its word
_TAIL = 0.95  # quantile of the normal scores beyond which their tail is modelled


def rarity(scores: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """-log of the probability that a normal sample scores as high, (n,): one scale for scores of any unit.

    normal: (m,) scores of normal samples. Up to their 95 % quantile u the share of them; beyond it a generalised Pareto
    tail of shape 1, P(s) = 0.05 / (1 + (s - u) / mean excess) (Pickands 1975; shape 0 would let one member's long tail
    outweigh all others).
    """
    start = float(np.quantile(normal, _TAIL))
    excess = normal[normal > start] - start
    scale = float(excess.mean()) if len(excess) else max(abs(start), 1.0) * 1e-6
    rising = np.sort(normal)
    share = (len(normal) - np.searchsorted(rising, scores, side="left")) / len(normal)
    tail = (1 - _TAIL) / (1 + (scores - start).clip(min=0) / scale)
    return -np.log(np.where(scores > start, tail, share.clip(min=1 - _TAIL)))


def threshold(quantile: float) -> float:
    """The rarity at which a member alone would draw its line, which has an exponential tail (`base.tail_quantile`)."""
    beyond = (1 - quantile) / (1 - _TAIL)
    return np.log((1 - np.log(beyond)) / (1 - _TAIL)) if beyond < 1 else -np.log(1 - quantile)


def gate(
    scores: Sequence[np.ndarray], normal: Sequence[np.ndarray], period: int, voters: int, first: int
) -> np.ndarray:
    """The score (n,) of several detectors together; see `EnsembleDetector`.

    scores: of each member, (n,); normal: each member's scores of normal samples; first: the contrast is that of the
    samples from there on.
    """
    contrasts = [contrast(score[first:], period) for score in scores]
    rarities = [rarity(score, usual) for score, usual in zip(scores, normal, strict=True)]
    best = int(np.argmax(contrasts))
    return rarities[best] if contrasts[best] >= SURE else np.mean(rarities[:voters], axis=0)


class EnsembleDetector(ScoreDetector):
    """Members' scores under a gate of contrast.

    The contrast of a score is (highest peak - median) / (second peak - median), the second two periods away at least:
    a detector that found something has one peak above all others, one that did not has many alike. Where members
    reach a contrast of 1.5, the one with the most is the score; else it is the mean of the first `voters` members.
    Averaging everything always is worse: a weak member then spoils what a strong one saw.

    Every member's score enters as -log probability under its own scores of the held-out end of the training part
    (`rarity`), so that the threshold is the same whatever the members (`threshold`). Where the series to judge begins
    with the training part, the contrast is that of what comes after it.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`; they are handed on to the default members.
    members : list of detectors of this package, optional
        None takes `JoinDetector`, `PatchDetector` and `InterpolationDetector`: shape against shape, shape in the eyes
        of a network, and what is finer than both see.
    voters : int
        Members, the first ones, that are averaged where none is sure.
    random_state : int
    device : "auto", "cpu" or "cuda"

    Attributes
    ----------
    members_ : fitted detectors.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.ensemble import EnsembleDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = EnsembleDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _native = True
    _streams = False  # the contrast is that of the whole series
    _tags = {"capability:random_state": True, "property:randomness": "derandomized"}  # noqa: RUF012 - sktime's convention

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        members: Any = None,
        voters: int = 2,
        random_state: int = 0,
        device: str = "auto",
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.members = members
        self.voters = voters
        self.random_state = random_state
        self.device = device
        super().__init__()

    def _members(self) -> list[ScoreDetector]:
        if self.members is not None:
            return [member.clone() for member in self.members]
        from forecasting.anomaly.classical import InterpolationDetector
        from forecasting.anomaly.joins import JoinDetector
        from forecasting.anomaly.patches import PatchDetector

        # what is strange in the training part is dealt with once, here, so that all members learn from the same
        shared: dict[str, Any] = {"period": self.period_, "quantile": self.quantile, "contamination": 0}
        return [
            JoinDetector(**shared),
            PatchDetector(**shared, random_state=self.random_state, device=self.device),
            InterpolationDetector(**shared),
        ]

    def _fit(self, X: Any, y: Any = None) -> "EnsembleDetector":
        values = one_column(X)
        self.check(len(values))
        self.period_ = self._period_of(values)
        self.training_ = values
        values = self._normal_part(values)
        self.factor_ = 1
        self.window_ = self._window(len(values))
        self.members_ = self._members()
        for member in self.members_:
            member.fit(values)
        self.threshold_ = float(threshold(self.quantile))
        return self

    def _scores(self, X: Any) -> np.ndarray:
        values = one_column(X)
        known = len(self.training_)
        begins = len(values) > known and np.array_equal(values[:known], self.training_)
        scores = [member._scores(values) for member in self.members_]
        normal = [member.normal_scores_ for member in self.members_]
        return gate(scores, normal, self.period_, self.voters, known if begins else 0)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        from forecasting.anomaly.classical import InterpolationDetector, PCADetector

        quick = [PCADetector(contamination=0), InterpolationDetector(contamination=0)]
        return [{"members": quick, "voters": 1}, {"period": 6, "quantile": 0.9, "contamination": 0.1, "device": "cpu"}]
