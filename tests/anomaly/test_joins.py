"""The join: distances against a second way to compute them, and when it listens at other paces."""

import numpy as np
import pytest

from forecasting.anomaly.joins import JoinDetector, _played, nearest, regularised
from lab.errors import InputError


def walk(periods, wobble, seed, length=60):
    """Strides of about `length` samples, each with a pace of its own."""
    random = np.random.default_rng(seed)
    strides = []
    for _ in range(periods):
        phase = np.linspace(0, 1, round(length * random.uniform(1 - wobble, 1 + wobble)), endpoint=False)
        strides.append(np.exp(-((phase - 0.3) ** 2) / 0.003) - 0.5 * np.exp(-((phase - 0.6) ** 2) / 0.01))
    whole = np.concatenate(strides)
    return whole + 0.02 * random.normal(size=len(whole))


def test_distances_are_those_of_every_pair():
    random = np.random.default_rng(0)
    queries, references = random.normal(size=(50, 8)), random.normal(size=(70, 8))
    expected = np.linalg.norm(queries[:, None] - references, axis=2)
    assert nearest(queries, references) == pytest.approx(expected.min(1))
    apart = np.abs(np.arange(50)[:, None] - np.arange(70)) >= 5
    found = nearest(queries, references, (np.arange(50), np.arange(70), 5))
    assert found == pytest.approx(np.where(apart, expected, np.inf).min(1))


def test_a_flat_window_stays_small():
    steps = np.concatenate([np.zeros(20), np.sin(np.arange(20.0))])
    lengths = np.linalg.norm(regularised(steps, 10), axis=1)
    assert lengths[0] == 0 and lengths[-1] > 2


def test_references_are_chosen_from_all_of_the_training_part():
    detector = JoinDetector(references=100)
    detector.window_, detector.tempos_ = 10, (1.0,)
    detector._learn(np.concatenate([np.zeros(500), np.sin(np.arange(500.0))]))
    wild = np.linalg.norm(detector.references_, axis=1) > 1
    assert 50 < len(wild) <= 100 and wild.mean() == pytest.approx(0.5, abs=0.05)


def test_another_pace_is_the_same_shape():
    wave = np.sin(np.arange(200) * 2 * np.pi / 40)
    faster = _played(wave, 1.25)
    assert len(faster) == 160 and faster == pytest.approx(np.sin(np.arange(160) * 2 * np.pi / 32), abs=0.05)
    assert _played(wave, 1.0) is wave


def test_other_paces_are_listened_at_where_strides_differ_and_there_alone():
    steady, unsteady = walk(20, 0.0, seed=0), walk(20, 0.12, seed=0)
    joined = JoinDetector(period=60, contamination=0).fit(unsteady)
    assert joined.tempos_ == (1.0, 0.9, 1.1) and len(joined.references_) > 2.8 * len(joined.train_)
    assert JoinDetector(period=60, contamination=0).fit(steady).tempos_ == (1.0,)
    assert JoinDetector(period=60, stretch=0, contamination=0).fit(unsteady).tempos_ == (1.0,)


def test_a_slow_stride_is_less_strange_and_a_missing_step_as_strange_as_before():
    train, slow, broken = walk(10, 0.12, seed=1), _played(walk(1, 0.0, seed=3), 0.83), walk(1, 0.0, seed=4)
    broken[30:45] = 0
    series = np.concatenate([train, slow, train[:120], broken, train[:60]])
    first, second = len(train), len(train) + len(slow) + 120
    peaks = {}
    for stretch in (0.0, 0.1):
        detector = JoinDetector(period=60, stretch=stretch, contamination=0).fit(train)
        scores = detector.transform_scores(series)["scores"].to_numpy()
        peaks[stretch] = scores[first : first + len(slow)].max(), scores[second : second + 60].max()
    (plain, missed), (slow, still) = peaks[0.0], peaks[0.1]
    assert slow < 0.8 * plain and still > 0.9 * missed


def test_a_pace_that_cannot_be_is_refused():
    with pytest.raises(InputError, match="stretch is 1"):
        JoinDetector(stretch=1.0).fit(walk(5, 0.0, 0))
