"""Every way a CSV can be wrong gives one line that names file, row and column, and the remedy."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.clocks import extended, shown, stamps
from forecasting.csvfile import read_csv, read_known
from forecasting.datasets import season
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
        (hourly(r7='2024-01-01 05:00:00,"5'), {}, ["row 7", "opens a quote", "does not close"]),
        (hourly(r31="2124-01-01 00:00:00,5"), {}, ["row 31", "'time'", "far from"]),
        (["time,a,b", "2024-01-01,1,2"], {}, ["--target", "a, b"]),
        (["time,a,a", "2024-01-01,1,2"], {}, ["row 1", "twice"]),
        (["x,y", "1,2", "3,4"], {}, ["row 1", "--time"]),
        (hourly(r1="2023-12-31 23:00:00,0"), {}, ["row 1 has a time and a number", "header line"]),
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
    ("fill", "row", "time"),
    [
        ("ffill", "r2", "2024-01-01 00:00:00"),
        ("interpolate", "r2", "2024-01-01 00:00:00"),
        ("interpolate", "r31", "2024-01-02 05:00:00"),
    ],
)
def test_a_hole_at_an_end_is_not_filled_from_one_side(tmp_path, fill, row, time):
    path = write(tmp_path, hourly(**{row: f"{time},"}))
    with pytest.raises(InputError, match=f"nothing to fill {time} from with --fill {fill}; cut such rows off"):
        read_csv(path, fill=fill)


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


@pytest.mark.parametrize(("unit", "name"), [("s", "unix"), ("ms", "unix-ms")])
def test_times_may_count_from_1970(tmp_path, unit, name):
    times = pd.date_range("2024-10-26 20:00", periods=40, freq="h", unit=unit)
    path = write(tmp_path, ["ts,load", *(f"{time},{n}" for n, time in enumerate(times.astype("int64")))])
    series = read_csv(path, time_format=name)
    assert series.index.equals(times) and series.attrs["zone"] == "UTC" and series.tolist() == list(range(40))
    assert read_csv(path, time_format=name, timezone="Europe/Berlin").attrs["zone"] == "Europe/Berlin"
    days = pd.date_range("2024-10-20", periods=20, freq="D", tz="Europe/Berlin", unit=unit)
    daily = write(tmp_path, ["ts,load", *(f"{day},1" for day in days.astype("int64"))])
    assert read_csv(daily, time_format=name, timezone="Europe/Berlin").index.equals(days.tz_localize(None))
    with pytest.raises(InputError, match=r"is not a time; .*--time-format \(unix, or unix-ms for milliseconds\)"):
        read_csv(path)


def test_a_first_column_that_may_be_times_is_read_as_such(tmp_path):
    lines = ["Zeitpunkt;load", "31.01.2024 22:00;1", "31.01.2024 23:00;2", "01.02.2024 00:00;3"]
    assert "'31.01.2024 22:00' is not a time; write it as" in complaint(tmp_path, lines)
    assert read_csv(write(tmp_path, lines), time_format="%d.%m.%Y %H:%M").tolist() == [1, 2, 3]


@pytest.mark.parametrize("order", ["meter", "time"])
@pytest.mark.parametrize("names", [("north", "south"), ("4711", "4712")])
def test_several_series_below_one_another_are_told(tmp_path, names, order):
    times = pd.date_range("2024-01-01", periods=20, freq="h")
    table = pd.DataFrame({"time": [*times, *times], "meter": np.repeat(names, 20), "load": np.arange(40) % 7})
    table = table.sort_values(order, kind="stable")
    path = tmp_path / "views.csv"
    table.to_csv(path, index=False)
    with pytest.raises(InputError, match=r"several series, told apart by column 'meter'; keep the rows of one of them"):
        read_csv(path, target="load")
    table.iloc[::-1].to_csv(path, index=False)  # sorted the wrong way, it is that
    with pytest.raises(InputError, match="sort the rows"):
        read_csv(path, target="load")


def test_decimal_commas(tmp_path):
    """As spreadsheets of much of Europe export them, where semicolons part the cells."""
    lines = ["day;load;heat", "2024-01-01;-1234,5;1,5", "2024-01-02;7;2,5", "2024-01-03;0,25;3", "2024-01-04;;4"]
    path = write(tmp_path, lines)
    series = read_csv(path, target="load", ahead=True)
    assert series.tolist() == [-1234.5, 7.0, 0.25]
    assert read_known(path, ["heat"], series)["heat"].tolist() == [1.5, 2.5, 3.0, 4.0]
    tabs = write(tmp_path, [line.replace(";", "\t") for line in lines[:-1]])
    assert read_csv(tabs, target="load").tolist() == [-1234.5, 7.0, 0.25]


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        (["1,234", "2,345", "3"], "'1,234'"),  # thousands, perhaps
        (["1.5", "2,5", "3"], "'2,5'"),
        (["1.234", "2,5", "3"], "'2,5'"),  # a point before thousands, perhaps
        (["2,5", "1.234,5", "3"], "'1.234,5'"),
    ],
)
def test_a_comma_that_may_be_something_else_is_refused(tmp_path, cells, refused):
    lines = ["day;load", *(f"2024-01-0{day};{cell}" for day, cell in enumerate(cells, start=1))]
    message = complaint(tmp_path, lines)
    assert f"{refused} is not a number; write decimals with a point and no thousands marks" in message


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


# --- clocks ---------------------------------------------------------------------------------------------------------


def wall_clock(zone: str, start: str, count: int, step: str = "h") -> list[str]:
    """Lines as a log on the clocks of `zone` has them: no offset, an hour twice in autumn, none in spring."""
    utc = pd.date_range(start, periods=count, freq=step, tz="UTC")
    return ["time,views", *(f"{time:%Y-%m-%d %H:%M},{n}" for n, time in enumerate(utc.tz_convert(zone)))]


@pytest.mark.parametrize("start", ["2024-03-30 12:00", "2024-10-26 12:00"])
@pytest.mark.parametrize("step", ["h", "15min"])
def test_clock_changes_neither_leave_a_gap_nor_a_repeat(tmp_path, start, step):
    path = write(tmp_path, wall_clock("Europe/Berlin", start, 200, step))
    series = read_csv(path, timezone="Europe/Berlin")
    assert len(series) == 200 and series.tolist() == list(range(200)) and str(series.index[0]) == f"{start}:00"
    assert series.attrs["zone"] == "Europe/Berlin" and series.index.freqstr == step
    with pytest.raises(InputError, match="or give --timezone if clocks changed there"):
        read_csv(path)


def test_offsets_and_clocks_give_the_same_series(tmp_path):
    local = pd.date_range("2024-10-26", periods=60, freq="h", tz="America/New_York")
    with_offset = read_csv(write(tmp_path, ["time,v", *(f"{t.isoformat()},{n}" for n, t in enumerate(local))]))
    lines = ["time,v", *(f"{t:%Y-%m-%d %H:%M},{n}" for n, t in enumerate(local))]
    on_clocks = read_csv(write(tmp_path, lines), timezone="America/New_York")
    pd.testing.assert_series_equal(with_offset, on_clocks)
    assert with_offset.attrs["zone"] == "UTC"


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("step", ["30min", "h", "2h", "3h"])
@pytest.mark.parametrize("change", ["2024-10-27", "2024-11-03", "2024-04-06", "2024-03-31"])
def test_clocks_are_read_wherever_a_file_begins_or_ends(tmp_path, zone, step, change):
    """Also in the second of two hours alike, and where steps leave one of them out."""
    for shift in range(-4, 24):
        begin = pd.Timestamp(change) + shift * pd.Timedelta(minutes=60)
        utc = pd.date_range(begin, periods=12, freq=step)
        lines = [f"{time:%Y-%m-%d %H:%M},1" for time in utc.tz_localize("UTC").tz_convert(zone)]
        if step in ("2h", "3h") and shown(utc, zone).to_series().diff().nunique() > 1:
            continue  # uneven on the clocks, in a file too short to tell which step is the usual one
        for cut in (lines, lines[::-1][:9][::-1]):
            series = read_csv(write(tmp_path, ["time,v", *cut]), timezone=zone)
            assert list(series.index) == list(utc[-len(cut) :]), (zone, step, begin)


def test_two_autumns_and_a_step_of_two_hours(tmp_path):
    """The hour that comes twice, there once in one year and twice in the other; then every second hour."""
    hours = pd.date_range("2023-10-29 01:00", "2024-11-10", freq="h")
    for utc in (hours, pd.date_range("2024-10-01 01:00", periods=500, freq="2h")):
        lines = [f"{time:%Y-%m-%d %H:%M},1" for time in utc.tz_localize("UTC").tz_convert("Europe/Berlin")]
        assert list(read_csv(write(tmp_path, ["time,v", *lines]), timezone="Europe/Berlin").index) == list(utc)


@pytest.mark.parametrize("offset", ["-0500", "-05", "-05:00", "-5:00", " -0500"])
def test_offsets_in_every_form(tmp_path, offset):
    lines = [f"2024-01-{day:02} {hour:02}:00{offset},1" for day in (1, 2) for hour in range(24)]
    series = read_csv(write(tmp_path, ["time,v", *lines]))
    assert series.index[0] == pd.Timestamp("2024-01-01 05:00") and series.attrs["zone"] == "UTC"
    lines[7] = "2024-01-01 07:00,1"
    message = complaint(tmp_path, ["time,v", *lines])
    assert (
        "row 9, column 'time': '2024-01-01 07:00' has no offset from UTC, and the times before it have one" in message
    )


def test_offsets_in_a_format_of_ones_own(tmp_path):
    local = pd.date_range("2024-10-26", periods=60, freq="h", tz="Europe/Berlin")
    path = write(tmp_path, ["time,v", *(f"{time:%d/%m/%Y %H:%M %z},1" for time in local)])
    series = read_csv(path, time_format="%d/%m/%Y %H:%M %z")
    assert list(series.index) == list(local.tz_convert("UTC").tz_localize(None))
    midnights = pd.date_range("2024-10-01", periods=60, freq="D", tz="Europe/Berlin")
    path = write(tmp_path, ["time,v", *(f"{time:%d/%m/%Y %H:%M %z},1" for time in midnights)])
    assert list(read_csv(path, time_format="%d/%m/%Y %H:%M %z").index) == list(midnights.tz_localize(None))


@pytest.mark.parametrize("freq", ["MS", "D"])
def test_midnights_of_a_place_written_in_utc_are_its_days(tmp_path, freq):
    local = pd.date_range("2024-01-01", periods=120, freq=freq, tz="Europe/Berlin")
    lines = ["time,v", *(f"{time:%Y-%m-%dT%H:%M:%SZ},1" for time in local.tz_convert("UTC"))]
    series = read_csv(write(tmp_path, lines), timezone="Europe/Berlin")
    assert stamps(series.index, series.attrs) == [f"{time:%Y-%m-%d}" for time in local]


def test_messages_name_the_times_of_the_file(tmp_path):
    """And do not offer the --timezone that is given."""
    lines = wall_clock("Europe/Berlin", "2024-04-01", 100)
    sixes = [f"{time:%Y-%m-%d %H:%M},1" for time in pd.date_range("2024-03-20", periods=80, freq="6h")]
    for wrong, said in (
        (
            lines[:41] + lines[42:],
            "row 42, column 'time': the time 2024-04-02 18:00:00+02:00 before it is missing;",
        ),
        (
            lines[:42] + lines[41:],
            "row 43, column 'time': 2024-04-02 18:00:00+02:00 is there twice; keep one",
        ),
        (["time,v", *sixes], "leave --timezone out, since on the clocks there the steps are even"),
    ):
        with pytest.raises(InputError) as error:
            read_csv(write(tmp_path, wrong), timezone="Europe/Berlin")
        assert said in str(error.value) and "give --timezone" not in str(error.value)


def test_days_have_no_zone(tmp_path):
    lines = ["day,views", *(f"{day:%Y-%m-%d},1" for day in pd.date_range("2024-03-20", periods=30))]
    series = read_csv(write(tmp_path, lines), timezone="Europe/Berlin")
    assert series.index.freqstr == "D" and "zone" not in series.attrs


@pytest.mark.parametrize("timezone", [None, "Europe/Berlin"])
def test_midnights_of_a_place_whose_clocks_change_are_days(tmp_path, timezone):
    midnights = pd.date_range("2024-03-01", periods=60, freq="D", tz="Europe/Berlin")
    assert midnights[0].utcoffset() != midnights[-1].utcoffset()
    lines = [f"{midnight.isoformat()},{row}" for row, midnight in enumerate(midnights)]
    series = read_csv(write(tmp_path, ["time,v", *lines]), timezone=timezone)
    assert list(series.index) == list(pd.date_range("2024-03-01", periods=60, freq="D"))
    assert series.index.freqstr == "D"
    later = read_csv(write(tmp_path, ["time,v", *lines[40:]]), timezone=timezone)  # all after the change: the same days
    assert list(later.index) == list(series.index[40:])


def test_wrong_zone_and_an_hour_that_never_was(tmp_path):
    lines = [f"2024-03-31 0{hour}:00,1" for hour in range(5)]
    with pytest.raises(InputError, match="unknown --timezone 'Berlin'"):
        read_csv(write(tmp_path, ["time,v", *lines]), timezone="Berlin")
    with pytest.raises(InputError, match="row 4, column 'time': clocks in Europe/Berlin skip 2024-03-31 02:00:00"):
        read_csv(write(tmp_path, ["time,v", *lines]), timezone="Europe/Berlin")


# --- frequencies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "row", "words"),
    [("h", "D", 22, "1 days apart, before it 01:00:00"), ("D", "h", 22, "01:00:00 apart, before it 1 days"),
     ("15min", "h", 22, "01:00:00 apart, before it 00:15:00")],
)  # fmt: skip
@pytest.mark.parametrize("longer", [0, 200])
def test_mixed_frequency_is_named_where_it_changes(tmp_path, first, second, row, words, longer):
    one = pd.date_range("2024-01-01", periods=20, freq=first)
    two = pd.date_range(one[-1], periods=20 + longer, freq=second)[1:]
    lines = ["time,views", *(f"{time},1" for time in one.append(two))]
    message = complaint(tmp_path, lines)
    assert f"row {row}, column 'time': from {two[0]} on the times are {words}" in message


def test_months_days_of_work_and_gaps_are_no_mixture(tmp_path):
    for index in (
        pd.date_range("2015-01-31", periods=80, freq="ME"), pd.date_range("1900-01-01", periods=40, freq="YS"),
        pd.date_range("2000-01-01", periods=40, freq="QS"),
    ):  # fmt: skip
        assert len(read_csv(write(tmp_path, ["time,v", *(f"{time},1" for time in index)]))) == len(index)
    workdays = pd.date_range("2024-01-01", periods=60, freq="B")
    lines = ["time,v", *(f"{time},1" for time in workdays)]
    series = read_csv(write(tmp_path, lines))
    assert series.index.freqstr == "B" and list(series.index) == list(workdays) and season(series) == 5
    del lines[3]  # a holiday
    assert "row 4, column 'time': the time 2024-01-03 00:00:00 before it is missing" in complaint(tmp_path, lines)
    assert len(read_csv(write(tmp_path, lines), fill="ffill")) == 60
    saturday = [*lines[:5], "2024-01-06,1", *lines[5:]]  # a day of work among days: the other weekends are gaps
    assert "2024-01-03 00:00:00 before it is missing (and 21 more)" in complaint(tmp_path, saturday)


@pytest.mark.parametrize(
    ("times", "day", "next_time"),
    [
        (pd.date_range("2015-01-31", periods=8, freq="ME").strftime("%Y-%m-%d"), "end", "2015-09-30"),
        (pd.date_range("2015-01-01", periods=8, freq="MS").strftime("%Y-%m-%d"), "start", "2015-09-01"),
        (pd.date_range("2015-01-01", periods=8, freq="QS").strftime("%Y-%m-%d"), "start", "2017-01-01"),
        (pd.date_range("2015-12-31", periods=8, freq="YE").strftime("%Y-%m-%d"), "end", "2023-12-31"),
        (pd.date_range("2015-01-15", periods=8, freq="MS").strftime("%Y-%m-15"), None, "2015-10"),
        (pd.date_range("2015-01-01", periods=8, freq="MS").strftime("%Y-%m"), None, "2015-09"),
        ([str(year) for year in range(2015, 2023)], None, "2023"),
        ([str(year) for year in range(2021, 2025)], None, "2025"),
        (["2021-07-01", "2021-08-01", "2021-09-01", "2021-10-01"], "start", "2021-11-01"),
    ],
)  # fmt: skip
def test_periods_are_written_as_the_file_has_them(tmp_path, times, day, next_time):
    series = read_csv(write(tmp_path, ["time,v", *(f"{time},1" for time in times)]))
    assert series.attrs.get("day") == day
    assert stamps(extended(series.index, 1), series.attrs)[-1] == next_time
    if day or len(times[0]) < 8:
        assert stamps(series.index, series.attrs) == list(times)


# --- what is known ahead --------------------------------------------------------------------------------------------


def ahead(**changed: str) -> list[str]:
    """Ten days with a holiday and a temperature, the last three without views; r5=... as `hourly`."""
    days = pd.date_range("2024-01-01", periods=10)
    lines = ["day,views,holiday,degrees"]
    for n, day in enumerate(days):
        lines.append(f"{day:%Y-%m-%d},{n if n < 7 else ''},{'None' if n % 4 else 'Feast'},{n / 2}")
    for key, line in changed.items():
        lines[int(key[1:]) - 1] = line
    return lines


def test_known_ahead(tmp_path):
    path = write(tmp_path, ahead())
    with pytest.raises(InputError, match="row 9, column 'views': no value"):
        read_csv(path, "views")
    series = read_csv(path, "views", ahead=True)
    known = read_known(path, ["degrees", "holiday"], series)
    assert len(series) == 7 and len(known) == 10 and known.index.freqstr == "D"
    assert known["degrees"].tolist() == [n / 2 for n in range(10)]
    assert known["holiday"].tolist() == ["Feast", "None", "None", "None"] * 2 + ["Feast", "None"]  # None is a word here
    # a hole before the end is still one
    with pytest.raises(InputError, match="row 4, column 'views': no value"):
        read_csv(write(tmp_path, ahead(r4="2024-01-03,,None,1")), "views", ahead=True)


@pytest.mark.parametrize(
    ("lines", "columns", "part"),
    [
        (ahead(), ["holidays"], "unknown column 'holidays'; did you mean holiday"),
        (ahead(), ["views"], "column 'views' is the time or the target"),
        (ahead(r9="2024-01-08,,None,"), ["degrees"], "row 9, column 'degrees': no value, though known ahead"),
        (ahead(r9="2024-01-08,,None,hot"), ["degrees"], "row 9, column 'degrees': 'hot' is not a number"),
        (ahead(r9="2024-01-08,,None,inf"), ["degrees"], "row 9, column 'degrees': 'inf' is not finite"),
        (ahead(r3="2024-01-02,1,None,1e200"), ["degrees"], "row 3, column 'degrees': '1e200' is too large"),
    ],
)
def test_known_ahead_refused(tmp_path, lines, columns, part):
    path = write(tmp_path, lines)
    with pytest.raises(InputError, match=part):
        read_known(path, columns, read_csv(path, "views", ahead=True))


def test_known_ahead_filled(tmp_path):
    path = write(tmp_path, ahead(r9="2024-01-08,,,"))
    series = read_csv(path, "views", ahead=True)
    known = read_known(path, ["degrees", "holiday"], series, fill="ffill")
    assert known["degrees"].iloc[7] == 3.0 and known["holiday"].iloc[7] == "None"
