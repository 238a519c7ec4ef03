"""The record over HTTP: checkpoints, tiles and keys, and proofs of entries, of growth and of incidents."""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web.auditing import Auditor
from tests.web.faces import ALERT, ORIGIN, Face, a_face

from tocsin.core.ledger import proof
from tocsin.core.ledger.checkpoint import Checkpoint
from tocsin.core.ledger.encoding import read_header
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.ledger.note import Unverified, decode64, split
from tocsin.core.model import event as ev
from tocsin.core.model.access import Role
from tocsin.runtime.export import verify_ledger, write_export
from tocsin.runtime.signing import verify

LEDGER = "/api/v1/ledger"


@pytest.fixture(scope="module")
def ledger() -> Iterator[Face]:
    """A server that signs. Its tests let the ledger grow, and none of them counts on how large it is."""
    with a_face(signs=True) as face:
        grow(face, 300)
        yield face


def grow(face: Face, count: int) -> None:
    """Let so many incidents open."""
    before = face.entries()
    alerts = [ALERT | {"rule_id": f"rule-{before}-{n}"} for n in range(count)]
    assert face.post(alerts)[0] == 200
    assert face.entries() >= before + count


def get(face: Face, path: str = LEDGER, **more: Any) -> Any:
    status, _, answer = face.ask("GET", path, **({"role": Role.AUDITOR} | more))
    assert status == 200, answer
    return answer


def an_auditor(face: Face) -> Auditor:
    """One who was given all keys that there are."""
    return Auditor(face, *(key["vkey"] for key in get(face)["keys"]))


# Checkpoints and tiles


def test_a_new_ledger_says_what_it_is_called_and_who_signs_for_it() -> None:
    with a_face(signs=True) as face:
        answer = get(face)

        origin, vkey = ORIGIN, answer["keys"][0]["vkey"]
        began, adopted = face.events()[-2:]
        assert isinstance(began, ev.LedgerBegan)
        assert isinstance(adopted, ev.KeyAdopted)
        assert (began.origin, adopted.vkey) == (origin, vkey)
        assert answer["origin"] == origin
        assert answer["names"] == [{"seq": face.entries() - 2, "origin": origin}]
        assert answer["keys"] == [{"vkey": vkey, "adopted_seq": face.entries() - 1, "retired_seq": None}]
        assert answer["size"] == face.entries()
        assert answer["short"] == f"{answer['size']}:{answer['root'][:8]}"
        assert Auditor(face, vkey).checkpoint(answer["checkpoint"].encode()) == Checkpoint(
            origin, answer["size"], bytes.fromhex(answer["root"])
        )


def test_an_auditors_program_follows_the_whole_ledger_by_its_tiles(ledger: Face) -> None:
    auditor = an_auditor(ledger)

    signed = auditor.checkpoint()
    headers = auditor.follow(signed)

    assert signed.size > 256
    assert [read_header(header).seq for header in headers] == list(range(signed.size))
    for index in (0, 1, 255, 256, signed.size - 1):
        assert auditor.holds(signed, index, headers[index])
    assert not auditor.holds(signed, 0, headers[1])


def test_who_holds_an_older_checkpoint_sees_that_nothing_before_it_changed(ledger: Face) -> None:
    auditor = an_auditor(ledger)
    older = auditor.checkpoint(get(ledger)["checkpoint"].encode())
    grow(ledger, 3)

    answer = get(ledger, f"{LEDGER}/consistency?old={older.size}")

    assert answer["size"] >= older.size + 3
    assert auditor.has_grown(older, answer)
    forged = Checkpoint(older.origin, older.size, bytes(32))
    assert not auditor.has_grown(forged, answer)
    # The same from tiles alone.
    newer = auditor.checkpoint(answer["checkpoint"].encode())
    assert auditor.follow(newer)[: older.size] == auditor.follow(older)


def test_growth_is_proven_from_nothing_and_up_to_now_but_not_beyond(ledger: Face) -> None:
    auditor = an_auditor(ledger)
    now = auditor.checkpoint(get(ledger)["checkpoint"].encode())

    for old in (Checkpoint(ORIGIN, 0, EMPTY_ROOT), now):
        answer = get(ledger, f"{LEDGER}/consistency?old={old.size}")
        assert answer["hashes"] == []
        assert auditor.has_grown(old, answer)
    status, _, problem = ledger.ask("GET", f"{LEDGER}/consistency?old={now.size + 1}")
    assert (status, problem["state"]) == (409, "shorter")
    for wrong in ("old=-1", "old=x", "old=9223372036854775808", ""):
        assert ledger.ask("GET", f"{LEDGER}/consistency?{wrong}")[0] == 422


