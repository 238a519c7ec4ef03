"""Auth: who is asking? A bearer token is looked up by its hash; nothing is open but health."""

import hashlib

import msgspec

from tocsin.core.model.access import Permission, Role, may
from tocsin.core.model.errors import Forbidden
from tocsin.ports import Store, Token

TOKEN_PREFIX = "toc_"

HEADERS_KEPT = 10_000
"""So many headers are recognised without hashing; one token can be written in endlessly many ways."""


class Principal(msgspec.Struct, frozen=True):
    """Somebody who proved who they are. actor: as the ledger names them."""

    actor: str
    role: Role


class Unauthenticated(Exception):
    """Nobody proved who they are."""


def hash_token(token: str) -> str:
    """SHA-256 (64 hex digits) of a token; all that is stored of it. A token has 256 bits, so a plain hash will do."""
    return hashlib.sha256(token.encode()).hexdigest()


class Doorkeeper:
    """Knows the tokens. `forget` after one was changed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._principals: dict[str, Principal] = {}
        self._by_header: dict[bytes, Principal] = {}
        self.forget()

    def forget(self) -> None:
        """Read the tokens anew."""
        self._principals = {
            token.hash: Principal(f"token:{token.id}", token.role)
            for token in self._store.tokens()
            if token.revoked_at is None
        }
        self._by_header = {}

    def admit(self, authorization: bytes | None, permission: Permission) -> Principal:
        """Say who is asking, by the value of the Authorization header.

        Raises: Unauthenticated, or Forbidden if the role does not hold the permission.
        """
        if authorization is None:
            raise Unauthenticated("Give a token: Authorization: Bearer toc_...")
        principal = self._by_header.get(authorization)
        if principal is None:
            scheme, _, token = authorization.decode("latin-1").partition(" ")
            found = self._principals.get(hash_token(token.strip())) if scheme.lower() == "bearer" else None
            if found is None:
                raise Unauthenticated("This token is not known, or was revoked.")
            principal = found
            if len(self._by_header) < HEADERS_KEPT:
                self._by_header[authorization] = found
        if not may(principal.role, permission):
            raise Forbidden(f"Role {principal.role} may not {permission}. Ask an admin for a token that may.")
        return principal


def make_token(random: bytes, *, name: str, role: Role, at: int) -> tuple[str, Token]:
    """Make a token: what its bearer keeps (shown once), and what is stored.

    random: 36 bytes that nobody can guess.
    """
    id_ = random[:4].hex()
    token = f"{TOKEN_PREFIX}{id_}_{random[4:36].hex()}"
    return token, Token(id=id_, name=name, role=role, hash=hash_token(token), created_at=at)
