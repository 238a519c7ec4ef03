"""A day at the terminal: what an operator does to incidents, silences, deliveries and tokens, on a real server."""

import fcntl
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.inside import Operator, alert, fresh, run
from tests.cli.running import COMMAND, environment
from tests.support.http_sink import Reply
from tests.support.server import Server, SinkThread

from tocsin.wiring.stores import open_store


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with fresh(tmp_path_factory.mktemp("operate")) as server:
        yield server


@pytest.fixture
def tocsin(server: Server) -> Operator:
    return Operator(server)


END_S = 120.0
"""A process that was told to end must have ended by then; it is never waited out."""

rules = iter(range(10_000))


def new(server: Server, rule: str = "", **more: object) -> int:
    """An incident of its own."""
    return alert(server, rule or f"rule-{next(rules)}", **more)


def state(tocsin: Operator, number: int) -> str:
    return str(tocsin("status", number).answer["state"])


# Incidents


def test_an_incident_is_named_by_its_number_or_its_id(server: Server, tocsin: Operator) -> None:
    number = new(server)
    id_ = tocsin("status", number).answer["incident_id"]

    for name in (number, f"#{number}", id_):
        assert tocsin("ack", name).answer["number"] == number
    assert state(tocsin, number) == "ACK"


def test_a_note_is_kept_with_what_was_done(server: Server, tocsin: Operator) -> None:
    number = new(server)

    tocsin("ack", number, "--note", "on it")
    tocsin("note", number, "disk", "ordered")

    assert [one["note"] for one in tocsin("status", number).answer["notes"]] == ["disk ordered", "on it"]


def test_an_incident_goes_through_its_life(server: Server, tocsin: Operator) -> None:
    number = new(server)

    for verb, reached in [
        ("ack", "ACK"), ("unack", "OPEN"), ("silence", "SILENCED"), ("unsilence", "OPEN"), ("resolve", "RESOLVED"),
        ("reopen", "OPEN"),
    ]:  # fmt: skip
        assert tocsin(verb, number).answer["changed"] is True
        assert state(tocsin, number) == reached


def test_pages_call_people_by_their_names(server: Server, tocsin: Operator) -> None:
    number = new(server)
    made = tocsin("token", "create", "--name", "Anna Karenina", "--role", "analyst").out.strip()
    id_ = made.split("_")[1]

    Operator(server, made)("ack", number, "--note", "on it")
    page = " ".join(tocsin("status", number, "-o", "table").out.split())
    why = " ".join(tocsin("why", number, "-o", "table").out.split())

    assert f"acked by Anna Karenina (token:{id_})" in page
    assert "Anna Karenina asked for ack while it was OPEN: on it" in page
    assert "Anna Karenina has it" in why
    assert f"ACK by Anna Karenina (token:{id_}) (on it), because Anna Karenina asked for ack" in why


def test_the_operator_on_the_machine_is_called_so(server: Server) -> None:
    number = new(server)

    run("ack", number, "--data", server.data)

    page = " ".join(run("status", number, "--data", server.data, "-o", "table").out.split())
    assert "acked by operator on this machine (token:local)" in page


def test_doing_it_twice_is_no_error(server: Server, tocsin: Operator) -> None:
    number = new(server)
    tocsin("ack", number)

    again = tocsin("ack", number, "-o", "table")

    assert again.code == 0
    assert "was so already" in again.out


def test_a_conflict_says_how_it_is_and_what_is_possible(server: Server, tocsin: Operator) -> None:
    number = new(server)
    tocsin("resolve", number)

    said = tocsin("ack", number)

    assert said.code == 4
    assert "RESOLVED" in said.err
    assert "Possible now: resolve, reopen" in said.err
    assert said.out == ""


def test_one_that_is_not_there_is_not_found(tocsin: Operator) -> None:
    for verb in ("ack", "unsilence", "status", "why"):
        said = tocsin(verb, 999_999)
        assert said.code == 3
        assert "tocsin status" in said.err


def test_several_at_once_are_shown_by_their_titles_and_counted(server: Server, tocsin: Operator) -> None:
    rule = f"rule-{next(rules)}"
    first, over = new(server, rule), new(server)
    tocsin("resolve", over)

    dry = tocsin("ack", first, over, 999_999, "--dry-run", "-o", "table").out
    done = tocsin("ack", first, over, 999_999, "-o", "table").out

    assert f"{rule}: {rule} is wrong" in dry
    assert (
        "DRY RUN, nothing was changed: 2 matched, 1 would change, 0 are so already, 1 refused, 1 not found"
        in " ".join(dry.split())
    )
    assert "2 matched, 1 changed, 0 were so already, 1 refused, 1 not found" in " ".join(done.split())
    assert "not found" not in tocsin("unack", first, first, new(server), "-o", "table").out


