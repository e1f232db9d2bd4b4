"""What a fitted detector has to show beside its scores: learning curves, reconstructions, use of the mixture."""

import numpy as np
import torch

from forecasting.anomaly import saved
from forecasting.anomaly.base import ScoreDetector
from lab import plots_anomaly
from lab.device import threads
from lab.run import Run

SHOWN = 4  # reconstructions
WINDOWS = 256  # that the use of the mixture is measured on


def write(run: Run, detector: ScoreDetector, values: np.ndarray, cut: int) -> dict[str, float]:
    """Curves and figures for the run, by kind of detector, and a masked one itself (`saved`); returns final figures.

    values: the series (n,), of which the first `cut` samples were trained on.
    """
    from forecasting.anomaly.detectors import MaskedDetector
    from forecasting.anomaly.reconstruction import AutoencoderDetector

    if isinstance(detector, MaskedDetector):
        for epoch, (learned, held_out) in enumerate(detector.history_):
            run.scalars({"train/nll": learned, "anomaly/held_out_nll": held_out}, epoch)
        saved.save(run.path / "model", detector)
        return {"anomaly/component_perplexity": perplexity(detector)}
    if isinstance(detector, AutoencoderDetector):
        for update in range(0, len(detector.losses_), 10):
            run.scalar("train/loss", float(detector.losses_[update : update + 10].mean()), update)
        steps = detector._steps(values)
        scores = detector._score(steps)
        first, last = cut // detector.factor_, len(steps) - detector.window_
        if last <= first:
            return {}
        order = np.argsort(scores[first:last])  # from the best reconstructed to the worst
        starts = first + order[np.linspace(0, len(order) - 1, SHOWN).astype(int)] - detector.window_ // 2
        seen, made = detector.reconstructions(steps, starts.clip(0, last))
        run.figure("anomaly/reconstructions", plots_anomaly.reconstructions(seen, made))
    return {}


@threads(1)
@torch.no_grad()
def perplexity(detector: "ScoreDetector") -> float:
    """How many components of the mixture are in use: exp of the entropy of their mean weights; 1 to their number.

    Over the hidden steps of random runs in the training part. What the perplexity of a codebook is for tokens (van den
    Oord et al. 2017): near 1, the others are idle.
    """
    from forecasting.anomaly import masked

    network = detector.network_
    series = torch.as_tensor(detector.train_, dtype=torch.float32)[None]
    masks = masked.training_masks(series.shape[1], network.shape, WINDOWS, torch.Generator().manual_seed(0))
    found = network.recall.nearest(series, masks, own=True)
    sights, _, hidden = masked.look(series, masks, network, found)
    weights = network(sights.to(network.head.weight.device)).cpu()[..., 0].softmax(-1)[hidden].mean(0)
    return float(torch.exp(-(weights * weights.clamp(min=1e-12).log()).sum()))