def test_the_published_checkpoint_is_text_that_may_not_be_kept(ledger: Face) -> None:
    status, headers, note = ledger.ask("GET", "/ledger/checkpoint", role=Role.AUDITOR)

    assert status == 200
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    text, (signature,) = split(note)
    assert text.startswith(f"{ORIGIN}\n")
    assert signature.name == ORIGIN


def test_a_full_tile_never_changes_and_a_partial_one_is_a_part_of_it(ledger: Face) -> None:
    status, headers, full = ledger.ask("GET", "/ledger/tile/0/000", role=Role.AUDITOR)

    assert (status, len(full)) == (200, 8192)
    assert headers["content-type"] == "application/octet-stream"
    assert "immutable" in headers["cache-control"]
    for width in (1, 2, 17, 255):
        assert get(ledger, f"/ledger/tile/0/000.p/{width}") == full[: width * 32]
    entries = get(ledger, "/ledger/tile/entries/000")
    assert entries.startswith(get(ledger, "/ledger/tile/entries/000.p/3"))
    assert len(get(ledger, "/ledger/tile/1/000.p/1")) == 32


def test_what_no_tree_of_this_size_has_is_not_there(ledger: Face) -> None:
    size = ledger.entries()
    too_wide = size % 256 + 1
    for path in (
        f"tile/0/{size // 256:03}.p/{too_wide}", f"tile/entries/{size // 256:03}.p/{too_wide}", f"tile/0/{size // 256:03}",
        "tile/1/000", "tile/1/000.p/2", "tile/2/000.p/1", "tile/63/000.p/1", "tile/64/000.p/1", "tile/0/000.p/0", "tile/0/000.p/256",
        "tile/0/000.p/1/", "tile/0/0", "tile/0/x000/000", "tile/0/x999/x999/x999/x999/x999/999", "tile/0/", "tile/", "tile/entries/",
        "tile/x/000", "tile/-1/000", "tile/0/%2e%2e/000", "tile/0/000?x=1#/../..", "tile/00/000", "tile/0/" + "x999/" * 400 + "999",
        "tile/0/%FF", "tile/0/%E2%80%AE",
    ):  # fmt: skip
        status, headers, problem = ledger.ask("GET", f"/ledger/{path}", role=Role.AUDITOR)
        if path.startswith("tile/0/000?"):
            assert status == 200
            continue
        assert status == 404, path
        assert headers["content-type"] == "application/problem+json", path
        assert len(problem["detail"]) < 300, path


def test_where_nobody_signs_there_is_no_checkpoint_but_the_tree_is_there(face: Face) -> None:
    for path in ("/ledger/checkpoint", LEDGER, f"{LEDGER}/entries/0/proof", f"{LEDGER}/consistency?old=0"):
        status, _, problem = face.ask("GET", path)
        assert (status, problem["state"]) == (409, "unsigned"), path
    assert face.ask("POST", f"{LEDGER}/keys")[2]["state"] == "unsigned"
    assert face.ask("GET", "/ledger/tile/0/000.p/1")[0] == 200


# Keys


def test_a_key_is_rotated_and_retired_and_both_are_recorded() -> None:
    with a_face(signs=True) as face:
        first = get(face)["keys"][0]["vkey"]
        before = face.entries()

        status, _, made = face.ask("POST", f"{LEDGER}/keys")
        both = get(face)
        retired = face.ask("POST", f"{LEDGER}/keys/retire", {"vkey": first})
        alone = get(face)

        assert status == 201
        assert made == {"vkey": made["vkey"], "adopted_seq": before, "retired_seq": None}
        assert made["vkey"] != first
        assert retired[::2] == (200, {"vkey": first, "adopted_seq": before - 1, "retired_seq": before + 1})
        assert alone["keys"] == [retired[2], made]
        # While both sign, either is enough; after that, only the new one.
        for vkey in (first, made["vkey"]):
            assert Auditor(face, vkey).checkpoint(both["checkpoint"].encode()).size == before + 1
        assert Auditor(face, made["vkey"]).checkpoint(alone["checkpoint"].encode()).size == before + 2
        with pytest.raises(Unverified):
            Auditor(face, first).checkpoint(alone["checkpoint"].encode())
        adopted, gone = face.events(before)
        assert isinstance(adopted, ev.KeyAdopted)
        assert isinstance(gone, ev.KeyRetired)
        assert (adopted.vkey, gone.vkey) == (made["vkey"], first)