def test_several_at_once_have_an_outcome_each(server: Server, tocsin: Operator) -> None:
    first, second, over = new(server), new(server), new(server)
    tocsin("resolve", over)

    assert tocsin("ack", first, second).code == 0
    some = tocsin("ack", first, over, 999_999)
    assert some.code == 8
    assert [one["outcome"] for one in some.answer["results"]] == ["unchanged", "conflict", "not_found"]
    assert tocsin("unack", over, over, new(server)).code == 4
    assert tocsin("ack", 999_998, 999_999).code == 3


def test_all_that_fit_a_filter(server: Server, tocsin: Operator) -> None:
    rule = f"rule-{next(rules)}"
    numbers = {new(server, rule, scope={"host": host}) for host in ("a", "b", "c")}

    would = tocsin("resolve", "--rule-id", rule, "--scope", "host=a", "--dry-run")
    assert [one["outcome"] for one in would.answer["results"]] == ["changed"]
    assert {state(tocsin, number) for number in numbers} == {"OPEN"}
    done = tocsin("resolve", "--rule-id", rule, "--since", "-1h", "--note", "all over")
    assert done.answer["changed"] == 3
    assert {state(tocsin, number) for number in numbers} == {"RESOLVED"}
    assert tocsin("resolve", "--rule-id", "nothing-has-this").code == 0


WRONG = [
    ["ack"],
    ["ack", "1", "--rule-id", "r"],
    ["ack", "../1"],
    ["ack", "--scope", "{"],
    ["ack", "--since", "soon"],
    ["status", "1", "--watch"],
    ["status", "1", "--state", "OPEN"],
    ["status", "--cursor", "made-up"],
    ["silence"],
    ["silence", "1", "--rule-id", "r"],
    ["silence", "1", "--minutes", "5", "--for", "5m"],
    ["silence", "--rule-id", "r"],
    ["silence", "--match", "no matcher", "--for", "5m"],
    ["silence", "--match", "a=~(", "--for", "5m"],
    ["silence", "--match", "a=b", "--for", "2h", "--rrule", "FREQ=DAILY"],
    ["silence", "--extend", "S1"],
    ["silence", "--rule-id", "r", "--until", "-2h"],
    ["unsilence", "S1/../2"],
    ["unsilence", "S1", "2"],
    ["replay"],
    ["token", "create", "--name", "x", "--role", "king"],
    ["token", "revoke", "toc_1_2"],
    ["deliveries", "discard", "1"],
    ["note", "1"],
    ["why"],
    ["events", "--after", "999999999"],
]


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_what_cannot_be_meant_is_a_usage_error(tocsin: Operator, arguments: list[str]) -> None:
    said = tocsin(*arguments)

    assert said.code == 2, said.err
    assert said.err.strip()
    assert "Traceback" not in said.err


# Lists


def test_a_list_goes_on_where_it_ended(server: Server, tocsin: Operator) -> None:
    rule = f"rule-{next(rules)}"
    numbers = [new(server, rule, scope={"n": str(n)}) for n in range(3)]

    first = tocsin("status", "--rule-id", rule, "--limit", 2).answer
    second = tocsin("status", "--rule-id", rule, "--limit", 2, "--cursor", first["next_cursor"]).answer

    assert first["total"] == 3
    assert [one["number"] for one in first["incidents"] + second["incidents"]] == numbers[::-1]
    assert second["next_cursor"] is None


FILTERS = [
    (["--text", "needle"], 1),
    (["--scope", "host=db-7"], 1),
    (["--scope", '{"host": "db-7"}'], 1),
    (["--scope", "host=db-8"], 0),
    (["--since", "-1h"], 1),
    (["--until", "-1h"], 0),
    (["--state", "ack"], 0),
    (["--severity", "CRITICAL"], 1),
]


@pytest.mark.parametrize(("filters", "count"), FILTERS)
def test_a_list_has_what_fits(server: Server, tocsin: Operator, filters: list[str], count: int) -> None:
    rule = f"rule-{next(rules)}"
    new(server, rule, severity="critical", message="a needle", scope={"host": "db-7"})

    assert len(tocsin("status", "--rule-id", rule, *filters).answer["incidents"]) == count


