"""Proofs at the terminal: got from a server or from a directory at rest, and checked by whoever got them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cli.inside import Operator, Said, alert, fresh, run
from tests.cli.terminal import terminal
from tests.support.server import Server

SECRET, OTHER = "a secret that nobody guesses", "another one of so many letters"


@dataclass(frozen=True)
class Evidence:
    """Files that a server gave out. config: with the secret of its envelopes; vkey: its key."""

    folder: Path
    vkey: str
    config: Path

    def __call__(self, name: str) -> Path:
        return self.folder / name

    def check(self, path: Path, *more: object) -> Said:
        return run("ledger", "check", path, "--key", self.vkey, "--config", self.config, *more)


def a_config(path: Path, *secrets: str) -> Path:
    """Write a configuration with nothing in it but secrets of envelopes."""
    for number, secret in enumerate(secrets):
        (path.parent / f"secret-{number}").write_text(secret)
    listed = [{"file": f"secret-{number}"} for number in range(len(secrets))]
    path.write_text(json.dumps({"ledger": {"envelope_secrets": listed}}))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("proofs")
    config = {"ledger": {"envelope_secrets": [{"env": "ENVELOPE"}]}}
    with Server(folder / "data", settings={"ENVELOPE": SECRET}, config=config) as server:
        for rule in ("disk", "net"):
            alert(server, rule)
        server.request("POST", "/api/v1/incidents/1/notes", {"note": "looking"})
        server.request("POST", "/api/v1/incidents/1/ack", {"note": "on it"})
        yield server


@pytest.fixture
def tocsin(server: Server) -> Operator:
    return Operator(server)


@pytest.fixture(scope="module")
def evidence(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    folder = tmp_path_factory.mktemp("evidence")
    tocsin = Operator(server)
    (folder / "older").write_text(tocsin("ledger", "checkpoint").out)
    size = tocsin("ledger", "keys").answer["keys"][0]["adopted_seq"] + 1
    alert(server, "another")
    for name, asked in (
        ("entry", ("proof", "--entry", size)),
        ("incident", ("proof", "--incident", "1")),
        ("growth", ("proof", "--since", Path(folder / "older").read_text().split("\n")[1])),
        ("envelope", ("envelope", "1")),
    ):
        said = tocsin("ledger", *asked, "--out", folder / name)
        assert said.code == 0, said.err
    (folder / "checkpoint").write_text(tocsin("ledger", "checkpoint").out)
    return Evidence(
        folder, tocsin("ledger", "keys").answer["keys"][0]["vkey"], a_config(folder / "c.yaml", SECRET)
    )


# Got


def test_a_checkpoint_is_printed_as_it_was_signed_also_in_a_pipe(tocsin: Operator) -> None:
    said = tocsin("ledger", "checkpoint")
    answer = tocsin("ledger", "checkpoint", "-o", "json").answer

    origin, size, _, blank, signature, end = said.out.split("\n")
    assert (said.code, blank, end) == (0, "", "")
    assert signature.startswith(f"\u2014 {origin} ")
    assert set(answer) == {"origin", "size", "root", "short", "checkpoint"}
    assert (answer["origin"], str(answer["size"]), answer["checkpoint"]) == (origin, size, said.out)


def test_keys_are_listed_with_what_the_ledger_is_called(tocsin: Operator) -> None:
    answer = tocsin("ledger", "keys").answer
    said = tocsin("ledger", "keys", "-o", "table")

    (key,) = answer["keys"]
    assert answer["names"] == [{"seq": 2, "origin": answer["origin"]}]
    assert (key["adopted_seq"], key["retired_seq"]) == (3, None)
    assert said.code == 0
    assert key["vkey"] in said.out.splitlines()
    assert "adopted by entry 3; signs" in said.out
    assert max(map(len, said.out.splitlines())) <= 80


def test_a_key_is_rotated_and_retired(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        tocsin = Operator(server)
        first = tocsin("ledger", "keys").answer["keys"][0]["vkey"]

        made = tocsin("ledger", "rotate-key", "-o", "table")
        both = tocsin("ledger", "checkpoint").out
        retired = tocsin("ledger", "retire-key", first)
        refused = tocsin("ledger", "retire-key", made.out.strip())
        unknown = tocsin("ledger", "retire-key", first)

        assert (made.code, retired.code, refused.code, unknown.code) == (0, 0, 4, 4)
        assert retired.answer["retired_seq"] == retired.answer["adopted_seq"] + 2
        assert "rotate-key" in refused.err
        assert both.count("\u2014") == 2
        assert tocsin("ledger", "checkpoint").out.count("\u2014") == 1
        (tmp_path / "both").write_text(both)
        for vkey in (first, made.out.strip()):
            assert run("ledger", "check", tmp_path / "both", "--key", vkey).code == 0
        shown = tocsin("ledger", "keys", "-o", "table").out
        assert "retired by entry" in shown
        assert max(map(len, shown.splitlines())) <= 80


def test_a_proof_goes_to_stdout_byte_for_byte_and_to_a_file_with_a_word(
    tocsin: Operator, tmp_path: Path
) -> None:
    out = tmp_path / "proof"

    to_stdout = tocsin("ledger", "proof", "--entry", "2")
    to_file = tocsin("ledger", "proof", "--entry", "2", "--out", out)

    assert (to_stdout.code, to_file.code) == (0, 0)
    assert to_stdout.out.startswith("c2sp.org/tlog-proof@v1\n")
    assert out.read_text() == to_stdout.out
    assert (to_file.out, to_file.err) == ("", f"{out} written.\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("proof",), 2),
        (("proof", "--entry", "1", "--incident", "1"), 2),
        (("proof", "--entry", "-1"), 2),
        (("proof", "--entry", "x"), 2),
        (("proof", "--entry", "999999"), 3),
        (("proof", "--incident", "999999"), 3),
        (("proof", "--incident", "../ledger"), 3),
        (("proof", "--since", "999999"), 4),
        (("envelope", "999999"), 3),
        (("envelope",), 2),
        (("retire-key",), 2),
    ],
)
def test_what_cannot_be_given_is_said_on_stderr(
    tocsin: Operator, arguments: tuple[str, ...], code: int
) -> None:
    said = tocsin("ledger", *arguments)

    assert (said.code, said.out) == (code, "")
    assert said.err


def test_a_file_that_cannot_be_written_is_said(tocsin: Operator, tmp_path: Path) -> None:
    said = tocsin("ledger", "proof", "--entry", "0", "--out", tmp_path / "none" / "proof")

    assert (said.code, said.out) == (1, "")
    assert "none" in said.err


def test_an_incident_may_be_named_as_people_do(tocsin: Operator, evidence: Evidence) -> None:
    assert tocsin("ledger", "proof", "--incident", "#1").answer["number"] == 1
    assert tocsin("ledger", "envelope", "#1").answer["incident"]["number"] == 1


def test_without_a_secret_it_is_said_where_to_give_one(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        alert(server)

        said = Operator(server)("ledger", "envelope", "1")

    assert (said.code, said.out) == (4, "")
    assert "envelope_secrets" in said.err


def test_with_no_server_the_same_is_read_from_the_directory(tmp_path: Path) -> None:
    server = fresh(tmp_path)
    with server:
        alert(server)
        assert server.stop() == 0
        before = (server.data / "tocsin.db").read_bytes()

        for arguments, start in (
            (("checkpoint",), "tocsin-"),
            (("keys",), "{"),
            (("proof", "--entry", "2"), "c2sp.org/"),
            (("proof", "--incident", "1"), "{"),
            (("proof", "--since", "3"), "{"),
        ):
            said = run("ledger", *arguments, "--data", server.data)
            assert (said.code, said.out[: len(start)]) == (0, start), said.err

        assert (server.data / "tocsin.db").read_bytes() == before
        server.start()
        assert Operator(server)("ledger", "checkpoint").code == 0


def test_with_no_server_a_key_is_rotated_too(tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        assert server.stop() == 0
        first = run("ledger", "keys", "--data", server.data).answer["keys"][0]["vkey"]

        made = run("ledger", "rotate-key", "--data", server.data).answer["vkey"]
        retired = run("ledger", "retire-key", first, "--data", server.data)

        assert retired.code == 0, retired.err
        server.start()
        keys = Operator(server)("ledger", "keys").answer["keys"]
        assert [(key["vkey"], key["retired_seq"] is None) for key in keys] == [(first, False), (made, True)]
        assert run("ledger", "verify", "--data", server.data).code == 0


def test_where_nothing_is_stored_nothing_can_be_proven(tmp_path: Path) -> None:
    for arguments in (
        ("checkpoint",),
        ("keys",),
        ("rotate-key",),
        ("proof", "--entry", "0"),
        ("envelope", "1"),
    ):
        said = run("ledger", *arguments, "--data", tmp_path / "none")
        assert (said.code, said.out) == (6, ""), arguments
    assert not (tmp_path / "none").exists()


# Checked


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("checkpoint", "checkpoint"),
        ("entry", "proof of an entry"),
        ("incident", "proof of an incident"),
        ("envelope", "envelope"),
        ("growth", "proof of growth"),
    ],
)
def test_what_is_sound_is_said_to_be_with_what_it_says(evidence: Evidence, name: str, kind: str) -> None:
    more = ("--checkpoint", evidence("older")) if name == "growth" else ()

    answer = evidence.check(evidence(name), *more)
    shown = evidence.check(evidence(name), *more, "-o", "table")

    assert (answer.code, shown.code) == (0, 0), answer.out
    assert {part: answer.answer[part] for part in ("kind", "sound", "what", "verified")} == {
        "kind": kind,
        "sound": True,
        "what": "",
        "verified": True,
    }
    assert answer.answer["facts"]["ledger"].startswith("tocsin-")
    assert shown.out.startswith(f"This {kind} is sound.\n")
    assert max(map(len, shown.out.splitlines())) <= 80
    assert shown.err == ""


def test_what_was_proven_is_shown(evidence: Evidence) -> None:
    facts = {
        name: evidence.check(evidence(name)).answer["facts"] for name in ("entry", "incident", "envelope")
    }

    assert (facts["entry"]["entry"], facts["entry"]["kind"]) == (4, "alert")
    assert facts["incident"]["incident"].startswith("#1 (")
    assert ", complete up to entry " in facts["incident"]["entries"]
    assert (facts["envelope"]["state"], facts["envelope"]["kind"]) == ("ACK", "action")


def test_without_a_key_it_is_said_that_nobody_was_verified(evidence: Evidence) -> None:
    said = run("ledger", "check", evidence("entry"), "-o", "table")
    answer = run("ledger", "check", evidence("entry")).answer

    assert said.code == 0
    assert "nobody's signature was verified" in said.err
    assert (answer["sound"], answer["verified"]) == (True, False)


def a_spoiled(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Give a file in each of many spoiled forms."""
    for position in range(0, len(data), max(1, len(data) // 60)):
        yield f"bit {position}", data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
    for part in range(1, 8):
        yield f"cut {part}", data[: len(data) * part // 8]
    yield "empty", b""
    yield "half again", data + data[: len(data) // 2]


@pytest.mark.parametrize("name", ["checkpoint", "entry", "incident", "envelope", "growth"])
def test_what_is_spoiled_ends_with_7_and_without_a_trace(
    evidence: Evidence, tmp_path: Path, name: str
) -> None:
    more = ("--checkpoint", evidence("older")) if name == "growth" else ()
    path = tmp_path / "spoiled"

    for how, data in a_spoiled(evidence(name).read_bytes()):
        path.write_bytes(data)
        said = evidence.check(path, *more)
        assert said.code == 7, (how, said.out, said.err)
        assert said.answer["sound"] is False, how
        assert said.answer["what"], how


def changed(evidence: Evidence, name: str, change: Callable[[Any], object]) -> bytes:
    document = json.loads(evidence(name).read_bytes())
    change(document)
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("incident", lambda one: one["entries"].pop(1), "is missing"),
        ("incident", lambda one: one["entries"].pop(0), "is missing"),
        ("incident", lambda one: one["entries"].clear(), "no entry"),
        ("incident", lambda one: one["entries"].reverse(), "is missing"),
        ("incident", lambda one: one.update(number=2), "no entry"),
        ("incident", lambda one: one.update(incident="0" * 31 + "1"), "not about this incident"),
        ("incident", lambda one: one.update(v=2), "version 2"),
        ("incident", lambda one: one["entries"][0].update(seq=5), "does not lead"),
        ("incident", lambda one: one["entries"][0].update(private="{}"), "private part"),
        ("incident", lambda one: one["entries"][0].update(decision='{"events":[]}'), "decision"),
        ("growth", lambda one: one["hashes"].pop(), "does not begin"),
        ("growth", lambda one: one.update(old=one["old"] + 1), "about size"),
        ("envelope", lambda one: one.pop("seal"), "not sealed"),
        ("envelope", lambda one: one["incident"].update(state="RESOLVED"), "changed since"),
        ("envelope", lambda one: one["seal"].update(algorithm="none"), "not sealed"),
        ("envelope", lambda one: one["seal"].update(key_id="00000000"), "not at hand"),
    ],
)
def test_what_is_wrong_is_said(
    evidence: Evidence, tmp_path: Path, name: str, change: Callable[[Any], object], what: str
) -> None:
    path = tmp_path / name
    path.write_bytes(changed(evidence, name, change))

    said = evidence.check(path, "--checkpoint", evidence("older"), "-o", "table")

    assert said.code == 7
    assert said.out.startswith("This ")
    assert "NOT sound" in said.out
    assert what in said.out


def test_a_private_part_that_is_left_out_is_told(evidence: Evidence, tmp_path: Path) -> None:
    path = tmp_path / "proof"
    path.write_bytes(changed(evidence, "incident", lambda one: one["entries"][0].update(private=None)))

    said = evidence.check(path)

    assert said.code == 0
    assert said.answer["facts"]["without"].startswith("1 private parts")


def test_another_key_and_another_secret_do_not_do(evidence: Evidence, tmp_path: Path) -> None:
    with fresh(tmp_path) as server:
        foreign = Operator(server)("ledger", "keys").answer["keys"][0]["vkey"]
    other = a_config(tmp_path / "other.yaml", OTHER)

    for name in ("checkpoint", "entry", "incident"):
        said = run("ledger", "check", evidence(name), "--key", foreign)
        assert said.code == 7
        assert "No key that is known here" in said.answer["what"]
    assert "not at hand" in run("ledger", "check", evidence("envelope"), "--config", other).answer["what"]
    assert (
        run(
            "ledger",
            "check",
            evidence("envelope"),
            "--config",
            a_config(tmp_path / "both.yaml", OTHER, SECRET),
        ).code
        == 0
    )


def test_keys_may_come_from_a_file_with_several(evidence: Evidence, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"{evidence.vkey}\n")

    assert run("ledger", "check", evidence("checkpoint"), "--key", keys).answer["verified"] is True
    for wrong in ("nonsense", str(tmp_path), evidence.vkey[:-1], "", "x" * 5000):
        said = run("ledger", "check", evidence("checkpoint"), "--key", wrong)
        assert (said.code, said.out) == (2, ""), wrong
    keys.write_bytes(b"\xff\x00")
    assert run("ledger", "check", evidence("checkpoint"), "--key", keys).code == 2


def test_a_header_from_elsewhere_takes_the_place_of_the_one_in_the_proof(
    server: Server, evidence: Evidence, tmp_path: Path
) -> None:
    header = tmp_path / "header"
    header.write_text(run("ledger", "show", 4, "--part", "header", "--data", server.data).out)
    bare = tmp_path / "bare"
    lines = evidence("entry").read_text().split("\n")
    bare.write_text("\n".join(line for line in lines if not line.startswith("extra ")))

    assert evidence.check(bare, "--header", header).code == 0
    assert evidence.check(evidence("entry"), "--header", header).code == 0
    without = evidence.check(bare)
    assert (without.code, without.out) == (2, "")
    assert "--header" in without.err
    header.write_text("{}")
    assert evidence.check(bare, "--header", header).code == 7


def test_a_proof_of_growth_needs_the_checkpoint_that_was_kept(evidence: Evidence, tmp_path: Path) -> None:
    said = evidence.check(evidence("growth"))

    assert (said.code, said.out) == (2, "")
    assert "--checkpoint" in said.err
    forged = tmp_path / "forged"
    forged.write_bytes(evidence("checkpoint").read_bytes())
    assert evidence.check(evidence("growth"), "--checkpoint", forged).code == 7


def test_what_is_not_there_cannot_be_checked(tmp_path: Path) -> None:
    assert run("ledger", "check", tmp_path / "none").code == 2
    assert run("ledger", "check", tmp_path).code == 2


def test_nothing_in_a_file_can_control_the_terminal(tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    evil.write_bytes(b"c2sp.org/tlog-proof@v1\nindex 0\n\x1b[31m\n\nx\n")

    for output in ("table", "json"):
        said = run("ledger", "check", evil, "-o", output)
        assert said.code == 7
        assert [c for c in said.out + said.err if not c.isprintable() and c != "\n"] == []


def test_at_a_terminal_a_proof_is_text_and_an_answer_a_table(server: Server, evidence: Evidence) -> None:
    address = {"URL": f"http://127.0.0.1:{server.port}", "TOKEN": server.token}
    for arguments, word in (
        (("ledger", "proof", "--entry", "2"), "c2sp.org/tlog-proof@v1"),
        (("ledger", "envelope", "1"), '"seal":'),
        (("ledger", "keys"), "signs"),
        (("ledger", "check", evidence("checkpoint"), "--key", evidence.vkey), "is sound"),
    ):
        with terminal(*arguments, **address) as screen:
            screen.wait_for(word)
            assert screen.end() == 0
