"""The command line of the system that Tocsin answers: its commands work as they stood, with `tocsin` in front."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.cli.inside import Operator, Said, alert, verbs
from tests.support.server import Server, SinkThread

from tocsin.cli.which import SEVERITIES, STATES


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with three channels to speak through (two of them), and three incidents."""
    with SinkThread() as sink:
        settings = {
            "TOCSIN_WEBHOOK_URL": sink.url("/hook"),
            "TOCSIN_TEAMS_WEBHOOK_URL": sink.url("/teams"),
            "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8",
        }
        with Server(tmp_path_factory.mktemp("step29") / "data", settings) as server:
            for rule in ("disk", "cpu", "net"):
                alert(server, rule)
            yield server


COMMANDS = [
    # The two of its chapter 'Test CLI Commands', with their line breaks.
    """send \\
  --rule-id test_rule \\
  --severity warning \\
  --message "Test alert" \\
  --scope '{}' \\
  --dry-run""",
    "status --limit 10",
    # Those that its list of deliverables describes: `--dry-run/--no-dry-run` (on unless said otherwise), `--channel`
    # several times, a scope in JSON; silence a rule for N minutes; acknowledge; resolve; filters, table or JSON; replay.
    "send --rule-id test_rule --severity warning --message 'Test alert'",
    'send --rule-id r --severity error --message m --scope \'{"host": "db-1"}\' --channel teams --channel webhook --no-dry-run',
    "silence --rule-id r --minutes 30",
    "ack --incident-id 1",
    "ack 1",
    "resolve --incident-id 2",
    "resolve 2",
    "status --state OPEN --severity error --output table",
    "status --rule-id disk --output json",
    "replay --since -1h",
    "replay --since -1h --dry-run",
    "replay --since -1h --rule-id disk --no-dry-run",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_as_it_stood(server: Server, command: str) -> None:
    said = Operator(server).line(command.replace("\\\n", " "))

    assert said.code == 0, said.err


def dry(server: Server, command: str) -> tuple[Said, dict[str, Any]]:
    said = Operator(server).line(command)
    return said, said.answer


def test_what_sends_is_a_dry_run_unless_it_is_said_otherwise(server: Server) -> None:
    sent, sending = dry(server, "send --rule-id never --severity info --message m")
    again, replaying = dry(server, "replay --since -1h --force")

    for said, answer in ((sent, sending), (again, replaying)):
        assert answer["dry_run"] is True
        assert "DRY RUN: nothing was sent" in said.err
    assert sending["incidents"] == []
    assert {one["outcome"] for one in replaying["results"]} <= {"would send", "under way", "drill"}


def test_a_channel_may_be_named_several_times(server: Server) -> None:
    _, answer = dry(server, "send --rule-id q --severity info --message m --channel teams --channel webhook")

    assert [target["channel"] for target in answer["tells"]] == ["teams", "webhook"]


def test_the_words_are_the_old_ones() -> None:
    assert SEVERITIES == ("info", "warning", "error", "critical")
    assert set(STATES) == {"OPEN", "ACK", "SILENCED", "RESOLVED"}
    assert {"send", "silence", "ack", "resolve", "status", "replay"} <= set(verbs())
