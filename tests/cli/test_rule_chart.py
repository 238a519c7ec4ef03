"""The chart of a rule's points: as it was looked at, in braille and in ASCII, and never wider than it may be."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.builders import HOUR, MINUTE

from tocsin.cli.rule_chart import chart, sparkline
from tocsin.core.model.rule import Point

BEGIN = 1_799_020_800_000_000
"""2027-01-04, 00:00 UTC."""

WAVE = [Point(BEGIN + n * 5 * MINUTE, 50 + 30 * math.sin(n / 8)) for n in range(72) if not 30 < n < 40]


def drawn(*, unicode: bool) -> str:
    lines = chart(
        WAVE,
        [70.0],
        since=BEGIN,
        until=BEGIN + 6 * HOUR,
        zone="Europe/Berlin",
        unicode=unicode,
        width=56,
        height=8,
    )
    return "\n".join(lines)


def test_points_and_the_limit_are_drawn_in_braille() -> None:
    assert drawn(unicode=True) == BRAILLE


@pytest.mark.parametrize(
    ("values", "line", "plain"),
    [
        ([0, 50, 100], "▁▅█", "_-^"),
        ([7, 7, 7], "▄▄▄", "---"),
        ([-1.7e308, 0, 1.7e308], "▁▅█", "_-^"),
        ([1, 2], "", ""),
        ([], "", ""),
    ],
)
def test_a_line_of_points_goes_from_the_lowest_to_the_highest(
    values: list[float], line: str, plain: str
) -> None:
    assert sparkline(values) == line
    assert sparkline(values, unicode=False) == plain


def test_where_there_is_no_unicode_stars_will_do() -> None:
    assert drawn(unicode=False) == STARS
    assert drawn(unicode=False).isascii()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_of_fewer_than_three_points_there_is_no_chart(count: int) -> None:
    assert chart(WAVE[:count], [1.0], since=BEGIN, until=BEGIN + HOUR, zone="UTC") == []


def test_points_that_are_all_the_same_stand_in_the_middle() -> None:
    points = [Point(at, 3.0) for at in (0, 1, 2)]
    lines = chart(points, [], since=0, until=HOUR, zone="UTC", unicode=False, width=32, height=3)

    assert lines == [
        "  |",
        "3 +*",
        "  |",
        "  +-----------------------------",
        "   00:00     00:30 UTC     01:00",
    ]


def test_a_trend_is_drawn_behind_the_points() -> None:
    points = [Point(at * HOUR // 10, float(at)) for at in (0, 1, 2, 8, 9, 10)]
    lines = chart(
        points, [], since=0, until=HOUR, zone="UTC", trend=(10.0, -10.0), unicode=False, width=30, height=5
    )

    assert lines[:5] == TREND


@pytest.mark.parametrize(
    ("width", "said"),
    [(80, "04:00 Europe/Berlin"), (36, "Europe/Berlin"), (26, "04:00")],
)
def test_the_axis_names_its_zone_where_there_is_room(width: int, said: str) -> None:
    lines = chart(WAVE, [], since=BEGIN, until=BEGIN + 6 * HOUR, zone="Europe/Berlin", width=width)

    begin, *middle, end = lines[-1].split()
    assert (begin, " ".join(middle), end) == ("01:00", said, "07:00")
    assert all(len(line) <= width for line in lines)


BRAILLE = """79.99 ┤     ⣀⠔⠉⠉⠉⠒⢢                           ⣀⠔⠊⠉⠉⠒⠢⡀
   70 ┤╌╌╌⡠⠊╌╌╌╌╌╌╌⠑⢢╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌⡠⠊╌╌╌╌╌╌╌⠈⢢╌
      │ ⢀⠎           ⠣⡀                    ⡜           ⠁
      │⡰⠁             ⠘⢄                 ⡰⠉
      │⠁                ⠣⡀             ⢀⠔⠁
      │                  ⠈⢆           ⡠⠊
      │                   ⠈⠂        ⢀⡰⠁
21.23 ┤                           ⡠⠔⠁
      └─────────────────────────────────────────────────
       01:00          04:00 Europe/Berlin          07:00"""

STARS = """79.99 +      *****                             ******
   70 +---***-----***------------------------**------**-
      |  *           *                     **          *
      |**             **                 **
      |*                **              **
      |                   *           **
      |                    *        **
21.23 +                           **
      +-------------------------------------------------
       01:00          04:00 Europe/Berlin          07:00"""

TREND = [
    "10 +--                    ****",
    "   |  ---               **",
    "   |     ---",
    "   |    **  ---",
    " 0 +****       --",
]
"""It goes on below what is drawn."""

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    values=st.lists(st.tuples(st.integers(0, 2 * HOUR), NUMBERS), min_size=3, max_size=40),
    trend=st.none() | st.tuples(NUMBERS, NUMBERS),
    limits=st.lists(NUMBERS, max_size=4),
    unicode=st.booleans(),
)
def test_whatever_the_numbers_are_it_is_as_high_and_wide_as_it_may_be(
    values: list[tuple[int, float]],
    limits: list[float],
    trend: tuple[float, float] | None,
    unicode: bool,
) -> None:
    points = [Point(BEGIN + at, value) for at, value in sorted(values)]

    lines = chart(
        points,
        limits,
        since=BEGIN,
        until=BEGIN + HOUR,
        zone="America/St_Johns",
        trend=trend,
        unicode=unicode,
    )

    assert len(lines) == 12
    assert all(len(line) <= 80 for line in lines)
    assert any(
        mark in line
        for line in lines[:10]
        for mark in ("*" if not unicode else map(chr, range(0x2801, 0x2900)))
    )


@pytest.mark.parametrize(("hours", "form"), [(24, "01:00"), (25, "01-04 01:00")])
def test_times_have_their_day_where_there_is_more_than_one(hours: int, form: str) -> None:
    lines = chart(WAVE, [], since=BEGIN, until=BEGIN + hours * HOUR, zone="Europe/Berlin")

    assert lines[-1].strip().startswith(form)
