"""The report of the long form says what was done, and never that something was done which was not."""

import json

import pytest
from tests.reliability.weather import ALIASES, ROWS, delay_ms, read, table


def notes() -> list[str]:
    """One note for each row, and a fault."""
    names = {row: name for name, row in ALIASES}
    lines = [
        json.dumps({"what": names.get(begin, begin), **{key: 1_000 for key, _ in counts}})
        for _, begin, counts in ROWS
    ]
    return [*lines, json.dumps({"what": "faults in stories", "commit failed": 7})]


def test_what_tests_note_is_added_up() -> None:
    said = table(
        read(
            [*notes(), json.dumps({"what": "kills", "kills": 25}), json.dumps({"what": "kills", "kills": 25})]
        )
    )

    assert "| `kill -9` under load | 1,050 kills, 1,000 alerts answered" in said
    assert "| commit failed | 7 |" in said


def test_variants_of_a_row_belong_to_it() -> None:
    said = table(
        read(
            [
                *notes(),
                json.dumps({"what": "network webhook drip", "alerts": 5}),
                json.dumps({"what": "hostile SMTP answers", "answers": 3}),
            ]
        )
    )

    assert "1,005 alerts" in said
    assert "| Hostile answers of receivers | 1,003 answers |" in said


@pytest.mark.parametrize("row", range(len(ROWS)))
def test_a_row_of_which_nothing_was_noted_is_no_report(row: int) -> None:
    lines = notes()
    del lines[row]

    with pytest.raises(ValueError, match="Nothing was noted"):
        table(read(lines))


@pytest.mark.parametrize(
    ("alone", "holes", "said"), [(9.5, 1_009.5, 1_000), (9.5, 12.1, 3), (9.5, 9.6, 1), (16.7, 9.2, 1)]
)
def test_what_black_holes_add_at_p99_is_rounded_up(alone: float, holes: float, said: int) -> None:
    assert delay_ms(json.dumps({"p99_ms": {"alone": alone, "holes": holes}, "missing": 0})) == said


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"p99_ms": {"alone": 9.5, "holes": 1_009.6}, "missing": 0}, "add 1,000 ms at p99"),
        ({"p99_ms": {"alone": 9.5, "holes": 12.1}, "missing": 1}, "1 alerts never arrived"),
        ({"p99_ms": {"alone": 9.5}, "missing": 0}, "or none did"),
    ],
)
def test_black_holes_that_hold_up_others_are_no_report(found: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        delay_ms(json.dumps(found))
