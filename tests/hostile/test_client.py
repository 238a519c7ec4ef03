"""Whoever is taken for the server says what they like: the terminal shows it harmlessly, and nobody's token goes elsewhere."""

import json

import pytest
from tests.cli.inside import run
from tests.hostile.corpus import TEXTS
from tests.hostile.looking import acting_in
from tests.support.http_sink import Reply
from tests.support.server import SinkThread

EVIL = "\x1b]0;0wned\x07\x1b[2J\u202e\x9b31m\nError: all is well\u2028x\u200b" + "\u0301" * 50
PROBLEM = {"type": EVIL, "title": EVIL, "status": EVIL, "detail": EVIL, "errors": [{"field": EVIL, "message": EVIL}],
           "state": EVIL, "possible": [EVIL], "permission": EVIL, "field": EVIL}  # fmt: skip
JSON = {
    "Content-Type": "application/json",
    "Date": EVIL.encode("ascii", "replace").decode().replace("\n", ""),
}
VERBS = ["status", "status 1", "why 1", "ack 1 --yes", "note 1 x", "silence --list", "deliveries list", "deliveries show 1",
         "deliveries preview 1", "stats", "policy show", "policy history", "token list", "channel list", "rule list",
         "rule budget", "ledger checkpoint", "ledger keys", "config reload", "replay --dry-run"]  # fmt: skip
CODES = {0, 1, 2, 3, 4, 5, 6, 7, 8}


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 422, 429, 500, 503])
def test_what_a_stranger_says_is_shown_harmlessly(status: int) -> None:
    bodies = [b"", EVIL.encode(), json.dumps(PROBLEM).encode(), b"[" * 100_000, json.dumps([EVIL]).encode(),
              b"\xff\xfe\x1b[31m", json.dumps(EVIL).encode()]  # fmt: skip
    replies = [
        Reply(status=status, body=body, headers=JSON | {"Location": "http://127.0.0.1:1/"}) for body in bodies
    ]
    for reply in replies[:: 1 if status in (200, 500) else 2]:
        with SinkThread(reply) as sink:
            for verb in VERBS[:: 1 if status == 500 else 4]:
                if status == 200 and reply.body == replies[2].body:
                    continue  # An answer of another shape is our own server's mistake, not a stranger's words.
                said = run(*verb.split(), "-o", "table", url=sink.url("").rstrip("/"), token="toc_s3cret")
                assert said.code in CODES - {0}, (verb, said.out)
                assert acting_in(said.out + said.err) == [], (verb, reply.body[:40])
                assert "s3cret" not in said.out + said.err


def test_a_redirect_takes_nobodys_token_elsewhere() -> None:
    with (
        SinkThread() as elsewhere,
        SinkThread(Reply(status=302, headers={"Location": elsewhere.url("/")})) as sink,
    ):
        assert run("status", url=sink.url("").rstrip("/"), token="toc_s3cret").code != 0
        assert elsewhere.connections == 0


@pytest.mark.parametrize("name", list(TEXTS)[::10])
def test_what_is_typed_wrongly_is_said_harmlessly(name: str) -> None:
    text = TEXTS[name][:1_000].replace("\x00", "")
    for verb in (["status", text], ["ack", "--state", text], ["silence", "--match", text, "--for", text], [text],
                 ["status", "--since", text], ["token", "create", "--name", "x", "--role", text], ["whatif", "--policy", text],
                 ["config", "check", text], ["send", "--severity", text], ["ledger", "check", text]):  # fmt: skip
        said = run(*verb, url="http://127.0.0.1:1", token="x")
        assert said.code in CODES - {0} or verb[0] == "", (verb, said.out)
        assert acting_in(said.out + said.err) == [], verb
