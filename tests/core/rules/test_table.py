"""Rows become series, or are refused with their row and column; nothing is guessed."""

import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, Point, Series
from tocsin.core.rules import table

SECOND = 1_000_000
HOUR = 3_600 * SECOND
NOON = 1_795_003_200 * SECOND  # 2026-11-18 12:00 UTC
WIDE = 1_000_000 * HOUR


def an_ask(since: int = NOON - HOUR, until: int = NOON, zone: str = "UTC") -> Ask:
    return Ask(name="q", query="", since=since, until=until, zone=zone)


def read(columns, *rows, **asked):
    return table.read(an_ask(**asked), columns.split(), rows)


def test_a_row_without_a_moment_is_the_last_point_of_its_window():
    assert read("value", (7,)) == (Series(labels={}, points=(Point(NOON - 1, 7.0),)),)


def test_rows_become_series_by_their_labels_in_the_order_of_time():
    answer = read(
        "region at VALUE shop",
        ("us", NOON // SECOND - 60, 1, None),
        ("eu", NOON // SECOND - 10, 2, "a"),
        ("us", NOON // SECOND - 90, 3, None),
    )

    assert answer == (
        Series(labels={"region": "eu", "shop": "a"}, points=(Point(NOON - 10 * SECOND, 2.0),)),
        Series(
            labels={"region": "us", "shop": ""},
            points=(Point(NOON - 90 * SECOND, 3.0), Point(NOON - 60 * SECOND, 1.0)),
        ),
    )


def test_no_rows_are_no_series():
    assert read("value") == ()


def test_a_window_has_its_beginning_and_not_its_end():
    (series,) = table.read(
        an_ask(),
        ["at", "value"],
        [(moment(at), 1) for at in (NOON - HOUR - 1, NOON - HOUR, NOON - 1, NOON)],
    )

    assert [point.at for point in series.points] == [NOON - HOUR, NOON - 1]


def moment(at: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at)


@pytest.mark.parametrize("name", ["at", "time", "ts", "AT", "Time", "tS"])
def test_a_moment_has_one_of_three_names_in_any_case(name):
    (series,) = read(f"{name} value", (NOON // SECOND - 1, 1))

    assert series == Series(labels={}, points=(Point(NOON - SECOND, 1.0),))


@pytest.mark.parametrize(
    ("said", "at"),
    [
        (datetime(2026, 11, 18, 11), NOON - HOUR),
        (datetime(2026, 11, 18, 11, tzinfo=UTC), NOON - HOUR),
        (datetime(2026, 11, 18, 12, tzinfo=timezone(timedelta(hours=1))), NOON - HOUR),
        (datetime(2026, 11, 18, 11, 0, 0, 1), NOON - HOUR + 1),
        (date(2026, 11, 18), NOON - 13 * HOUR),  # midnight in Berlin
        ("2026-11-18", NOON - 13 * HOUR),
        ("2026-11-18 11:00:00", NOON - HOUR),
        ("2026-11-18T11:00:00Z", NOON - HOUR),
        ("2026-11-18T12:00:00.5+01:00", NOON - HOUR + SECOND // 2),
        (1_795_003_199, NOON - SECOND),
        (1_795_003_199.25, NOON - 3 * SECOND // 4),
        (1_795_003_199_250, NOON - 3 * SECOND // 4),
        (1_795_003_199_250.0, NOON - 3 * SECOND // 4),
        (Decimal("1795003199.25"), NOON - 3 * SECOND // 4),
    ],
)
def test_a_moment_may_be_said_in_several_ways(said, at):
    (series,) = read("at value", (said, 1), since=NOON - 24 * HOUR, zone="Europe/Berlin")

    assert series.points == (Point(at, 1.0),)


@pytest.mark.parametrize(
    ("day", "zone", "at"),
    [
        ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z"),  # summer begins on this day, at 2
        ("2026-03-30", "Europe/Berlin", "2026-03-29T22:00:00Z"),
        ("2026-10-25", "Europe/Berlin", "2026-10-24T22:00:00Z"),
        ("2026-10-26", "Europe/Berlin", "2026-10-25T23:00:00Z"),
        ("2018-11-04", "America/Sao_Paulo", "2018-11-04T03:00:00Z"),  # no midnight there: the clocks skip it
        ("2026-11-18", "Pacific/Kiritimati", "2026-11-17T10:00:00Z"),
    ],
)
def test_a_date_is_midnight_of_its_zone_also_when_the_clocks_change(day, zone, at):
    for said in (day, date.fromisoformat(day)):
        (series,) = read("at value", (said, 1), since=0, until=WIDE, zone=zone)

        assert series.points == (Point(int(datetime.fromisoformat(at).timestamp()) * SECOND, 1.0),)


@pytest.mark.parametrize(
    "said",
    ["", "yesterday", "1795003199", "2026-13-01", "2026-11-18x", "20261118", None, True, math.nan, math.inf, b"x",
     Decimal("NaN"), Decimal("1E+1000000"), "2026-W47-3", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))).isoformat() + "9"],
)  # fmt: skip
def test_what_is_no_moment_is_refused_with_its_row(said):
    with pytest.raises(Invalid, match="moment of row 2 cannot be read"):
        read("at value", (NOON // SECOND - 1, 1), (said, 1))


@pytest.mark.parametrize("said", [10**40, -(10**40), 1e300, datetime.max, datetime.min, date.min, date.max])
def test_a_moment_far_away_is_outside_of_the_window(said):
    assert read("at value", (said, 1)) == ()


@pytest.mark.parametrize("said", [None, math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("-Infinity")])
def test_what_is_not_finite_is_no_point_and_its_moment_does_not_matter(said):
    assert read("at value", (None, said)) == ()


@pytest.mark.parametrize(
    ("said", "value"), [(5, 5.0), (-0.5, -0.5), (Decimal("2.25"), 2.25), (0, 0.0), (2**70, 2.0**70)]
)
def test_numbers_of_all_kinds_are_taken(said, value):
    ((point,),) = [series.points for series in read("value", (said,))]

    assert type(point.value) is float
    assert point.value == value


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("5", "no number, but text"),
        (True, "true or false"),
        (b"5", "no number, but bytes"),
        ([5], "no number, but list"),
        (10**400, "larger than any"),
        (Decimal("1E+400"), "larger than any"),
    ],
)
def test_what_is_no_number_is_refused_with_its_row_and_without_itself(said, why):
    with pytest.raises(Invalid, match=rf"value of row 2 is {why}|value of row 2 is .*{why}") as refused:
        read("region value", ("eu", 1), ("us", said))

    assert "000000" not in str(refused.value)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ("amount region", "No column is called `value`. There are: amount, region."),
        ("value Value", "same name"),
        ("value a a", "same name"),
        ("at value time", "Several columns say when: at, time"),
        ("value " + "x" * 257, "Every column needs a name"),
        (" ".join(["value", *(f"c{n}" for n in range(64))]), "65 columns; at most 64"),
    ],
)
def test_columns_that_are_unclear_are_refused_also_without_rows(columns, why):
    with pytest.raises(Invalid) as refused:
        read(columns)

    assert why in str(refused.value)


def test_a_column_without_a_name_is_refused():
    with pytest.raises(Invalid, match="Every column needs a name"):
        table.read(an_ask(), ["value", ""], [])


@pytest.mark.parametrize(
    ("said", "label"),
    [
        ("as it is: <b>ä\x00\u202e</b>", "as it is: <b>ä\x00\u202e</b>"),
        (" eu ", " eu "),
        ("", ""),
        (None, ""),
        (7, "7"),
        (-7, "-7"),
        (True, "true"),
        (Decimal("7.00"), "7"),
        (date(2026, 11, 18), "2026-11-18"),
        (datetime(2026, 11, 18, 9, tzinfo=UTC), "2026-11-18T09:00:00+00:00"),
        ("x" * 256, "x" * 256),
    ],
)
def test_labels_are_written_plainly(said, label):
    assert [series.labels for series in read("it value", (said, 1))] == [{"it": label}]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (0.1, "fractions"),
        (7.0, "fractions"),
        (Decimal("0.1"), "fractions"),
        (Decimal("1E+1000000"), "fractions"),
        (10**4000, "fractions"),
        (b"eu", "holds bytes"),
        (["eu"], "holds list"),
        ("x" * 257, "257 characters"),
    ],
)
def test_what_has_no_one_way_to_be_written_is_no_label(said, why):
    with pytest.raises(Invalid, match=why) as refused:
        read("it value", (said, 1))

    assert "'it'" in str(refused.value)
    assert len(str(refused.value)) < 300


def test_two_rows_of_the_same_labels_and_moment_are_refused_by_name():
    with pytest.raises(Invalid, match=r"region='eu' at the same moment \(2026-11-18T11:59:59"):
        read("region at value", ("eu", NOON // SECOND - 1, 1), ("eu", NOON // SECOND - 1, 1))
    with pytest.raises(Invalid, match="region='eu', and no column `at`"):
        read("region value", ("eu", 1), ("eu", 2))
    with pytest.raises(Invalid, match="no labels, and no column `at`"):
        read("value", (1,), (2,))


def test_labels_that_look_the_same_when_written_are_the_same():
    with pytest.raises(Invalid, match="it='7'"):
        read("it value", ("7", 1), (7, 2))


CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.decimals(), st.dates(), st.datetimes(),
    st.datetimes(timezones=st.timezones()), st.lists(st.integers(), max_size=2),
)  # fmt: skip


@given(
    columns=st.lists(st.sampled_from(["value", "at", "time", "region", "", "Value", "x"]), max_size=4),
    rows=st.lists(st.lists(CELLS, min_size=4, max_size=4), max_size=4),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Sao_Paulo"]),
)
def test_whatever_comes_is_read_or_refused(columns, rows, zone):
    ask = an_ask(since=-WIDE, until=WIDE, zone=zone)
    try:
        answer = table.read(ask, columns, [row[: len(columns)] for row in rows])
        said = ""
    except Invalid as refused:
        answer, said = (), str(refused)
    assert len(said) < 900
    for series in answer:
        assert series.points == tuple(sorted(series.points))
        assert all(ask.since <= p.at < ask.until and math.isfinite(p.value) for p in series.points)
        assert all(isinstance(text, str) and len(text) <= 256 for text in series.labels.values())


@given(
    rows=st.lists(
        st.tuples(st.integers(0, 20), st.sampled_from("ab"), st.integers(-5, 5)),
        unique_by=lambda row: row[:2],
    )
)
def test_the_order_of_rows_does_not_matter(rows):
    ask = an_ask(since=0, until=WIDE)

    assert table.read(ask, ["at", "it", "value"], rows) == table.read(ask, ["at", "it", "value"], rows[::-1])


HERE, BEFORE = NOON // SECOND - 1, NOON // SECOND - 7200
NAME_IT = "Name it in the query."


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([(BEFORE, 1)], "1 row came and lies outside the window. Name it in the query."),
        ([(BEFORE - n, 1) for n in range(60)], "60 rows came and all lie outside the window. Name it in the query."),
        ([(NOON // SECOND, 1), (BEFORE, None)], "1 row came and lies outside the window. Name it in the query."),
        ([(BEFORE, 1), (HERE, 1)], ""),
        ([(BEFORE, None)], ""),
        ([], ""),
    ],
)  # fmt: skip
def test_rows_that_all_lie_outside_the_window_are_told_if_that_is_a_mistake(rows, said):
    table.read(an_ask(), ["at", "value"], rows)

    try:
        table.read(an_ask(), ["at", "value"], rows, outside=NAME_IT)
        told = ""
    except Invalid as refused:
        told = str(refused)

    assert told == said


def test_several_rows_that_are_wrong_are_told_at_once_in_the_language_of_who_wrote_them():
    language = table.Language(name="N.", number="D.", truth="T.", text="X.", row="line {}")
    rows = [("a", 1), ("a", "x"), (0.5, 1), ("b", True), ("c", 1, 2), ("d", "x")]

    with pytest.raises(Invalid) as refused:
        table.read(
            an_ask(), ["it", "value"], rows, language=language, number_of=lambda n: n + 999, faults_max=4
        )

    assert str(refused.value) == (
        "The value of line 1,001 is no number, but text. D. In line 1,002 the column 'it' holds a number with"
        " fractions, which is no label: the same one may be written in several ways. X. The value of line 1,003 is true"
        " or false. T. Line 1,004 has 3 columns, the header 2. There may be more."
    )


def test_a_label_that_looks_like_our_place_of_a_row_stays_as_it_is():
    with pytest.raises(Invalid, match=r"At row 2 there is a second one with it='\{row\}', and"):
        read("it value", ("{row}", 1), ("{row}", 2))
