"""JWTs of a configured issuer: what is believed, for how long, and when the issuer is asked for its keys."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from joserfc.jwk import RSAKey
from tests.support.fakes import FakeClock
from tests.web.issuers import ALGORITHMS, NAME, Issuer, a_key, signed

from tocsin.core.model.access import Permission, Role, granted
from tocsin.core.model.errors import Invalid, Unavailable
from tocsin.settings import IssuerSettings, Settings
from tocsin.web.auth import NotPermitted, Principal, Unauthenticated, Verifier
from tocsin.web.jwks import NotFetched, max_age_s, read_keys
from tocsin.wiring.access import build_verifier

T = TypeVar("T")
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE


@pytest.fixture(scope="module")
def served() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.keys = [a_key(algorithm, algorithm.lower()) for algorithm in ALGORITHMS]
        yield issuer


@pytest.fixture
def issuer(served: Issuer) -> Iterator[Issuer]:
    """The issuer of the module as it was at first, whatever a test does to it."""
    keys, served.asked = list(served.keys), 0
    yield served
    served.keys, served.down, served.headers, served.body = keys, False, {}, None


def with_verifier(
    issuer: Issuer, clock: FakeClock, work: Callable[[Verifier], Awaitable[T]], **changes: Any
) -> T:
    """Do something with a verifier, on a loop of its own."""

    async def run() -> T:
        verifier = issuer.verifier(**changes)(clock)
        try:
            return await work(verifier)
        finally:
            await verifier.close()

    return asyncio.run(run())


def verified(issuer: Issuer, clock: FakeClock, token: str, **changes: Any) -> Principal:
    return with_verifier(issuer, clock, lambda verifier: verifier.verify(token), **changes)


@pytest.mark.parametrize("number", range(len(ALGORITHMS)), ids=ALGORITHMS)
def test_a_jwt_of_the_issuer_says_who_somebody_is(issuer: Issuer, number: int) -> None:
    clock = FakeClock()

    found = verified(issuer, clock, issuer.token(clock, issuer.keys[number]))

    assert found == Principal("jwt:anna", Role.ANALYST, granted(Role.ANALYST), found.expires_at)
    assert found.expires_at is not None


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["audit"], Role.AUDITOR),
        ("staff", Role.VIEWER),
        (["staff", "on-call"], Role.ANALYST),
        (["machines", 7, None, {"x": []}], Role.SERVICE),
    ],
)
def test_the_first_configured_role_that_fits_wins(issuer: Issuer, groups: object, role: Role) -> None:
    clock = FakeClock()

    assert verified(issuer, clock, issuer.token(clock, groups=groups)).role is role


@pytest.mark.parametrize("groups", [None, [], ["strangers"], "", 7, {"on-call": True}, [["on-call"]]])
def test_without_a_role_nobody_may_anything(issuer: Issuer, groups: object) -> None:
    clock = FakeClock()

    with pytest.raises(NotPermitted, match="no role") as caught:
        verified(issuer, clock, issuer.token(clock, groups=groups))

    assert caught.value.actor == "jwt:anna"


def test_a_role_claim_may_lie_inside_of_another(issuer: Issuer) -> None:
    clock = FakeClock()
    token = issuer.token(clock, groups=None, realm_access={"roles": ["staff"]})

    assert verified(issuer, clock, token, role_claim="realm_access.roles").role is Role.VIEWER


def test_a_claim_of_that_very_name_comes_first(issuer: Issuer) -> None:
    clock = FakeClock()
    token = issuer.token(clock, **{"a.b": ["audit"], "a": {"b": ["tocsin-admins"]}})

    assert verified(issuer, clock, token, role_claim="a.b").role is Role.AUDITOR


def test_an_audience_may_be_one_of_several(issuer: Issuer) -> None:
    clock = FakeClock()

    assert verified(issuer, clock, issuer.token(clock, aud=["other", "tocsin"])).actor == "jwt:anna"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "https://evil.example"}, "iss"),
        ({"iss": NAME + "/"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": [NAME]}, "iss"),
        ({"aud": "account"}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": {"tocsin": 1}}, "aud"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "a" * 129}, "sub"),
        ({"sub": "anna\nroot"}, "sub"),
        ({"sub": "anna\x1b[2J"}, "sub"),
        ({"sub": "anna\u202e"}, "sub"),
        ({"sub": "\ud800"}, "sub"),
        ({"exp": None}, "exp"),
        ({"exp": "soon"}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": 10**30}, "exp"),
        ({"nbf": "now"}, "nbf"),
        ({"nbf": None, "iat": "now"}, "iat"),
    ],
)
def test_a_claim_that_is_wrong_is_named(issuer: Issuer, changes: dict[str, object], said: str) -> None:
    clock = FakeClock()

    with pytest.raises(Unauthenticated, match=said):
        verified(issuer, clock, issuer.token(clock, **changes))


@pytest.mark.parametrize(
    ("changes", "offset_s", "is_good"),
    [
        ({}, 329, True),
        ({}, 330, False),
        ({"nbf": 400}, 369, False),
        ({"nbf": 400, "exp": 900}, 370, True),
        ({"iat": 31}, 0, False),
        ({"iat": 30}, 0, True),
        ({"exp": 0.5}, 30, True),
        ({"exp": 0.5}, 31, False),
    ],
)
def test_the_leeway_is_thirty_seconds_and_no_more(
    issuer: Issuer, changes: dict[str, float], offset_s: int, is_good: bool
) -> None:
    clock = FakeClock()
    now = clock.wall() // SECOND
    token = issuer.token(clock, **{name: now + value for name, value in changes.items()})
    clock.advance(offset_s * SECOND)

    if is_good:
        assert verified(issuer, clock, token).actor == "jwt:anna"
    else:
        with pytest.raises(Unauthenticated):
            verified(issuer, clock, token)


def test_a_jwt_is_verified_once_and_forgotten_when_it_ends(issuer: Issuer) -> None:
    clock = FakeClock()
    token = issuer.token(clock)

    async def work(verifier: Verifier) -> None:
        await verifier.verify(token)
        clock.advance(329 * SECOND)
        await verifier.verify(token)
        clock.advance(SECOND)
        with pytest.raises(Unauthenticated, match="expired") as caught:
            await verifier.verify(token)
        assert caught.value.actor == "jwt:anna"

    with_verifier(issuer, clock, work)


def test_the_issuer_is_asked_once_by_many(issuer: Issuer) -> None:
    clock = FakeClock()
    tokens = [issuer.token(clock, sub=f"anna-{number}") for number in range(20)]

    async def work(verifier: Verifier) -> list[Principal]:
        return await asyncio.gather(*(verifier.verify(token) for token in tokens))

    assert len({found.actor for found in with_verifier(issuer, clock, work)}) == 20
    assert issuer.asked == 1


def test_an_unknown_key_is_asked_for_at_most_every_half_minute(issuer: Issuer) -> None:
    clock = FakeClock()
    new = a_key("ES256", "next")
    token, good = issuer.token(clock, new), issuer.token(clock)

    async def work(verifier: Verifier) -> None:
        await verifier.verify(good)
        for _ in range(10):
            with pytest.raises(Unauthenticated):
                await verifier.verify(token)
        assert issuer.asked == 1
        clock.advance(30 * SECOND)
        with pytest.raises(Unauthenticated):
            await verifier.verify(token)
        assert issuer.asked == 2
        issuer.keys.append(new)
        clock.advance(30 * SECOND)
        assert (await verifier.verify(token)).actor == "jwt:anna"
        assert issuer.asked == 3

    with_verifier(issuer, clock, work)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # What it waits for happens in another thread, or in nobody's hands.


async def until_refused(verifier: Verifier, token: str) -> None:
    """Show a token until it opens nothing."""
    async with asyncio.timeout(10):
        while True:
            try:
                await verifier.verify(token)
            except Unauthenticated:
                return
            await asyncio.sleep(0.001)


def test_a_key_that_is_withdrawn_opens_nothing_any_more(issuer: Issuer) -> None:
    clock = FakeClock()
    issuer.headers = {"Cache-Control": "public, max-age=120"}
    token = issuer.token(clock, exp=clock.wall() // SECOND + 86_400)

    async def work(verifier: Verifier) -> None:
        await verifier.verify(token)
        del issuer.keys[0]
        clock.advance(119 * SECOND)
        await verifier.verify(token)
        assert issuer.asked == 1
        clock.advance(SECOND)
        await verifier.verify(token)  # It is asked meanwhile, and nobody waits.
        await until(lambda: issuer.asked == 2)
        await until_refused(verifier, token)

    with_verifier(issuer, clock, work)


def test_while_the_issuer_is_down_its_keys_are_used_for_a_day(issuer: Issuer) -> None:
    clock = FakeClock()

    async def work(verifier: Verifier) -> None:
        await verifier.verify(issuer.token(clock))
        issuer.down = True
        clock.advance(23 * HOUR)
        await verifier.verify(issuer.token(clock))
        clock.advance(HOUR + 10 * MINUTE)
        with pytest.raises(Unavailable, match="keys of the configured issuer"):
            await verifier.verify(issuer.token(clock))
        issuer.down = False
        clock.advance(30 * SECOND)
        await verifier.verify(issuer.token(clock))

    with_verifier(issuer, clock, work)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"keys": {}}', b'{"keys": []}', b"\xff", b'{"keys": [7, null, {"kty": "RSA"}]}'],
)
def test_an_issuer_that_answers_nonsense_has_no_keys(issuer: Issuer, body: bytes) -> None:
    clock = FakeClock()
    issuer.body = body

    with pytest.raises(Unavailable):
        verified(issuer, clock, issuer.token(clock))


def test_more_keys_than_anybody_has_are_not_read(issuer: Issuer) -> None:
    clock = FakeClock()
    issuer.body = issuer.jwks()[:-1] + b" " * 300_000 + b"}"

    with pytest.raises(Unavailable):
        verified(issuer, clock, issuer.token(clock))


def test_a_redirect_to_other_keys_is_not_followed(issuer: Issuer) -> None:
    clock = FakeClock()
    with Issuer() as other:
        issuer.headers = {"Location": other.url}
        issuer.down = True

        with pytest.raises(Unavailable):
            verified(issuer, clock, other.token(clock))

        assert other.asked == 0


def test_keys_may_stand_in_a_file(issuer: Issuer, tmp_path: Path) -> None:
    clock = FakeClock()
    file = tmp_path / "keys.json"
    file.write_bytes(issuer.jwks())

    found = verified(issuer, clock, issuer.token(clock), jwks_url="", jwks_file=str(file))

    assert found.actor == "jwt:anna"
    assert issuer.asked == 0


def test_a_file_that_is_not_there_is_no_key(issuer: Issuer, tmp_path: Path) -> None:
    clock = FakeClock()

    with pytest.raises(Unavailable):
        verified(issuer, clock, issuer.token(clock), jwks_url="", jwks_file=str(tmp_path / "none"))


@pytest.mark.parametrize(
    "change",
    [
        {"kid": None},
        {"kid": 7},
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"alg": "RS512"},
        {"alg": "HS256"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"n": "AQAB"},
        {"n": 7},
        {"n": "!"},
        {"e": None},
    ],
)
def test_a_key_that_must_not_verify_is_left_out(change: dict[str, object]) -> None:
    key = a_key("RS256", "one").as_dict(private=False)
    key = {name: value for name, value in {**key, **change}.items() if value is not None}  # type: ignore[dict-item]

    with pytest.raises(NotFetched):
        read_keys(json.dumps({"keys": [key]}).encode(), ALGORITHMS)


def test_a_short_rsa_key_is_left_out() -> None:
    with pytest.warns(UserWarning, match="2048"):
        short = RSAKey.generate_key(1024, {"kid": "short"})

    with pytest.raises(NotFetched):
        read_keys(json.dumps({"keys": [short.as_dict(private=False)]}).encode(), ALGORITHMS)


def test_a_key_without_an_algorithm_serves_those_of_its_kind_that_are_configured() -> None:
    key = RSAKey.generate_key(2048, {"kid": "one"}).as_dict(private=True)

    keys = read_keys(json.dumps({"keys": [key]}).encode(), ("PS256", "ES256"))

    assert list(keys) == [("one", "PS256")]
    assert not keys["one", "PS256"].is_private


def test_an_algorithm_that_is_not_configured_is_refused(issuer: Issuer) -> None:
    clock = FakeClock()

    with pytest.raises(Unauthenticated):
        verified(issuer, clock, issuer.token(clock), algorithms=("ES256",))

    assert issuer.asked == 0


def test_one_key_does_not_stand_for_another_algorithm(issuer: Issuer) -> None:
    clock = FakeClock()
    rsa = issuer.keys[0]
    token = signed({"alg": "PS256", "kid": rsa.kid}, issuer.claims(clock), rsa, "PS256")

    with pytest.raises(Unauthenticated):
        verified(issuer, clock, token)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("max-age=300", 300),
        ("public, Max-Age=60, must-revalidate", 60),
        ("no-store", 0),
        ("", None),
        ("max-age=", None),
        ("max-age=-1", None),
        ("max-age=" + "9" * 50, 999_999_999),
    ],
)
def test_for_how_long_keys_hold_is_read(said: str, seconds: int | None) -> None:
    assert max_age_s(said) == seconds


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"issuer": ""}, "issuer"),
        ({"audience": ""}, "issuer"),
        ({"jwks_url": ""}, "issuer.jwks_url"),
        ({"jwks_file": "keys.json"}, "issuer.jwks_url"),
        ({"jwks_url": "http://login.example/keys"}, "issuer.jwks_url"),
        ({"jwks_url": "http://127.0.0.1:80@login.example/keys"}, "issuer.jwks_url"),
        ({"jwks_url": "file:///etc/keys"}, "issuer.jwks_url"),
        ({"jwks_url": "https://[::1"}, "issuer.jwks_url"),
        ({"algorithms": ()}, "issuer.algorithms"),
        ({"algorithms": ("RS256", "HS256")}, "issuer.algorithms"),
        ({"algorithms": ("none",)}, "issuer.algorithms"),
        ({"leeway_s": 301.0}, "issuer.leeway_s"),
        ({"role_claim": ""}, "issuer.roles"),
        ({"roles": ()}, "issuer.roles"),
    ],
)
def test_an_issuer_that_could_not_be_believed_is_not_set_up(changes: dict[str, Any], field: str) -> None:
    right: dict[str, Any] = {
        "issuer": NAME,
        "audience": "tocsin",
        "jwks_url": "https://login.example/keys",
        "role_claim": "groups",
        "roles": (("staff", "viewer"),),
    }

    with pytest.raises(Invalid) as caught:
        build_verifier(Settings(issuer=IssuerSettings(**{**right, **changes})), FakeClock())

    assert caught.value.field == field


def test_a_role_holds_what_the_table_gives_it(issuer: Issuer) -> None:
    clock = FakeClock()

    found = verified(issuer, clock, issuer.token(clock, groups=["tocsin-admins"]))

    assert found.permissions == frozenset(Permission)
