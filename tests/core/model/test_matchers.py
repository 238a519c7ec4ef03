"""Matchers in text: every one can be written, and read again as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.core.model.errors import Invalid
from tocsin.core.model.silence import Matcher, MatchOp, parse_matcher, show_matcher


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ("host=db-1", ("host", "=", "db-1")),
        ("host!=db-1", ("host", "!=", "db-1")),
        ('host =~ "db-.*"', ("host", "=~", "db-.*")),
        ("host!~db", ("host", "!~", "db")),
        ("host=", ("host", "=", "")),
        ("q=a=b", ("q", "=", "a=b")),
        ('"a=b"=c', ("a=b", "=", "c")),
        ('" a\\u2603"=c', (" a\u2603", "=", "c")),
        (r'path=~"C:\\.*"', ("path", "=~", r"C:\\.*")),
        ('said=""quoted""', ("said", "=", '"quoted"')),
        ("two words = a b ", ("two words", "=", "a b")),
        ("lines=a\nb", ("lines", "=", "a\nb")),
    ],
)
def test_a_matcher_is_read(text: str, matcher: tuple[str, str, str]):
    assert parse_matcher(text) == Matcher(name=matcher[0], op=MatchOp(matcher[1]), value=matcher[2])


@pytest.mark.parametrize("text", ["host", "=db", "host!db", "", "!", '""=a', '"a=b', '"\\x"=a'])
def test_what_is_no_matcher_is_refused_by_its_text(text: str):
    with pytest.raises(Invalid, match="Write name=value"):
        parse_matcher(text)


@pytest.mark.parametrize(
    ("matcher", "text"),
    [
        (Matcher(name="host", value="db-1"), "host=db-1"),
        (Matcher(name="host", value=""), 'host=""'),
        (Matcher(name="host", value=" x"), 'host=" x"'),
        (Matcher(name="host", value="~x"), 'host="~x"'),
        (Matcher(name="host", op=MatchOp.MATCHES, value=".*"), "host=~.*"),
        (Matcher(name="a=b", value="c"), '"a=b"=c'),
    ],
)
def test_a_matcher_is_written_with_as_few_quotes_as_will_do(matcher: Matcher, text: str):
    assert show_matcher(matcher) == text


words = st.text(st.one_of(st.sampled_from('="!~ \n\t\\a#\x00'), st.characters(exclude_categories=["Cs"])))


@given(words.filter(bool), st.sampled_from(MatchOp), words)
def test_what_is_written_is_read_as_the_same(name: str, op: MatchOp, value: str):
    matcher = Matcher(name=name, op=op, value=value)

    assert parse_matcher(show_matcher(matcher)) == matcher
