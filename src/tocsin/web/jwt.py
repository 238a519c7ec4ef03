"""JWT: people whom a configured issuer vouches for (RFC 7519, checked as RFC 8725 asks).

The configuration says which algorithms there are, and the key is found by its kid among the issuer's own: nothing in
a token chooses how or by what it is verified. What is wrong with one is said in detail only once its signature holds.
"""

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.util import urlsafe_b64decode

from tocsin.core.model.access import Role, granted
from tocsin.core.model.errors import Invalid
from tocsin.ports import Clock
from tocsin.web.auth import NotPermitted, Principal, Unauthenticated
from tocsin.web.denials import ANONYMOUS
from tocsin.web.jwks import KINDS, Fetch, KeyRing

SECOND = 1_000_000
BYTES_MAX = 8_192
YEAR_9999 = 253_402_300_799
"""Its last second; whoever issues a JWT for longer means for ever."""

SUBJECT_MAX = 128
LEEWAY_S_MAX = 300
REMEMBERED_MAX = 4_096

log = logging.getLogger("tocsin.web")


class Issuer(msgspec.Struct, frozen=True, kw_only=True):
    """Whose JWTs are believed, and what they make somebody here. One of jwks_url and jwks_file is set.

    algorithms: of RS256, PS256, ES256, EdDSA.
    role_claim: a claim that holds a text or a list of texts; `realm_access.roles` also names one inside of another.
    roles: (a value of it, the role), the first that fits wins.
    """

    issuer: str
    audience: str
    jwks_url: str = ""
    jwks_file: str = ""
    algorithms: tuple[str, ...]
    leeway_s: float
    role_claim: str
    roles: tuple[tuple[str, Role], ...]


class _Registry(jws.JWSRegistry):
    """Knows one algorithm, and headers of the size that real issuers send."""

    max_header_length = 4_096
    max_signature_length = 2_048

    def get_alg(self, name: str) -> Any:
        """Give the algorithm. (The inherited one would warn of EdDSA for its name, whose curve is fixed here.)"""
        if self.allowed is None or name not in self.allowed:
            raise UnsupportedAlgorithmError()
        return self.algorithms[name]


class _Remembered(msgspec.Struct, frozen=True):
    """A JWT that was verified. until: in the wall clock's microseconds."""

    principal: Principal
    until: float
    version: int


