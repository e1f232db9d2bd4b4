"""What every detector must do: sktime's contract, find what is planted, know nothing of what it judges."""

import importlib
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly import catalogue
from lab.errors import InputError

from .conftest import waves

CLASSES = (
    "classical.InterpolationDetector", "classical.KMeansDetector", "classical.PCADetector",
    "classical.RollingZScoreDetector", "ensemble.EnsembleDetector", "joins.JoinDetector",
    "joins.MatrixProfileDetector", "patches.PatchDetector", "reconstruction.AutoencoderDetector",
    "residual.ForecastResidualDetector",
)  # fmt: skip
# a series of noise, as sktime's checks use, may well seem to hold an anomaly
pytestmark = pytest.mark.filterwarnings("ignore:the training part seems to hold:lab.errors.Notice")

QUICK = [
    pytest.param(name, marks=pytest.mark.slow) if name == "matrix-profile" else name  # which stumpy compiles first
    for name in catalogue.DETECTORS
    if name not in ("masked", "patches-trained")
]


def class_of(path):
    module, name = path.split(".")
    return getattr(importlib.import_module(f"forecasting.anomaly.{module}"), name)


def made(name):
    needs = catalogue.DETECTORS[name].needs
    if needs and not find_spec(needs):
        pytest.skip(f"{needs} is not installed (pip install 'rl-timeseries-lab[peers]')")
    return catalogue.DETECTORS[name].make(0, "cpu")


@pytest.fixture(scope="module")
def fitted(series):
    """Each detector, fitted once to the normal part of `series`."""
    kept = {}

    def get(name):
        if name not in kept:
            kept[name] = made(name).fit(series[:600])
        return kept[name]

    return get


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the training part seems to hold:lab.errors.Notice")  # some of sktime's noise does
@pytest.mark.parametrize("path", CLASSES)
def test_sktimes_contract(path):
    from sktime.utils.estimator_checks import check_estimator

    if "MatrixProfile" in path:
        pytest.importorskip("stumpy", reason="stumpy is not installed (pip install 'rl-timeseries-lab[peers]')")
    failed = {name: result for name, result in check_estimator(class_of(path)).items() if result != "PASSED"}
    assert not failed


def test_every_class_is_in_the_catalogue():
    assert {type(made(name)).__name__ for name in catalogue.DETECTORS} == {
        *(path.split(".")[1] for path in CLASSES), "MaskedDetector",
    }  # fmt: skip


@pytest.mark.parametrize("name", QUICK)
def test_the_strangest_sample_is_the_planted_one(fitted, series, name):
    scores = fitted(name).transform_scores(series)["scores"].to_numpy()
    assert scores.shape == series.shape and np.isfinite(scores).all()
    assert 780 <= 600 + scores[600:].argmax() < 840


@pytest.mark.parametrize("name", QUICK)
def test_predictions_are_the_scores_above_the_threshold(fitted, series, name):
    detector = fitted(name)
    frame = pd.Series(series, index=pd.date_range("2024-01-01", periods=len(series), freq="h"))
    scores = detector.transform_scores(frame)["scores"]
    points = detector.predict(frame)["ilocs"].to_numpy()
    assert scores.index.equals(frame.index)
    assert np.array_equal(points, np.flatnonzero(scores > detector.threshold_))
    assert np.array_equal(detector.predict_scores(frame)["scores"], scores.to_numpy()[points])
    segments = detector.predict_segments(frame)
    assert [float(scores.iloc[each.left : each.right].max()) for each in segments["ilocs"]] == segments["peak"].tolist()


@pytest.mark.parametrize("name", QUICK)
def test_the_threshold_knows_the_training_part_only(fitted, series, name):
    detector = fitted(name)
    before = detector.threshold_
    detector.predict(series * 100)
    assert detector.threshold_ == before
    again = made(name).fit(series[:600].copy())
    assert again.threshold_ == before
    assert np.array_equal(again.transform_scores(series), detector.transform_scores(series))  # and the same anew


