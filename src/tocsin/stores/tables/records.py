"""Records: what operators keep beside incidents: silences, maintenances, policies, tokens, secrets."""

from typing import Any

from tocsin.core.model.access import Permission, Role, Token
from tocsin.core.model.silence import Maintenance
from tocsin.ports import PolicyRow, SignerRow, SilenceView, number_of
from tocsin.stores.tables.asking import BEYOND, Asking
from tocsin.stores.tables.decoding import decode_maintenance, decode_policy, decode_silence

_POLICY = "SELECT version, digest, body, at, actor FROM policies"
_SILENCE = "SELECT body, began, ended_at FROM silences"
_ENDED = {None: "TRUE", False: "ended_at IS NULL", True: "ended_at IS NOT NULL"}


class Records(Asking):
    """Looks them up; see `tocsin.ports.Store`, as for every method here."""

    def list_silences(
        self, *, ended: bool | None, after: int | None, limit: int
    ) -> tuple[list[SilenceView], int]:
        fits = _ENDED[ended]
        rows, ((total,),) = self._ask_all(
            (
                f"{_SILENCE} WHERE {fits} AND number < ? ORDER BY number DESC LIMIT ?",
                (BEYOND if after is None else after, limit),
            ),
            (f"SELECT count(*) FROM silences WHERE {fits}", ()),
        )
        return [_silence(row) for row in rows], total

    def find_silence(self, id_or_number: str) -> SilenceView | None:
        number = number_of(id_or_number)
        for row in self._ask(f"{_SILENCE} WHERE number = ?", number):
            view = _silence(row)
            if id_or_number in (view.silence.id, str(number)):
                return view
        return None

    def list_maintenances(self) -> list[tuple[Maintenance, int, bool]]:
        rows = self._ask("SELECT body, next_at, ended FROM maintenances ORDER BY number DESC")
        return [(decode_maintenance(body), next_at, bool(ended)) for body, next_at, ended in rows]

    def policies(self, after: int | None, limit: int) -> list[PolicyRow]:
        rows = self._ask(
            f"{_POLICY} WHERE version < ? ORDER BY version DESC LIMIT ?",
            BEYOND if after is None else after,
            limit,
        )
        return [_policy(row) for row in rows]

    def policy(self, version: int) -> PolicyRow | None:
        rows = self._ask(f"{_POLICY} WHERE version = ?", version)
        return _policy(rows[0]) if rows else None

    def secret(self, name: str) -> bytes | None:
        rows = self._ask("SELECT value FROM meta WHERE key = ?", f"secret:{name}")
        return rows[0][0] if rows else None

    def tiles(self, level: int, first: int, count: int) -> list[bytes]:
        rows = self._ask(
            "SELECT hash FROM tiles WHERE level = ? AND number >= ? ORDER BY number LIMIT ?",
            level,
            first,
            count,
        )
        return [hash_ for (hash_,) in rows]

    def signers(self) -> list[SignerRow]:
        rows = self._ask("SELECT vkey, adopted_seq, retired_seq FROM signers ORDER BY adopted_seq, vkey")
        return [
            SignerRow(vkey=vkey, adopted_seq=adopted, retired_seq=retired) for vkey, adopted, retired in rows
        ]

    def origins(self) -> list[tuple[int, str]]:
        return [(seq, origin) for seq, origin in self._ask("SELECT seq, origin FROM origins ORDER BY seq")]

    def evaluations(self) -> dict[str, bytes]:
        return dict(self._ask("SELECT rule_id, body FROM evaluations ORDER BY rule_id"))

    def checkpoints(self) -> list[tuple[int, bytes]]:
        return [(size, note) for size, note in self._ask("SELECT size, note FROM checkpoints ORDER BY size")]

    def tokens(self) -> list[Token]:
        rows = self._ask(
            "SELECT id, name, role, hash, created_at, revoked_at, scopes, per_minute, expires_at, created_by "
            "FROM tokens ORDER BY created_at, id"
        )
        return [_token(*row) for row in rows]


def token_row(token: Token) -> tuple[Any, ...]:
    """Give a token's columns."""
    return (
        token.id,
        token.name,
        token.role.value,
        token.hash,
        token.created_at,
        token.revoked_at,
        " ".join(token.scopes),
        token.per_minute,
        token.expires_at,
        token.created_by,
    )


def _token(
    id_: str,
    name: str,
    role: str,
    hash_: str,
    created_at: int,
    revoked_at: int | None,
    scopes: str,
    per_minute: int,
    expires_at: int | None,
    created_by: str,
) -> Token:
    return Token(
        id=id_,
        name=name,
        role=Role(role),
        hash=hash_,
        created_at=created_at,
        scopes=tuple(Permission(scope) for scope in scopes.split()),
        per_minute=per_minute,
        expires_at=expires_at,
        revoked_at=revoked_at,
        created_by=created_by,
    )


def _policy(row: tuple[int, str, bytes, int, str]) -> PolicyRow:
    version, digest, body, at, actor = row
    return PolicyRow(version=version, digest=digest, policy=decode_policy(body), at=at, actor=actor)


def _silence(row: tuple[bytes, int, int | None]) -> SilenceView:
    body, began, ended_at = row
    return SilenceView(silence=decode_silence(body), began=bool(began), ended_at=ended_at)