def test_a_list_says_which_host_it_is_about(server: Server, tocsin: Operator) -> None:
    rule = f"cpu-{next(rules)}"
    for host in ("db-1", "db-2", "db-3"):
        new(server, rule, scope={"host": host}, message="CPU over 95 %")

    page = tocsin("status", "--rule-id", rule, "-o", "table").out

    assert [f"{rule} (host=db-{n}): CPU" in page for n in (1, 2, 3)] == [True] * 3
    assert max(map(len, page.splitlines())) <= 80
    assert len(tocsin("status", "--rule-id", rule, "--text", "host=db-2").answer["incidents"]) == 1


def test_figures_are_told(server: Server, tocsin: Operator) -> None:
    number = new(server)
    tocsin("ack", number)
    tocsin("resolve", number)

    figures = tocsin("stats").answer
    page = tocsin("stats", "-o", "table").out

    assert figures["total"] == tocsin("status").answer["total"]
    assert figures["time_to_resolve"]["incidents"] >= 1
    assert "half within" in page


# Silences


def test_a_rule_is_silenced_extended_and_heard_again(server: Server, tocsin: Operator) -> None:
    rule = f"rule-{next(rules)}"

    made = tocsin("silence", "--rule-id", rule, "--minutes", 30, "--comment", "moving").answer
    name = f"S{made['number']}"
    assert made["matchers"] == [f"rule_id={rule}"]
    assert made["state"] == "active"
    longer = tocsin("silence", "--extend", name, "--for", "2h").answer
    assert longer["ends_at"] > made["ends_at"]
    assert name in tocsin("silence", "--list", "-o", "table").out
    first = tocsin("unsilence", name)
    assert (first.answer["state"], first.answer["changed"]) == ("ended", True)
    again = tocsin("unsilence", name, "-o", "table")
    assert again.code == 0
    assert "was so already" in again.out


def test_a_silence_is_seen_on_what_it_covers_and_named_as_it_is_ended(
    server: Server, tocsin: Operator
) -> None:
    rule = f"rule-{next(rules)}"
    number = new(server, rule)
    silence = tocsin("silence", "--rule-id", rule, "--minutes", 30, "--comment", "moving").answer["number"]
    new(server, rule, window_end="2026-03-01T09:00:00Z", severity="critical")

    listed = tocsin("status", "--rule-id", rule, "-o", "table").out
    page = " ".join(tocsin("status", number, "-o", "table").out.split())
    why = " ".join(tocsin("why", number, "-o", "table").out.split())
    refused = tocsin("unsilence", number)

    assert "OPEN, silenced" in listed
    assert max(map(len, listed.splitlines())) <= 80
    assert f"#{number} OPEN, silenced" in page
    assert f"silenced by S{silence} (tocsin unsilence S{silence})" in page
    assert f"silence S{silence}" in why
    assert refused.code == 4
    assert f"tocsin unsilence S{silence}" in refused.err
    tocsin("silence", number)
    still = tocsin("unsilence", number, "-o", "table").out
    assert f"no longer silenced by itself, but by S{silence}" in " ".join(still.split())
    tocsin("unsilence", f"S{silence}")
    assert "silenced" not in tocsin("status", "--rule-id", rule, "-o", "table").out


def test_several_silences_end_at_once_and_those_that_are_not_there_are_named(tocsin: Operator) -> None:
    first, second = (tocsin("silence", "--match", f"host={n}", "--for", "5m").answer["number"] for n in "ab")

    some = tocsin("unsilence", f"S{first}", "S999", f"s{second}")

    assert some.code == 8
    assert [one["state"] for one in some.answer] == ["ended", "ended"]
    assert "There is no silence S999." in some.err
    assert "There is no maintenance M77." in tocsin("unsilence", "M77").err
    assert "There is no silence S77." in tocsin("silence", "--extend", "S77", "--for", "1h").err
    assert tocsin("unsilence", "S998", "S999").code == 3


def test_a_silence_ends_by_its_public_id_too(tocsin: Operator) -> None:
    made = tocsin("silence", "--match", "host=x", "--until", "+90s").answer

    assert tocsin("unsilence", made["silence_id"]).answer["state"] == "ended"


