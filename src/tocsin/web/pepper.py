"""Pepper: the key under which tokens are hashed, in a file beside the database, so that neither is enough alone.

Without the file no token can be recognised. It is never made anew while there are tokens: whoever lost it restores
it, or gives all tokens up (`reset_tokens`). The store keeps a fingerprint of it, so that another one is noticed before
it refuses everybody.
"""

import hmac
from pathlib import Path

from tocsin.core.model.access import Role, Token
from tocsin.core.model.errors import Conflict
from tocsin.core.model.input import TokenCut, TokenIssued
from tocsin.ports import Ids, Store, StoreFailed, shared
from tocsin.runtime.files import read_private, write_whole
from tocsin.runtime.node import Node
from tocsin.web.auth import PEPPER_BYTES, make_token

PEPPER_FILE = "pepper"

FINGERPRINT = "pepper_fingerprint"
"""The secret of the store by which the pepper is known again."""

OPERATOR = "local"
"""Id of the token that a server makes anew at each start for whoever may read its data directory.

Of several nodes each has one of its own: this with something behind it.
"""


def is_operators(token: Token) -> bool:
    """Say whether a token is a server's own, made for whoever may read its data directory."""
    return token.id == OPERATOR or token.id.startswith(f"{OPERATOR}-")


def read_pepper(data: Path, store: Store, ids: Ids) -> bytes:
    """Give the pepper (32 bytes) of a data directory, and make it if no token was ever made there.

    A store that does not know it yet, since it is new or of an older program, knows it from then on.
    Raises: Conflict if it is lost, damaged or not the store's, or cannot be read or written; StoreFailed.
    """
    path = data / PEPPER_FILE
    try:
        pepper = read_private(path)
    except FileNotFoundError:
        if not _may_make(store):
            raise _refused(f"The file {path} is missing", store) from None
        pepper = _make(path, ids)
        if shared(store) is None:
            store.put_secret(FINGERPRINT, fingerprint(pepper))
    except OSError as error:
        raise Conflict(
            f"The file {path} cannot be read: {error.strerror}. Let the user who runs Tocsin own it.",
            state="refused",
        ) from error
    if len(pepper) != PEPPER_BYTES:
        raise _refused(f"The file {path} has {len(pepper)} bytes instead of {PEPPER_BYTES}", store)
    if not _is_known(pepper, store):
        several = shared(store)
        where = several.name if several is not None else data
        raise _refused(
            f"The file {path} is not the pepper with which the tokens of {where} were hashed", store
        )
    return pepper


def fingerprint(pepper: bytes) -> bytes:
    """Give that by which a pepper is known again, and which tells nothing of it: HMAC-SHA256 under it, 32 bytes.

    No token is what is hashed here, so it is nobody's hash.
    """
    return hmac.digest(pepper, b"tocsin pepper", "sha256")


def _is_known(pepper: bytes, store: Store) -> bool:
    """Compare with the fingerprint that the store has; if it has none, note it. Raises: StoreFailed."""
    mine = fingerprint(pepper)
    kept = store.secret(FINGERPRINT)
    if kept is None:
        try:
            store.keep_secret(FINGERPRINT, mine)
        except StoreFailed:
            kept = store.secret(FINGERPRINT)
            if kept is None:
                raise
        else:
            return True  # Of nodes that start together only one comes here.
    return kept == mine


def _may_make(store: Store) -> bool:
    """Say whether nobody needs the pepper that is not there; another node may have it before there is any token."""
    return _has_no_tokens(store) and (shared(store) is None or store.secret(FINGERPRINT) is None)


def _has_no_tokens(store: Store) -> bool:
    return all(is_operators(token) for token in store.tokens())


async def reset_tokens(node: Node, data: Path, actor: str) -> str:
    """Give all tokens up: a new pepper, the old ones revoked, and one for an admin, which is given to be shown.

    If it is cut short, no token opens anything; do it again. The node must have the directory to itself.
    Raises: Conflict, Unavailable, StoreFailed.
    """
    pepper = _make(data / PEPPER_FILE, node.ids)
    node.store.put_secret(FINGERPRINT, fingerprint(pepper))
    for token in node.store.tokens():
        if token.revoked_at is None and not is_operators(token):
            await node.ask(TokenCut(token=token.id), actor)
    shown, stored = first_token(node.ids, node.clock.now(), pepper, created_by=actor)
    await node.ask(TokenIssued(token=stored), actor)
    return shown


def first_token(ids: Ids, at: int, pepper: bytes, created_by: str = "") -> tuple[str, Token]:
    """Make a token for an admin when there is no other."""
    random = ids.random_bytes(36)
    return make_token(
        random, name="first admin", role=Role.ADMIN, at=at, pepper=pepper, created_by=created_by
    )


def _make(path: Path, ids: Ids) -> bytes:
    """Write a new pepper, at once or not at all, so that it survives a loss of power before any token needs it."""
    pepper = ids.random_bytes(PEPPER_BYTES)
    try:
        write_whole(path, pepper)
    except OSError as error:
        raise Conflict(
            f"The file {path} cannot be written: {error.strerror}. Mend the disk or its permissions.",
            state="refused",
        ) from error
    return pepper


def _refused(what: str, store: Store) -> Conflict:
    several = shared(store)
    if several is None:
        step = (
            "Restore it from a backup of this data directory, or give all tokens up and get a new one for an admin: "
            "tocsin token reset"
        )
    else:
        step = (
            f"Copy pepper and ledger.key from the directory of another node of {several.name}, or restore them from a "
            "backup."
        )
        if _has_no_tokens(store):
            step += " If there is neither, nobody ever got a token: drop the database, and create it anew."
    return Conflict(f"{what}, so no token can be recognised. {step}", state="without pepper")
