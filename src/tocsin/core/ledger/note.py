"""Signed note: text with signatures that anybody can check, as C2SP signed-note v1.0.0 has it. Ed25519 only.

What is read here came from somebody else: a text may be believed only after a key that is known verified it. No
cryptography happens here; whoever calls brings the functions that sign and verify.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from tocsin.core.model.errors import Invalid, TocsinError

ED25519 = 0x01
PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64
SIZE_MAX = 1 << 20
"""Of a whole note, in bytes: room for SIGNATURES_MAX of the longest (post-quantum) signatures, and for its text."""
SIGNATURES_MAX = 100
"""The specification asks for 16 at least."""

Sign = Callable[[bytes], bytes]
"""Signs a message with a key that it knows: 64 bytes (RFC 8032)."""
Verify = Callable[[bytes, bytes, bytes], bool]
"""Whether, for (public key of 32 bytes, message, signature of 64 bytes), the signature is the key's."""

_ID_BYTES = 4
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x1f]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Unverified(TocsinError):
    """What somebody signed was not verified: no known key signed it, or a signature is wrong. Believe none of it."""

    type = "unverified"


class Key(msgspec.Struct, frozen=True):
    """A verifier key. name: of whoever signs with it, without spaces and plus; public: 32 bytes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """Its id, 4 bytes; with the name it says which key made a signature."""
        material = self.name.encode() + b"\n" + bytes([ED25519]) + self.public
        return hashlib.sha256(material).digest()[:_ID_BYTES]

    def text(self) -> str:
        """Give it as it is handed to whoever wants to verify (a vkey): `name+id+key`, for `read_key`."""
        return f"{self.name}+{self.id.hex()}+{encode64(bytes([ED25519]) + self.public)}"


class Signer(NamedTuple):
    """A key with the function that signs with it."""

    key: Key
    sign: Sign


class Signature(msgspec.Struct, frozen=True):
    """A signature line: who says to have signed, with which key (4 bytes of id), and the signature's bytes."""

    name: str
    id: bytes
    signature: bytes


class Note(msgspec.Struct, frozen=True):
    """A note that was verified.

    text: ends with a newline; signers: the known keys that signed it, at least one, in the order of the lines.
    others: signatures of keys that are not known. They prove nothing.
    """

    text: str
    signers: tuple[Key, ...]
    others: tuple[Signature, ...] = ()


def make_key(name: str, public: bytes) -> Key:
    """Make a key. Raises: Invalid if it cannot have this name, or if `public` has not 32 bytes."""
    if not is_name(name):
        raise Invalid(
            f"{name[:200]!r} cannot name a key: a name has no spaces and no plus, and is not empty."
        )
    if len(public) != PUBLIC_BYTES:
        raise Invalid(f"An Ed25519 key has {PUBLIC_BYTES} bytes, that of {name} has {len(public)}.")
    return Key(name, public)


def read_key(text: str) -> Key:
    """Read a verifier key as `Key.text` gives it.

    Raises: Invalid if it is none, if it is of another type than Ed25519, or if its id is not the one of its bytes.
    """
    parts = text.split("+", 2)
    material = decode64(parts[2]) if len(parts) == 3 else None
    if material is None:
        raise Invalid(f"{text[:200]!r} is no verifier key. One looks like this: name+id+key.")
    if material[:1] != bytes([ED25519]):
        raise Invalid(f"The verifier key of {parts[0]!r} is of a type that is not known here; Ed25519 is.")
    key = make_key(parts[0], material[1:])
    if parts[1] != key.id.hex():
        raise Invalid(
            f"The verifier key of {parts[0]} was mistyped: its id is {parts[1]!r}, not {key.id.hex()}."
        )
    return key


