"""Keys for the tests, and their functions; straight from the library, so that the runtime's are not needed here."""

import base64

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from tocsin.core.ledger.note import Signer, make_key


def signer(name: str, seed: bytes = b"s" * 32) -> Signer:
    private = Ed25519PrivateKey.from_private_bytes(seed)
    return Signer(make_key(name, private.public_key().public_bytes_raw()), private.sign)


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# The keys of golang.org/x/mod, sumdb/note/note_test.go; the seed of the first is in `PRIVATE+KEY+PeterNeumann+...`.
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
