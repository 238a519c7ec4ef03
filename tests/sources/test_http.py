"""Any JSON is read by a path, strictly: what is not where it should be is said, and never taken for nothing."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.asking import HOUR, NOON, SECOND, an_ask, ask
from tests.support.http_sink import HttpSink, Reply

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, Point, Series
from tocsin.core.rules import table
from tocsin.outbound import Outbound
from tocsin.ports import SourceFailed
from tocsin.sources.http import Http, HttpConfig, read_path, rows, select

AT = NOON // SECOND - 60
SHOP = {
    "open": 7,
    "closed": None,
    "name": "shop",
    "on": True,
    "with space": {"a.b": 1},
    "numbers": [1, 2, 3],
    "one": [4],
    "empty": [],
    "items": [
        {"ts": AT, "region": "eu", "value": 1, "share": 0.5, "tags": ["x"], "deep": {"count": 10}},
        {"ts": AT, "region": "us", "value": 2.5, "share": 0.25, "tags": [], "deep": {"count": 20}},
    ],
    "by_name": {"eu": {"value": 1, "it": "a"}, "us": {"value": 2, "it": "b"}},
    "plain": [{"value": 1, "shop": 3, "ok": True, "gone": None}, {"value": None, "shop": 4}],
    "mixed": [1, {"value": 2}],
}


def talk(
    query: str | Ask, *script: Reply, path: str = "/geheim", document: Any = SHOP, **more: Any
) -> tuple[HttpSink, Any]:
    """Ask a server with this script; give it, and the answer or the failure."""
    script = script or (Reply(body=json.dumps(document).encode()),)

    async def run():
        outbound = Outbound(("127.0.0.0/8",))
        try:
            async with HttpSink(*script) as sink:
                config = HttpConfig(**{"name": "shop", "url": sink.url(path), "timeout_s": 5.0} | more)
                try:
                    return sink, await Http(config, outbound).ask(
                        query if isinstance(query, Ask) else an_ask(query)
                    )
                except SourceFailed as failed:
                    return sink, failed
        finally:
            await outbound.close()

    return asyncio.run(run())


def points(query: str, **more: Any) -> list[tuple[dict[str, str], int, float]]:
    _, answer = talk(query, **more)
    assert not isinstance(answer, SourceFailed), answer
    return [(series.labels, point.at, point.value) for series in answer for point in series.points]


END = NOON - 1


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("$.open", [({}, END, 7.0)]),
        ("  $.open  ", [({}, END, 7.0)]),
        ("$.closed", []),
        ("$.empty[*]", []),
        ("$.one[*]", [({}, END, 4.0)]),
        ("$.numbers[1]", [({}, END, 2.0)]),
        ("$['open']", [({}, END, 7.0)]),
        ('$["with space"]["a.b"]', [({}, END, 1.0)]),
        ("$.items[0].deep.count", [({}, END, 10.0)]),
        ("$.items[*] labels=region", [({"region": "eu"}, AT * SECOND, 1.0), ({"region": "us"}, AT * SECOND, 2.5)]),
        ("$.items[*] value=share labels=region", [({"region": "eu"}, AT * SECOND, 0.5), ({"region": "us"}, AT * SECOND, 0.25)]),
        ("$.items[*] value=value at=ts labels=region", [({"region": "eu"}, AT * SECOND, 1.0), ({"region": "us"}, AT * SECOND, 2.5)]),
        ("$.items[0] labels=", [({}, AT * SECOND, 1.0)]),
        ("$.by_name.*", [({"it": "a"}, END, 1.0), ({"it": "b"}, END, 2.0)]),
        ("$.by_name[*]", [({"it": "a"}, END, 1.0), ({"it": "b"}, END, 2.0)]),
        ("$.plain[*]", [({"shop": "3", "ok": "true", "gone": ""}, END, 1.0)]),
        ("$.items[*].deep value=count labels=", None),
    ],
)  # fmt: skip
def test_a_path_leads_to_numbers(query, said):
    if said is None:
        assert "no labels" in str(talk(query)[1])
    else:
        assert points(query) == said


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("$.itmes[*]", "At $ of the answer there is no 'itmes'. There are: open, closed"),
        ("$.items[7]", "At $.items of the answer there is no '7'. There is a list of 2."),
        ("$.items.region", "At $.items of the answer there is no 'region'. There is a list of 2."),
        ("$.open[*]", "At $.open of the answer there is no list or object"),
        ("$.items[*].nix", "At $.items[*] of the answer there is no 'nix'"),
        ("$.name", "no number, but text"),
        ("$.on", "true or false"),
        ("$.items", "leads to a list"),
        ("$", "has no key 'value'"),
        ("$.numbers[*]", "At place 2 there is a second one with no labels, and no column `at`"),
        ("$.mixed[*]", "objects and to other things"),
        ("$.items[*]", "'share' holds a number with fractions"),
        ("$.items[*] value=nix", "Object 1 has no key 'nix'"),
        ("$.items[*] at=nix", "Object 1 has no key 'nix'"),
        ("$.items[*] value=region", "no number, but text"),
        ("$.items[*] value=tags labels=", "no number, but list"),
        ("$.items[*] labels=tags", "'tags' holds list"),
        ("$.items[*] labels=value", "same name"),
    ],
)
def test_what_is_not_where_it_should_be_is_the_questions_fault(query, why):
    _, failed = talk(query)

    assert isinstance(failed, SourceFailed)
    assert not failed.is_away
    assert why in str(failed), failed


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("items", "does not begin with $"),
        ("items[*] $.x", "does not begin with $"),
        ("$items", "from character 2 on"),
        ("$..items", "from character 2 on"),
        ("$.items[?@.a > 1]", "from character 8 on"),
        ("$.items[1:2]", "from character 8 on"),
        ("$.items[-1]", "from character 8 on"),
        ("$.items['a','b']", "from character 8 on"),
        ("$['it\\'s']", "from character 2 on"),
        ("$.items[*]value=x", "from character 11 on"),
        ("$.items[*] where=x", "none of value=key"),
        ("$.items[*] value=a value=b", "there twice"),
        ("$" + ".a" * 33, "33 steps"),
        ("$.x " + " " * 1_000 + "value=x", "at most 1,000"),
    ],
)
def test_a_query_that_is_no_path_is_refused_before_anybody_is_asked(query, why):
    sink, failed = talk(query)

    assert sink.requests == []
    assert not failed.is_away
    assert why in str(failed), failed


@given(st.text(alphabet="$.[]*'\"\\ abc=,0123\n@?", max_size=30))
def test_any_text_is_a_path_or_is_refused(text):
    try:
        said = repr(read_path(text))
    except Invalid as refused:
        said = str(refused)
    assert 0 < len(said) < 400


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "value", "at", "ts"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    document=JSON,
    path=st.sampled_from(["$", "$[*]", "$.a", "$.*", "$[0]", "$.a[*].value", "$[*] value=a", "$[*] labels="]),
)
def test_any_answer_is_read_or_refused(document, path):
    found = read_path(path)
    try:
        answer = table.read(an_ask(path), *rows(select(document, found.steps), found))
        said = ""
    except Invalid as refused:
        answer, said = (), str(refused)
    assert len(said) < 1_200
    assert all(type(point) is Point for series in answer for point in series.points)


@pytest.mark.parametrize(
    ("reply", "is_away", "why"),
    [
        (Reply(body=b"<html>geheim"), True, "no JSON"),
        (Reply(body=b""), True, "no JSON"),
        (Reply(body=b'{"open": NaN}'), True, "no JSON"),
        (Reply(body=b'{"open": "\xff"}'), True, "no JSON"),
        (Reply(body=b"[" * 100_000), False, "nested too deeply"),
        (Reply(body=b'{"open": 1' + b"0" * 400 + b"}"), None, ""),
        (Reply(status=401, body=b"geheim"), True, "HTTP 401 Unauthorized: check the URL and the credentials"),
        (Reply(status=302, headers={"Location": "http://geheim"}), True, "redirect not followed"),
        (Reply(status=500, body=b'{"open": 1}'), True, "HTTP 500"),
        (Reply(reset="before"), True, "closed the connection"),
        (Reply(body=b'{"open": 1}' + b" " * 1_000), False, "more than 1,000 bytes"),
    ],
)
def test_what_is_no_answer_says_whose_fault_it_is_and_tells_no_secret(reply, is_away, why):
    _, failed = talk(
        "$.open",
        reply,
        headers=(("Authorization", "Bearer geheim"),),
        bytes_max=100_000 if b"[[" in reply.body else 1_000,
    )

    assert isinstance(failed, SourceFailed)
    assert is_away is None or failed.is_away == is_away
    assert why in str(failed), failed
    assert "geheim" not in str(failed)


def test_a_server_that_says_nothing_meets_the_deadline():
    _, failed = talk("$.open", Reply(hang="after_headers"), timeout_s=0.1)

    assert failed.is_away


def test_too_many_places_are_refused():
    _, failed = talk("$[*]", document=[{"value": 1, "n": n} for n in range(10_001)])

    assert "more than 10,000 places" in str(failed)


def test_points_come_by_labels_in_the_order_of_time():
    document = [{"at": AT + n, "it": "ab"[n % 2], "value": n} for n in (3, 1, 2, 0, 60, -3_541)]

    _, answer = talk("$[*]", document=document)

    assert answer == (
        Series(labels={"it": "a"}, points=(Point(AT * SECOND, 0.0), Point((AT + 2) * SECOND, 2.0))),
        Series(labels={"it": "b"}, points=(Point((AT + 1) * SECOND, 1.0), Point((AT + 3) * SECOND, 3.0))),
    )


# The URL


def test_the_window_is_filled_in_behind_the_question_mark_and_encoded():
    url = "/geheim?from={since}&to={until}&a={since_epoch}-{until_epoch}&key=%7Bgeheim%7D"

    sink, _ = talk(an_ask("$.open", since=NOON - HOUR - 1), path=url)

    (request,) = sink.requests
    assert request.method == "GET"
    assert request.path in (
        "/geheim?from=2026-11-18T10%3A59%3A59.999999Z&to=2026-11-18T12%3A00%3A00Z&a=1794999599-1795003200&key=%7Bgeheim%7D",
        "/geheim?from=2026-11-18T10:59:59.999999Z&to=2026-11-18T12:00:00Z&a=1794999599-1795003200&key=%7Bgeheim%7D",
    )


def test_headers_are_sent():
    sink, _ = talk("$.open", headers=(("Authorization", "Bearer geheim"), ("Accept", "application/x")))

    assert sink.requests[0].headers["authorization"] == "Bearer geheim"
    assert sink.requests[0].headers["accept"] == "application/x"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"url": "http://{since}/geheim"}, "before its"),
        ({"url": "http://x/{since}?geheim"}, "before its"),
        ({"url": "http://x/?a={geheim}"}, "a place that is none. There are {since}, {until}"),
        ({"url": "http://x/?a={since"}, "a place that is none"),
        ({"url": "http://x/?a={{since}}"}, "a place that is none"),
        ({"url": "geheim"}, "is none"),
        ({"headers": (("A", "geheim\n"),)}, "printable ASCII"),
        ({"bytes_max": 0}, "bytes_max"),
        ({"bytes_max": 64_000_001}, "bytes_max"),
    ],
)
def test_a_wrong_configuration_is_refused_without_its_secret(given, why):
    with pytest.raises(Invalid) as refused:
        Http(HttpConfig(**{"name": "shop", "url": "http://x/"} | given), Outbound())

    assert why in str(refused.value)
    assert "geheim" not in str(refused.value)


def test_an_address_that_may_not_be_reached_is_not_asked():
    (failed,) = ask(Http(HttpConfig(name="shop", url="http://127.0.0.1:1/geheim"), Outbound()), "$.open")

    assert isinstance(failed, SourceFailed)
    assert failed.is_away
    assert "not on the public internet" in str(failed)
    assert "geheim" not in str(failed)


def test_what_is_no_number_is_told_in_the_words_of_json():
    _, failed = talk("$.items[*] value=region")

    assert str(failed) == (
        "The value of place 1 is no number, but text. Lead the path to a number, or name the key that holds one:"
        " value=key."
    )
