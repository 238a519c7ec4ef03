"""JWKS: the public keys of an issuer (RFC 7517): which of them are used, and when they are asked for again.

What an issuer's server answers is not trusted further than needed: keys that are weak or of a kind that nobody asked
for are left out, private parts are never read, and it is asked at most once in 30 s, whoever wants what key.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode

from tocsin.core.model.errors import Unavailable
from tocsin.ports import Clock

SECOND = 1_000_000
FRESH_S = 600
FRESH_S_MIN = 60
FRESH_S_MAX = 86_400
STALE_S_MAX = 86_400
"""For so long after that the keys are used although the issuer cannot be asked."""

ASK_EVERY_S = 30
KEYS_MAX = 100
RSA_BITS = (2048, 8192)

KINDS: Mapping[str, tuple[str, str | None, tuple[str, ...]]] = {
    "RS256": ("RSA", None, ("n", "e")),
    "PS256": ("RSA", None, ("n", "e")),
    "ES256": ("EC", "P-256", ("crv", "x", "y")),
    "EdDSA": ("OKP", "Ed25519", ("crv", "x")),
}
"""Algorithm -> the key type, curve and public members of its keys. Nothing symmetric, so no public key can be one."""

Keys = Mapping[tuple[str, str], jwk.Key]
"""(kid, algorithm) -> key."""

log = logging.getLogger("tocsin.web")


class Fetched(msgspec.Struct, frozen=True):
    """A JWKS as it came. max_age_s: for how long its server says that it holds, None if it does not."""

    body: bytes
    max_age_s: int | None = None


class NotFetched(Exception):
    """It could not be had; the text says why, and names no more of the URL than its host."""


Fetch = Callable[[], Awaitable[Fetched]]
"""Gets the JWKS. Raises: NotFetched."""


class KeyRing:
    """The keys of one issuer. Belongs to the event loop. Instants are microseconds of the world's clock."""

    def __init__(self, fetch: Fetch, clock: Clock, algorithms: tuple[str, ...]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._algorithms = algorithms
        self._keys: Keys = {}
        self._asked_at: int | None = None
        self._fresh_until = 0
        self._usable_until = 0
        self._asking: asyncio.Task[None] | None = None
        self.version = 0
        """Rises whenever the keys have changed."""

    async def find(self, kid: str, algorithm: str) -> jwk.Key | None:
        """Find a key, and ask the issuer if it is not known. Raises: Unavailable if there are no keys at all."""
        self.refresh()
        key = self._held().get((kid, algorithm))
        if key is None and (asking := self._ask()) is not None:
            # Whoever goes away meanwhile does not take it from the others.
            await asyncio.wait({asking})
            key = self._held().get((kid, algorithm))
        if not self._held():
            raise Unavailable(
                "The keys of the configured issuer cannot be had now. Try again in half a minute."
            )
        return key

    def refresh(self) -> None:
        """Begin to ask for the keys anew if they are old; nobody waits for it while they can be used."""
        if self._clock.now() >= self._fresh_until:
            self._ask()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    def _held(self) -> Keys:
        """Give the keys that may be used now."""
        return self._keys if self._clock.now() < self._usable_until else {}

    def _ask(self) -> "asyncio.Task[None] | None":
        """Give the question that is on its way, or a new one; None if the last one was too short ago."""
        if self._asking is not None:
            return self._asking
        now = self._clock.now()
        if self._asked_at is not None and now - self._asked_at < ASK_EVERY_S * SECOND:
            return None
        self._asked_at = now
        self._asking = asyncio.get_running_loop().create_task(self._fetched())
        return self._asking

    async def _fetched(self) -> None:
        try:
            fetched = await self._fetch()
            keys = read_keys(fetched.body, self._algorithms)
        except NotFetched as error:
            log.warning("the keys of the issuer could not be had: %s", error)
            return
        except Exception:
            log.exception("the keys of the issuer could not be had")
            return
        finally:
            self._asking = None
        known = {name: key.as_dict() for name, key in self._keys.items()}
        if known != {name: key.as_dict() for name, key in keys.items()}:
            self.version += 1
        self._keys = keys
        fresh_s = FRESH_S if fetched.max_age_s is None else fetched.max_age_s
        fresh_s = min(FRESH_S_MAX, max(FRESH_S_MIN, fresh_s))
        self._fresh_until = self._clock.now() + fresh_s * SECOND
        self._usable_until = self._fresh_until + STALE_S_MAX * SECOND


def max_age_s(cache_control: str) -> int | None:
    """Read for how long an answer holds (RFC 9111, 5.2.2): 0 if it is not to be kept, None if it does not say."""
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return 0
        if name == "max-age" and value.isdecimal() and value.isascii():
            return int(value[:9])
    return None


def read_keys(body: bytes, algorithms: tuple[str, ...]) -> Keys:
    """Read a JWKS; of keys with the same kid the first is taken. Raises: NotFetched if it is none, or holds no key."""
    try:
        read = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotFetched("what came is not JSON") from error
    listed = read.get("keys") if isinstance(read, dict) else None
    if not isinstance(listed, list):
        raise NotFetched("what came is not a JWKS: it has no list of keys")
    keys: dict[tuple[str, str], jwk.Key] = {}
    for given in listed[:KEYS_MAX]:
        for algorithm in algorithms:
            key = _key_of(given, algorithm)
            if key is not None:
                keys.setdefault((given["kid"], algorithm), key)
    if not keys:
        raise NotFetched(f"it holds no key with a kid for {' or '.join(algorithms)}")
    return keys


def _key_of(given: Any, algorithm: str) -> jwk.Key | None:
    """Read the public part of a key if it may verify this algorithm, else give None."""
    kind, curve, members = KINDS[algorithm]
    if (
        not isinstance(given, dict)
        or given.get("kty") != kind
        or given.get("use", "sig") != "sig"
        or "verify" not in given.get("key_ops", ["verify"])
        or given.get("alg", algorithm) != algorithm
        or (curve is not None and given.get("crv") != curve)
        or not isinstance(given.get("kid"), str)
        or not all(isinstance(given.get(member), str) for member in members)
    ):
        return None
    public: jwk.DictKey = {"kty": kind, **{member: given[member] for member in members}}
    try:
        if kind == "RSA":
            bits = int.from_bytes(urlsafe_b64decode(given["n"].encode())).bit_length()
            if not RSA_BITS[0] <= bits <= RSA_BITS[1]:
                return None
        return jwk.import_key(public)
    except (JoseError, ValueError, TypeError):
        return None
