"""Nothing that an alert says can act on the terminal that shows it."""

import io
import json
import sys
import unicodedata

import pytest

from tocsin.cli.plain import plain, plain_lines
from tocsin.cli.show import console, show_json, table, text

HOSTILE = {
    "a colour": "\x1b[31mred",
    "a window title": "\x1b]0;owned\x07",
    "an answer of the terminal": "\x1b[6n",
    "a C1 control": "\x9b31m",
    "backspaces": "safe\b\b\b\bevil",
    "a carriage return": "all is well\rDISK FULL",
    "right to left override": "photo\u202egnp.exe",
    "an isolate": "\u2066admin\u2069",
    "an invisible space": "ad\u200bmin",
    "tag characters": "x\U000e0041",
    "delete": "a\x7fb",
    "half a surrogate pair": "\ud83d",
    "rich's markup": "[bold red]hm[/]",
    "rich's emoji": ":skull:",
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_text_reaches_a_table_without_anything_that_acts(
    hostile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = console()
    out.file = io.StringIO()
    shown = table("message", wide="message")
    shown.add_row(text(hostile))

    out.print(shown)

    said = out.file.getvalue()
    said.encode()
    acting = [c for c in said if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]
    assert acting == []


def test_what_is_hidden_is_shown() -> None:
    assert plain("photo\u202egnp.exe") == "photo<U+202E>gnp.exe"
    assert plain("\x1b[31mred") == "<U+001B>[31mred"
    assert plain("ad\u3164min") == "ad<U+3164>min"


def test_markup_is_text() -> None:
    out = console()
    out.file = io.StringIO()

    out.print(text("[bold red]hm[/] :skull:"))

    assert out.file.getvalue() == "[bold red]hm[/] :skull:\n"


FAMILY = "👨\u200d👩\u200d👧\u200d👦"


@pytest.mark.parametrize(
    "honest",
    [
        "Überlauf 97 %",
        "ディスク",
        "קובץ",
        "👩‍🚒 fire",
        "a  b",
        f"{FAMILY} {FAMILY}",
        "👩🏽\u200d🚒",
        "🏳️\u200d🌈",
        "e\u0301",
        "שָׁלוֹם",
    ],
)
def test_honest_text_stays_as_it_is(honest: str) -> None:
    assert plain(honest) == honest


def test_a_joiner_that_would_make_a_line_longer_than_it_is_taken_for_is_shown() -> None:
    from rich.cells import cell_len

    assert plain("a\u200db") == "a<U+200D>b"
    assert plain("\u200d") == "<U+200D>"
    assert plain(f"{FAMILY}\u200d👦") == f"{FAMILY}<U+200D>👦"
    assert cell_len(plain("x\u200d" * 100)) >= 100


def test_marks_on_one_letter_are_few() -> None:
    assert plain("Z" + "\u0335" * 800 + "x") == "Z" + "\u0335" * 8 + "<792 more marks>x"
    assert plain("\u0301" * 9) == "\u0301" * 8 + "<1 more marks>"


def test_a_line_break_cannot_begin_a_line_of_its_own() -> None:
    assert plain("one\nError: two\u2028three") == "one Error: two three"
    assert plain_lines("one\ntwo\x1b") == "one\ntwo<U+001B>"


def test_a_long_text_ends_with_an_ellipsis() -> None:
    assert plain("abcdef", 4) == "abc…"
    assert plain("abcd", 4) == "abcd"


def test_json_is_ascii_and_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"hostile": list(HOSTILE.values())}

    show_json(value)

    out = capsys.readouterr().out
    assert out.isascii()
    assert "\x1b" not in out
    assert "\x7f" not in out
    assert json.loads(out) == value


def test_a_terminal_gets_a_table_and_a_pipe_gets_json(monkeypatch: pytest.MonkeyPatch) -> None:
    from tocsin.cli.show import wants_json

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    assert not wants_json(None)
    assert wants_json("json")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert wants_json(None)
    assert not wants_json("table")