@pytest.mark.parametrize("name", ["join", "patches", "autoencoder", "kmeans", "pca", "interpolation", "forecast"])
def test_scale_and_level_of_the_series_do_not_matter(fitted, series, name):
    there = made(name).fit(1000 * series[:600] - 7).transform_scores(1000 * series - 7)["scores"].to_numpy()
    here = fitted(name).transform_scores(series)["scores"].to_numpy()
    assert there == pytest.approx(here, rel=0.02, abs=1e-3)


@pytest.mark.parametrize("name", QUICK)
def test_wrong_input_is_refused_in_one_line(fitted, series, name):
    detector = made(name)
    holed = series[:600].copy()
    holed[7] = np.nan
    two = pd.DataFrame({"views": series[:600], "clicks": series[:600]})
    for wrong, says in (
        (np.full(300, 3.0), r"flat \(every value is 3\)"),
        (holed, "position 7"),
        (two, r"2 columns \(views, clicks\)"),
        (series[:15], "15 samples; at least 20"),
    ):
        with pytest.raises(InputError, match=says) as error:
            detector.clone().fit(wrong)
        assert "\n" not in str(error.value)
    if name != "zscore":  # it alone looks at no window to come
        with pytest.raises(InputError, match="3 samples, less than one window"):
            fitted(name).predict(series[:3])


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"period": 1}, "period is 1; give at least 2"), ({"period": 400}, "period 400 does not fit twice"),
        ({"quantile": 1.0}, "quantile is 1.0"), ({"contamination": 0.5}, "contamination is 0.5"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_in_one_line(series, settings, says):
    with pytest.raises(InputError, match=says):
        made("pca").set_params(**settings).fit(series[:600])


def test_values_too_small_to_square_are_refused(series):
    with pytest.raises(InputError, match="too small to square; give them in a smaller unit"):
        made("pca").fit((series[:600] - series[:600].mean()) * 1e-200)


def test_unknown_names_get_near_matches():
    with pytest.raises(InputError, match="did you mean patches"):
        catalogue.check(["patchs"])
    assert catalogue.check(["pca", "join", "pca"]) == ["pca", "join"]


@pytest.mark.filterwarnings("ignore:.*remember_data:FutureWarning")
def test_a_forecaster_of_sktimes_own_works_too(series):
    from sktime.forecasting.naive import NaiveForecaster

    from forecasting.anomaly.residual import ForecastResidualDetector

    detector = ForecastResidualDetector(forecaster=NaiveForecaster(sp=20), horizon=20).fit(series[:600])
    scores = detector.transform_scores(series)["scores"].to_numpy()
    assert 780 <= 600 + scores[600:].argmax() < 860  # the copy of the flat period comes one later
    # the same forecast, window by window and by moving on, has the same errors
    from forecasting.forecaster import SeasonalNaiveForecaster

    direct = ForecastResidualDetector(forecaster=SeasonalNaiveForecaster(lookback=20), horizon=20).fit(series[:600])
    steps, learned = direct._steps(series), direct.train_[: direct.learned_]
    assert direct._direct(steps, learned)[::20] == pytest.approx(detector._moving(detector._steps(series)))


@pytest.mark.filterwarnings("ignore:.*remember_data:FutureWarning")
@pytest.mark.parametrize("learned", [600, 607])
def test_a_forecaster_that_counts_the_cycle_finds_its_place_in_it(learned):
    """Also where the training part is no whole number of cycles and the series begins with it."""
    from sktime.forecasting.base import BaseForecaster

    from forecasting.anomaly.residual import ForecastResidualDetector

    class ByIndex(BaseForecaster):
        """The mean of each place in the cycle, which the index alone decides."""

        _tags: ClassVar[dict[str, Any]] = {"requires-fh-in-fit": False}

        def _fit(self, y, X, fh):
            self.means_ = y.groupby(y.index % 20).mean()
            return self

        def _predict(self, fh, X):
            index = fh.to_absolute_index(self.cutoff)
            return pd.Series(self.means_[index % 20].to_numpy(), index)

        def _update(self, y, X=None, update_params=True):
            return self

    wave = np.sin(2 * np.pi * np.arange(1200) / 20) + np.random.default_rng(0).normal(scale=0.05, size=1200)
    wave[1000:1010] = 2
    detector = ForecastResidualDetector(period=20, forecaster=ByIndex(), horizon=5).fit(wave[:learned])
    for start in (0, learned, 313):  # from the beginning, right behind the training part, from anywhere
        at = detector.predict_segments(wave[start:])["ilocs"]
        assert len(at) == 1 and start + at[0].left >= 990 and start + at[0].right <= 1020


def test_patches_can_be_trained(series):
    from forecasting.anomaly.patches import PatchDetector

    detector = PatchDetector(networks=1, updates=60, device="cpu").fit(series[:600])
    losses = detector.losses_[0]
    assert np.mean(losses[-10:]) < 0.93 * np.mean(losses[:10])
    assert 780 <= 600 + detector.transform_scores(series)["scores"].to_numpy()[600:].argmax() < 840


def test_the_nearest_neighbours_are_averaged():
    import torch

    from forecasting.anomaly.patches import cosine_distance

    query, memory = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8]])
    found = [float(cosine_distance(query, memory, count)[0]) for count in (1, 2, 9)]
    assert found == pytest.approx([0, 1 - (1 + 0.6) / 2, 1 - (1 + 0.6 + 0) / 3], abs=1e-6)