def test_the_checkpoint_that_hands_over_is_kept_for_who_knows_only_the_older_key() -> None:
    with a_face(signs=True) as face:
        keys = [get(face)["keys"][0]["vkey"]]
        for _ in range(2):
            keys.append(face.ask("POST", f"{LEDGER}/keys")[2]["vkey"])
            assert face.ask("POST", f"{LEDGER}/keys/retire", {"vkey": keys[-2]})[0] == 200
            grow(face, 1)

        kept = face.node.store.checkpoints()

        trusted = keys[0]
        for (size, note), newer in zip(kept, keys[1:], strict=True):
            assert Auditor(face, trusted).checkpoint(note).size == size
            adopted = face.node.store.entry(size - 1)
            assert adopted is not None
            assert newer in adopted[1].decode()
            trusted = newer
        assert Auditor(face, trusted).checkpoint(get(face)["checkpoint"].encode()).size == face.entries()


def test_the_only_key_and_one_that_does_not_sign_cannot_be_retired() -> None:
    with a_face(signs=True) as face:
        first = get(face)["keys"][0]["vkey"]
        second = face.ask("POST", f"{LEDGER}/keys")[2]["vkey"]
        before = face.entries()

        for vkey, state in ((second, "newest"), (first[:-1], "unknown"), ("nonsense", "unknown")):
            status, _, problem = face.ask("POST", f"{LEDGER}/keys/retire", {"vkey": vkey})
            assert (status, problem["state"]) == (409, state), vkey
        assert face.entries() == before
        assert face.ask("POST", f"{LEDGER}/keys/retire", {"vkey": first})[0] == 200
        assert face.ask("POST", f"{LEDGER}/keys/retire", {"vkey": first})[2]["state"] == "unknown"
        assert face.ask("POST", f"{LEDGER}/keys/retire", {"vkey": second})[2]["state"] == "newest"
        assert face.entries() == before + 1


@pytest.mark.parametrize(
    "form", [{}, {"vkey": ""}, {"vkey": 1}, {"vkey": "x", "more": 1}, {"vkey": None}, []]
)
def test_a_form_that_names_no_key_is_refused(ledger: Face, form: object) -> None:
    assert ledger.ask("POST", f"{LEDGER}/keys/retire", form)[0] == 422


# Proofs


def test_an_entry_is_proven_by_a_file_that_needs_nothing_else(ledger: Face) -> None:
    auditor = an_auditor(ledger)

    status, headers, made = ledger.ask("GET", f"{LEDGER}/entries/17/proof", role=Role.AUDITOR)

    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    found = proof.read(made)
    assert found.index == 17
    assert found.extra is not None
    assert read_header(found.extra).seq == 17
    signed = proof.confirm(found, found.extra, keys=auditor.keys, verify=verify, origin=ORIGIN)
    assert signed.size == ledger.entries()
    other = found.extra.replace(b'"seq":17', b'"seq":71')
    with pytest.raises(Unverified):
        proof.confirm(found, other, keys=auditor.keys, verify=verify, origin=ORIGIN)


def test_an_entry_that_is_not_there_is_not_proven(ledger: Face) -> None:
    assert ledger.ask("GET", f"{LEDGER}/entries/{ledger.entries()}/proof")[0] == 404
    for wrong in ("-1", "x", "1.5", "9223372036854775808", "%00"):
        assert ledger.ask("GET", f"{LEDGER}/entries/{wrong}/proof")[0] == 422, wrong


def test_an_incident_is_proven_with_all_its_entries(ledger: Face) -> None:
    auditor = an_auditor(ledger)
    number = an_incident(ledger, "proven")
    ledger.ask("POST", f"/api/v1/incidents/{number}/ack", {"note": "on it"})
    grow(ledger, 1)
    ledger.ask("POST", f"/api/v1/incidents/{number}/resolve", {})

    made = get(ledger, f"/api/v1/incidents/{number}/proof")

    signed = auditor.checkpoint(made["checkpoint"].encode())
    assert (made["v"], made["number"]) == (1, number)
    assert made["incident"] == get(ledger, f"/api/v1/incidents/{number}")["incident_id"]
    assert made == get(ledger, f"/api/v1/incidents/{made['incident']}/proof")
    before = None
    for count, entry in enumerate(made["entries"]):
        header = json.loads(entry["header"])
        assert (header["seq"], header["incident"]) == (entry["seq"], made["incident"])
        assert (header["incident_n"], header["incident_prev"]) == (count, before)
        for part in ("decision", "private"):
            assert hashlib.sha256(entry[part].encode()).hexdigest() == header[f"{part}_hash"]
        path = [decode64(line) or b"" for line in entry["path"]]
        assert proof.is_included(
            hashlib.sha256(b"\0" + entry["header"].encode()).digest(),
            index=entry["seq"], size=signed.size, path=path, root=signed.root,
        )  # fmt: skip
        before = entry["seq"]
    assert len(made["entries"]) >= 3
    assert "on it" in made["entries"][1]["private"]


