"""Prometheus is asked for moments that meet the window's end, and what it says is a series or a reason."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.asking import HOUR, NOON, SECOND, an_ask, ask
from tests.support.http_sink import HttpSink, Reply
from tests.support.prometheus import a_prometheus, why_not

from tocsin.core.model.errors import Invalid
from tocsin.core.model.rule import Ask, Point, Series
from tocsin.outbound import Outbound
from tocsin.ports import SourceFailed
from tocsin.sources.prometheus import Prometheus, PrometheusConfig, filled, steps

MS = 1_000
MINUTE = 60 * SECOND


def matrix(*series: tuple[dict[str, str], list[tuple[float, str]]], **more: Any) -> Reply:
    result = [{"metric": metric, "values": values} for metric, values in series]
    said = {"status": "success", "data": {"resultType": "matrix", "result": result}} | more
    return Reply(body=json.dumps(said).encode())


def talk(*script: Reply, asked: Ask | None = None, **more: Any) -> tuple[HttpSink, Any]:
    """Ask a server with this script; give it, and the answer or the failure."""

    async def run():
        outbound = Outbound(("127.0.0.0/8",))
        try:
            async with HttpSink(*script) as sink:
                config = PrometheusConfig(
                    **{"name": "shop", "url": sink.url("/base/"), "timeout_s": 5.0} | more
                )
                try:
                    return sink, await Prometheus(config, outbound).ask(asked or an_ask("up"))
                except SourceFailed as failed:
                    return sink, failed
        finally:
            await outbound.close()

    return asyncio.run(run())


def test_a_range_is_asked_for_in_a_form_with_the_headers():
    sink, answer = talk(
        matrix(),
        asked=an_ask('sum(rate(x{a="ä&b"}[$window]))', step=MINUTE),
        headers=(("Authorization", "Bearer geheim"), ("X-Scope-OrgID", "a")),
        timeout_s=2.5,
    )

    assert answer == ()
    (request,) = sink.requests
    assert (request.method, request.path) == ("POST", "/base/api/v1/query_range")
    assert request.headers["authorization"] == "Bearer geheim"
    assert request.headers["x-scope-orgid"] == "a"
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert {
        name: value for name, (value,) in parse_qs(request.body.decode(), strict_parsing=True).items()
    } == {
        "query": 'sum(rate(x{a="ä&b"}[3599999ms]))',
        "start": "1794999659.999",  # the 60th minute before the end, still in the window
        "end": "1795003199.999",
        "step": "60.000",
        "timeout": "2500ms",
    }


@pytest.mark.parametrize(
    ("length", "step", "first", "distance"),
    [
        (HOUR, 0, HOUR - MINUTE, 60_000),
        (24 * HOUR, 0, 24 * HOUR - 24 * MINUTE, 1_440_000),
        (90 * SECOND, 0, 88 * SECOND, 2_000),
        (10 * SECOND, 0, 9 * SECOND, 1_000),
        (SECOND, 0, 0, 1_000),
        (MS, 0, 0, 1_000),
        (1, 0, 0, 1_000),
        (HOUR, HOUR, 0, 3_600_000),
        (HOUR, 2 * HOUR, 0, 7_200_000),
        (HOUR, 7 * MINUTE, 56 * MINUTE, 420_000),
        (HOUR, 1, HOUR - MS, 1),
    ],
)
def test_the_last_moment_is_the_windows_last_and_the_others_lie_whole_steps_before_it(
    length, step, first, distance
):
    start, end, found = steps(an_ask("", since=NOON - length, until=NOON, step=step))

    assert end == NOON // MS - 1
    assert end - start == first // MS
    assert found == distance


@given(until=st.integers(1, 2**51), length=st.integers(1, 10**12), step=st.integers(0, 10**10))
def test_every_moment_of_evaluation_lies_in_its_window(until, length, step):
    asked = an_ask("", since=until - length, until=until, step=step)

    start, end, distance = steps(asked)

    assert distance >= 1
    assert (end - start) % distance == 0
    assert end * MS < until <= (end + 1) * MS
    if length >= MS:
        assert asked.since <= start * MS
        assert (start - distance) * MS < asked.since


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("rate(a[$window])", "rate(a[3599999ms])"),
        ("a[$window] / b[$window:1m]", "a[3599999ms] / b[3599999ms:1m]"),
        ("a[$windows] $ window $win", "a[$windows] $ window $win"),
    ],
)
def test_the_window_is_put_where_the_query_names_it(query, said):
    assert filled(an_ask(query)) == said


def test_samples_become_points_and_what_is_not_finite_none():
    values = [
        (1794999600.5, "1"),
        (1795000000, "NaN"),
        (1795000060, "+Inf"),
        (1795000120.001, "-2.5e3"),
        (1795000180, "-Inf"),
    ]

    _, answer = talk(
        matrix(
            ({"__name__": "up", "job": "a"}, values), ({"__name__": "up", "job": "b"}, [(1795000000, "NaN")])
        )
    )

    assert answer == (
        Series(
            labels={"job": "a"}, points=(Point(1794999600_500_000, 1.0), Point(1795000120_001_000, -2500.0))
        ),
    )


def test_points_outside_of_the_window_are_left_out():
    end = NOON // SECOND

    _, answer = talk(matrix(({}, [(end - 3_601, "1"), (end - 3_600, "2"), (end - 1, "3"), (end, "4")])))

    assert [point.value for point in answer[0].points] == [2.0, 3.0]


def test_names_of_metrics_are_kept_only_if_nothing_else_tells_series_apart():
    at = NOON // SECOND - 1
    plain = matrix(({"__name__": "b", "x": "2"}, [(at, "2")]), ({"__name__": "a", "x": "1"}, [(at, "1")]))
    same = matrix(({"__name__": "b", "x": "1"}, [(at, "2")]), ({"__name__": "a", "x": "1"}, [(at, "1")]))
    twice = matrix(({"x": "1"}, [(at, "2")]), ({"x": "1"}, [(at, "1")]))

    assert [series.labels for series in talk(plain)[1]] == [{"x": "1"}, {"x": "2"}]
    assert [series.labels for series in talk(same)[1]] == [
        {"__name__": "a", "x": "1"},
        {"__name__": "b", "x": "1"},
    ]
    assert "same labels" in str(talk(twice)[1])


def test_warnings_and_what_is_new_are_ignored():
    histogram = {"metric": {}, "histograms": [[1795000000, {"count": "1"}]]}
    body = {
        "status": "success",
        "warnings": ["geheim"],
        "infos": [],
        "data": {"resultType": "matrix", "result": [histogram]},
    }

    assert talk(Reply(body=json.dumps(body).encode()))[1] == ()


def error(kind: str, text: str, status: int) -> Reply:
    return Reply(
        status=status, body=json.dumps({"status": "error", "errorType": kind, "error": text}).encode()
    )


@pytest.mark.parametrize(
    ("reply", "is_away", "why"),
    [
        (error("bad_data", 'invalid parameter "query": 1:3: parse error', 400), False, "1:3: parse error"),
        (error("execution", "found duplicate series", 422), False, "Prometheus cannot answer: found duplicate series"),
        (error("422", "cannot parse", 422), False, "cannot parse"),  # VictoriaMetrics
        (error("bad_data", "a\nb\x1b[31m Bearer geheim geheim", 400), False, "Prometheus cannot answer: a"),
        (error("bad_data", "token geheim is geheim", 400), False, "token *** is ***"),
        (error("bad_data", "", 400), False, "HTTP 400"),
        (error("timeout", "query timed out", 503), False, "longer than 5 s and was ended"),
        (error("canceled", "query was canceled", 503), False, "longer than 5 s and was ended"),
        (error("unavailable", "geheim", 503), True, "HTTP 503 Service Unavailable"),
        (error("internal", "geheim", 500), True, "HTTP 500"),
        (error("not_found", "geheim", 404), True, "HTTP 404 Not Found: check the URL"),
        (Reply(status=401, body=b"geheim"), True, "HTTP 401 Unauthorized: check the URL and the credentials"),
        (Reply(status=403, body=b"{}"), True, "HTTP 403"),
        (Reply(status=400, body=b"<html>geheim"), True, "HTTP 400"),
        (Reply(status=422, body=b"[" * 100_000), True, "HTTP 422"),
        (Reply(status=302, headers={"Location": "http://geheim"}), True, "redirect not followed"),
        (Reply(status=429), True, "HTTP 429"),
        (Reply(body=b"<html>geheim"), True, "not one of Prometheus"),
        (Reply(body=b""), True, "not one of Prometheus"),
        (Reply(body=b'{"status": "success"}'), True, "not one of Prometheus"),
        (Reply(body=b'{"status": "success", "data": {"result": [{"metric": {"a": 1}}]}}'), True, "not one of Prometheus"),
        (Reply(body=b"[" * 100_000), True, "not one of Prometheus"),
        (Reply(body=b"\xff\xfe"), True, "not one of Prometheus"),
        (matrix(({}, [(1795000000, "geheim")])), True, "no number"),
        (Reply(reset="before"), True, "closed the connection"),
        (Reply(body=b"x" * 100_000, reset="body"), True, "broke"),
    ],
)  # fmt: skip
def test_what_is_no_answer_says_whose_fault_it_is_and_tells_no_secret(reply, is_away, why):
    _, failed = talk(reply, headers=(("Authorization", "Bearer geheim"),))

    assert isinstance(failed, SourceFailed)
    assert (failed.is_away, why in str(failed)) == (is_away, True), failed
    assert "geheim" not in str(failed)
    assert str(failed).isprintable()


def test_a_server_that_says_nothing_meets_the_deadline():
    _, failed = talk(Reply(hang="before"), timeout_s=0.1)

    assert failed.is_away
    assert "did not answer in time" in str(failed)


def test_too_many_series_or_points_are_refused():
    at = NOON // SECOND - 1
    series = [({"n": str(n)}, [(at, "1")]) for n in range(3)]

    assert len(talk(matrix(*series), series_max=3)[1]) == 3
    assert "more than 2 series" in str(talk(matrix(*series), series_max=2)[1])
    sink, failed = talk(matrix(), asked=an_ask("up", step=SECOND), points_max=3_599)
    assert "more than 3,599 points" in str(failed)
    assert not failed.is_away
    assert sink.requests == []
    assert talk(matrix(), asked=an_ask("up", step=SECOND), points_max=3_600)[1] == ()


def test_an_answer_without_end_is_not_read_on():
    _, failed = talk(Reply(endless=True), timeout_s=20)

    assert not failed.is_away
    assert "more than 16,000,000 bytes" in str(failed)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"url": "http://x/?a=geheim"}, "ends before /api/v1"),
        ({"url": "http://x/#geheim"}, "ends before /api/v1"),
        ({"url": "http://x/geheim/api/v1/query"}, "ends before /api/v1"),
        ({"url": "geheim"}, "is none"),
        ({"headers": (("A", "geheim\n"),)}, "printable ASCII"),
        ({"series_max": 0}, "at least 1"),
        ({"points_max": 0}, "at least 1"),
    ],
)
def test_a_wrong_configuration_is_refused_without_its_secret(given, why):
    with pytest.raises(Invalid, match=why) as refused:
        Prometheus(PrometheusConfig(**{"name": "shop", "url": "http://x/"} | given), Outbound())

    assert "geheim" not in str(refused.value)


def test_a_query_has_some_and_not_too_many_characters():
    source = Prometheus(PrometheusConfig(name="shop", url="http://x/"), Outbound())

    source.check("x" * 10_000)
    for query, why in ((" ", "empty"), ("x" * 10_001, "at most 10,000")):
        with pytest.raises(Invalid, match=why):
            source.check(query)


def test_an_address_that_may_not_be_reached_is_not_asked():
    source = Prometheus(
        PrometheusConfig(name="shop", url="http://169.254.169.254/"), Outbound(("0.0.0.0/0",))
    )

    (failed,) = ask(source, "up")

    assert isinstance(failed, SourceFailed)
    assert failed.is_away
    assert "169.254.169.254" in str(failed)


# With a real one


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if why_not():
        pytest.skip(why_not())
    directory: Path = tmp_path_factory.mktemp("prometheus")
    first = (NOON - 2 * HOUR) // SECOND
    # A counter that grows by 15 at each scrape, on full seconds; and one that is reset.
    samples = [f"orders_total {n * 15} {first + n * 15}" for n in range(481)]
    resets = [f'jobs_total{{queue="a"}} {n % 100} {first + n * 15}' for n in range(481)]
    with a_prometheus(directory, ["# TYPE orders counter", *samples, "# TYPE jobs counter", *resets]) as url:
        yield url


def of_real(url: str, *asked: Ask, **more: Any) -> list[Any]:
    outbound = Outbound(("127.0.0.0/8",))

    async def run():
        try:
            source = Prometheus(PrometheusConfig(name="shop", url=url, **more), outbound)
            return [await source.ask(one) for one in asked]
        finally:
            await outbound.close()

    return asyncio.run(run())


def test_each_sample_is_counted_in_one_window_also_on_the_border(real):
    query = "count_over_time(orders_total[$window])"
    windows = [
        an_ask(query, since=NOON - n * 15 * MINUTE, until=NOON - (n - 1) * 15 * MINUTE) for n in (4, 3, 2, 1)
    ]

    counts = [answer[0].points[-1].value for answer in of_real(real, *windows)]

    assert counts == [60.0] * 4  # A sample every 15 s, one of them on each border.


def test_the_last_point_is_the_number_for_the_window(real):
    (answer,) = of_real(real, an_ask("sum(increase(orders_total[$window]))"))

    assert answer[0].labels == {}
    assert answer[0].points[-1].at == NOON - MS
    assert answer[0].points[-1].value == pytest.approx(3_600, rel=0.01)
    assert len(answer[0].points) == 60


@pytest.mark.parametrize(
    "query", ["sum(", "sum(orders_total) by", "nofunction(orders_total)", "orders_total[5m]", "{}", "1 +"]
)
def test_a_query_that_is_no_promql_is_told_in_prometheus_own_words(real, query):
    with pytest.raises(SourceFailed, match=r"Prometheus cannot answer: .*(parse error|invalid)") as failed:
        of_real(real, an_ask(query))

    assert not failed.value.is_away


def test_a_metric_that_there_is_not_has_no_series(real):
    assert of_real(real, an_ask("nothing_like_this")) == [()]


def test_a_query_that_takes_too_long_is_ended_by_the_server(real):
    nested = "sum_over_time((count_over_time(orders_total[2h:1s]))[2h:1s])"
    slow = " + ".join([nested] * 20)

    with pytest.raises(SourceFailed, match=r"took longer than 0\.05 s and was ended") as failed:
        of_real(real, an_ask(slow, step=SECOND), timeout_s=0.05)

    assert not failed.value.is_away
