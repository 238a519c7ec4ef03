"""Who may what: one table of roles and permissions; every face asks it, none has its own."""

from enum import StrEnum


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