def an_incident(face: Face, rule: str, **more: Any) -> int:
    _, _, answer = face.post(ALERT | {"rule_id": rule} | more)
    number: int = answer["results"][0]["incidents"][0]["number"]
    return number


def test_an_incident_that_is_not_there_has_no_proof(ledger: Face) -> None:
    for name in ("0", "999999", "f" * 32, "x", "%00"):
        for kind in ("proof", "envelope"):
            status = ledger.ask("GET", f"/api/v1/incidents/{name}/{kind}")[0]
            assert status == (409 if kind == "envelope" else 404), (name, kind)


def test_what_was_decided_after_the_checkpoint_is_not_yet_proven(ledger: Face) -> None:
    notary = ledger.node.notary
    older = notary.latest()
    number = an_incident(ledger, "newer")

    class Behind:
        def latest(self) -> bytes:
            return older

    ledger.node._notary = Behind()  # type: ignore[assignment]
    try:
        status, _, problem = ledger.ask("GET", f"{LEDGER}/entries/{ledger.entries() - 1}/proof")
        of_all = ledger.ask("GET", f"/api/v1/incidents/{number}/proof")
    finally:
        ledger.node._notary = notary

    assert (status, problem["state"]) == (409, "unsigned")
    assert (of_all[0], of_all[2]["state"]) == (409, "unsigned")


# Exports


def verified(tmp_path: Path, data: bytes, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Judge an export as its own program does."""
    (tmp_path / "export.zip").write_bytes(data)
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        code = verify_ledger.main([str(tmp_path / "export.zip"), "--json", *arguments])
    return code, json.loads(said.getvalue())


def test_an_export_agrees_with_the_key_and_the_checkpoints_that_somebody_kept(
    ledger: Face, tmp_path: Path
) -> None:
    (tmp_path / "older").write_text(get(ledger)["checkpoint"])
    vkey = get(ledger)["keys"][0]["vkey"]
    grow(ledger, 2)

    status, headers, data = ledger.ask("GET", f"{LEDGER}/export", role=Role.AUDITOR)

    assert (status, headers["content-type"]) == (200, "application/zip")
    assert headers["cache-control"] == "no-store"
    code, answer = verified(tmp_path, data, "--key", vkey, "--checkpoint", str(tmp_path / "older"))
    assert (code, answer["sound"], answer["pinned"]) == (0, True, True)
    assert len(answer["agrees"]) == 1
    for role in Role:
        if role not in (Role.ADMIN, Role.AUDITOR):
            assert ledger.ask("GET", f"{LEDGER}/export", role=role)[0] == 403


def test_what_is_erased_while_an_export_is_written_is_erased_in_it_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with a_face(signs=True) as face:
        for _ in range(2):
            face.post(ALERT | {"rule_id": "a", "message": "Anna"})
        face.ask("POST", "/api/v1/incidents/1/resolve", {})
        times = []

        def erased_meanwhile(file: Any, **more: Any) -> None:
            # Reading begins after the checkpoint was taken, and what is read is as it was erased in between.
            if not times:
                erase = {"subject": "Anna", "reason": "letter 7"}
                assert face.ask("POST", f"{LEDGER}/erasures", erase)[0] == 200
            times.append(1)
            write_export(file, **more)

        monkeypatch.setattr("tocsin.web.api.ledger.write_export", erased_meanwhile)
        status, _, data = face.ask("GET", f"{LEDGER}/export")

        assert (status, len(times)) == (200, 2)
        code, answer = verified(tmp_path, data)
        assert (code, answer["sound"]) == (0, True), answer
        assert b"Anna" not in zipfile.ZipFile(tmp_path / "export.zip").read("entries.jsonl")


# Who may


def test_only_admins_and_auditors_see_the_record_and_only_admins_change_it(ledger: Face) -> None:
    reads = ("/ledger/checkpoint", "/ledger/tile/0/000", LEDGER, f"{LEDGER}/entries/0/proof", f"{LEDGER}/consistency?old=1", "/api/v1/incidents/1/proof")  # fmt: skip
    writes = (f"{LEDGER}/keys", f"{LEDGER}/keys/retire", f"{LEDGER}/erasures")
    before = ledger.settle()
    for role in Role:
        may_read = role in (Role.ADMIN, Role.AUDITOR)
        for path in reads:
            assert ledger.ask("GET", path, role=role)[0] == (200 if may_read else 403), (role, path)
        if role is not Role.ADMIN:
            for path in writes:
                assert ledger.ask("POST", path, {}, role=role)[0] == 403, (role, path)
    for path in reads:
        assert ledger.ask("GET", path, role=None)[0] == 401
    ledger.settle()
    assert {type(event) for event in ledger.events(before)} == {ev.AccessRefused}
