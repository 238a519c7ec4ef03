"""What people, relays and receivers say is as hostile as what alerts say: it is shown, kept whole, and never obeyed."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.cli.inside import Operator
from tests.cli.terminal import terminal
from tests.hostile.corpus import PATTERNS, PATTERNS_REFUSED, TEXTS
from tests.hostile.looking import acting_in, json_line
from tests.hostile.scene import LoopThread, size_of
from tests.hostile.test_surfaces import harmless
from tests.reliability.tally import tally
from tests.settings.test_hostile_files import HOSTILE
from tests.support.http_sink import HttpSink, Reply
from tests.support.server import Server
from tests.support.smtp_sink import SmtpSink

from tocsin.core.ledger.encoding import read_private, unpack
from tocsin.wiring.stores import open_reader

SHORT = {name: text for name, text in TEXTS.items() if len(text) <= 200}
HOSTILE_ANSWER = (
    b"HTTP/1.1 400 \x1b]0;0wned\x07\xff0wned\r\nX-0wned: \x1b[31m\r\nRetry-After: 0wned\r\nContent-Length: 30\r\n\r\n"
    b"\x1b[2J<script>0wned</script>".ljust(30)
)


HOOK = 'ho"ok\\\\} 1 {x="[red]<b>\u00e4'
"""A name that a configuration may give, with what ends a label, a tag or a colour."""


class House:
    """A server whose receiver and relay answer with malice."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        loop = stack.enter_context(LoopThread())
        self.hook, self.mail = HttpSink(Reply(raw=HOSTILE_ANSWER)), SmtpSink()
        self.mail.contents = ["550 5.7.1 \x1b]0;0wned\x07\x1b[31m <script>0wned</script> " + "x" * 300] * 500
        for sink in (self.hook, self.mail):
            loop.do(sink.__aenter__())
            stack.callback(lambda sink=sink: loop.do(sink.__aexit__(None, None, None)))
        config = {
            "channels": [
                {"name": HOOK, "kind": "webhook", "url": self.hook.url("/hook")},
                {"name": "mail", "kind": "email", "host": "127.0.0.1", "port": self.mail.port, "tls": "none",
                 "sender": "t@example.org", "recipients": ["anna@example.org"]},
            ],
            "outgoing": {"allow_private": ["127.0.0.0/8"]},
        }  # fmt: skip
        self.server = stack.enter_context(Server(folder / "data", config=config))
        self.tocsin = Operator(self.server)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        status, _, answer = self.server.request(method, f"/api/v1/{path}", body)
        assert status in (200, 201), (path, answer)
        return answer

    def incident(self, rule_id: str, message: str = "x") -> int:
        """Let something be wrong, and wait until everybody refused to hear of it."""
        alert = {"rule_id": rule_id, "severity": "error", "message": message}
        number: int = self.ask("POST", "alerts", alert)["results"][0]["incidents"][0]["number"]
        self.size()
        return number

    def size(self) -> int:
        """How many entries the ledger has, once nothing more is on its way to anybody."""
        while self.ask("GET", "deliveries?state=pending")["total"]:
            pass
        return size_of(self.server)

    def entries(self) -> list[tuple[bytes, bytes, bytes]]:
        """Give header, decision and private part of every entry, read from the disk; an erased part is empty."""
        reader = open_reader(self.server.data)
        try:
            reader.end()
            return [parts for segment in reader.segments() for parts in unpack(segment.data)]
        finally:
            reader.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)


def test_notes_and_reasons_are_kept_whole_and_shown_harmlessly(house: House) -> None:
    number = house.incident("notes")
    some = list(SHORT.values())[::2]  # a page of the timeline has 200 entries
    for index, text in enumerate(some):
        if index % 2:
            house.ask("POST", f"incidents/{number}/notes", {"note": text})
        else:
            house.ask("POST", f"incidents/{number}/{('ack', 'unack')[index // 2 % 2]}", {"note": text})

    detail = house.ask("GET", f"incidents/{number}")
    for verb in ("status", "why"):
        said = house.tocsin(verb, number, "-o", "table")
        assert said.code == 0, said.err
        harmless(said.out, verb)
    said = house.tocsin("why", number, "--all", "-o", "table")
    harmless(said.out, "why")
    kept = {note["note"] for note in detail["notes"]} | {
        step["changed"]["note"]
        for step in house.ask("GET", f"incidents/{number}/why")["steps"]
        if step["changed"]
    }
    assert set(some) <= kept
    tally("hostile notes", texts=len(some))


