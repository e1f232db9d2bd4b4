"""What the likes of a window surprised by: by hand, at the ends of a series, and in the score."""

import numpy as np
import pytest
import torch

from forecasting.anomaly.detectors import MaskedDetector
from forecasting.anomaly.likes import Likes

from .conftest import waves

BUMP = torch.tensor([1.0, 2.0, 1.0])


@pytest.fixture
def likes() -> Likes:
    """30 steps, flat but for a bump at 9, 10, 11; steps 10 and 11 surprised."""
    steps, surprises = torch.zeros(30), torch.zeros(2, 30)
    steps[9:12] = BUMP
    surprises[0, 10], surprises[1, 11] = 4.0, 3.0
    return Likes(steps, surprises, 3)


def test_a_bump_at_any_level_is_like_the_one_that_was_seen(likes):
    series = torch.full((20,), 7.0)
    series[4:7] += BUMP
    found = likes.surprise(series, 0, 20)
    assert found.shape == (2, 20)
    assert found[0].tolist() == [0, 0, 0, 0, 0, 4, 0, *[0] * 13]  # step 5 is the middle of the bump
    assert found[1].tolist() == [0, 0, 0, 0, 0, 0, 3, *[0] * 13]  # step 6 is to it what 11 is to the known one
    assert likes.surprise(series, 5, 7).tolist() == [[4, 0], [0, 3]]


def test_at_the_ends_the_nearest_whole_window_counts(likes):
    assert likes.surprise(BUMP, 0, 3).tolist() == [[0, 4, 0], [0, 0, 3]]  # its last step, 2, stands for 11
    assert torch.isneginf(likes.surprise(BUMP[:2], 0, 2)).all()


def test_likes_are_the_nearest_of_each_third():
    generator = torch.Generator().manual_seed(0)
    steps, series = torch.randn(90, generator=generator), torch.randn(40, generator=generator)
    surprises = torch.rand(1, 90, generator=generator)
    found = Likes(steps, surprises, 8).surprise(series, 0, 40)

    def level(window):
        return window - window.mean()

    places = np.array_split(np.arange(83), 3)
    for at in (0, 3, 20, 36, 39):
        start = min(max(at - 4, 0), 32)
        apart = np.array(
            [float((level(series[start : start + 8]) - level(steps[p : p + 8])).norm()) for p in range(83)]
        )
        likes = [third[apart[third].argmin()] for third in places]
        assert float(found[0, at]) == max(float(surprises[0, place + at - start]) for place in likes)


def test_what_is_rare_but_known_is_no_anomaly():
    """Every so often a cycle is played upside down: no news if it was seen before, and an anomaly if it was not."""
    plain = waves(1400)
    series, unseen = plain.copy(), plain.copy()
    for start in (100, 340, 560, 1100):
        series[start : start + 20] = 20 - series[start : start + 20]
    unseen[1100:1120] = series[1100:1120]
    detector = MaskedDetector(period=20, contamination=0, max_epochs=6, device="cpu").fit(series[:800])
    score = detector.transform_scores(series)["scores"].to_numpy()[1090:1130].max()
    detector.likes_.surprises = torch.full_like(detector.likes_.surprises, -torch.inf)
    blind = detector.transform_scores(series)["scores"].to_numpy()[1090:1130].max()
    assert score < 0 < blind  # the model alone, which recalls such a cycle too, is a little surprised
    never = MaskedDetector(period=20, contamination=0, max_epochs=6, device="cpu").fit(unseen[:800])
    news = never.transform_scores(unseen)["scores"].to_numpy()[1090:1130].max()
    assert news > 10 * never.threshold_ > detector.threshold_ > blind