class JwtVerifier:
    """Verifies the JWTs of one issuer, and remembers those that are good until they end. Belongs to the event loop.

    fetch: gets the issuer's keys. close: what is to be closed with it. Raises: Invalid, as `check_issuer`.
    """

    def __init__(
        self,
        issuer: Issuer,
        fetch: Fetch,
        clock: Clock,
        *,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        check_issuer(issuer)
        self._close = close
        self._issuer = issuer
        self._clock = clock
        self._keys = KeyRing(fetch, clock, issuer.algorithms)
        self._remembered: dict[bytes, _Remembered] = {}

    async def verify(self, text: str) -> Principal:
        """See `Verifier`."""
        if len(text) > BYTES_MAX:
            _refuse("it is too long")
        data = text.encode("latin-1")
        digest = hashlib.sha256(data).digest()
        found = self._remembered.get(digest)
        if found is not None:
            self._keys.refresh()
            if self._clock.wall() < found.until and found.version == self._keys.version:
                return found.principal
            del self._remembered[digest]
        claims = await self._claims(data)
        principal = self._principal(claims)
        if len(self._remembered) >= REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        until = (claims["exp"] + self._issuer.leeway_s) * SECOND
        self._remembered[digest] = _Remembered(principal, until, self._keys.version)
        return principal

    async def close(self) -> None:
        """Ask the issuer no more."""
        await self._keys.close()
        if self._close is not None:
            await self._close()

    async def _claims(self, data: bytes) -> Mapping[str, Any]:
        """Verify the signature, and only then read what is signed. Raises: Unauthenticated, Unavailable."""
        parts = data.split(b".")
        if len(parts) != 3 or not all(parts):
            _refuse("it does not have three parts")
        header = _object(parts[0], "header")
        algorithm, kid = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or algorithm not in self._issuer.algorithms:
            _refuse("its algorithm is not one of those that are configured")
        if "crit" in header or "b64" in header:
            _refuse("its header asks for an extension (crit)")
        if not isinstance(kid, str):
            _refuse("it does not say which key signed it (kid)")
        key = await self._keys.find(kid, algorithm)
        if key is None:
            _refuse("the issuer has no such key for this algorithm")
        registry = _Registry(algorithms=(algorithm,), strict_check_header=False)
        try:
            jws.deserialize_compact(data, key, registry=registry)
        except (JoseError, ValueError, TypeError) as error:
            log.debug("joserfc: %s", type(error).__name__)
            _refuse("its signature does not hold")
        return _object(parts[1], "payload")

    def _principal(self, claims: Mapping[str, Any]) -> Principal:
        """Say who it is, if all that must hold does. Raises: Unauthenticated, NotPermitted."""
        issuer = self._issuer
        if claims.get("iss") != issuer.issuer:
            _wrong("comes from another issuer (iss) than the one that is configured here")
        audience = claims.get("aud")
        if issuer.audience not in (audience if isinstance(audience, list) else [audience]):
            _wrong("is meant for somebody else (aud)")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= SUBJECT_MAX or not subject.isprintable():
            _wrong(f"has no usable subject (sub): 1 to {SUBJECT_MAX} printable characters")
        actor = f"jwt:{subject}"
        now, leeway_s = self._clock.wall() / SECOND, issuer.leeway_s
        expires_at = _instant(claims, "exp", actor)
        if now >= expires_at + leeway_s:
            _wrong("has expired (exp). Get a new one", actor)
        for name in ("nbf", "iat"):
            if name in claims and now < _instant(claims, name, actor) - leeway_s:
                _wrong(f"is not valid yet ({name}). Compare the clocks", actor)
        role = self._role(claims)
        if role is None:
            raise NotPermitted(
                f"Your JWT gives you no role here: nothing in its claim {issuer.role_claim!r} is mapped to one. "
                "Ask whoever runs the issuer to add you to a group that is, or an admin to map one of yours.",
                actor,
            )
        return Principal(actor, role, granted(role), min(int(expires_at), YEAR_9999) * SECOND)

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        claimed = find_claim(claims, self._issuer.role_claim)
        values = claimed if isinstance(claimed, list) else [claimed]
        return next((role for value, role in self._issuer.roles if value in values), None)


def find_claim(claims: Mapping[str, Any], name: str) -> Any:
    """Give a claim by its name; else, if the name has dots, the one that they lead to; None without."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def check_issuer(issuer: Issuer) -> None:
    """Refuse a configuration under which JWTs could not be believed, or nobody could come in. Raises: Invalid."""
    url = issuer.jwks_url
    if not issuer.issuer or not issuer.audience:
        raise Invalid(
            "An issuer needs its name (issuer) and the audience that its tokens name.", field="issuer"
        )
    if bool(url) == bool(issuer.jwks_file):
        raise Invalid("Give the issuer's keys by one of jwks_url and jwks_file.", field="issuer.jwks_url")
    if url and not _is_safe(url):
        raise Invalid(
            "jwks_url must begin with https://, or keys could be exchanged on the way.",
            field="issuer.jwks_url",
        )
    if not issuer.algorithms or set(issuer.algorithms) - set(KINDS):
        raise Invalid(f"algorithms takes {', '.join(KINDS)}.", field="issuer.algorithms")
    if not 0 <= issuer.leeway_s <= LEEWAY_S_MAX:
        raise Invalid(f"leeway_s is 0 to {LEEWAY_S_MAX}.", field="issuer.leeway_s")
    if not issuer.role_claim or not issuer.roles:
        raise Invalid("Without role_claim and roles nobody gets a role.", field="issuer.roles")


def _is_safe(url: str) -> bool:
    """Say whether nobody on the way can exchange what it answers."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    is_here = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or is_here)


def _object(part: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object of a JWT, in which nothing may stand twice. Raises: Unauthenticated."""
    try:
        read = json.loads(urlsafe_b64decode(part).decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        _refuse(f"its {what} is not JSON as it should be")
    if not isinstance(read, dict):
        _refuse(f"its {what} is not an object")
    return read


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _instant(claims: Mapping[str, Any], name: str, actor: str) -> float:
    """Give a claim that is seconds since 1970. Raises: Unauthenticated if it is none."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        _wrong(f"does not say when (claim {name}, seconds since 1970)", actor)
    return value


def _refuse(why: str) -> NoReturn:
    """Turn away somebody who has proved nothing, without telling them more than that."""
    log.debug("a JWT was refused: %s", why)
    raise Unauthenticated("This JWT is not valid here.")


def _wrong(why: str, actor: str = ANONYMOUS) -> NoReturn:
    """Turn away somebody whose JWT the issuer did sign, and say why."""
    raise Unauthenticated(f"This JWT {why}.", actor)
