import numpy as np
import pandas as pd
import pytest
import torch

from forecasting import insight
from forecasting.forecaster import CNNForecaster, LSTMForecaster, TransformerForecaster
from forecasting.networks.cnn import CNN
from forecasting.networks.norm import Reversible
from forecasting.networks.transformer import Transformer


def test_attention_is_that_of_the_network_and_adds_up_to_one():
    torch.manual_seed(0)
    network = Reversible(Transformer(24, 6, patch=6, width=8, heads=2, dropout=0.0)).eval()
    window = torch.randn(24, 1)
    maps = insight.attention(network, window)
    assert maps.shape == (2, 2, 4, 4)
    assert maps.sum(axis=-1) == pytest.approx(1.0, abs=1e-5)
    # by hand, first layer and head: softmax(q k' / sqrt(d)) of the normalised tokens
    core = network.core
    scaled = (window - window[-1]) / (window.std(correction=0) + network.epsilon)
    tokens = core.embed(scaled.reshape(4, 6)) + core.positions
    layer = core.layers.layers[0]
    query, key, _ = torch.nn.functional.linear(
        layer.norm1(tokens), layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    ).chunk(3, dim=1)
    by_hand = torch.softmax(query[:, :4] @ key[:, :4].T / 2, dim=1)
    assert maps[0, 0] == pytest.approx(by_hand.detach().numpy(), abs=1e-5)


def test_filters_come_strongest_first():
    network = Reversible(CNN(24, 6, patch=6, width=8))
    found = insight.filters(network)
    sizes = np.linalg.norm(found, axis=1)
    assert found.shape == (8, 6) and (np.diff(sizes) <= 0).all()
    assert {tuple(row) for row in found} == {tuple(row) for row in network.core.stem.weight.detach().numpy()}


@pytest.mark.parametrize(
    ("kind", "tags"), [(TransformerForecaster, {"attention"}), (CNNForecaster, {"filters"}), (LSTMForecaster, set())]
)
def test_each_family_has_its_figure(kind, tags):
    from forecasting.datasets import web_traffic

    series = web_traffic()[:400]
    forecaster = kind(lookback=96, max_epochs=1, steps_per_epoch=2, random_state=0).fit(series, fh=[1, 2, 3])
    found = insight.figures(forecaster)
    assert set(found) == {*tags, "held_out"}
    for tag in tags:
        figure = found[tag]
        assert figure.get_suptitle().startswith(("Transformer: the last patch", "CNN: what the 8"))


def test_the_held_out_figure_shows_forecasts_from_what_came_before():
    from forecasting.datasets import web_traffic

    series = web_traffic()[:400]
    forecaster = CNNForecaster(lookback=96, max_epochs=1, steps_per_epoch=2, random_state=0).fit(series, fh=[1, 2, 3])
    lines = insight.held_out(forecaster).axes[0].get_lines()
    (first,) = [line for line in lines if line.get_label() == "forecast"]
    assert first.get_xdata().tolist() == [-9, -8, -7]
    same = forecaster.clone().fit(series[:391], fh=[1, 2, 3])
    same.network_, same.mean_, same.scale_ = forecaster.network_, forecaster.mean_, forecaster.scale_
    assert first.get_ydata() == pytest.approx(same.predict().to_numpy(), rel=1e-4)


def test_the_held_out_figure_counts_what_is_known_ahead():
    from forecasting.datasets import web_traffic

    series = web_traffic()[:400]
    X = pd.DataFrame({"sale": np.random.default_rng(0).integers(2, size=400)}, series.index)
    series = series + 1000.0 * X["sale"]
    forecaster = CNNForecaster(lookback=96, max_epochs=1, steps_per_epoch=2, random_state=0)
    forecaster.fit(series, X=X, fh=[1, 2, 3])
    (first,) = [line for line in insight.held_out(forecaster).axes[0].get_lines() if line.get_label() == "forecast"]
    same = forecaster.clone().fit(series[:391], X=X[:391], fh=[1, 2, 3])
    for name in ("network_", "mean_", "scale_", "effect_"):
        setattr(same, name, getattr(forecaster, name))
    made = same.predict(X=X)
    assert first.get_ydata() == pytest.approx(made.to_numpy(), rel=1e-4)
    assert np.ptp(forecaster.effect_(X[-96:], np.arange(304, 400))) * forecaster.scale_[0] > 500


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
def test_forecasts_of_the_validation_part_are_drawn_while_a_network_learns(tmp_path):
    """After epochs 1 and 4 of 4; to look at it changes nothing."""
    from forecasting import benchmark
    from forecasting.datasets import web_traffic
    from lab.run import Run

    series, boards = web_traffic()[:400], []
    for shown in ((1, 4, 16), ()):
        with pytest.MonkeyPatch.context() as patch, Run.open(tmp_path, "run", {}) as run:
            patch.setattr(benchmark, "SHOWN", shown)
            boards.append(benchmark.compare(series, 12, run, ["lstm"], max_epochs=4, origins=1, device="cpu"))
            found = sorted(path.name for path in (run.path / "figures").glob("forecast-lstm-validation*"))
            assert found == [f"forecast-lstm-validation-{epoch}.png" for epoch in shown if epoch <= 4]
    pd.testing.assert_frame_equal(*(board.drop(columns="seconds") for board in boards))
