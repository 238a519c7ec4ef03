"""Who may what at the terminal: every verb that talks to a server, with a token of every role."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.inside import Operator, alert, fresh, talks_to_a_server, verbs
from tests.support.server import Server

from tocsin.core.model.access import GRANTS, Permission, Role

READ, LEDGER = Permission.READ, Permission.READ_LEDGER
SEND, RESPOND = Permission.SEND, Permission.RESPOND
SILENCE, ADMINISTER = Permission.SILENCE, Permission.ADMINISTER

NEW = "a new file"
"""Stands for the name of one."""

VERBS: list[tuple[str, Permission, list[str]]] = [
    ("send", SEND, ["--rule-id", "r", "--severity", "info", "--message", "m"]),
    ("status", READ, []),
    ("status", READ, ["1"]),
    ("why", READ, ["1"]),
    ("stats", READ, []),
    ("events", READ, ["--after", "-1", "--count", "1"]),
    ("ack", RESPOND, ["1"]),
    ("ack", RESPOND, ["1", "2"]),
    ("unack", RESPOND, ["1"]),
    ("resolve", RESPOND, ["2"]),
    ("resolve", RESPOND, ["--rule-id", "nothing"]),
    ("reopen", RESPOND, ["2"]),
    ("note", RESPOND, ["1", "hello"]),
    ("silence", SILENCE, ["1"]),
    ("silence", SILENCE, ["--rule-id", "r", "--minutes", "1"]),
    ("silence", SILENCE, ["--extend", "S1", "--minutes", "1"]),
    ("silence", READ, ["--list"]),
    ("silence", READ, ["--rule-id", "r", "--preview"]),
    ("unsilence", SILENCE, ["1"]),
    ("unsilence", SILENCE, ["S1"]),
    ("deliveries list", READ, []),
    ("deliveries show", READ, ["1"]),
    ("deliveries preview", READ, ["1"]),
    ("deliveries retry", ADMINISTER, ["1"]),
    ("deliveries discard", ADMINISTER, ["1", "--reason", "x"]),
    ("channel list", READ, []),
    ("config reload", ADMINISTER, []),
    ("replay", ADMINISTER, ["--since", "-1h"]),
    ("policy show", LEDGER, []),
    ("policy history", LEDGER, []),
    ("policy diff", LEDGER, []),
    ("token list", LEDGER, []),
    ("token create", ADMINISTER, ["--name", "n", "--role", "viewer"]),
    ("token revoke", ADMINISTER, ["00000000"]),
    ("ledger checkpoint", LEDGER, []),
    ("ledger keys", LEDGER, []),
    ("ledger proof", LEDGER, ["--entry", "0"]),
    ("ledger proof", LEDGER, ["--incident", "1"]),
    ("ledger proof", LEDGER, ["--since", "1"]),
    ("ledger envelope", LEDGER, ["1"]),
    ("ledger erase", ADMINISTER, ["--subject", "nobody at all", "--reason", "x", "--dry-run"]),
    ("ledger erase", ADMINISTER, ["--entry", "0", "--reason", "x", "--yes"]),
    ("ledger export", LEDGER, [NEW]),
    ("ledger rotate-key", ADMINISTER, []),
    ("ledger retire-key", ADMINISTER, ["nobody's"]),
    ("rule list", READ, []),
    ("rule show", READ, ["nobody's"]),
    ("rule budget", READ, ["nobody's"]),
    ("rule forget", ADMINISTER, ["nobody's", "--reason", "x"]),
]

FOR_THEMSELVES = {
    "doctor": "it tells what it finds, and what it may not see is one of the findings",
    "gate": "as the doctor",
}
"""Verbs that talk to a server and yet never end with 5."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with fresh(tmp_path_factory.mktemp("roles")) as server:
        for rule in ("disk", "cpu"):
            alert(server, rule)
        yield server


@pytest.fixture(scope="module")
def bearers(server: Server) -> dict[Role, Operator]:
    admin = Operator(server)
    return {
        role: Operator(server, admin("token", "create", "--name", role, "--role", role).out.strip())
        for role in Role
    }


def test_every_verb_that_talks_to_a_server_is_tried() -> None:
    asking = {name for name, command in verbs().items() if talks_to_a_server(command)}

    assert {name for name, _, _ in VERBS} | set(FOR_THEMSELVES) == asking


CASES = [
    pytest.param(name, arguments, permission, role, id=f"{role}-{' '.join([name, *arguments])}")
    for name, permission, arguments in VERBS
    for role in Role
]


@pytest.mark.parametrize(("name", "arguments", "permission", "role"), CASES)
def test_a_verb_does_what_the_role_may_and_nothing_else(
    bearers: dict[Role, Operator],
    name: str,
    arguments: list[str],
    permission: Permission,
    role: Role,
    tmp_path: Path,
) -> None:
    given = [str(tmp_path / "new") if one == NEW else one for one in arguments]
    said = bearers[role](*name.split(), *given)

    if permission in GRANTS[role]:
        assert said.code != 5, said.err
    else:
        assert said.code == 5
        assert permission in said.err
        assert said.out == ""
