"""`tocsin gate` passes for a build that does what it says, and each of its checks fails when what it looks at breaks."""

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from tests.cli.inside import Said, run

import tocsin.intake
import tocsin.sources
from tocsin.cli import (
    gate,
    gate_accuracy,
    gate_audit,
    gate_completeness,
    gate_determinism,
    gate_performance,
    gate_report,
    gate_scenarios,
    gate_tour,
)
from tocsin.cli.gate_check import Checked, Found
from tocsin.cli.main import VERBS
from tocsin.core.engine import deduplicate, deliver, explain, fold, lifecycle, rate_limit, suppress
from tocsin.core.ledger import envelope, proof, verify
from tocsin.core.model import event as ev
from tocsin.core.model.entry import KINDS
from tocsin.runtime import signing
from tocsin.settings import forms, model

FIVE = [
    "notify_completeness",
    "notify_accuracy",
    "notify_performance",
    "notify_audit",
    "notify_determinism",
]


@pytest.fixture(autouse=True)
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand where there is no data directory."""
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")


def check(name: str, *more: object) -> tuple[int, dict[str, Any]]:
    """Make one check: the exit code, and what was found."""
    said = run("gate", "--only", name, "--json", *more)
    (found,) = said.answer["checks"]
    assert found["name"] == name
    assert said.answer["failed"] == ([name] if said.code else [])
    assert said.code == (7 if found["verdict"] == "FAIL" else 0)
    return said.code, found


def fails(name: str, *more: object) -> str:
    """Make one check that must fail; all that is wrong, in one text."""
    code, found = check(name, *more)
    assert (code, found["verdict"]) == (7, "FAIL"), found
    return "\n".join([found["said"], *found["wrong"]])


# The whole


def test_a_build_that_does_what_it_says_passes_all_five(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate_performance, "P95_MS_MAX", 1000.0)  # Other tests have the machine too.
    report, badge = tmp_path / "gate.md", tmp_path / "gate.svg"

    said = run("gate", "--json", "--markdown", report, "--badge", badge)

    assert said.code == 0, said.out
    answer = said.answer
    assert [one["name"] for one in answer["checks"]] == FIVE
    assert {one["verdict"] for one in answer["checks"]} == {"PASS"}
    assert (answer["ok"], answer["verdict"], answer["failed"]) == (True, "passed", [])
    assert len(gate_scenarios.SCENARIOS) >= 12
    figures = answer["checks"][2]["figures"]
    assert figures["dispatches"] == 100
    assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"]
    text = report.read_text()
    assert "**Gate passed**" in text
    assert all(f"| {name} | PASS |" in text for name in FIVE)
    assert "passed 5/5" in "".join(ElementTree.parse(badge).getroot().itertext())


def test_at_a_terminal_it_is_a_table_that_ends_with_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_accuracy, "accuracy", lambda asked: Found("fail", "No.", wrong=("this\x1b[2J",)))

    said = run("gate", "--only", "notify_audit", "--only", "notify_accuracy", "-o", "table")

    assert said.code == 7
    lines = said.out.splitlines()
    assert lines[0].split()[:2] == ["notify_accuracy", "FAIL"]
    assert "this<U+001B>[2J" in lines[1]
    assert any(line.split()[:2] == ["notify_audit", "PASS"] for line in lines)
    assert lines[-1].startswith("GATE FAILED: notify_accuracy  (1 PASS, 1 FAIL, ")


def test_a_check_that_breaks_has_failed_and_the_others_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(asked: object) -> Found:
        raise KeyError("a mistake")

    monkeypatch.setattr(gate_accuracy, "accuracy", broken)

    said = run("gate", "--only", "notify_accuracy", "--only", "notify_audit", "--json")

    assert (said.code, said.answer["failed"]) == (7, ["notify_accuracy"])
    assert "KeyError: 'a mistake'" in said.answer["checks"][0]["said"]
    assert said.answer["checks"][1]["verdict"] == "PASS"


def test_a_warning_passes_unless_it_is_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_accuracy, "accuracy", lambda asked: Found("warn", "Maybe."))

    def gated(*more: str) -> Said:
        return run("gate", "--only", "notify_accuracy", "--json", *more)

    assert (gated().code, gated().answer["verdict"]) == (0, "warned")
    assert (gated("--strict").code, gated("--strict").answer["failed"]) == (7, ["notify_accuracy"])


@pytest.mark.parametrize("arguments", [["--data", "nowhere"], ["--only", "live_ledger"]])
def test_a_live_installation_that_is_not_there_is_not_found(arguments: list[str]) -> None:
    said = run("gate", *arguments)

    assert said.code == 3
    assert "There is no Tocsin in" in said.err


def test_a_report_that_cannot_be_written_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_accuracy, "accuracy", lambda asked: Found("ok", "Yes."))

    said = run("gate", "--only", "notify_accuracy", "--markdown", "no/such/folder/gate.md")

    assert said.code == 1
    assert "gate.md cannot be written" in said.err


def test_all_checks_are_there_in_their_order() -> None:
    assert list(gate.BUILD) == FIVE
    assert list(gate.LIVE)[:2] == ["live_schema", "live_ledger"]


# What is written


def test_text_from_outside_is_text_in_the_report_and_the_badge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_report, "versions", lambda: {"tocsin": "<&\"'>"})
    nasty = "a | b <script>&`*_\n# [x](y) \u202e"
    found = Found("fail", nasty, wrong=(nasty,), differs=((nasty, ""),), figures={"counts": {nasty: nasty}})
    made = [Checked("notify_accuracy", found, 0.1)]

    text, badge = (
        write(made, ["notify_accuracy"]) for write in (gate_report.as_markdown, gate_report.as_badge)
    )

    for line in text.splitlines()[2:]:
        assert "<script>" not in line
        assert "[x](y)" not in line
        assert not line.startswith("# [")
    assert r"a \| b \<script\>&\`\*\_ \# \[x\](y) \<U+202E\>" in text
    root = ElementTree.fromstring(badge)
    assert root.attrib["role"] == "img"
    assert root.attrib["aria-label"] == "tocsin <&\"'> gate: failed 0/1"
    assert "http" not in badge.replace("http://www.w3.org/2000/svg", "")
    assert "@import" not in badge
    assert "url(" not in badge


# Completeness


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plant a module in a package."""

    def plant(package: Any, name: str, source: str) -> None:
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        full = f"{package.__name__}.{name}"
        monkeypatch.setitem(sys.modules, full, None)  # So that it is taken out again afterwards.
        del sys.modules[full]
        monkeypatch.setattr(package, name, None, raising=False)

    return plant