def test_silences_match_the_very_text_and_are_shown_harmlessly(house: House) -> None:
    for text in SHORT.values():
        quoted = json.dumps(text)
        made = house.ask("POST", "silences", {"matchers": [f"host={quoted}", f"{json.dumps('l' + text)}={quoted}"],
                                              "minutes": 5, "comment": text})  # fmt: skip
        assert made["comment"] == text
        [host, _] = made["matchers"]
        again = house.ask("POST", "silences/preview", {"matchers": [host]})
        assert again["matchers"] == [host], "what is shown is read as the same"
    said = house.tocsin("silence", "--list", "--limit", 500, "-o", "table")
    assert said.code == 0, said.err
    harmless(said.out, "silence --list")
    house.ask("POST", f"silences/{made['silence_id']}/end", {})
    tally("hostile silences", texts=len(SHORT))


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_that_takes_others_for_ever_takes_no_time(house: House, name: str) -> None:
    pattern, text = PATTERNS[name]
    before = house.size()
    made = house.ask("POST", "silences", {"matchers": [f"slow=~{pattern}"], "minutes": 5})
    alert = {"rule_id": f"pattern {name}", "severity": "error", "message": "x", "scope": {"slow": text}}

    connection = house.server.connect(timeout_s=10)  # A backtracking engine would take more than a life.
    connection.request("POST", "/api/v1/alerts", json.dumps(alert), house.server.headers())
    assert connection.getresponse().status == 200
    connection.close()

    assert house.size() > before
    house.ask("POST", f"silences/{made['silence_id']}/end", {})


@pytest.mark.parametrize("name", PATTERNS_REFUSED)
def test_a_pattern_that_re2_does_not_know_is_refused_and_changes_nothing(house: House, name: str) -> None:
    before = house.size()

    status, _, problem = house.server.request(
        "POST", "/api/v1/silences", {"matchers": [f"slow=~{PATTERNS_REFUSED[name]}"], "minutes": 5}
    )

    assert status == 422, problem
    assert len(json.dumps(problem)) < 10_000
    assert house.size() == before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_that_comes_by_the_api_is_refused_soon_and_changes_nothing(
    house: House, name: str
) -> None:
    text = HOSTILE[name][0]
    if not isinstance(text, str) or len(text) > 500_000:
        return  # no text at all, or longer than the API takes
    before = house.size()
    for path, key in (("whatif", "policy"), ("rules/test", "rules")):
        connection = house.server.connect(timeout_s=10)
        connection.request("POST", f"/api/v1/{path}", json.dumps({key: text}), house.server.headers())
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        refused = (path, name) != ("whatif", "a device for a secret")  # It fetches no secret.
        assert answer.status == (422 if refused else 200), (path, said[:300])
        assert len(said) < 100_000 or not refused, path
        assert b"unknown" not in said, path
        assert b"Extra inputs" not in said, path
    assert house.size() == before


def test_names_of_tokens_are_shown_harmlessly(house: House) -> None:
    for text in SHORT.values():
        house.ask("POST", "tokens", {"name": text, "role": "viewer"})
    said = house.tocsin("token", "list", "--limit", 500, "-o", "table")
    assert said.code == 0, said.err
    harmless(said.out, "token list")
    names = {one["name"] for one in house.ask("GET", "tokens?limit=500")["tokens"]}
    assert set(SHORT.values()) <= names


def test_what_relays_and_receivers_answer_is_one_harmless_line(house: House) -> None:
    number = house.incident("answers")

    whys = [one["why"] for one in house.ask("GET", f"incidents/{number}")["deliveries"]]
    assert len(whys) >= 2
    for why in whys:
        assert 0 < len(why) <= 400
        assert acting_in(why, lines=False) == []
    assert not [why for why in whys if "HTTP" in why and "0wned" in why], (
        "of an HTTP answer only the status is said"
    )
    for verb in (
        f"status {number}",
        f"why {number}",
        "deliveries list",
        "channel list",
        "deliveries list --state dead",
    ):
        said = house.tocsin(*verb.split(), "-o", "table")
        assert said.code == 0, said.err
        harmless(said.out, verb)