def test_a_silence_that_would_be_over_already_says_so(server: Server, tocsin: Operator) -> None:
    number = new(server)

    for what in (["--rule-id", "r"], [number], [number, new(server)]):
        said = tocsin("silence", *what, "--until", "-2h")
        assert said.code == 2
        assert "lies in the past" in said.err


def test_a_silence_may_begin_later(tocsin: Operator) -> None:
    made = tocsin("silence", "--match", "host=later", "--from", "+1h", "--for", "2h").answer

    assert made["state"] == "pending"
    assert made["ends_at"] > made["starts_at"]


def test_a_window_comes_back(tocsin: Operator) -> None:
    made = tocsin(
        "silence", "--match", "env=test", "--rrule", "FREQ=WEEKLY;BYDAY=SU", "--zone", "Europe/Berlin",
        "--begins", "2026-03-01T02:00", "--for", "2h",
    ).answer  # fmt: skip

    assert made["minutes"] == 120
    assert len(made["next"]) == 5
    name = f"M{made['number']}"
    assert name in tocsin("silence", "--list", "-o", "table").out
    assert tocsin("unsilence", name).answer["over"] is True
    assert "was so already" in tocsin("unsilence", name, "-o", "table").out


def test_a_preview_silences_nothing(server: Server, tocsin: Operator) -> None:
    rule = f"rule-{next(rules)}"
    number = new(server, rule)
    before = tocsin("silence", "--list").answer["total"]

    would = tocsin("silence", "--rule-id", rule, "--preview").answer

    assert would["matches_now"]["alerts"] == 1
    assert would["matches_now"]["incidents"][0]["number"] == number
    assert tocsin("silence", "--list").answer["total"] == before


def test_silencing_everything_must_be_insisted_on(tocsin: Operator) -> None:
    refused = tocsin("silence", "--match", "severity=~.*", "--for", "1m")
    forced = tocsin("silence", "--match", "severity=~.*", "--for", "1m", "--force")
    tocsin("unsilence", f"S{forced.answer['number']}")

    assert refused.code == 2
    assert "--force" in refused.err
    assert forced.code == 0


# Deliveries, replay, why


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Operator, int, list[object]]]:
    """A server with a webhook that refuses the first delivery and takes the others; an incident that it was told of."""
    with SinkThread(Reply(status=410), Reply()) as sink:
        settings = {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}
        with Server(tmp_path_factory.mktemp("told") / "data", settings) as server:
            tocsin = Operator(server)
            sent = tocsin("send", "--rule-id", "r", "--severity", "error", "--message", "m", "--no-dry-run")
            assert sent.code == 1, sent.err
            yield tocsin, sent.answer["incidents"][0]["number"], sink.requests


def test_what_was_not_told_stands_beside_its_incident(told: tuple[Operator, int, list[object]]) -> None:
    tocsin, number, _ = told

    assert "! 1 not told" in tocsin("status", "-o", "table").out
    assert "HTTP 410" in tocsin("status", number, "-o", "table").out
    dead = tocsin("deliveries", "list", "--state", "dead", "--incident", number).answer["deliveries"]
    assert [one["channel"] for one in dead] == ["webhook"]
    detail = tocsin("deliveries", "show", dead[0]["number"]).answer
    assert [one["outcome"] for one in detail["attempts"]] == ["refused"]
    page = tocsin("deliveries", "show", dead[0]["number"], "-o", "table").out
    decided, changed = (detail[name][:19].replace("T", " ") for name in ("decided_at", "at"))
    assert " ".join(f"decided {decided} (UTC) changed {changed}".split()) in " ".join(page.split())
    assert "r" in tocsin("deliveries", "preview", dead[0]["number"]).answer["body"]


def test_why_says_whom_it_told_and_what_became_of_it(told: tuple[Operator, int, list[object]]) -> None:
    tocsin, number, _ = told

    page = " ".join(tocsin("why", number, "-o", "table").out.split())

    assert f"Why incident #{number}" in page
    assert "told webhook" in page
    assert "HTTP 410" in page


