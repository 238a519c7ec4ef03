"""Envelope: an incident as one JSON document that whoever shares a secret can check, with its place in the ledger.

The HMAC says that it comes from somebody who knows the secret, which may be the one who checks it. The proof in it says
more: that the incident's last entry is in a ledger whose checkpoint is signed, which needs no secret to check.
"""

import hashlib
import hmac

import msgspec

from tocsin.core.model.alert import CANONICAL
from tocsin.core.model.errors import Invalid
from tocsin.core.model.incident import IncidentView

ALGORITHM = "HMAC-SHA256"
SECRET_CHARACTERS_MIN = 24


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery about the incident, without words. at: of the last change, microseconds UTC."""

    number: int
    channel: str
    target: str
    kind: str
    state: str
    attempts: int
    at: int


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an envelope one. key_id: 8 hex digits that tell which secret; value: 64 hex digits."""

    algorithm: str
    key_id: str
    value: str


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """An incident as it stood when it was put in.

    entries: how many of the ledger are about it; last_seq: the last of them; header: its bytes.
    proof: of that entry, as a tlog-proof file.
    """

    v: int
    origin: str
    incident: IncidentView
    deliveries: tuple[Told, ...]
    entries: int
    last_seq: int
    header: str
    proof: str
    seal: Seal | None = None


_read = msgspec.json.Decoder(Envelope).decode


def close(envelope: Envelope, secret: str) -> bytes:
    """Write an envelope, sealed with a secret. Raises: Invalid if that is too short."""
    value = hmac.new(_key(secret), _content(envelope), hashlib.sha256).hexdigest()
    seal = Seal(algorithm=ALGORITHM, key_id=key_id(secret), value=value)
    return CANONICAL.encode(msgspec.structs.replace(envelope, seal=seal)) + b"\n"


def open_(data: bytes, secrets: tuple[str, ...]) -> tuple[Envelope, str]:
    """Read an envelope and check its seal: what is in it, and "" or what is wrong.

    secrets: any of which may have sealed it. Raises: Invalid if it is no envelope, or if a secret is too short.
    """
    try:
        envelope = _read(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"This is no envelope: {error}.") from error
    seal = envelope.seal
    if seal is None or seal.algorithm != ALGORITHM:
        return envelope, "it is not sealed"
    known = {key_id(secret): secret for secret in secrets}
    secret = known.get(seal.key_id)
    if secret is None:
        return envelope, f"it was sealed with the secret {seal.key_id[:80]!r}, which is not at hand"
    if CANONICAL.encode(envelope) != data.rstrip(b"\n"):
        return envelope, "it has parts that no envelope has, or is written in another way"
    value = hmac.new(_key(secret), _content(envelope), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(value, seal.value):
        return envelope, "it was changed since it was sealed"
    return envelope, ""


def key_id(secret: str) -> str:
    """Name a secret by 8 hex digits that say nothing else of it. Raises: as `close`."""
    return hmac.new(_key(secret), b"tocsin envelope key id", hashlib.sha256).hexdigest()[:8]


def _key(secret: str) -> bytes:
    if len(secret) < SECRET_CHARACTERS_MIN:
        raise Invalid(
            f"A secret of envelopes has at least {SECRET_CHARACTERS_MIN} characters, this one has {len(secret)}.",
            field="ledger.envelope_secrets",
        )
    return secret.encode()


def _content(envelope: Envelope) -> bytes:
    return CANONICAL.encode(msgspec.structs.replace(envelope, seal=None))
