"""Auth: who is asking? A token is known by its keyed hash, a JWT by its issuer's key; nothing is open but health.

What is kept here of the tokens is a book that is never changed, only replaced: whoever looks into it sees all of a
change or nothing. `forget` brings the next one; until it returns, the old one may still admit.
"""

import asyncio
import hmac
import logging
import threading
from collections.abc import Sequence
from typing import Protocol

import msgspec

from tocsin.core.model.access import Permission, Role, Token, granted
from tocsin.core.model.errors import Forbidden, Invalid, Unavailable
from tocsin.core.model.input import Denial
from tocsin.ports import Clock, Store, StoreFailed, shared
from tocsin.web.denials import ANONYMOUS, Denials
from tocsin.web.limits import FAILURES_MAX, Bucket, Failures

log = logging.getLogger("tocsin.auth")

TOKEN_PREFIX = "toc_"
PEPPER_BYTES = 32

PER_MINUTE_MAX = 1_000_000

READ_AGAIN_S = 1.0
"""So long after tokens could not be read they are read again, if they were changed."""

HEADERS_KEPT = 10_000
"""So many headers are recognised without hashing; one token can be written in endlessly many ways."""


class Principal(msgspec.Struct, frozen=True):
    """Somebody who proved who they are. actor: as the ledger names them; permissions: what they may do.

    expires_at: when what they proved it with ends, None for never.
    """

    actor: str
    role: Role
    permissions: frozenset[Permission]
    expires_at: int | None = None


class Unauthenticated(Exception):
    """Nobody proved who they are. actor: who they would have been, as far as that is certain."""

    def __init__(self, message: str, actor: str = ANONYMOUS) -> None:
        super().__init__(message)
        self.actor = actor


class NotPermitted(Forbidden):
    """They are known, but may not do this. permission: the one that is missing, None if they have none at all."""

    def __init__(self, message: str, actor: str, permission: Permission | None = None) -> None:
        super().__init__(message)
        self.actor = actor
        self.permission = permission


class Limited(Exception):
    """They ask too often. retry_after_s: whole seconds until it is worth asking again."""

    def __init__(self, message: str, retry_after_s: int, actor: str = ANONYMOUS) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.actor = actor


class Verifier(Protocol):
    """Knows the JWTs of one issuer."""

    async def verify(self, text: str) -> Principal:
        """Say whose JWT it is. Raises: Unauthenticated; NotPermitted without a role; Unavailable without keys."""
        ...

    async def close(self) -> None: ...


class _Pass(msgspec.Struct, frozen=True):
    """What a token is good for. bucket: None for no limit; plain: it neither ends nor has a limit."""

    principal: Principal
    expires_at: int | None
    revoked: bool
    bucket: Bucket | None
    plain: bool


class _Book(msgspec.Struct, frozen=True):
    """The tokens at one moment, and the headers by which they were shown since.

    Neither look-up tells anything by its timing: the hashes are keyed with what nobody outside knows.
    """

    by_hash: dict[str, _Pass]
    by_header: dict[bytes, _Pass]