def test_replay_sends_what_did_not_arrive_and_nothing_twice(told: tuple[Operator, int, list[object]]) -> None:
    tocsin, _, requests = told
    before = len(requests)

    would = tocsin("replay", "--since", "-1h")
    assert {one["outcome"] for one in would.answer["results"]} == {"would send"}
    assert "DRY RUN" in would.err
    assert len(requests) == before
    done = tocsin("replay", "--since", "-1h", "--no-dry-run")
    assert {one["outcome"] for one in done.answer["results"]} == {"again"}
    dead = done.answer["results"][0]
    for _ in range(100):
        detail = tocsin("deliveries", "show", dead["number"]).answer
        if detail["state"] != "pending":
            break
        threading.Event().wait(0.05)
    assert detail["state"] == "delivered"
    assert detail["key"] == dead["key"]
    again = tocsin("replay", "--since", "-1h", "--no-dry-run", "-o", "table")
    assert "already told" in again.out
    assert len(requests) == before + 1


# Tokens, policy


def test_a_new_token_stands_alone_on_stdout(server: Server, tocsin: Operator) -> None:
    made = tocsin(
        "token", "create", "--name", "ci", "--role", "viewer", "--expires", "90d", "--per-minute", 600
    )

    token = made.out.strip()
    assert made.out == f"{token}\n"
    assert token.startswith("toc_")
    assert "only now" in made.err
    assert token not in made.err
    bearer = Operator(server, token)
    assert bearer("status").code == 0
    id_ = token.split("_")[1]
    assert token not in tocsin("token", "list").out
    assert tocsin("token", "revoke", id_).answer["id"] == id_
    assert bearer("status").code == 5


def test_the_last_admin_stays_in(server: Server, tocsin: Operator) -> None:
    said = tocsin("token", "revoke", server.token.split("_")[1])

    assert said.code == 4
    assert said.err.rstrip().endswith("Make one first, or insist with --force.")


def test_the_policy_is_shown_with_what_changed(tocsin: Operator) -> None:
    history = tocsin("policy", "history").answer["policies"]

    assert tocsin("policy", "show").answer["version"] == history[0]["version"]
    assert tocsin("policy", "diff", 1, 1).code == 0
    assert tocsin("policy", "show", 99).code == 3
    assert "Policy version" in tocsin("policy", "show", "-o", "table").out


