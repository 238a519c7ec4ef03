"""`tocsin whatif` on a real data directory: its forms, its exit codes, and what it never keeps to itself."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.cli.answered import EVIL
from tests.cli.inside import run
from tests.cli.terminal import terminal
from tests.core.ledger.ledgers import CountedBytes, HandClock
from tests.support.builders import DAY, HOUR, MINUTE, a_policy, an_alert

from tocsin.cli.show import console
from tocsin.cli.whatif_answer import answer, instant
from tocsin.cli.whatif_page import page
from tocsin.cli.whatif_text import show_report
from tocsin.core.model.input import OutcomeReported, PolicyChanged
from tocsin.core.model.notification import Accepted
from tocsin.core.model.policy import Policy
from tocsin.intake.native import received
from tocsin.runtime.pump import Pump, Request
from tocsin.stores.sqlite import SqliteStore

SAME = "routes: {name: default}\nrate_limit: null\n"
SLOWER = "routes: {name: default, group_wait: 10m}\nrate_limit: null\n"
SINCE = "2027-01-16T00:00:00Z"


def write_ledger(directory: Path, policy: Policy, *, host: str = "a") -> None:
    """A critical incident, and on the next day one that is not; both are over after an hour."""
    store = SqliteStore(directory)
    clock = HandClock()
    due: list[tuple[int, int]] = []
    pump = Pump(
        store,
        clock,
        CountedBytes(),
        origin="tests",
        on_committed=lambda done: due.extend((one.delivery, one.attempt) for one in done.dispatches),
    )
    pump.open()
    pump.turn([Request((PolicyChanged(policy=policy),), "settings")])
    for severity in ("critical", "warning"):
        for status in ("firing", "resolved"):
            clock.at += HOUR
            alert = an_alert("disk", severity, status, window=(clock.at - MINUTE, clock.at), host=host)
            pump.turn([Request((received(alert),), "api")])
            while due:
                delivery, attempt = due.pop(0)
                reported = OutcomeReported(delivery=delivery, attempt=attempt, outcome=Accepted())
                pump.turn([Request((reported,), "system")])
        clock.at += DAY
    pump.turn([])
    store.close()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    directory = tmp_path_factory.mktemp("whatif")
    write_ledger(directory, a_policy("anna", "ops@webhook"))
    return directory


def wrote(folder: Path, text: str) -> Path:
    path = folder / "new.yaml"
    path.write_text(text)
    return path


def test_the_same_policy_exits_0_and_says_so(data, tmp_path):
    said = run("whatif", "--policy", wrote(tmp_path, SAME), "--data", data)

    assert said.code == 0, said.err
    assert said.answer["same"] is True
    assert said.answer["effect"]["found"] == said.answer["drift"]["found"] == 0
    assert said.answer["numbers"]["opened"] == {"recorded": 2, "again": 2, "candidate": 2}
    assert said.err == ""


def test_a_difference_exits_9_and_what_is_critical_is_named_on_stderr(data, tmp_path):
    said = run("whatif", "--policy", wrote(tmp_path, SLOWER), "--data", data)

    assert said.code == 9
    assert said.err.splitlines() == [
        "1 CRITICAL incident would be told late or not at all under the other policy:",
        "  #1 disk host=a: told 2027-01-15 09:00:00, then 2027-01-15 09:10:00 (UTC)",
    ]
    (late,) = said.answer["critical"]
    assert late["told_at"] == "2027-01-15T09:00:00Z"
    assert late["late_at"] == "2027-01-15T09:10:00Z"
    assert said.answer["numbers"]["first_notification"]["candidate"]["p50_s"] == 600.0


def test_a_period_leaves_the_rest_alone(data, tmp_path):
    said = run("whatif", "--policy", wrote(tmp_path, SLOWER), "--data", data, "--since", SINCE)

    assert said.code == 9
    assert said.answer["since"] == SINCE
    assert said.answer["numbers"]["opened"]["again"] == 1
    assert said.answer["critical"] == []
    assert said.err == ""


def test_channels_of_the_file_are_told_and_no_secret_of_theirs_is_needed(data, tmp_path):
    text = SAME + (
        "channels:\n"
        "- {kind: webhook, name: webhook, url: {env: NOBODY_SET_THIS}, secrets: [{file: /nowhere}]}\n"
        "- {kind: email, name: email, host: mail.example.org, sender: t@example.org, user: t,\n"
        "   password: {file: /nowhere}, ca_file: /nowhere, recipients: [carla@example.org]}\n"
    )

    said = run("whatif", "--policy", wrote(tmp_path, text), "--data", data)

    assert said.code == 9
    told = {one["address"]: one["notifications"]["candidate"] for one in said.answer["numbers"]["people"]}
    assert told == {"anna@example.org": 0, "carla@example.org": 4, "ops@example.org": 0, "webhook": 4}


def test_a_file_that_is_wrong_is_told_with_its_line(data, tmp_path):
    said = run(
        "whatif", "--policy", wrote(tmp_path, "routes: {name: default, group_wait: 10}\n"), "--data", data
    )

    assert said.code == 2
    assert "new.yaml:1:" in said.err


def test_a_route_may_name_only_channels_of_the_record_if_the_file_has_none(data, tmp_path):
    good = run(
        "whatif", "--policy", wrote(tmp_path, SAME + "defaults: {channels: [webhook]}\n"), "--data", data
    )
    wrong = run(
        "whatif", "--policy", wrote(tmp_path, SAME + "defaults: {channels: [pager]}\n"), "--data", data
    )

    assert good.code == 9
    assert wrong.code == 2
    assert "pager" in wrong.err


def test_lines_for_a_program_say_how_far_it_is_and_end_with_the_report_or_what_is_wrong(data, tmp_path):
    asked = ("whatif", "--data", data, "-o", "ndjson", "--policy")

    said = run(*asked, wrote(tmp_path, SLOWER))
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 9
    assert lines[0] == {"doing": "deciding", "entries": 0, "of": 14}
    assert lines[-1]["report"] == run(*asked[:3], "-o", "json", "--policy", tmp_path / "new.yaml").answer

    said = run(*asked, wrote(tmp_path, "routes: {name: default, group_wait: 10}\n"))
    (line,) = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == 2
    assert line["error"]["invalid"] is True
    assert [one["field"].rpartition("new.yaml:")[2] for one in line["error"]["errors"]] == ["1:37"]

    said = run(*asked, wrote(tmp_path, SLOWER), "--out", tmp_path / "report")
    assert said.code == 2
    assert not (tmp_path / "report").exists()


def test_a_directory_without_a_ledger_exits_3(tmp_path):
    assert run("whatif", "--policy", wrote(tmp_path, SAME), "--data", tmp_path).code == 3


@pytest.mark.parametrize(
    "wrong",
    [("--zone", "Nowhere/Land"), ("--since", "2027-01-17", "--until", "2027-01-16"), ("--output", "pdf")],
)
def test_what_makes_no_sense_exits_2(data, tmp_path, wrong):
    assert run("whatif", "--policy", wrote(tmp_path, SAME), "--data", data, *wrong).code == 2


def test_the_report_can_be_written_to_a_file_whose_name_says_its_form(data, tmp_path):
    policy = wrote(tmp_path, SLOWER)

    for name, begin in (
        ("r.html", "<!doctype html>"),
        ("r.json", "{"),
        ("r.txt", "What would have been different"),
    ):
        said = run("whatif", "--policy", policy, "--data", data, "--out", tmp_path / name)
        assert said.code == 9
        assert said.out == ""
        assert (tmp_path / name).read_text().startswith(begin)
        assert "\x1b" not in (tmp_path / name).read_text()
    assert run("whatif", "--policy", policy, "--data", data, "--out", tmp_path / "no" / "r.txt").code == 1


def test_somebody_at_a_terminal_sees_text_and_how_far_it_is(data, tmp_path):
    with terminal("whatif", "--policy", wrote(tmp_path, SLOWER), "--data", data) as screen:
        code = screen.end()

    assert code == 9
    assert "What would have been different" in screen.seen
    assert "reading" in screen.seen or "deciding" in screen.seen


def test_nothing_in_the_directory_is_changed(data, tmp_path):
    before = {path.name: path.read_bytes() for path in data.iterdir() if not path.name.endswith("-shm")}

    run("whatif", "--policy", wrote(tmp_path, SLOWER), "--data", data)

    after = {path.name: path.read_bytes() for path in data.iterdir() if not path.name.endswith("-shm")}
    assert after == before


# How it looks


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> dict[str, Any]:
    """A report whose texts want to act."""
    directory = tmp_path_factory.mktemp("evil")
    write_ledger(directory, a_policy("anna", "ops@webhook"), host=f"<script>alert(1)</script>{EVIL}")
    policy = directory / "new.yaml"
    policy.write_text(SLOWER)
    return run("whatif", "--policy", policy, "--data", directory).answer


def test_the_text_fits_80_columns_and_nothing_in_it_acts(evil, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")

    show_report(console(), evil)

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 80
    assert not set(shown) & {"\x1b", "\u202e", "\x07"}
    words = " ".join(shown.split())
    for said in (
        "1 CRITICAL incident",
        "group_wait: 0s -> 10m",
        "half told within",
        "What this rests on",
        "Drift",
    ):
        assert said in words


def test_the_page_stands_alone_and_everything_in_it_is_escaped(evil):
    text = page(evil)

    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not set(text) & {"\x1b", "\u202e", "\x07"}
    assert not re.search(r"(?:src|href)=|url\(|@import|https?://", text)
    assert "default-src 'none'" in text
    assert text.count("<svg") >= 2
    for said in ("1 CRITICAL incident", "email anna@example.org", "group_wait: 0s -&gt; 10m"):
        assert said in text


def test_every_tag_of_the_page_is_one_of_a_few(evil):
    tags: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.add(tag)
            assert not any(name.startswith("on") for name, _ in attrs)

    Reader().feed(page(evil))

    known = "html meta title style h1 h2 p table tr th td svg rect text ul li article b span i"
    assert tags <= {*known.split(" ")}


def test_an_empty_report_can_be_shown(capsys):
    from tests.core.simulation.recording import again

    found = answer(again([], a_policy()))

    show_report(console(), json.loads(json.dumps(found)))

    assert "Nothing: the other policy decides" in capsys.readouterr().out
    assert "Nothing: the other policy decides" in page(found)
    assert found["since"] is None


def test_drift_is_told_apart_with_both_sides(capsys):
    from tests.core.simulation.recording import again, recording
    from tests.support.world import World

    from tocsin.core.model.notification import Refused, Retry

    answers = iter([Refused(why="410")] + [Retry(why="503")] * 99)
    world = World(
        a_policy("anna", "ops@webhook"), answers=lambda delivery, attempt, at: next(answers, Accepted())
    )
    for number in range(3):
        world.fire(host=f"h{number}")
    world.wait(HOUR)
    report = again(recording(world), a_policy("anna", group_wait=MINUTE), until=world.at)
    assert report.drift.found

    found = answer(report)
    show_report(console(), found)

    shown = " ".join(capsys.readouterr().out.split())
    assert "came otherwise" in shown
    assert "Where it drifted" in shown
    assert "Where it drifted" in page(found)


def test_what_was_left_out_is_counted_in_words(capsys):
    from tests.core.simulation.recording import again, erased, recording
    from tests.support.world import World

    world = World(a_policy())
    world.fire(host="a")
    entries = erased(recording(world), which=lambda header: b'"kind":"alert"' in header)
    found = answer(again(entries, a_policy()))

    show_report(console(), found)

    assert "1 input could not be decided again: the texts were erased" in " ".join(
        capsys.readouterr().out.split()
    )
    assert "inputs whose texts were erased<td class=n>1" in page(found)


def test_instants_are_written_with_what_they_have():
    assert instant(0) is None
    assert instant(1_800_000_000_000_000) == "2027-01-15T08:00:00Z"
    assert instant(1_800_000_000_000_001) == "2027-01-15T08:00:00.000001Z"
