"""Real data: four years of weather in Seattle, as `src/tocsin/cli/weather.csv` has it (NOAA, public domain)."""

import csv
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

DAY_S = 86_400


def days() -> Iterator[tuple[int, float, float]]:
    """Give (epoch seconds of its noon, precipitation in mm, highest temperature in °C) of each day."""
    text = resources.files("tocsin.cli").joinpath("weather.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        noon = datetime.fromisoformat(row["date"]).replace(hour=12, tzinfo=UTC)
        yield int(noon.timestamp()), float(row["precipitation_mm"]), float(row["temp_max_c"])


def write_sqlite(path: Path) -> None:
    """Write all of it into a database."""
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("CREATE TABLE weather (at INTEGER, rain REAL, high REAL)")
        connection.executemany("INSERT INTO weather VALUES (?, ?, ?)", days())
    connection.close()


def openmetrics() -> Iterator[str]:
    """Give all of it as Prometheus reads it."""
    yield "# TYPE high gauge"
    for at, _, high in days():
        yield f'high{{city="Seattle"}} {high} {at}'
