"""Of what others say only a short line is shown, without what must stay hidden."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.rules import foreign


@pytest.mark.parametrize(
    ("text", "hide", "shown"),
    [
        ("plain", (), "plain"),
        ("", (), ""),
        ("\n\n  second  line \n third", (), "second line"),
        ("a\tb\x1b[31mred\u202e", (), "a b [31mred"),
        ("for user anna with geheim", ("geheim",), "for user anna with ***"),
        ("geheim2 and geheim", ("geheim", "geheim2"), "*** and ***"),
        ("nothing hidden", ("",), "nothing hidden"),
        ("x" * 300, (), "x" * 199 + "…"),
    ],
)
def test_one_short_line_is_left(text, hide, shown):
    assert foreign.one_line(text, hide) == shown


def test_a_secret_that_the_cut_would_split_is_hidden_whole():
    assert "gehe" not in foreign.one_line("x" * 195 + "geheim", ("geheim",))


@given(text=st.text(), secret=st.text(min_size=4).filter(lambda one: "*" not in one))
def test_a_secret_is_never_in_it(text, secret):
    shown = foreign.one_line(f"{text}{secret}{text}", (secret,))

    assert secret not in shown
    assert len(shown) <= 200
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unable to open database file", "unable to open database file."),
        ("No such file or directory.\nmore", "No such file or directory."),
        ("not found!", "not found."),
        ("so it is...", "so it is."),
        ("Is the server running?", "Is the server running?"),
        ("x" * 300, "x" * 199 + "…"),
        ("", "nothing is said about it."),
        ("\n:\n", "nothing is said about it."),
    ],
)
def test_a_sentence_of_others_ends_as_ours_do(text, shown):
    assert foreign.sentence(text) == shown


@given(st.text())
def test_a_sentence_ends_with_one_mark(text):
    assert re.fullmatch(r".*[^ .!:;,][.]|.*[?…]", foreign.sentence(text))


def test_names_are_few_short_and_printable():
    assert foreign.names(["a", "", "b\x1b[31m\u202e", "c" * 50]) == f'a, "", b\ufffd[31m\ufffd, {"c" * 40}'
    assert foreign.names(map(str, range(99))).count(",") == 19
    assert foreign.names([]) == ""