def test_two_policies_that_differ_end_with_9(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    with server:
        server.stop()
    with SinkThread() as sink:
        changed = {"TOCSIN_WEBHOOK_URL": sink.url("/hook"), "TOCSIN_ALLOW_PRIVATE": "127.0.0.0/8"}
        again = Server(server.data, changed)
        again.token = server.token
        with again:
            said = Operator(again)("policy", "diff")

    assert said.code == 9
    assert any("targets" in change["path"] for change in said.answer["changes"])


# What happens


def test_events_are_followed(server: Server, tocsin: Operator) -> None:
    number = new(server)
    tocsin("ack", number)

    said = tocsin("events", "--after", "-1", "--incident", number, "--kind", "action", "--count", 1)

    (line,) = said.out.splitlines()
    assert json.loads(line)["number"] == number
    assert json.loads(line)["kind"] == "action"


def following(server: Server, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(URL=f"http://127.0.0.1:{server.port}", TOKEN=server.token),
    )


def test_a_watch_writes_a_line_for_each_change_until_it_is_ended(server: Server, tocsin: Operator) -> None:
    rule = f"rule-{next(rules)}"
    known = new(server, rule, scope={"n": "1"})

    watch = following(server, "status", "--watch", "--rule-id", rule, "--state", "OPEN")
    try:
        assert watch.stdout is not None
        seen = [json.loads(watch.stdout.readline())]
        added = new(server, rule, scope={"n": "2"})
        seen.append(json.loads(watch.stdout.readline()))
        tocsin("ack", known)
        seen.append(json.loads(watch.stdout.readline()))
        watch.send_signal(signal.SIGINT)
        assert watch.wait(timeout=END_S) == 130
        assert "Traceback" not in watch.stderr.read()  # type: ignore[union-attr]
    finally:
        watch.kill()
        watch.communicate()

    assert [(one["change"], one["incident"]["number"]) for one in seen] == [
        ("shown", known), ("new", added), ("gone", known),
    ]  # fmt: skip


def test_a_verb_that_is_interrupted_says_so_by_its_code(server: Server) -> None:
    events = following(server, "events", "--after", "-1")
    assert events.stdout is not None
    events.stdout.readline()

    events.send_signal(signal.SIGINT)

    _, err = events.communicate(timeout=END_S)
    assert events.returncode == 130
    assert "Traceback" not in err


def test_whoever_stops_listening_ends_it_quietly(server: Server) -> None:
    events = following(server, "events", "--after", "-1")
    assert events.stdout is not None
    events.stdout.readline()
    events.stdout.close()

    new(server)

    assert events.wait(timeout=END_S) in (0, 1)
    assert events.stderr is not None
    assert "Traceback" not in events.stderr.read()
    events.stderr.close()


# Without a server


def test_without_a_server_the_directory_is_opened_and_the_user_is_named(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        number = alert(server)
        data = server.data
        server.stop()

    acked = run("ack", number, "--data", data, "--note", "by hand")
    assert acked.code == 0, acked.err
    assert acked.answer["acked_by"].startswith("os:")
    assert run("silence", "--rule-id", "disk", "--for", "2h", "--data", data).answer["state"] == "active"
    assert run("silence", number, "--until", "+5m", "--data", data).answer["state"] == "SILENCED"
    assert run("resolve", number, "--data", data).answer["state"] == "RESOLVED"
    assert run("ack", number, "--data", data).code == 4
    for reading in (
        ["status", "--since", "-1h"], ["why", number], ["stats"], ["policy", "show"], ["policy", "history"],
        ["silence", "--list"], ["deliveries", "list"], ["token", "list"], ["replay", "--since", "-1h"],
    ):  # fmt: skip
        said = run(*reading, "--data", data)
        assert said.code == 0, (reading, said.err)
    followed = run("events", "--data", data)
    assert followed.code == 6
    assert "tocsin serve" in followed.err


def test_a_watch_without_a_server_sees_what_other_verbs_do(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        number = alert(server)
        data = server.data
        server.stop()

    watch = subprocess.Popen(
        [*COMMAND, "status", "--watch", "--data", str(data)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        assert watch.stdout is not None
        assert json.loads(watch.stdout.readline())["change"] == "shown"
        assert run("ack", number, "--data", data).code == 0
        changed = json.loads(watch.stdout.readline())
        watch.send_signal(signal.SIGINT)
        assert watch.wait(timeout=END_S) == 130
    finally:
        watch.kill()
        watch.communicate()

    assert changed["change"] == "changed"
    assert changed["incident"]["state"] == "ACK"


def test_whoever_only_looks_whether_the_directory_is_free_keeps_nobody_out(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        number = alert(server)
        data = server.data
        server.stop()

    with (data / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        looked = threading.Timer(0.2, fcntl.flock, (lock, fcntl.LOCK_UN))
        looked.start()
        store = open_store(data)
        store.close()
        looked.join()

    assert run("ack", number, "--data", data).code == 0


def test_looking_without_a_server_changes_nothing(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        alert(server)
        data = server.data
        server.stop()
    before = run("ledger", "verify", "--data", data).answer["root"]

    for reading in (["status"], ["stats"], ["why", 1], ["silence", "--rule-id", "disk", "--preview"]):
        assert run(*reading, "--data", data).code == 0

    assert run("ledger", "verify", "--data", data).answer["root"] == before


def test_a_verb_that_is_misspelt_is_guessed() -> None:
    near, far = run("stauts"), run("xyzzy")

    assert (near.code, far.code) == (2, 2)
    assert "No such command 'stauts'. Did you mean 'status' or 'stats'?" in near.err
    assert "Did you mean" not in far.err
    assert "Did you mean 'list'?" in run("deliveries", "lst").err
    assert "No such option" in run("--staus").err


def test_a_verb_is_quick_to_start() -> None:
    """No clock is read here: what makes a start slow is what is imported, so that is what is looked at."""
    program = """if True:
        import sys
        from tocsin.cli.main import main
        for verb in sys.argv[1:]:
            try:
                main([*verb.split(), "--url", "http://127.0.0.1:1"])
            except SystemExit as end:
                assert end.code == 6, (verb, end.code)
        heavy = {"fastapi", "starlette", "aiohttp", "pydantic", "apsw", "uvicorn", "rich", "msgspec", "asyncio"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
    """
    asking = [
        "status", "status 1", "why 1", "ack 1", "ack 1 2", "note 1 x", "silence 1 --for 5m", "silence --list",
        "unsilence S1", "deliveries list", "deliveries show 1", "token list", "policy diff", "events", "stats",
        "replay --since 2026-01-01T00:00:00Z", "status --watch", "send --rule-id r --severity info --message m",
    ]  # fmt: skip

    ran = subprocess.run(
        [COMMAND[0], "-c", program, *asking], capture_output=True, text=True, check=False, env={**os.environ}
    )

    assert ran.returncode == 0, ran.stderr
