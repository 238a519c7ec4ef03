"""A server that is told to end while a receiver leaves it waiting ends in time, and tells that receiver afterwards."""

import json
from pathlib import Path

from tests.reliability.test_restore_drill import send, sent, wait
from tests.reliability.under_load import POLICY
from tests.support.http_sink import Reply
from tests.support.server import Server, SinkThread

STOP_S = 15.0
"""`deploy/compose` kills a server that takes longer than that, sooner than anything else that starts us; it takes 6 s."""
HANGS_S = 60
"""So long an attempt may last: whoever waited for its end would not end in time."""


def test_an_attempt_that_hangs_at_the_stop_is_made_again_after_the_start_under_its_key(
    tmp_path: Path,
) -> None:
    with SinkThread(Reply(hang="before"), Reply()) as sink:
        hook = {"name": "hook", "kind": "webhook", "url": sink.url("/hook"), "timeout": f"{HANGS_S}s"}
        config = POLICY | {"channels": [hook], "outgoing": {"allow_private": ["127.0.0.0/8"]}}
        with Server(tmp_path / "data", config=config) as server:
            send(server, "disk")
            wait(lambda: sent(sink, "disk"), "it is attempted")

            assert server.stop(within_s=STOP_S) == 0

            assert len(sink.requests) == 1, "a stop begins nothing"
            log = server.log.read_text()
            server.start()
            wait(lambda: len(sink.requests) > 1, "it is attempted again")
            wait(lambda: ended(server) == ["delivered"], "it is told")
            assert server.stop(within_s=STOP_S) == 0
    first, again = sink.requests
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert "Traceback" not in log, log[-4000:]
    assert json.loads(again.body)["data"]["incident"]["rule_id"] == "disk"


def ended(server: Server) -> list[str]:
    """The states of all deliveries."""
    status, _, answer = server.request("GET", "/api/v1/deliveries")
    assert status == 200, answer
    return [one["state"] for one in answer["deliveries"]]
