"""How answers look: whole at 80 columns, plain whatever stands in them, and saying what is known and no more."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.cli import answered
from tests.cli.answered import EVIL, delivery, incident

from tocsin.cli.actions import exit_code, show_one
from tocsin.cli.deliveries import _show as show_delivery
from tocsin.cli.deliveries import _table as deliveries_table
from tocsin.cli.detail import show_detail
from tocsin.cli.listing import incidents_table
from tocsin.cli.policy import _show_diff as show_diff
from tocsin.cli.replay import show_replay
from tocsin.cli.show import console
from tocsin.cli.silences_show import show_preview, show_silence, silences_table
from tocsin.cli.stats import show_stats
from tocsin.cli.why import show_why


def printed(made: Any) -> None:
    console().print(made)


ATTEMPTED = delivery(
    decided_at=answered.AT, attempts=[{"attempt": 1, "at": answered.AT, "outcome": "retry", "why": EVIL}]
)
LENGTHS = {
    "from": 1,
    "to": 2,
    "changes": [
        {"path": "keep", "before": 0, "after": 34_560_000_000_000},
        {"path": "retries.steps", "before": [1_000_000, 90_000_000], "after": None},
        {"path": "routes[a.b].group_wait", "before": 30_000_000, "after": None},
        {"path": "routes[keep].greens", "before": 3, "after": 300},
        {"path": "rate_limit", "before": None, "after": {"limit": 10, "window": 3_600_000_000}},
    ],
}
CHANGES = {"from": 1, "to": 2, "changes": [{"path": f"routes.{EVIL}", "before": None, "after": [EVIL] * 9}]}

PAGES: list[tuple[str, Callable[[], None], list[str]]] = [
    ("list", lambda: printed(incidents_table([incident()])), ["42", "SILENCED", "12 of 112"]),
    ("one", lambda: show_detail(answered.DETAIL), ["generation", "it came back", "before it", "#41", "Notes", "(erased)", "formula last = 97 > 90", "limit 90", "window 2026-03-04 12:00:00 to", "▁▅█ 1 to 97"]),
    ("acted", lambda: show_one(incident(changed=False), "silenced", "table"), ["was so already: silenced"]),
    ("why", lambda: show_why(answered.WHY), ["number 4 of 10 in 1h", "not told", "everybody: updated", "3 counted repeats", "says 97 %", "formula last = 97 > 90"]),
    ("replay", lambda: show_replay(answered.REPLAY), ["would send", "already told", "3 matched", "--force"]),
    ("deliveries", lambda: printed(deliveries_table([delivery(), delivery(incident_number=None)])), ["7001", "#42", "dead"]),
    ("delivery", lambda: show_delivery(ATTEMPTED, "table"), ["given up", "retry"]),
    ("silences", lambda: printed(silences_table([answered.SILENCE], [answered.MAINTENANCE])), ["S3", "M2", "recurs"]),
    ("no silences", lambda: printed(silences_table([], [])), ["none"]),
    ("silence", lambda: show_silence(answered.SILENCE), ["S3 is active", "tocsin unsilence S3"]),
    ("maintenance", lambda: show_silence(answered.MAINTENANCE), ["M2 comes back", "Europe/Berlin", "unsilence M2"]),
    ("preview", lambda: show_preview(answered.PREVIEW), ["PREVIEW", "25 alerts in 25 incidents", "everything", "and 15 more", "and 21 more"]),
    ("stats", lambda: show_stats(answered.STATS), ["130 incidents", "1m 2s", "and 5 more rules"]),
    (
        "lengths",
        lambda: show_diff(LENGTHS),
        ['- "0s"', '+ "400d"', '- ["1s", "1m30s"]', '- "30s"', "- 3", '+ {"limit": 10, "window": "1h"}'],
    ),
    ("diff", lambda: show_diff(CHANGES), ["Policy version 1 to 2", "+ ["]),
]  # fmt: skip


@pytest.mark.parametrize(("show", "said"), [page[1:] for page in PAGES], ids=[page[0] for page in PAGES])
def test_a_page_fits_80_columns_and_nothing_in_it_acts(
    show: Callable[[], None],
    said: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    show()

    page = capsys.readouterr().out
    assert max(map(len, page.splitlines())) <= 80
    assert not set(page) & {"\x1b", "\u202e", "\x07"}
    words = " ".join(page.split())
    for what in said:
        assert what in words, page


@pytest.mark.parametrize("page", ["list", "why", "stats"])
def test_without_colours_nothing_but_text_is_written(
    page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    show = next(show for name, show, _ in PAGES if name == page)

    show()
    assert "\x1b[" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    show()
    colours = [part.partition("m")[0] for part in capsys.readouterr().out.split("\x1b[")[1:]]
    assert {code for part in colours for code in part.split(";")} <= {"0", "1", "2"}


def test_who_could_not_be_told_stands_in_front_of_the_title(capsys: pytest.CaptureFixture[str]) -> None:
    printed(incidents_table([incident(dead=2, failing=0), incident(43)]))

    first, second = capsys.readouterr().out.splitlines()[1:]
    assert "! 2 not told: " in first
    assert "!" not in second


def test_a_long_record_is_shortened_in_its_middle_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    steps = [answered.WHY["steps"][0] | {"seq": seq} for seq in range(60)]  # type: ignore[index]

    show_why(answered.WHY | {"steps": steps})
    short = capsys.readouterr().out
    show_why(answered.WHY | {"steps": steps}, shows_all=True)
    whole = capsys.readouterr().out

    assert "20 steps left out" in short
    assert "entry 4" in short
    assert "entry 5\n" not in short
    assert "entry 59" in short
    assert all(f"entry {seq}" in whole for seq in range(60))


OUTCOMES: list[tuple[list[str], int]] = [
    ([], 0),
    (["changed", "unchanged"], 0),
    (["unchanged"], 0),
    (["changed", "conflict"], 8),
    (["unchanged", "not_found"], 8),
    (["conflict", "conflict"], 4),
    (["conflict", "not_found"], 4),
    (["not_found"], 3),
]


@pytest.mark.parametrize(("outcomes", "code"), OUTCOMES)
def test_several_incidents_have_one_exit_code(outcomes: list[str], code: int) -> None:
    assert exit_code(outcomes) == code