def test_a_module_that_does_not_load_is_named(planted: Any) -> None:
    planted(tocsin.sources, "well", "import tocsin.nowhere")

    assert "module tocsin.sources.well does not load" in fails("notify_completeness")


def test_a_dialect_that_no_route_speaks_is_named(planted: Any) -> None:
    planted(tocsin.intake, "pigeon", "def parse(body, at):\n    return None\n")

    assert "dialect pigeon is spoken by no route" in fails("notify_completeness")


def test_a_dialect_that_cannot_be_parsed_is_named(planted: Any) -> None:
    planted(tocsin.intake, "smoke", "")

    assert "dialect smoke cannot be parsed" in fails("notify_completeness")


def test_a_verb_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "sing", ("tocsin.cli.singing", "sing", "Sing."))

    assert "verb sing does not load" in fails("notify_completeness")


def test_a_kind_of_channel_without_a_builder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gate_completeness.build_channel

    def build(settings: Any, outbound: Any) -> Any:
        assert not isinstance(settings, model.TeamsSettings), "nobody builds it"
        return real(settings, outbound)

    monkeypatch.setattr(gate_completeness, "build_channel", build)

    said = fails("notify_completeness")

    assert "a channel of kind teams cannot be built: AssertionError: nobody builds it" in said
    assert "kind email" not in said


def test_a_kind_of_channel_that_no_form_takes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "KINDS", (*forms.KINDS, "pager"))

    assert "a channel of kind pager cannot be built" in fails("notify_completeness")


def test_an_event_that_nothing_folds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(fold._APPLY, ev.BulkBegan)

    said = fails("notify_completeness")

    assert "ends early" in said
    assert "BulkBegan" in said


def test_an_event_that_nothing_brings_about_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Danced(ev.Event, frozen=True, tag="danced"):
        """Somebody danced."""

    monkeypatch.setattr(gate_tour, "Decided", ev.Decided | Danced)

    assert "the event Danced comes about in no way" in fails("notify_completeness")


def test_a_kind_of_entry_that_nothing_brings_about_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "dance", "somebody danced")

    assert "an entry of kind dance comes about in no way" in fails("notify_completeness")


