"""Envelopes over HTTP: sealed with a secret, opened with it, and good for nothing once anything was changed."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.web.auditing import Auditor
from tests.web.faces import ALERT, ORIGIN, Face, a_face

from tocsin.core.ledger import envelope, proof
from tocsin.core.model.access import Role
from tocsin.core.model.errors import Invalid
from tocsin.runtime.signing import verify

OLD, NEW = "an old secret of 24 letters", "another secret, also long"


@pytest.fixture(scope="module")
def sealed() -> Iterator[Face]:
    with a_face(signs=True) as face:
        face.node.envelope_secrets = (OLD,)
        face.post(ALERT)
        face.ask("POST", "/api/v1/incidents/1/ack", {"note": "on it"})
        yield face


def fetch(face: Face, incident: object = 1) -> bytes:
    """Give an envelope byte for byte."""
    status, headers, data = face.ask(
        "GET", f"/api/v1/incidents/{incident}/envelope", role=Role.AUDITOR, headers={"Accept": "*/*"}
    )
    assert (status, headers["content-type"]) == (200, "application/json")
    return json.dumps(data, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_without_a_secret_there_are_no_envelopes_and_it_is_said_how() -> None:
    with a_face(signs=True) as face:
        face.post(ALERT)

        status, _, problem = face.ask("GET", "/api/v1/incidents/1/envelope")

        assert (status, problem["state"]) == (409, "no secret")
        assert "envelope_secrets" in problem["detail"]


def test_an_envelope_holds_the_incident_and_what_was_told_and_opens_with_the_secret(sealed: Face) -> None:
    shown = sealed.ask("GET", "/api/v1/incidents/1")[2]

    found, wrong = envelope.open_(fetch(sealed), (OLD,))

    assert wrong == ""
    assert (found.v, found.origin) == (1, ORIGIN)
    assert (found.incident.id, found.incident.number) == (shown["incident_id"], 1)
    assert (found.incident.state, found.incident.title) == (shown["state"], shown["title"])
    assert found.incident.labels == shown["labels"]
    assert found.entries == sealed.ask("GET", "/api/v1/incidents/1/timeline")[2]["total"]
    assert found.seal is not None
    assert (found.seal.algorithm, found.seal.key_id) == ("HMAC-SHA256", envelope.key_id(OLD))
    assert OLD not in fetch(sealed).decode()


def test_its_last_entry_is_proven_without_any_secret(sealed: Face) -> None:
    keys = Auditor(sealed, *(key["vkey"] for key in sealed.ask("GET", "/api/v1/ledger")[2]["keys"])).keys

    found, _ = envelope.open_(fetch(sealed), (OLD,))

    header = json.loads(found.header)
    assert (header["incident"], header["seq"]) == (found.incident.id, found.last_seq)
    assert header["incident_n"] == found.entries - 1
    made = proof.read(found.proof.encode())
    signed = proof.confirm(made, found.header.encode(), keys=keys, verify=verify, origin=found.origin)
    assert signed.size > found.last_seq


def test_an_envelope_says_the_same_by_id_and_by_number(sealed: Face) -> None:
    by_number = fetch(sealed)

    assert fetch(sealed, json.loads(by_number)["incident"]["id"]) == by_number


def changes(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Give each way to change one thing in a document, with where."""
    if isinstance(value, dict):
        for name, inner in value.items():
            for where, changed in changes(inner, f"{path}.{name}"):
                yield where, {**value, name: changed}
            yield f"{path}.{name} is gone", {key: one for key, one in value.items() if key != name}
        yield f"{path} has more", {**value, "zzz": 1}
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            for where, changed in changes(inner, f"{path}[{position}]"):
                yield where, [*value[:position], changed, *value[position + 1 :]]
        yield f"{path} has more", [*value, *value[-1:]]
    elif isinstance(value, str):
        yield path, value + "x"
        yield path, value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    elif isinstance(value, bool) or value is None:
        yield path, 1
    else:
        yield path, value + 1
        yield path, -value - 1


def test_any_change_in_an_envelope_is_noticed(sealed: Face) -> None:
    sound = fetch(sealed)
    assert envelope.open_(sound, (OLD,))[1] == ""

    tried = 0
    for where, changed in changes(json.loads(sound)):
        data = json.dumps(changed, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        if data == sound or (where.endswith(" has more") and changed == json.loads(sound)):
            continue
        tried += 1
        try:
            wrong = envelope.open_(data, (OLD,))[1]
        except Invalid:
            continue
        assert wrong, where
    assert tried > 80


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b" " + data,
        lambda data: data.replace(b'":', b'": ', 1),
        lambda data: data.replace(b"{", b'{"a":1,', 1),
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data + b"{}",
    ],
)
def test_the_same_written_in_another_way_is_noticed(sealed: Face, spoil: Any) -> None:
    try:
        assert envelope.open_(spoil(fetch(sealed)), (OLD,))[1]
    except Invalid:
        pass


def test_after_a_rotation_the_new_secret_seals_and_the_old_one_still_opens(sealed: Face) -> None:
    before = fetch(sealed)
    sealed.node.envelope_secrets = (NEW, OLD)
    try:
        after = fetch(sealed)
    finally:
        sealed.node.envelope_secrets = (OLD,)

    for made, secret in ((before, OLD), (after, NEW)):
        assert envelope.open_(made, (NEW, OLD))[1] == ""
        assert envelope.open_(made, (secret,))[1] == ""
    assert envelope.key_id(NEW) in envelope.open_(after, (OLD,))[1]
    assert envelope.open_(after, ())[1]


def test_another_secret_under_the_same_name_does_not_open_it(
    sealed: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = fetch(sealed)
    monkeypatch.setattr(envelope, "key_id", lambda secret: json.loads(made)["seal"]["key_id"])

    assert envelope.open_(made, (NEW,))[1] == "it was changed since it was sealed"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"{" * 5000, b"\xff", b'{"seal":null}'])
def test_what_is_no_envelope_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(Invalid, match="no envelope"):
        envelope.open_(data, (OLD,))


def test_a_secret_that_could_be_guessed_is_refused(sealed: Face) -> None:
    found, _ = envelope.open_(fetch(sealed), (OLD,))

    with pytest.raises(Invalid, match="24 characters"):
        envelope.close(found, "x" * 23)
    assert envelope.close(found, "x" * 24)


def test_an_incident_whose_words_were_erased_still_has_an_envelope() -> None:
    with a_face(signs=True) as face:
        face.node.envelope_secrets = (NEW,)
        face.post(ALERT | {"message": "Anna's disk"})
        face.ask("POST", "/api/v1/incidents/1/resolve", {})
        assert face.ask("POST", "/api/v1/ledger/erasures", {"subject": "Anna", "reason": "r"})[0] == 200

        made = fetch(face)

        assert "Anna" not in made.decode()
        found, wrong = envelope.open_(made, (NEW,))
        assert (wrong, found.incident.title, found.incident.state) == ("", "", "RESOLVED")