def test_the_distances_of_all_networks_add_up(series):
    import copy

    from forecasting.anomaly.patches import PatchDetector

    detector = PatchDetector(networks=2, device="cpu", contamination=0).fit(series[:600])
    steps, alone = detector._steps(series), []
    for number in range(2):
        one = copy.copy(detector)
        one.encoders_, one.memories_ = detector.encoders_[number:][:1], detector.memories_[number:][:1]
        alone.append(one._score(steps))
    assert not np.allclose(*alone)
    inside = slice(64, -64)  # nearer the ends, windows are missing
    assert detector._score(steps)[inside] == pytest.approx(sum(alone)[inside], rel=1e-5)


def test_a_variational_code_is_drawn_with_its_own_variance():
    """From N(0, 4) where 0 is wanted: a squared error of 4 a value, and (4 - 1 - log 4) / 2 nats of divergence."""
    import torch

    from forecasting.anomaly.reconstruction import Autoencoder

    class Code(torch.nn.Module):
        def forward(self, x):
            return torch.cat([torch.zeros_like(x), torch.full_like(x, np.log(4.0))], 1)

    torch.manual_seed(0)
    network = Autoencoder(4, 4, 8, variational=True)
    network.encoder, network.decoder = Code(), torch.nn.Identity()
    zeros = torch.zeros(20_000, 4)
    assert network.loss(zeros).item() == pytest.approx(4 / 2 + (3 - np.log(4)) / 2, rel=0.02)
    assert network.errors(zeros, 3).mean().item() == pytest.approx(4, rel=0.02)


def test_a_reconstruction_error_is_the_mean_over_the_windows_that_hold_a_sample(series, monkeypatch):
    import torch

    from forecasting.anomaly.reconstruction import AutoencoderDetector

    detector = AutoencoderDetector(updates=1, device="cpu", contamination=0).fit(series[:600])
    monkeypatch.setattr(detector.network_, "errors", lambda windows, draws: torch.ones_like(windows))
    assert detector._score(detector._steps(series[:333])).tolist() == [1.0] * 333


def test_random_state_decides(series):
    from forecasting.anomaly.patches import PatchDetector

    def scores(seed, outside):
        import torch

        torch.manual_seed(outside)
        return PatchDetector(networks=1, random_state=seed, device="cpu").fit(series[:600]).transform_scores(series)

    assert np.array_equal(scores(3, 0), scores(3, 1))
    assert not np.array_equal(scores(3, 0), scores(4, 0))


def test_spread_is_the_mean_over_the_windows_that_hold_a_sample():
    from forecasting.anomaly.base import spread

    assert spread(np.array([1.0, 5, 4]), 2, 1, 4) == pytest.approx([(1 + 4) / 2, 3, 4.5, 4])  # beyond the ends: 4
    assert spread(np.array([2.0, 4, 9]), 3, 2, 8) == pytest.approx([3, 2, 3, 4, 6.5, 9, 6.5, 4])


