"""What is recalled against a search step by step."""

import numpy as np
import pytest
import torch

from forecasting.anomaly import recall
from forecasting.anomaly.recall import Masks, Recall


def differences(memory: Recall, series, first: int, last: int, reach: int, own: bool) -> torch.Tensor:
    """Root mean square difference of the surroundings, for each place that a stretch may begin at."""
    around = [at for at in range(first - reach, last + reach) if 0 <= at < len(series) and not first <= at < last]
    values = series[around]
    found = []
    for place in range(memory.candidates):
        there = memory.padded[torch.tensor(around) - first + place + memory.pad]
        rms = (values - values.mean() - there + there.mean()).square().mean().sqrt()
        found.append(torch.inf if own and abs(place - first) < max(last - first, reach) else float(rms))
    return torch.tensor(found)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("length", [40, 300])
def test_every_piece_gives_the_place_with_the_most_similar_surroundings(length, own):
    steps = torch.randn(length, generator=torch.Generator().manual_seed(length)).cumsum(0) / 5
    memory = Recall(steps, (6, 20), longest=10, count=3)
    for first, last in ((0, 4), (9, 10), (17, 27), (length - 3, length)):
        found = memory.nearest(steps[None], Masks.of(1, first, last, 0, length), own)
        for number, reach in enumerate((6, 20)):
            own_part = slice(3 * number, 3 * number + 3)
            pieces = differences(memory, steps, first, last, reach, own).tensor_split(3)
            want = sorted(float(piece.min()) for piece in pieces)
            assert np.allclose(found.distances[0, own_part], want, atol=2e-3)


def test_stretches_are_shifted_to_the_level_and_move_along():
    steps = torch.sin(torch.arange(200.0) / 5)
    memory = Recall(steps, (20,), longest=8, count=1)
    series = steps[None, 100:160] + 3
    found = memory.nearest(series, Masks.of(1, 30, 36, 0, 60))
    assert found.places.item() in (130 - 63, 130 - 31, 130, 130 + 31, 130 + 63)  # a period is 31.4 steps
    assert torch.allclose(memory.read(found, 4, 10)[0, 0], series[0, 26:36], atol=0.1)
    assert torch.equal(memory.read(found.after(2), 2, 6), memory.read(found, 0, 6))


def test_only_the_newest_steps_are_remembered(monkeypatch):
    monkeypatch.setattr(recall, "MOST", 50)
    steps = torch.randn(120, generator=torch.Generator().manual_seed(0))
    memory = Recall(steps, (5,), longest=4, count=2)
    masks = Masks.of(1, 100, 103, 0, 120)
    assert memory.nearest(steps[None], masks).distances[0, 0] < 1e-3  # itself: step 30 of the 50
    assert 30 in memory.nearest(steps[None], masks).places
    assert 30 not in memory.nearest(steps[None], masks, own=True).places


def test_fewer_steps_than_stretches_leave_some_out():
    memory = Recall(torch.tensor([1.0, 2.0]), (4,), longest=3, count=3)
    found = memory.nearest(torch.zeros(1, 9), Masks.of(1, 4, 6, 0, 9))
    assert found.distances.isfinite().tolist() == [[True, True, False]]
