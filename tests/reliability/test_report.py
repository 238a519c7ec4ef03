"""The report of the long form says what was done, and never that something was done which was not."""

import json

import pytest
from tests.reliability.weather import ALIASES, ROWS, read, table


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
