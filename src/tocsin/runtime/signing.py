"""Signing: Ed25519 signatures, and secrets wrapped for the store. The one door to the library for cryptography.

Chance comes in as an argument: seeds, keys and nonces are bytes that `runtime.world` made.
"""

import hashlib

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tocsin.core.ledger.note import Signer, make_key
from tocsin.core.model.errors import Invalid, TocsinError

SEED_BYTES = 32
KEK_BYTES = 32
NONCE_BYTES = 12
"""Of a wrapping; never twice under one key. Random ones will do for some millions (NIST SP 800-38D section 8.3)."""

_VERSION = 1
_KEK_ID_BYTES = 4
_HEAD = 1 + _KEK_ID_BYTES + NONCE_BYTES
_TAG_BYTES = 16


class Locked(TocsinError):
    """A secret in the store cannot be opened with the key that was given. The message names both."""

    type = "locked"


class SigningKey:
    """An Ed25519 key (RFC 8032) that signs. public: 32 bytes, for whoever verifies."""

    def __init__(self, seed: bytes) -> None:
        """seed: 32 bytes that nobody can guess; all of the key comes from them, so they are what is kept."""
        assert len(seed) == SEED_BYTES, f"a seed has {SEED_BYTES} bytes, not {len(seed)}"
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """Give the signature, 64 bytes: always the same for the same message."""
        return self._key.sign(message)

    def named(self, name: str) -> Signer:
        """Give it as somebody who signs notes. Raises: Invalid if nobody can be called so."""
        return Signer(make_key(name, self.public), self.sign)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Say whether the key with these 32 bytes signed this message; False for bytes that are no key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def kek_id(kek: bytes) -> str:
    """Give 8 hex digits that tell one key-encryption key from another and say nothing else of it.

    Raises: Invalid if it has not 32 bytes.
    """
    if len(kek) != KEK_BYTES:
        raise Invalid(
            f"A key-encryption key has {KEK_BYTES} bytes, this one has {len(kek)}. Give another one."
        )
    return hashlib.sha256(b"tocsin key-encryption key\n" + kek).hexdigest()[: 2 * _KEK_ID_BYTES]


def wrap(secret: bytes, *, name: str, kek: bytes, nonce: bytes) -> bytes:
    """Encrypt a secret for the store (AES-256-GCM), bound to its name.

    kek: the key-encryption key, 32 random bytes that lie elsewhere; nonce: 12 bytes, never the same twice.
    The form: version 1, id of the kek (4 bytes), nonce (12), ciphertext, tag (16).
    Raises: Invalid if the kek has not 32 bytes.
    """
    assert name, "a secret is wrapped under its name"
    assert len(nonce) == NONCE_BYTES, f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}"
    head = bytes([_VERSION]) + bytes.fromhex(kek_id(kek)) + nonce
    return head + AESGCM(kek).encrypt(nonce, secret, name.encode())


def unwrap(wrapped: bytes, *, name: str, kek: bytes) -> bytes:
    """Decrypt what `wrap` gave for a secret of this name.

    Raises: Locked if it was wrapped with another kek or for another name, or was changed since; Invalid as `wrap`.
    """
    if len(wrapped) < _HEAD + _TAG_BYTES or wrapped[0] != _VERSION:
        raise Locked(f"The secret {name} in the store is in no form that this version of Tocsin knows.")
    wants, given = wrapped[1 : 1 + _KEK_ID_BYTES].hex(), kek_id(kek)
    if wants != given:
        raise Locked(
            f"The secret {name} was wrapped with the key-encryption key {wants}, and the one given is {given}. "
            "Give the one that this data was made with."
        )
    try:
        return AESGCM(kek).decrypt(wrapped[_HEAD - NONCE_BYTES : _HEAD], wrapped[_HEAD:], name.encode())
    except InvalidTag as error:
        raise Locked(
            f"The secret {name} in the store was changed, or is another secret. Put it back from a backup."
        ) from error