def test_reasons_for_which_a_delivery_is_discarded_are_kept(house: House) -> None:
    rules = list(SHORT.items())[::8]
    for name, text in rules:
        house.incident(f"discard {name}")
        dead = house.ask("GET", "deliveries?state=dead&limit=1")["deliveries"][0]["number"]
        changed = house.ask("POST", f"deliveries/{dead}/discard", {"reason": text})
        assert (changed["changed"], changed["state"]) == (True, "discarded"), name
        said = house.tocsin("deliveries", "show", dead, "-o", "table")
        assert said.code == 0, said.err
        harmless(said.out, name)
        kept = [
            read_private(private).note
            for _, decision, private in house.entries()
            if b'"discarded"' in decision and f'"delivery":{dead},'.encode() in decision
        ]
        assert kept == [text], name


def test_what_an_admin_erases_is_named_by_its_reason_only(house: House) -> None:
    for index, text in enumerate(list(SHORT.values())[::8]):
        subject = f"nobody {text}"
        coded = json.dumps(subject, ensure_ascii=False)[1:-1].encode()
        number = house.incident(f"erased {index}", message=subject)
        house.ask("POST", f"incidents/{number}/resolve", {})
        asked = {"subject": subject, "reason": text}

        before = house.size()
        found = house.ask("POST", "ledger/erasures", asked | {"dry_run": True})
        assert found["entries"], text
        assert house.size() == before, "a dry run changes nothing"
        assert house.ask("POST", "ledger/erasures", asked) == found | {"dry_run": False}

        entries = house.entries()
        (_, decision, private) = next(parts for parts in reversed(entries) if b'"kind":"erased"' in parts[0])
        assert b'"private_erased"' in decision
        assert read_private(private).note == text
        assert {entries[seq][2] for seq in found["entries"]} == {b""}
        assert not [parts for parts in entries if coded in b"".join(parts)], text


def test_a_form_with_a_hostile_key_is_refused_and_changes_nothing(house: House) -> None:
    number = house.incident("forms")
    before = house.size()
    for text in SHORT.values():
        for path in (f"incidents/{number}/ack", "silences", "tokens", "notify/send", "whatif", "rules/test"):
            status, headers, problem = house.server.request("POST", f"/api/v1/{path}", {text: text})
            assert status == 422, (path, text, problem)
            assert headers["content-type"] == "application/problem+json"
    assert house.size() == before


def test_the_watch_at_a_terminal_moves_its_own_cursor_and_nothing_else(house: House, tmp_path: Path) -> None:
    numbers = [house.incident(text) for text in list(SHORT.values())[::6]]
    with terminal(
        "status", "--watch", "-o", "table", "--data", tmp_path,
        URL=f"http://127.0.0.1:{house.server.port}", TOKEN=house.server.token,
    ) as screen:  # fmt: skip
        screen.wait_for(str(numbers[-1]))
        screen.wait_for("Ctrl-C ends this.")
        screen.type("\x03")
        assert screen.end() == 130
    seen = re.sub(r"\x1b\[(\?(1049|25)[hl]|[\d;]*[mHABCDJK])|[\r\n]", "", screen.seen)
    seen = seen.replace("^C", "")
    assert acting_in(seen) == [], "what rich itself writes is left out"
    assert "]0;" not in seen or "<U+001B>]0;" in seen


def test_a_channels_name_is_one_label_of_the_metrics(house: House) -> None:
    house.incident("metrics")
    text = house.server.request("GET", "/metrics")[2].decode()

    read = {
        (sample.name, sample.labels["channel"])
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "channel" in sample.labels
    }
    assert {channel for _, channel in read} == {HOOK, "mail"}


def test_the_servers_log_is_lines_and_its_console_form_too(house: House) -> None:
    log = house.server.log.read_text("utf-8")

    assert all(json_line(line)["event"] for line in log.splitlines())
    assert log.isascii()
    assert acting_in(log) == []


def test_a_log_for_people_has_one_line_for_each_thing_whatever_it_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    import logging

    from tocsin.cli.logs import set_up

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        for form in ("console", "json"):
            set_up("debug", form)
            capsys.readouterr()
            for index, text in enumerate(TEXTS.values()):
                logging.getLogger("tocsin").warning("number %d: %s", index, text, extra={"more": text})
            lines = capsys.readouterr().err.splitlines()
            assert len(lines) == len(TEXTS), form
            assert acting_in("".join(lines)) == [], form
            assert all(f"number {index}: " in line for index, line in enumerate(lines)), form
    finally:
        root.handlers[:], root.level = handlers, level
