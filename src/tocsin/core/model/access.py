"""Who may what: one table of roles and permissions; every face asks it, none has its own."""

from collections.abc import Collection
from enum import StrEnum

import msgspec


class Permission(StrEnum):
    """What can be done to Tocsin."""

    READ = "read"
    READ_LEDGER = "read-ledger"
    SEND = "send"
    RESPOND = "respond"
    SILENCE = "silence"
    ADMINISTER = "administer"


class Role(StrEnum):
    """What somebody is to Tocsin. An analyst is the one who responds."""

    ADMIN = "admin"
    ANALYST = "analyst"
    SERVICE = "service"
    VIEWER = "viewer"
    AUDITOR = "auditor"


GRANTS: dict[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.ANALYST: frozenset({Permission.READ, Permission.RESPOND}),
    Role.SERVICE: frozenset({Permission.READ, Permission.SEND}),
    Role.VIEWER: frozenset({Permission.READ}),
    Role.AUDITOR: frozenset({Permission.READ, Permission.READ_LEDGER}),
}


def may(role: Role, permission: Permission) -> bool:
    """Say whether the role holds the permission."""
    return permission in GRANTS[role]


def granted(role: Role, scopes: Collection[Permission] = ()) -> frozenset[Permission]:
    """Give what somebody of the role may do, narrowed to `scopes` if there are any."""
    return GRANTS[role] & frozenset(scopes) if scopes else GRANTS[role]


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer's token as it is stored.

    hash: keyed digest (64 hex digits) of the token itself, which nobody keeps.
    scopes: what it may do of what its role may; () for all of it.
    per_minute: so many requests a minute at most; 0 for no limit.
    expires_at, revoked_at: None if it never does, and if it is not.
    created_by: the actor, as the ledger names them.
    """

    id: str
    name: str
    role: Role
    hash: str
    created_at: int
    scopes: tuple[Permission, ...] = ()
    per_minute: int = 0
    expires_at: int | None = None
    revoked_at: int | None = None
    created_by: str = ""
