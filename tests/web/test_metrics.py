"""/metrics answers whoever may read, also while the store does not."""

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.faces import ALERT, Face

from tocsin.core.model.access import Role
from tocsin.ports import StoreFailed


def value(text: bytes, name: str, **labels: str) -> float:
    """Give a value. Raises: StopIteration if it is not there."""
    return next(
        sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name and sample.labels == labels
    )


def test_they_are_given_as_prometheus_reads_them(face: Face) -> None:
    face.post({**ALERT, "rule_id": "counted"})

    status, headers, text = face.ask("GET", "/metrics", role=Role.VIEWER)

    assert status == 200
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert headers["cache-control"] == "no-store"
    assert value(text, "tocsin_inputs_total", outcome="opened") >= 1
    assert value(text, "tocsin_ledger_size") == face.entries()
    assert value(text, "tocsin_unaccounted_intents") == 0


def test_head_gives_the_same_headers_and_no_body(face: Face) -> None:
    status, headers, body = face.ask("HEAD", "/metrics")

    assert (status, body) == (200, b"")
    assert headers["content-type"].startswith("text/plain")


def test_nobody_reads_them_without_a_token(face: Face) -> None:
    assert face.ask("GET", "/metrics", role=None)[0] == 401


def test_counters_answer_while_the_store_does_not(face: Face, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise StoreFailed("/var/lib/secret/tocsin.db is gone")

    monkeypatch.setattr(face.store, "counts", broken, raising=False)

    status, _, text = face.ask("GET", "/metrics")

    assert status == 200
    assert value(text, "tocsin_store_up") == 0
    assert value(text, "tocsin_commit_seconds_count") >= 1
    assert b"secret" not in text


def test_to_read_them_changes_nothing(face: Face) -> None:
    before = face.entries()

    face.ask("GET", "/metrics")

    assert face.entries() == before
