"""The configuration is read again by a signal or through the API: a right one is taken over, a wrong one changes nothing."""

import hashlib
import hmac
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.cli.inside import Operator, run
from tests.support.http_sink import Reply
from tests.support.server import Server, SinkThread

from tocsin.core.model.alert import Severity

SOON_S = 20.0
PRIVATE = "outgoing: {allow_private: [127.0.0.0/8]}\n"


def hook(name: str, url: str, more: str = "") -> str:
    return f'  - {{name: {name}, kind: webhook, url: "{url}"{more}}}\n'


def write(server: Server, *channels: str, more: str = "") -> None:
    text = "channels:\n" + "".join(channels) if channels else "channels: []\n"
    server.data.mkdir(exist_ok=True)
    (server.data / "tocsin.yaml").write_text(text + PRIVATE + more)


def hang_up(server: Server, says: str) -> str:
    """Send SIGHUP, and give what the log says from then on, once it holds these words."""
    before = len(server.log.read_text())
    os.kill(server.pid, signal.SIGHUP)
    until(lambda: says in server.log.read_text()[before:])
    return server.log.read_text()[before:]


def reload(server: Server) -> tuple[int, Any]:
    status, _, answer = server.request("POST", "/api/v1/config/reload")
    return status, answer


def until(condition: Callable[[], bool]) -> None:
    """Ask again until it is so; never longer than it may take."""
    end = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < end, "it did not come to be so"
        threading.Event().wait(0.02)


def fire(server: Server, rule: str) -> None:
    status, _, answer = server.request(
        "POST",
        "/api/v1/alerts",
        {"rule_id": rule, "severity": Severity.ERROR, "message": "m", "scope": {"rule": rule}},
    )
    assert status == 200, answer


def told(sink: Any) -> list[str]:
    return [json.loads(request.body)["data"]["incident"]["rule_id"] for request in sink.requests]


def versions(server: Server) -> list[dict[str, Any]]:
    policies: list[dict[str, Any]] = server.request("GET", "/api/v1/policy/history")[2]["policies"]
    return policies


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "d")


def test_a_right_file_is_taken_over_by_a_signal(server: Server) -> None:
    with SinkThread() as old, SinkThread() as new, server:
        # given a server without any channel
        assert versions(server)[0]["version"] == 1

        # when its file gets one
        write(server, hook("old", old.url("/in")))
        first = hang_up(server, "read again and taken over")
        fire(server, "one")
        until(lambda: told(old) == ["one"])

        # and then another one
        write(server, hook("new", new.url("/in")), more="rate_limit: null\n")
        hang_up(server, "read again and taken over")
        fire(server, "two")
        until(lambda: "two" in told(new))

        # then only that one is told, and the ledger says which policies there were and who brought them
        assert told(old) == ["one"]
        assert "channels: old" in first
        assert [(one["version"], one["actor"]) for one in versions(server)] == [
            (3, "settings"),
            (2, "settings"),
            (1, "settings"),
        ]


def test_what_a_closed_address_held_up_goes_out_once_it_is_opened(server: Server) -> None:
    with SinkThread() as sink, server:
        # given a channel that has a private address, which nobody opened
        text = "channels:\n" + hook("ops", sink.url("/in"))
        (server.data / "tocsin.yaml").write_text(text)
        reload(server)
        fire(server, "one")
        tocsin = Operator(server)

        # then what is for it waits
        def waits() -> bool:
            (one,) = tocsin("deliveries", "list").answer["deliveries"]
            return one["state"] == "pending" and "outgoing.allow_private" in one["why"]

        until(waits)
        assert sink.connections == 0

        # and when it is opened, it is told
        (server.data / "tocsin.yaml").write_text(text + PRIVATE)
        reload(server)
        until(lambda: told(sink) == ["one"])


def test_a_wrong_file_changes_nothing_and_every_error_is_logged(server: Server) -> None:
    with SinkThread() as sink:
        write(server, hook("ops", sink.url("/in")))
        with server:
            write(server, hook("ops", "ftp://canary-5e/x"), more="dry_run: perhaps\nchanels: 1\n")

            said = hang_up(server, "chanels: There is no such key.")
            fire(server, "still")
            until(lambda: told(sink) == ["still"])

            file = server.data / "tocsin.yaml"
            assert "the configuration is not taken over" in said
            assert f"{file}:2:37: channels[0].url: This must begin with https:// or http://" in said
            assert f"{file}:4:10: dry_run: This takes true or false" in said
            assert "canary-5e" not in server.log.read_text()
            assert len(versions(server)) == 1