def test_the_rolling_z_score_by_hand():
    """Means of two before each, the training part's mean, 0, before the first; a floor of .2 on their deviation."""
    from forecasting.anomaly.classical import RollingZScoreDetector

    detector = RollingZScoreDetector(contamination=0)
    detector.window_ = 2
    expected = [3 / 0.2, (1.5 - 1) / (1.5 + 0.2), (5 - 2) / (1 + 0.2)]  # of 0, 0; of 0, 3; of 3, 1
    assert detector._score(np.array([3.0, 1, 5])) == pytest.approx(expected)


def test_what_components_leave_over_is_sklearns(series):
    from sklearn.decomposition import PCA

    from forecasting.anomaly.base import spread
    from forecasting.anomaly.classical import PCADetector
    from forecasting.anomaly.joins import regularised

    rising = series + 0.3 * np.arange(1000)  # so that the windows have a mean course
    detector = PCADetector(period=20, contamination=0).fit(rising[:600])
    width, steps = detector.window_, detector._steps(rising)
    model = PCA(0.9, svd_solver="full").fit(regularised(detector.train_[:480], width))
    windows = regularised(steps, width)
    left = np.linalg.norm(windows - model.inverse_transform(model.transform(windows)), axis=1)
    assert detector.components_.shape == (width, model.n_components_) and model.n_components_ > 1
    assert detector._score(steps) == pytest.approx(spread(left, width, 1, len(steps)), abs=1e-3)


def test_interpolation_is_sklearns_regression_on_the_neighbours(series):
    from sklearn.linear_model import LinearRegression

    from forecasting.anomaly.base import spread
    from forecasting.anomaly.classical import InterpolationDetector

    detector = InterpolationDetector(contamination=0, neighbours=2).fit(series[:600])
    steps = detector._steps(series)
    around = np.stack([steps[:-4], steps[1:-3], steps[3:-1], steps[4:]], axis=1)
    model = LinearRegression(fit_intercept=False).fit(around[:476], steps[2:478])
    squares = np.pad((steps[2:-2] - model.predict(around)) ** 2, 2, mode="edge")
    means = np.lib.stride_tricks.sliding_window_view(squares, 5).mean(1)  # a quarter of a window of 20
    assert detector._score(steps) == pytest.approx(np.sqrt(spread(means, 5, 1, len(steps))), rel=1e-3)


def test_a_centre_stands_for_four_windows_at_least(series):
    """With as many centres as windows nothing normal would be far from one: 160 steps hold 141 windows of 20."""
    from forecasting.anomaly.classical import KMeansDetector

    assert KMeansDetector(period=20, contamination=0).fit(series[:200]).centres_.shape == (35, 20)


def test_nearest_is_brute_force():
    from forecasting.anomaly.joins import nearest, regularised

    steps = waves(200)
    windows = regularised(steps, 10)
    distances = np.linalg.norm(windows[:, None] - windows[None], axis=2)
    assert nearest(windows, windows[:50]) == pytest.approx(distances[:, :50].min(1), abs=1e-2)
    at = np.arange(len(windows))
    apart = np.where(np.abs(at[:, None] - at) < 10, np.inf, distances)
    assert nearest(windows, windows, (at, at, 10)) == pytest.approx(apart.min(1), abs=1e-2)


@pytest.mark.slow
def test_the_matrix_profile_is_the_brute_force_one(series):
    pytest.importorskip("stumpy", reason="stumpy is not installed (pip install 'rl-timeseries-lab[peers]')")
    import stumpy

    from forecasting.anomaly.joins import regularised

    windows = regularised(series[:300], 20, floor=0.0).astype(float)
    distances = np.linalg.norm(windows[:, None] - windows[None], axis=2)
    at = np.arange(len(windows))
    distances[np.abs(at[:, None] - at) <= 5] = np.inf  # stumpy's zone: a quarter of the window
    assert stumpy.stump(series[:300], 20)[:, 0].astype(float) == pytest.approx(distances.min(1), abs=1e-3)
