"""Access: who is let in, and the tokens that a start makes."""

import asyncio
import hashlib
import platform
from pathlib import Path

from tocsin.core.model.access import Role, Token
from tocsin.outbound import Failure
from tocsin.ports import Clock, Store, shared
from tocsin.runtime.committed import Committed
from tocsin.runtime.node import Node
from tocsin.runtime.world import MachineClock, MachineIds
from tocsin.settings import Settings
from tocsin.web.auth import Doorkeeper, Verifier, hash_token
from tocsin.web.denials import Denials
from tocsin.web.pepper import OPERATOR, first_token, is_operators
from tocsin.web.pepper import read_pepper as read_pepper_of
from tocsin.wiring.outside import build_outbound


def read_pepper(data: Path, store: Store) -> bytes:
    """Give the key of the tokens' hashes, which a first start makes. Raises: Conflict."""
    return read_pepper_of(data, store, MachineIds())


def build_doorkeeper(settings: Settings, node: Node, pepper: bytes) -> Doorkeeper:
    """Make who lets people in; to be closed before the node stops. Raises: Invalid, StoreFailed."""
    doorkeeper = Doorkeeper(
        node.store,
        node.clock,
        pepper=pepper,
        denials=Denials(node.gate.submit),
        verifier=build_verifier(settings, node.clock),
    )

    def heard(committed: Committed) -> None:
        if committed.has_tokens:
            doorkeeper.changed()

    node.gate.watch(heard)
    return doorkeeper


JWKS_BYTES_MAX = 256 * 1024
JWKS_TIMEOUT_S = 5.0


def build_verifier(settings: Settings, clock: Clock) -> Verifier | None:
    """Make who verifies JWTs, None if no issuer is configured. Raises: Invalid."""
    given = settings.issuer
    if given is None:
        return None
    # Cryptography takes its time to load, and most servers and all verbs do without.
    from tocsin.web.jwks import Fetched, NotFetched, max_age_s
    from tocsin.web.jwt import Issuer, JwtVerifier

    outbound = build_outbound(settings)

    async def fetch() -> Fetched:
        if given.jwks_file:
            try:
                return Fetched(await asyncio.to_thread(Path(given.jwks_file).read_bytes))
            except OSError as error:
                raise NotFetched(f"{given.jwks_file}: {error.strerror}") from error
        answer = await outbound.get(
            given.jwks_url,
            headers={"Accept": "application/json"},
            timeout_s=JWKS_TIMEOUT_S,
            answer_bytes_max=JWKS_BYTES_MAX,
        )
        if isinstance(answer, Failure):
            raise NotFetched(answer.why)
        if answer.status != 200 or answer.truncated:
            raise NotFetched(
                f"HTTP {answer.status}, {len(answer.body)} bytes{' and more' * answer.truncated}"
            )
        return Fetched(answer.body, max_age_s(answer.cache_control))

    issuer = Issuer(
        issuer=given.issuer,
        audience=given.audience,
        jwks_url=given.jwks_url,
        jwks_file=given.jwks_file,
        algorithms=given.algorithms,
        leeway_s=given.leeway_s,
        role_claim=given.role_claim,
        roles=tuple((value, Role(role)) for value, role in given.roles),
    )
    return JwtVerifier(issuer, fetch, clock, close=outbound.close)


def make_first_token(store: Store, pepper: bytes) -> tuple[str, Token] | None:
    """Make the admin's token if there is none yet: what is shown once, and what is stored once it was shown.

    In that order, so that a start that dies in between shows another one the next time.
    """
    if not all(is_operators(token) for token in store.tokens()):
        return None
    return first_token(MachineIds(), MachineClock().now(), pepper)


def make_operator_token(store: Store, pepper: bytes, data: Path) -> str:
    """Make the token of whoever may read the data directory, in place of the one of the last start there.

    Raises: StoreFailed.
    """
    id_ = OPERATOR
    if shared(store) is not None:
        here = f"{platform.node()} {data.resolve()}"
        id_ += f"-{hashlib.blake2b(here.encode(), digest_size=4).hexdigest()}"
    token = f"toc_{id_}_{MachineIds().random_bytes(32).hex()}"
    name = "operator on this machine"
    store.put_token(
        Token(
            id=id_,
            name=name,
            role=Role.ADMIN,
            hash=hash_token(token, pepper),
            created_at=MachineClock().now(),
        )
    )
    return token