def test_an_event_that_nobody_explains_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = explain.explain

    def explained(lines: Any, background: Any) -> Any:
        for line in lines:
            for event in line.decision.events:
                assert not isinstance(event, ev.TokenRevoked), f"Expected code to be unreachable: {event}"
        return real(lines, background)

    monkeypatch.setattr(explain, "explain", explained)

    assert "an entry of kind token (TokenRevoked) cannot be explained" in fails("notify_completeness")


def test_a_replay_that_gives_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gate_completeness.Replay.take

    def take(self: Any, segment: Any) -> None:
        if segment.first_seq:
            real(self, segment)

    monkeypatch.setattr(gate_completeness.Replay, "take", take)

    assert "a replay of the record gives other heads" in fails("notify_completeness")


def test_a_configuration_whose_channels_cannot_be_built_fails(tmp_path: Path) -> None:
    path = tmp_path / "tocsin.yaml"
    path.write_text("channels: [{kind: webhook, name: hook, url: 'ftp://gate.invalid'}]\n")

    assert "channels[0].url" in fails("notify_completeness", "--config", path)


# Accuracy


def test_a_scenario_with_a_wrong_expectation_shows_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = gate_scenarios.SCENARIOS
    wrong = first._replace(story=first.story.replace("updated #1 error", "updated #1 critical", 1))
    monkeypatch.setattr(gate_scenarios, "SCENARIOS", (wrong, *rest))

    _, found = check("notify_accuracy")

    assert found["wrong"] == [f"duplicates: not so: {first.shows}"]
    (pair,) = found["differs"]
    assert "anna  updated #1 critical" in pair["expected"]
    assert "anna  updated #1 error" in pair["found"]
    assert check("notify_accuracy")[0] == 7


def test_the_two_sides_stand_side_by_side_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *_ = gate_scenarios.SCENARIOS
    wrong = first._replace(story="    09:00  alert   disk warning host=a\n    09:00  page    ben\n")
    monkeypatch.setattr(gate_scenarios, "SCENARIOS", (wrong,))

    said = run("gate", "--only", "notify_accuracy", "-o", "table")

    assert any(line.split() == ["expected", "found"] for line in said.out.splitlines())
    assert any("page    ben" in line and "so      opened #1" in line for line in said.out.splitlines())


MISTAKES = [
    (deduplicate, "is_duplicate", lambda live, alert, at: False, "duplicates"),
    (deduplicate, "is_stale", lambda live, alert, at: False, "duplicates"),
    (rate_limit, "used", lambda window, limit, at, charged: 0, "rate limit"),
    (rate_limit, "is_exempt", lambda incident, kind, told: True, "rate limit"),
    (suppress, "silences_of", lambda state, alert: (), "silence over"),
    (suppress, "why_suppressed", lambda state, incident: None, "silenced incident"),
    (deliver, "back_off", lambda retries, attempts, key: 1_000_000, "retries"),
    (lifecycle, "lapsed", lambda incident, kind, at: (), "acknowledgement lapses"),
    (fold, "plan_forgetting", lambda state, incident: None, ""),
]


@pytest.mark.parametrize(
    ("module", "name", "mistake", "scenario"),
    MISTAKES,
    ids=[f"{one[0].__name__}.{one[1]}" for one in MISTAKES],
)
def test_a_wrong_engine_is_noticed(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, mistake: Any, scenario: str
) -> None:
    monkeypatch.setattr(module, name, mistake)

    if scenario:
        assert f"\n{scenario}: " in fails("notify_accuracy")
    else:
        assert check("notify_accuracy")[0] == 0  # What is forgotten, and when, is told to nobody.


def test_a_scenario_that_cannot_be_played_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = gate_scenarios.SCENARIOS
    monkeypatch.setattr(
        gate_scenarios, "SCENARIOS", (*rest, first._replace(story="    09:00  sing    anna\n"))
    )

    assert "duplicates: it cannot be played: ValueError: a story knows no 'sing'" in fails("notify_accuracy")


# Performance


def test_dispatches_that_take_too_long_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    real = gate_performance.build_clock()

    class Late:
        looks = 0

        def now(self) -> int:
            self.looks += 1
            return real.now() + self.looks * 60_000

    monkeypatch.setattr(gate_performance, "build_clock", Late)
    monkeypatch.setattr(gate_performance, "DISPATCHES", 20)

    _, found = check("notify_performance")

    assert found["verdict"] == "FAIL"
    assert found["figures"]["p95_ms"] > 50
    assert "the bar is p95 < 50 ms" in found["said"]


