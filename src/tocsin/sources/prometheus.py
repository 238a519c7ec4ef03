"""Prometheus: asks what speaks its HTTP API for a range: Prometheus, VictoriaMetrics, Mimir, Thanos.

A window is [since, until), and Prometheus evaluates at moments of whole milliseconds. The last of them is the last
millisecond before `until`, and the others lie whole steps before it; so the last point is the number for the window,
and windows that meet share no moment. `$window` in a query is the length of the window less one millisecond: Prometheus
2 takes both ends of `[...]`, so with it a sample on the border belongs to one window only. Prometheus 3 leaves the
lower end out; a sample at precisely `since` is then in neither, but none is ever counted twice.
"""

import math
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from tocsin.core.model.errors import Invalid, check_all
from tocsin.core.model.rule import Ask, Point, Series
from tocsin.core.rules import foreign
from tocsin.outbound import Answer, Outbound, body_of, request_faults
from tocsin.ports import SourceFailed

QUERY_CHARACTERS_MAX = 10_000
ANSWER_BYTES_MAX = 16_000_000
STEPS = 60
"""So many steps has a window whose question names none."""

GRACE_S = 1.0
"""So long is waited beyond the timeout, because the server ends a query by itself, and then says so."""

_WINDOW = re.compile(r"\$window\b")
_ABOUT_THE_QUERY = (400, 422)
_ENDED = ("timeout", "canceled")
_SECOND = 1_000_000


class PrometheusConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One server.

    url: what stands before /api/v1, such as http://prometheus:9090 or https://mimir/prometheus.
    headers: sent as they are, for example Authorization or X-Scope-OrgID; their values are secrets.
    series_max, points_max: an answer with more series, or a question for more points of each, is refused.
    """

    name: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    series_max: int = 1_000
    points_max: int = 11_000

    def __repr__(self) -> str:
        return f"PrometheusConfig(name={self.name!r}, headers={len(self.headers)})"


class _Matrix(msgspec.Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(msgspec.Struct):
    result: list[_Matrix]


class _Said(msgspec.Struct):
    """An answer without its data."""

    status: str
    error: str = ""
    error_type: str = msgspec.field(default="", name="errorType")


class _Found(msgspec.Struct):
    """An answer with data."""

    data: _Data


class Prometheus:
    """A server as a source.

    Raises: Invalid when the configuration cannot work; its message holds no secret.
    """

    kind = "prometheus"

    def __init__(self, config: PrometheusConfig, outbound: Outbound) -> None:
        check_all([*_faults(config)])
        self.name = config.name
        self._config = config
        self._outbound = outbound
        self._url = config.url.rstrip("/") + "/api/v1/query_range"
        self._headers = dict(config.headers) | {"Content-Type": "application/x-www-form-urlencoded"}

    def __repr__(self) -> str:
        return f"Prometheus({self._config!r})"

    def check(self, query: str) -> None:
        """See `tocsin.ports.Source`. Whether it is PromQL, only the server can tell."""
        if not query.strip():
            raise Invalid("The query is empty. Write PromQL, such as sum(increase(orders_total[$window])).")
        if len(query) > QUERY_CHARACTERS_MAX:
            raise Invalid(
                f"The query has {len(query):,} characters; at most {QUERY_CHARACTERS_MAX:,} are taken. Record it as a"
                " rule of Prometheus."
            )

    async def ask(self, ask: Ask) -> tuple[Series, ...]:
        """See `tocsin.ports.Source`. The points are in [since, until), the last one at its last millisecond."""
        try:
            self.check(ask.query)
        except Invalid as error:
            raise SourceFailed(str(error), is_away=False) from None
        start, end, step = steps(ask)
        if (end - start) // step + 1 > self._config.points_max:
            raise SourceFailed(
                f"The question is for more than {self._config.points_max:,} points of each series. Take a longer step.",
                is_away=False,
            )
        form = {
            "query": filled(ask),
            "start": _seconds(start),
            "end": _seconds(end),
            "step": _seconds(step),
            "timeout": f"{math.ceil(self._config.timeout_s * 1_000)}ms",
        }
        answer = await self._outbound.post(
            self._url,
            body=urlencode(form).encode(),
            headers=self._headers,
            timeout_s=self._config.timeout_s + GRACE_S,
            answer_bytes_max=ANSWER_BYTES_MAX,
        )
        if isinstance(answer, Answer):
            self._refuse(answer)
        return self._series(body_of(answer, bytes_max=ANSWER_BYTES_MAX), ask)

    async def close(self) -> None:
        """Nothing to do: the connections belong to the Outbound, which others use too."""

    def _refuse(self, answer: Answer) -> None:
        """Tell what Prometheus itself says about the query. Raises: SourceFailed if it says something."""
        if 200 <= answer.status < 300:
            return
        try:
            said = msgspec.json.decode(answer.body, type=_Said, strict=False)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return
        if said.status != "error":
            return
        if said.error_type in _ENDED:
            raise SourceFailed(
                f"The query took longer than {self._config.timeout_s:g} s and was ended. Let it read less, or give the"
                " source more time.",
                is_away=False,
            )
        if answer.status in _ABOUT_THE_QUERY:
            error = foreign.sentence(said.error or f"HTTP {answer.status}", _hidden(self._config))
            raise SourceFailed(f"Prometheus cannot answer: {error}", is_away=False)

    def _series(self, body: bytes, ask: Ask) -> tuple[Series, ...]:
        try:
            found = msgspec.json.decode(body, type=_Found).data.result
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise SourceFailed(
                "The answer is not one of Prometheus. Check the URL of this source.", is_away=True
            ) from None
        if len(found) > self._config.series_max:
            raise SourceFailed(
                f"The answer has more than {self._config.series_max:,} series. Add them up: sum by (...).",
                is_away=False,
            )
        labels = _told_apart([one.metric for one in found])
        series = [
            Series(labels=mine, points=points)
            for mine, one in zip(labels, found, strict=True)
            if (points := _points(one.values, ask))
        ]
        return tuple(sorted(series, key=lambda one: sorted(one.labels.items())))


def steps(ask: Ask) -> tuple[int, int, int]:
    """Give the first and the last moment of evaluation and their distance, in milliseconds.

    The step is the question's, else a sixtieth of the window, in whole seconds and at least one.
    """
    end = (ask.until - 1) // 1_000
    if ask.step:
        step = max(1, ask.step // 1_000)
    else:
        step = max(1, math.ceil((ask.until - ask.since) / STEPS / _SECOND)) * 1_000
    first = -(-ask.since // 1_000)  # rounded up
    return end - max(0, end - first) // step * step, end, step


def filled(ask: Ask) -> str:
    """Give the query with the length of the window; see the head of this file."""
    ms = max(1, (ask.until - ask.since) // 1_000 - 1)
    return _WINDOW.sub(f"{ms}ms", ask.query)


def _seconds(ms: int) -> str:
    return f"{ms // 1_000}.{ms % 1_000:03}"


def _points(values: Iterable[tuple[float, str]], ask: Ask) -> tuple[Point, ...]:
    points = []
    for seconds, text in values:
        try:
            value = float(text)
            at = round(seconds * 1_000) * 1_000
        except (ValueError, OverflowError):
            raise SourceFailed("A sample of the answer is no number.", is_away=True) from None
        if math.isfinite(value) and ask.since <= at < ask.until:
            points.append(Point(at, value))
    return tuple(sorted(points))


def _told_apart(metrics: list[dict[str, str]]) -> list[dict[str, str]]:
    """Leave the names of the metrics out, unless they are all that tells two series apart."""
    plain = [{name: text for name, text in metric.items() if name != "__name__"} for metric in metrics]
    if len({frozenset(labels.items()) for labels in plain}) == len(plain):
        return plain
    if len({frozenset(labels.items()) for labels in metrics}) < len(metrics):
        raise SourceFailed(
            "Two series of the answer have the same labels. Add them up: sum by (...).", is_away=False
        )
    return metrics


def _hidden(config: PrometheusConfig) -> list[str]:
    hidden = [config.url]
    for _, value in config.headers:
        hidden += [value, *(part for part in value.split() if len(part) > 3)]
    return hidden


def _faults(config: PrometheusConfig) -> Iterable[tuple[str, str]]:
    """Find all that is wrong, as (field, what)."""
    yield from request_faults(config.name, config.url, config.headers, config.timeout_s)
    try:
        parts: Any = urlsplit(config.url)
    except ValueError:
        return
    if parts.query or parts.fragment or "/api/v1" in parts.path:
        yield (
            "url",
            f"The URL of source {config.name!r} ends before /api/v1, and has no ? or #: https://host/prometheus.",
        )
    for field in ("series_max", "points_max"):
        if getattr(config, field) < 1:
            yield field, f"{field} of source {config.name!r} must be at least 1."
