"""Named series: sktime's ECG as its file says, and a generated anomaly whose clean course is known."""

import numpy as np
import pytest

from forecasting.anomaly import datasets
from lab.errors import InputError


def test_mitdb_has_one_labelled_beat_after_the_training_part():
    case = datasets.load("mitdb")
    assert len(case.series) == 7500
    assert case.labels == [(6936, 7288)]
    assert case.train_end == 5400
    assert case.series.iloc[0] == -0.195
    assert case.series.index[360] == 1.0


def test_the_generated_anomaly_is_in_its_place_and_nowhere_else():
    case = datasets.load("web-traffic-anomaly", seed=3)
    assert case.clean is not None and case.train_end is not None
    (start, end), values = case.labels[0], case.series.to_numpy()
    changed = np.flatnonzero(values != case.clean)
    assert changed.tolist() == list(range(start, end))
    assert start >= case.train_end
    assert case.series.index[start].strftime("%A %H") == "Wednesday 08"


def test_each_kind_of_anomaly_by_hand():
    clean = np.array([1.0, 10, 20, 30, 1])
    wants = {"outage": [4.5, 9, 13.5], "surge": [17, 34, 51], "stuck": [10, 10, 10], "reversed": [30, 20, 10]}
    for kind, want in wants.items():
        assert np.allclose(datasets.inject(clean, 1, 4, kind), [1, *want, 1])
    assert clean[2] == 20


def test_unknown_names_get_near_matches():
    with pytest.raises(InputError, match="did you mean mitdb"):
        datasets.load("mitbd")
    with pytest.raises(InputError, match="did you mean web-traffic-anomaly"):
        datasets.load("web-trafic-anomaly")
    with pytest.raises(InputError, match="column"):
        datasets.load("mitdb", target="lead")


def test_a_csv_is_read_by_the_forecasting_bench(tmp_path):
    lines = [f"2024-01-{1 + i // 24:02d} {i % 24:02d}:00,{i % 24}" for i in range(48)]
    (tmp_path / "my.csv").write_text("time,views\n" + "\n".join(lines) + "\n")
    case = datasets.load(str(tmp_path / "my.csv"))
    assert case.name == "my" and len(case.series) == 48 and case.labels == [] and case.train_end is None