def test_a_dispatch_that_does_not_end_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_performance, "PATIENCE_S", 0.0)

    assert "TimeoutError" in fails("notify_performance")


def test_a_dry_run_that_sends_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    sends = msgspec.structs.replace(gate_performance.SETTINGS, dry_run=False)
    monkeypatch.setattr(gate_performance, "SETTINGS", sends)
    monkeypatch.setattr(gate_performance, "DISPATCHES", 1)
    monkeypatch.setattr(gate_performance, "WARM_UP", 0)
    monkeypatch.setattr(gate_performance, "PATIENCE_S", 1.0)

    fails("notify_performance")


# Audit


def test_a_verifier_that_finds_everything_sound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "verify", lambda segments, *, size, root, **_: verify.Verdict(size, root))

    said = fails("notify_audit")

    assert "a decision was changed: nobody notices" in said
    assert "an entry was dropped: nobody notices" in said
    assert "another root: nobody notices" not in said


def test_proofs_that_always_hold_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "is_included", lambda *_, **__: True)

    assert "a proof with another path: nobody notices" in fails("notify_audit")


def test_growth_that_always_holds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "is_consistent", lambda **_: True)

    assert "a ledger that grew from another root: nobody notices" in fails("notify_audit")


def test_an_envelope_that_always_opens_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = envelope.open_
    monkeypatch.setattr(envelope, "open_", lambda data, secrets: (real(data, secrets)[0], ""))

    assert "an envelope sealed by somebody else: nobody notices" in fails("notify_audit")


def test_signatures_that_always_hold_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "verify", lambda public, message, signature: True)

    said = fails("notify_audit")

    assert "a checkpoint of another root: nobody notices" in said
    assert "a checkpoint with another signature: nobody notices" in said


def test_a_verifier_that_finds_nothing_sound_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = verify.Verdict(0, b"", 0, "no")
    monkeypatch.setattr(
        gate_audit.Bench, "is_sound", lambda self, segments, root=None: root == b"" or refused.is_sound
    )

    assert "AssertionError" in fails("notify_audit")


def test_an_envelope_that_never_opens_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = envelope.open_
    monkeypatch.setattr(envelope, "open_", lambda data, secrets: (real(data, secrets)[0], "no"))

    assert "the envelope, as it is: it is refused" in fails("notify_audit")


# Determinism

IMPORTS = gate_determinism.PROGRAM.partition("from")[0]


@pytest.mark.parametrize(
    "mistake",
    [
        "State.public_id = lambda self, kind, number, at, about=b'': f'{hash(kind) % 2**96:024x}{number:08x}'",
        "State.alert_id = lambda self, fingerprint, real=State.alert_id: "
        "bytes(real(self, fingerprint)[:15]) + time.strftime('%Z').encode()[:1]",
    ],
    ids=["hash seed", "time zone"],
)
def test_worlds_that_come_to_different_ledgers_are_noticed(
    monkeypatch: pytest.MonkeyPatch, mistake: str
) -> None:
    program = f"{IMPORTS}import time; from tocsin.core.engine.state import State; {mistake}; "
    program += "from tocsin.cli.gate_world import main; main()"
    monkeypatch.setattr(gate_determinism, "PROGRAM", program)

    assert "two worlds come to different ledgers" in fails("notify_determinism")


def test_a_world_that_breaks_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_determinism, "PROGRAM", "raise SystemError('the sky fell')")

    assert "the sky fell" in fails("notify_determinism")


NOTHING = "print('{}')"
"""A world in which nothing is played."""


def test_a_banned_name_in_the_core_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_determinism, "PROGRAM", NOTHING)
    planted = tmp_path / "core" / "engine" / "planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("import random\nfrom datetime import datetime\nat = datetime.now()\n")
    real = gate_determinism._read
    monkeypatch.setattr(gate_determinism, "_read", lambda package: real(tmp_path))

    said = fails("notify_determinism")

    assert "core/engine/planted.py:1: random is the clock, chance or the machine" in said
    assert "core/engine/planted.py:3: .now asks the machine" in said


def test_an_installation_without_source_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_determinism, "PROGRAM", NOTHING)
    real = gate_determinism._read
    monkeypatch.setattr(gate_determinism, "_read", lambda package: real(tmp_path))

    assert check("notify_determinism")[1]["verdict"] == "WARN"