class Doorkeeper:
    """Says who is asking, and turns away whom it must. Belongs to the event loop, except for `forget` and `known`.

    pepper: the key of the tokens' hashes.
    failures_max: failed sign-ins of one address within a minute that are answered as such.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        pepper: bytes,
        denials: Denials,
        verifier: Verifier | None = None,
        failures_max: int = FAILURES_MAX,
    ) -> None:
        self.denials = denials
        self._pepper = pepper
        self._store = store
        self._clock = clock
        self._verifier = verifier
        self._failures = Failures(failures_max)
        self._changing = threading.Lock()
        self._buckets: dict[str, Bucket] = {}
        self._book = _Book({}, {})
        self._is_shared = shared(store) is not None
        self._looking = asyncio.Lock()
        self._looks = 0
        self._is_stale = False
        self._reading: asyncio.Task[None] | None = None
        self.forget()

    @property
    def pepper(self) -> bytes:
        """The key for the hashes of new tokens (`make_token`)."""
        return self._pepper

    def forget(self) -> None:
        """Read the tokens anew, after a change to them was committed; what is admitted from now on knows of it.

        Raises: StoreFailed; then all is as it was.
        """
        with self._changing:  # So that of two readings the later one stays.
            tokens = self._store.tokens()
            now = self._clock.now()
            buckets: dict[str, Bucket] = {}
            for token in tokens:
                if token.per_minute:
                    kept = self._buckets.get(token.id)
                    fits = kept is not None and kept.per_minute == token.per_minute
                    buckets[token.id] = kept if kept and fits else Bucket(token.per_minute, now)
            self._buckets = buckets
            self._book = _Book({token.hash: _pass_of(token, buckets.get(token.id)) for token in tokens}, {})

    def changed(self) -> None:
        """Read the tokens anew, after a change to them was committed; again and again until they can be read."""
        self._is_stale = True
        if self._reading is None or self._reading.done():
            self._reading = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        is_told = False
        while self._is_stale:
            self._is_stale = False
            try:
                await asyncio.to_thread(self.forget)
            except StoreFailed as failed:
                if not is_told:
                    log.warning("tokens were changed, and count as before until they can be read: %s", failed)
                self._is_stale = is_told = True
                await asyncio.sleep(READ_AGAIN_S)

    async def change_issuer(self, verifier: Verifier | None) -> None:
        """Believe the JWTs of another issuer from now on, or of none."""
        before, self._verifier = self._verifier, verifier
        if before is not None:
            await before.close()

    async def close(self) -> None:
        """Record the denials that are only counted yet; before the pump stops."""
        if self._reading is not None:
            self._reading.cancel()
        self.denials.close()
        await self.change_issuer(None)

    def known(self, authorization: bytes | None) -> Principal | None:
        """Recognise the header of a token that neither ends nor has a limit; None asks for `identify`."""
        found = self._book.by_header.get(authorization)  # type: ignore[arg-type]  # None is no key of it
        return found.principal if found is not None and found.plain else None

    async def identify(self, authorization: bytes | None, client: str) -> Principal:
        """Say who is asking, by the value of the Authorization header. client: where from, as `client_of` says.

        Raises: Unauthenticated, Limited; NotPermitted for a JWT; Unavailable.
        """
        if authorization is None:
            raise Unauthenticated("Give a token: Authorization: Bearer toc_...")
        try:
            return await self._identify(authorization)
        except Unauthenticated as error:
            wait_s = self._failures.note(client, self._clock.now())
            self.denials.note(Denial.LIMIT if wait_s else Denial.SIGN_IN, error.actor, client)
            if wait_s:
                raise Limited(
                    "Too many sign-ins from your address failed. Check the token; a valid one is let in at once.",
                    wait_s,
                ) from error
            raise
        except Limited as error:
            self.denials.note(Denial.LIMIT, error.actor, client)
            raise
        except NotPermitted as error:
            self.denials.note(Denial.PERMISSION, error.actor, client)
            raise

    def check(self, principal: Principal, permission: Permission, client: str) -> None:
        """Turn away who does not hold the permission. Raises: NotPermitted."""
        if permission in principal.permissions:
            return
        self.denials.note(Denial.PERMISSION, principal.actor, client, permission)
        whose = f"Role {principal.role}" if permission not in granted(principal.role) else "This token"
        raise NotPermitted(
            f"{whose} lacks the permission {permission}. Ask an admin for a token that has it.",
            principal.actor,
            permission,
        )

    async def _identify(self, authorization: bytes) -> Principal:
        book = self._book
        found = book.by_header.get(authorization)
        if found is None:
            scheme, _, text = authorization.decode("latin-1").partition(" ")
            text = text.strip()
            if scheme.lower() != "bearer":
                raise Unauthenticated("Give a token: Authorization: Bearer toc_...")
            if self._verifier is not None and not text.startswith(TOKEN_PREFIX):
                return await self._verifier.verify(text)
            hashed = hash_token(text, self._pepper)
            found = book.by_hash.get(hashed)
            if found is None and self._is_shared and text.startswith(TOKEN_PREFIX):
                await self._look_again()
                book = self._book
                found = book.by_hash.get(hashed)
            if found is None:
                raise Unauthenticated("This token is not known.")
            if len(book.by_header) < HEADERS_KEPT and len(authorization) < 256:
                book.by_header[authorization] = found
        return found.principal if found.plain else self._admit(found)

    async def _look_again(self) -> None:
        """Read the tokens anew, for another node may just have made one; one reading at a time, however many ask.

        Raises: Unavailable.
        """
        seen = self._looks
        async with self._looking:
            if self._looks > seen:
                return  # It began after this was asked for.
            self._looks += 1
            try:
                await asyncio.to_thread(self.forget)
            except StoreFailed as failed:
                raise Unavailable("Tocsin cannot look up your token right now. Try again.") from failed

    def _admit(self, found: _Pass) -> Principal:
        """Ask whether a token opens anything now. Raises: Unauthenticated, Limited."""
        actor = found.principal.actor
        if found.revoked:
            raise Unauthenticated("This token was revoked. Ask an admin for another one.", actor)
        now = self._clock.now()
        if found.expires_at is not None and now >= found.expires_at:
            raise Unauthenticated("This token has expired. Ask an admin for another one.", actor)
        if found.bucket is not None and (wait_s := found.bucket.take(now)):
            limit = found.bucket.per_minute
            raise Limited(f"This token may ask {limit} times a minute. Ask again later.", wait_s, actor)
        return found.principal


def _pass_of(token: Token, bucket: Bucket | None) -> _Pass:
    revoked = token.revoked_at is not None
    return _Pass(
        Principal(f"token:{token.id}", token.role, granted(token.role, token.scopes), token.expires_at),
        token.expires_at,
        revoked,
        bucket,
        plain=not revoked and token.expires_at is None and bucket is None,
    )


def hash_token(token: str, pepper: bytes) -> str:
    """HMAC-SHA256 (64 hex digits) of a token under the pepper; all that is stored of it.

    A token has 256 bits, so nothing slower is needed. The pepper keeps a stolen database from opening anything, and
    whoever can write to it from making tokens.
    """
    return hmac.digest(pepper, token.encode(), "sha256").hex()


def make_token(
    random: bytes,
    *,
    name: str,
    role: Role,
    at: int,
    pepper: bytes,
    scopes: Sequence[Permission] = (),
    per_minute: int = 0,
    expires_at: int | None = None,
    created_by: str = "",
) -> tuple[str, Token]:
    """Make a token: what its bearer keeps (shown once), and what is stored.

    random: 36 bytes that nobody can guess. The rest: as in Token.
    Raises: Invalid if it could never do what is asked of it.
    """
    missing = sorted(set(scopes) - granted(role))
    if missing:
        raise Invalid(
            f"Role {role} lacks the permission {', '.join(missing)}, so no token of that role can have it. "
            f"It has: {', '.join(sorted(granted(role)))}.",
            field="scopes",
        )
    if not 0 <= per_minute <= PER_MINUTE_MAX:
        raise Invalid(
            f"A limit is 1 to {PER_MINUTE_MAX} requests a minute, or 0 for none.", field="per_minute"
        )
    if expires_at is not None and expires_at <= at:
        raise Invalid("The token would have expired already. Give a later moment.", field="expires_at")
    id_ = random[:4].hex()
    shown = f"{TOKEN_PREFIX}{id_}_{random[4:36].hex()}"
    token = Token(
        id=id_,
        name=name,
        role=role,
        hash=hash_token(shown, pepper),
        created_at=at,
        scopes=tuple(sorted(set(scopes))),
        per_minute=per_minute,
        expires_at=expires_at,
        created_by=created_by,
    )
    return shown, token
