"""Every way a CSV can be wrong gives one line that names file, row and column, and the remedy."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.csvfile import read_csv
from lab.errors import InputError


def hourly(count: int = 30, **changed: str) -> list[str]:
    """Lines of a good file, header first; `r5="..."` replaces line 5 of the file (the header is 1), None removes it."""
    times = pd.date_range("2024-01-01", periods=count, freq="h")
    lines = ["time,views", *(f"{time},{value}" for value, time in enumerate(times))]
    for key, line in changed.items():
        lines[int(key[1:]) - 1] = line
    return [line for line in lines if line is not None]


def write(folder: Path, lines: list[str]) -> Path:
    path = folder / "views.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def complaint(folder: Path, lines: list[str], **options) -> str:
    with pytest.raises(InputError) as caught:
        read_csv(write(folder, lines), **options)
    message = str(caught.value)
    assert "views.csv" in message and "\n" not in message
    return message


def test_good_file(tmp_path):
    series = read_csv(write(tmp_path, hourly()), target="views")
    assert series.index.freqstr == "h" and series.name == "views" and series.dtype == np.float64
    np.testing.assert_array_equal(series, np.arange(30.0))


@pytest.mark.parametrize(
    ("lines", "options", "parts"),
    [
        ([""], {}, ["is empty"]),
        (["time,views"], {}, ["no rows"]),
        (hourly(), {"target": "vews"}, ["unknown column 'vews'", "did you mean views?"]),
        (hourly(), {"time": "tim"}, ["unknown time column 'tim'", "did you mean time?"]),
        (hourly(), {"target": "time"}, ["holds the times"]),
        (hourly(r7="2024-01-01 05:00:00,many"), {}, ["row 7", "'views'", "'many' is not a number"]),
        (hourly(r7="2024-01-01 05:00:00,1_000"), {}, ["row 7", "is not a number", "thousands"]),
        (hourly(r7="2024-01-01 05:00:00,inf"), {}, ["row 7", "'views'", "not finite"]),
        (hourly(r7="2024-01-01 05:00:00,-1e306"), {}, ["row 7", "'views'", "'-1e306' is too large"]),
        (hourly(), {"time_format": "%Q"}, ["--time-format '%Q' cannot be used", "'Q' is a bad directive"]),
        (hourly(), {"time_format": "%d%d"}, ["--time-format '%d%d' cannot be used"]),
        (hourly(r7="2024-01-01 05:00:00,"), {}, ["row 7", "'views'", "no value", "--fill"]),
        (hourly(r7="2024-01-01 04:00:00,5"), {}, ["row 7", "'time'", "twice"]),
        (hourly(r7="2024-01-01 01:30:00,5"), {}, ["row 7", "'time'", "sort the rows"]),
        (hourly(r7="2024-01-01 05:17:00,5"), {}, ["row 7", "'time'", "grid"]),
        (hourly(r7=None), {}, ["row 7", "'time'", "2024-01-01 05:00:00", "missing", "--fill"]),
        (hourly(r7="soon,5"), {}, ["row 7", "'time'", "'soon' is not a time", "--time-format"]),
        (hourly(r7="2024-01-01 05:00:00,5,6"), {}, ["row 7", "3 columns", "2"]),
        (hourly(r31="2124-01-01 00:00:00,5"), {}, ["row 31", "'time'", "far from"]),
        (["time,a,b", "2024-01-01,1,2"], {}, ["--target", "a, b"]),
        (["time,a,a", "2024-01-01,1,2"], {}, ["row 1", "twice"]),
        (["x,y", "1,2", "3,4"], {}, ["row 1", "--time"]),
        (hourly(2), {}, ["2 rows"]),
        (hourly(r2="2024-01-01 00:00:00,"), {"fill": "ffill"}, ["'views'", "2024-01-01 00:00:00", "nothing to fill"]),
    ],
)  # fmt: skip
def test_bad_file(tmp_path, lines, options, parts):
    message = complaint(tmp_path, lines, **options)
    for part in parts:
        assert part in message


def test_rows_are_counted_as_an_editor_counts_them(tmp_path):
    """Blank lines, and a cell with a line break in it, do not shift the row that is named."""
    lines = ["time,note,views", "2024-01-01,a,1", "", '2024-01-02,"b', 'c",2', "2024-01-03,d,x"]
    assert "row 6, column 'views'" in complaint(tmp_path, lines, target="views")


def test_no_such_file_and_no_text(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_csv(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="is a folder"):
        read_csv(tmp_path)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match="UTF-8"):
        read_csv(binary)
    with pytest.raises(InputError, match=r"unknown fill 'fill'"):
        read_csv(write(tmp_path, hourly()), fill="fill")


@pytest.mark.parametrize("spoil", [lambda data: b"xx" + data, lambda data: data[:-9], lambda data: data[:30] + b"~~~~"])
def test_a_damaged_gzip_is_called_that(tmp_path, spoil):
    path = tmp_path / "views.csv.gz"
    path.write_bytes(spoil(gzip.compress("\n".join(hourly()).encode())))
    with pytest.raises(InputError, match=r"views\.csv\.gz is a damaged gzip file"):
        read_csv(path)


@pytest.mark.parametrize(("fill", "expected"), [("ffill", 3.0), ("interpolate", 4.0), ("zero", 0.0)])
@pytest.mark.parametrize("hole", [None, "2024-01-01 04:00:00,", "2024-01-01 04:00:00,NaN"])
def test_holes_are_filled_as_told(tmp_path, fill, expected, hole):
    series = read_csv(write(tmp_path, hourly(r6=hole)), fill=fill)
    assert len(series) == 30 and series.iloc[4] == expected


@pytest.mark.parametrize(
    ("stamps", "frequency"),
    [
        (pd.date_range("2023-11-30", periods=8, freq="ME"), "M"),
        (pd.date_range("2023-11-01", periods=8, freq="MS"), "M"),
        (pd.date_range("2023-01-01", periods=8, freq="QS"), "Q-DEC"),
        (pd.date_range("2015-01-01", periods=8, freq="YS"), "Y-DEC"),
        (pd.date_range("2024-01-03", periods=8, freq="7D"), "W-WED"),
        (pd.date_range("2024-01-03", periods=8, freq="D"), "D"),
        (pd.date_range("2024-01-03", periods=8, freq="5min"), "5min"),
    ],
)
def test_frequency(tmp_path, stamps, frequency):
    series = read_csv(write(tmp_path, ["when,views", *(f"{stamp.isoformat()},1" for stamp in stamps)]))
    assert series.index.freqstr == frequency and len(series) == 8


def test_formats(tmp_path):
    lines = ["day;views", "31/01/2024;1", "01/02/2024;2", "02/02/2024;3"]
    assert "'31/01/2024' is not a time" in complaint(tmp_path, lines)
    series = read_csv(write(tmp_path, lines), time_format="%d/%m/%Y")
    assert str(series.index[1].date()) == "2024-02-01"
    offsets = ["time,v", "2024-03-31T00:00:00+01:00", "2024-03-31T01:00:00+01:00", "2024-03-31T03:00:00+02:00"]
    series = read_csv(write(tmp_path, [offsets[0], *(f"{stamp},1" for stamp in offsets[1:])]))
    assert str(series.index[0]) == "2024-03-30 23:00:00" and series.index.freqstr == "h"  # no gap where clocks change
    packed = tmp_path / "views.csv.gz"
    packed.write_bytes(gzip.compress("\n".join(hourly()).encode()))
    assert len(read_csv(packed)) == 30


def test_tidy_sorts_snaps_and_averages(tmp_path):
    lines = [
        "time,v",
        "2024-01-01 00:10:04,4",
        "2024-01-01 00:00:01,1",
        "2024-01-01 00:04:58,2",
        "2024-01-01 00:05:02,3",
    ]
    series = read_csv(write(tmp_path, lines), tidy="5min")
    assert series.tolist() == [1.0, 2.5, 4.0] and series.index.freqstr == "5min"