def test_the_api_takes_over_a_right_file_and_says_what_is_different(server: Server) -> None:
    with server:
        write(server, more="rate_limit: {limit: 3}\n")

        status, answer = reload(server)

        assert (status, answer["changed"], answer["policy_version"]) == (200, True, 2)
        assert "limit" in json.dumps(answer["changes"])
        actor = versions(server)[0]["actor"]
        assert actor.startswith("token:"), "whoever asked is named in the ledger"


def test_the_api_tells_every_error_of_a_wrong_file(server: Server) -> None:
    with server:
        write(server, more="dry_run: perhaps\nchanels: 1\n")

        status, answer = reload(server)

        assert status == 422
        assert [error["message"] for error in answer["errors"]] == [
            "dry_run: This takes true or false, not text.",
            "chanels: There is no such key. Did you mean channels?",
        ]
        assert len(versions(server)) == 1


def test_the_same_file_again_is_no_change(server: Server) -> None:
    write(server, more="rate_limit: {limit: 3}\n")
    with server:
        again = reload(server)
        write(server, more="rate_limit: {limit: 3}  # as it was\n")
        commented = reload(server)

        assert (again[0], again[1]["changed"]) == (200, False)
        assert (commented[0], commented[1]["changed"]) == (200, False)
        assert len(versions(server)) == 1


def test_what_waits_for_a_channel_that_is_removed_is_cancelled(server: Server) -> None:
    with SinkThread(Reply(status=503, headers={"Retry-After": "3000"})) as busy, SinkThread() as well:
        write(server, hook("busy", busy.url("/in")), hook("well", well.url("/in")))
        with server:
            fire(server, "disk")
            until(lambda: told(busy) == ["disk"] and told(well) == ["disk"])

            write(server, hook("well", well.url("/in")))
            status, answer = reload(server)

            assert (status, answer["changed"]) == (200, True)
            incident = server.request("GET", "/api/v1/incidents")[2]["incidents"][0]["incident_id"]
            detail = server.request("GET", f"/api/v1/incidents/{incident}")[2]
            states = {one["channel"]: one["state"] for one in detail["deliveries"]}
            assert states == {"busy": "cancelled", "well": "delivered"}
            fire(server, "again")
            until(lambda: told(well) == ["disk", "again"])
            assert told(busy) == ["disk"]


def test_a_secret_is_exchanged_by_exchanging_its_file(server: Server) -> None:
    with SinkThread() as sink:
        write(server, hook("ops", sink.url("/in"), ", secrets: [{file: key}]"))
        (server.data / "key").write_text("first\n")
        with server:
            fire(server, "one")
            until(lambda: told(sink) == ["one"])
            (server.data / "key").write_text("second\n")
            status, answer = reload(server)
            fire(server, "two")
            until(lambda: told(sink) == ["one", "two"])

            signed = [
                hmac.new(key, request.body, hashlib.sha256).hexdigest()
                for key, request in zip((b"first", b"second"), sink.requests, strict=True)
            ]
            assert [request.headers["x-qnwis-signature"] for request in sink.requests] == signed
            assert (status, answer["changed"]) == (200, True)


def test_many_at_once_come_one_after_the_other(server: Server) -> None:
    with SinkThread() as sink, server:
        write(server, hook("ops", sink.url("/in")))
        answers: list[tuple[int, Any]] = []
        threads = [threading.Thread(target=lambda: answers.append(reload(server))) for _ in range(6)]

        for thread in threads:
            thread.start()
        hang_up(server, "read again")
        for thread in threads:
            thread.join()

        assert [status for status, _ in answers] == [200] * 6
        assert len(versions(server)) == 2
        fire(server, "disk")
        until(lambda: told(sink) == ["disk"])


def test_a_signal_does_not_end_a_server_and_it_still_stops_in_order(server: Server) -> None:
    with server:
        for _ in range(3):
            hang_up(server, "read again")

        assert server.stop() == 0


def test_the_heartbeat_goes_where_the_file_says_now(server: Server) -> None:
    with SinkThread() as sink, server:
        write(server, more=f"heartbeat: {{url: '{sink.url('/beat')}', every: 1h}}\n")

        reload(server)

        until(lambda: [request.path for request in sink.requests] == ["/beat"])