def sign(text: str, signers: Sequence[Signer]) -> bytes:
    """Write a note: this text, signed by each of them, in this order.

    text: ends with a newline, and has no other control characters.
    Raises: Invalid if it is otherwise.
    """
    assert signers, "a note is signed by somebody"
    if not text.endswith("\n") or _CONTROL_IN_LINES.search(text):
        raise Invalid("The text of a note ends with a newline, and has no other control characters.")
    try:
        message = text.encode()
    except UnicodeEncodeError as error:
        raise Invalid("The text of a note has no lone surrogates.") from error
    lines = [message, b"\n"]
    for key, make in signers:
        made = make(message)
        assert len(made) == SIGNATURE_BYTES, f"{key.name} signed with {len(made)} bytes"
        lines.append(f"{_DASH}{key.name} {encode64(key.id + made)}\n".encode())
    note = b"".join(lines)
    if len(note) > SIZE_MAX or len(signers) > SIGNATURES_MAX:
        raise Invalid(
            f"A note has at most {SIZE_MAX} bytes and {SIGNATURES_MAX} signatures; this would have more."
        )
    return note


def read(data: bytes, keys: Iterable[Key], verify: Verify) -> Note:
    """Read a note and verify it with the keys that are known.

    Raises: Invalid if it is malformed or too large; Unverified if none of the keys signed it, or if a signature that
    says to be of one of them is wrong, even where another is right.
    """
    text, signatures = split(data)
    known = {(key.name, key.id): key for key in keys}
    message = text.encode()
    signers: dict[Key, None] = {}
    others: list[Signature] = []
    for line in signatures:
        key = known.get((line.name, line.id))
        if key is None:
            others.append(line)
        elif len(line.signature) == SIGNATURE_BYTES and verify(key.public, message, line.signature):
            signers[key] = None
        else:
            raise Unverified(
                f"The signature of {line.name} is wrong: the text was changed, or another key made it."
            )
    if not signers:
        names = ", ".join(sorted({line.name for line in others}))
        raise Unverified(f"No key that is known here signed this. It says that it was signed by: {names}.")
    return Note(text, tuple(signers), tuple(others))


def split(data: bytes) -> tuple[str, tuple[Signature, ...]]:
    """Take a note apart: its text, and the signatures under it, of which nothing is verified.

    Raises: Invalid if it is malformed or too large.
    """
    if len(data) > SIZE_MAX:
        raise Invalid(f"A note has at most {SIZE_MAX} bytes, this one has {len(data)}.")
    try:
        whole = data.decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"A note is UTF-8; byte {error.start} of this one is not.") from error
    if _CONTROL_IN_LINES.search(whole):
        raise Invalid("A note has no control characters but newlines; this one has.")
    text, blank, signed = whole.rpartition("\n\n")
    if not blank or not signed.endswith("\n"):
        raise Invalid("This is no signed note: it lacks the blank line, or what stands under it.")
    lines = signed[:-1].split("\n")
    if len(lines) > SIGNATURES_MAX:
        raise Invalid(f"A note has at most {SIGNATURES_MAX} signatures, this one has {len(lines)}.")
    return text + "\n", tuple(_signature(line) for line in lines)


def is_name(name: str) -> bool:
    """Say whether a key, or a ledger, may be called so."""
    return (
        bool(name)
        and "+" not in name
        and _CONTROL.search(name) is None
        and not any(sign.isspace() or "\ud800" <= sign <= "\udfff" for sign in name)
    )


def encode64(data: bytes) -> str:
    """Give bytes in base64 (RFC 4648 section 4)."""
    return base64.b64encode(data).decode()


def decode64(text: str) -> bytes | None:
    """Read base64 as `encode64` writes it; None for anything else, so that no bytes have two spellings."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encode64(data) == text else None


def _signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    data = decode64(encoded)
    if not line.startswith(_DASH) or not is_name(name) or data is None or len(data) <= _ID_BYTES:
        raise Invalid(f"This line under a note is no signature: {line[:200]!r}")
    return Signature(name, data[:_ID_BYTES], data[_ID_BYTES:])
