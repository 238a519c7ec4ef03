"""Demo rule: a rule of the Alert Center over real numbers, which runs beside the storm.

`weather.csv` beside this file is the weather of Seattle from 2012 to 2015, day by day, as NOAA measured it (public
domain), taken from the package vega_datasets 0.9.0. The demo lets two weeks of it pass, half a second a day.
"""

import csv
from importlib import resources
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

RULE_ID = "heat"
DATABASE = "weather.db"
DAY_S = 0.5
FIRST, LAST = "2015-06-30", "2015-07-13"
LIMIT = 33

CONFIG: dict[str, Any] = {
    "sources": [{"name": "weather", "kind": "sql", "url": f"sqlite:///{DATABASE}"}],
    "rules": [
        {
            "rule_id": RULE_ID,
            "description": "Seattle is hot",
            "source": "weather",
            "query": "SELECT at, high AS value FROM days WHERE at >= :since_epoch AND at < :until_epoch",
            "every": "1s",
            "window": "2s",
            "trigger": {"kind": "threshold", "op": "gte", "value": LIMIT, "reduce": "max"},
            "severity": "warning",
            "scope": {"service": "weather", "city": "Seattle"},
        }
    ],
}


def write_weather(directory: Path, begin: float) -> int:
    """Write the days into a database, the first of them at `begin` (epoch seconds); how many there are."""
    read = csv.DictReader(resources.files("tocsin.cli").joinpath("weather.csv").read_text().splitlines())
    days = [row for row in read if FIRST <= row["date"] <= LAST]
    engine = create_engine(f"sqlite:///{directory / DATABASE}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE days (at REAL, high REAL)"))
        connection.execute(
            text("INSERT INTO days VALUES (:at, :high)"),
            [
                {"at": begin + number * DAY_S, "high": float(day["temp_max_c"])}
                for number, day in enumerate(days)
            ],
        )
    engine.dispose()
    return len(days)


def of_rule(incidents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the incidents that the rule opened."""
    return [one for one in incidents if one["rule_id"] == RULE_ID]


def is_over(incidents: list[dict[str, Any]]) -> bool:
    """Say whether the rule has fired and turned green again."""
    mine = of_rule(incidents)
    return bool(mine) and all(one["state"] == "RESOLVED" for one in mine)