def test_an_issuer_is_believed_from_then_on_and_no_longer_when_it_is_gone(server: Server) -> None:
    key = ECKey.generate_key("P-256", {"kid": "k1", "use": "sig", "alg": "ES256"})
    claims = {
        "iss": "https://id.example",
        "aud": "tocsin",
        "sub": "anna",
        "exp": int(time.time()) + 600,
        "role": "ops",
    }
    token = jwt.encode({"alg": "ES256", "kid": "k1"}, claims, key)
    issuer = (
        "auth: {issuer: {issuer: 'https://id.example', audience: tocsin, jwks: {file: keys.json},"
        " roles: {ops: analyst}}}\n"
    )

    def look() -> int:
        return server.request("GET", "/api/v1/incidents", token=token)[0]

    with server:
        (server.data / "keys.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
        unknown = look()
        write(server, more=issuer)
        reload(server)
        believed = look()
        write(server)
        reload(server)
        gone = look()

    assert (unknown, believed, gone) == (401, 200, 401)


def test_a_verb_has_the_server_read_its_file_and_shows_what_changed(server: Server) -> None:
    with SinkThread() as sink, server:
        operator = Operator(server)
        assert operator("config", "reload", "-o", "table").out == (
            "The server read its configuration anew: nothing has changed.\n"
        )
        write(server, hook("ops", sink.url("/in")))

        said = operator("config", "reload", "-o", "table")

        assert said.code == 0
        assert said.out.startswith("The server goes by its configuration as it is now (policy version 2).")
        assert "targets[ops ops]" in said.out
        (listed,) = operator("channel", "list").answer["channels"]
        assert (listed["name"], listed["kind"], listed["last_outcome"]) == ("ops", "webhook", None)
        assert "ops      webhook" in operator("channel", "list", "-o", "table").out


def test_which_rules_came_changed_and_went_is_said(server: Server) -> None:
    def rules(*named: str, more: str = "") -> str:
        head = "sources: [{kind: sql, name: shop, url: 'sqlite:///shop.db'}]\nrules:\n"
        trigger = "trigger: {kind: threshold, op: gt, value: 5}, severity: error"
        return head + "".join(
            f"  - {{rule_id: {one}, source: shop, query: SELECT 1 AS value, {trigger}{more}}}\n"
            for one in named
        )

    with server:
        operator = Operator(server)
        write(server, more=rules("kept", *(f"r{number:02}" for number in range(12))))

        first = operator("config", "reload", "-o", "table").out
        write(server, more=rules("kept", "r00", more=", enabled: false"))
        second = operator("config", "reload").answer

        assert "Rules added: kept, r00, r01, r02, r03, r04, r05, r06, r07, r08 and 3 more.\n" in first
        assert "changed" not in first
        assert second["changed"]
        assert second["rules"] == {
            "added": [],
            "changed": ["kept", "r00"],
            "removed": [f"r{number:02}" for number in range(1, 12)],
        }


def test_a_verb_says_all_that_is_wrong_with_the_file(server: Server) -> None:
    with server:
        (server.data / "tocsin.yaml").write_text("channels: {}\nrutes: {}\n")

        said = Operator(server)("config", "reload")

        assert said.code == 2
        assert "tocsin.yaml:1:11" in said.err
        assert "tocsin.yaml:2:1" in said.err


def test_errors_are_told_one_a_line_and_a_variable_is_missing_in_the_server(server: Server) -> None:
    with server:
        write(server, hook("ops", "https://x.org", ", secrets: [{env: NOPE}]"), more="chanels: 1\n")

        said = Operator(server)("config", "reload")

        file = server.data / "tocsin.yaml"
        assert said.code == 2
        assert said.err.splitlines() == [
            f"Error: {file} has 2 errors.",
            f"{file}:2:64: channels[0].secrets[0]: The server that runs has no variable NOPE, or it is empty. Set it and "
            "start the server again: a reload does not bring it.",
            f"{file}:4:1: chanels: There is no such key. Did you mean channels?",
        ]
        assert "The environment has no variable NOPE" in run("config", "check", file, "-o", "table").err


def test_without_a_server_there_is_nobody_to_reload(tmp_path: Path) -> None:
    said = run("config", "reload", "--data", tmp_path)

    assert said.code == 6
    assert "No server runs" in said.err
