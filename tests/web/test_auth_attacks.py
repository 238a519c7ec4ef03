"""Attacks on the sign-in with JWTs: each is refused as any stranger is, and recorded; none makes us ask anybody."""

import base64
import hashlib
import hmac
import http.client
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from joserfc.jwk import RSAKey
from tests.web.faces import Face, a_face
from tests.web.issuers import Issuer, a_key, b64, signed

from tocsin.core.model import event as ev
from tocsin.core.model.input import Denial
from tocsin.web import hot


class Scene(msgspec.Struct):
    """A server that believes `issuer`, and somebody else with an issuer of their own."""

    face: Face
    issuer: Issuer
    evil: Issuer

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What an admin's JWT says, with changes."""
        return self.issuer.claims(self.face.node.clock, **{"groups": ["tocsin-admins"], **changes})

    def now(self) -> int:
        return self.face.node.clock.wall() // 1_000_000

    def header(self, **changes: Any) -> dict[str, Any]:
        """What a right header says, with changes; None takes one away."""
        header = {"alg": "RS256", "kid": self.issuer.keys[0].kid, "typ": "JWT"} | changes
        return {name: value for name, value in header.items() if value is not None}

    def right(self, header: Any = None, payload: Any = None) -> str:
        """Sign with the issuer's own key, whatever it says."""
        return signed(
            self.header() if header is None else header,
            self.claims() if payload is None else payload,
            self.issuer.keys[0],
            "RS256",
        )

    def wrong(self, **header: Any) -> str:
        """Sign with somebody else's key."""
        return signed(self.header(**header), self.claims(), self.evil.keys[0], "RS256")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Issuer() as issuer, Issuer() as evil, a_face(verifier=issuer.verifier()) as face:
        issuer.keys.append(short_key())
        yield Scene(face, issuer, evil)


def short_key() -> RSAKey:
    """An RSA key that its issuer still serves, although it can be broken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RSAKey.generate_key(1024, {"kid": "short", "alg": "RS256"})


def by_hmac(scene: Scene, secret: bytes, algorithm: str = "HS256") -> str:
    """Sign with a secret that everybody knows."""
    text = b64(scene.header(alg=algorithm)) + b"." + b64(scene.claims())
    return (text + b"." + b64(hmac.digest(secret, text, hashlib.sha256))).decode()


def unsigned(scene: Scene, algorithm: Any) -> str:
    return (b64(scene.header(alg=algorithm)) + b"." + b64(scene.claims()) + b".").decode()


def twice(scene: Scene, name: str, value: object) -> str:
    """A payload in which a claim stands twice, once as it should."""
    text = json.dumps(scene.claims())
    return text[:-1] + f', "{name}": {json.dumps(value)}' + "}"


def edited(scene: Scene) -> str:
    """A JWT of the issuer's, made to say more than it did."""
    head, _, signature = scene.right(payload=scene.claims(groups=["staff"])).split(".")
    return f"{head}.{b64(scene.claims()).decode()}.{signature}"


def padded(token: str) -> str:
    """The same, in a spelling of base64 that no JWT has."""
    head, body, signature = token.split(".")
    return f"{head}.{body}.{signature}=="


def pem(scene: Scene) -> bytes:
    key = scene.issuer.keys[0]
    assert isinstance(key, RSAKey)
    return key.as_pem(private=False)


ATTACKS: dict[str, Callable[[Scene], str]] = {
    "alg none": lambda s: unsigned(s, "none"),
    "alg None": lambda s: unsigned(s, "nOnE"),
    "alg empty": lambda s: unsigned(s, ""),
    "alg a list": lambda s: unsigned(s, ["RS256"]),
    "no alg": lambda s: s.right(s.header(alg=None)),
    "RS256 without a signature": lambda s: unsigned(s, "RS256"),
    "RS256 with an empty signature": lambda s: unsigned(s, "RS256") + "A",
    "HS256 with the public key": lambda s: by_hmac(s, pem(s)),
    "HS256 with the JWKS": lambda s: by_hmac(s, s.issuer.jwks()),
    "HS256 with the modulus": lambda s: by_hmac(s, s.issuer.keys[0].as_dict()["n"].encode()),  # type: ignore[union-attr]
    "HS256 with an empty key": lambda s: by_hmac(s, b""),
    "RS256 with an empty key": lambda s: by_hmac(s, b"", "RS256"),
    "another algorithm of the same key": lambda s: signed(
        s.header(alg="PS256"), s.claims(), s.issuer.keys[0], "PS256"
    ),
    "RS512": lambda s: signed(s.header(alg="RS512"), s.claims(), s.issuer.keys[0], "RS512"),
    "somebody else's key": lambda s: s.wrong(),
    "somebody else's kid": lambda s: s.wrong(kid="evil"),
    "kid of a path": lambda s: s.wrong(kid="../../../../dev/null"),
    "kid of a file": lambda s: s.wrong(kid="file:///etc/passwd"),
    "kid of SQL": lambda s: s.wrong(kid="' UNION SELECT 'AAAA' -- "),
    "kid of a shell": lambda s: s.wrong(kid="$(id)|id;id"),
    "kid of NUL": lambda s: s.wrong(kid="rsa-1\x00"),
    "kid a number": lambda s: s.wrong(kid=1),
    "kid an object": lambda s: s.wrong(kid={"rsa-1": 1}),
    "no kid": lambda s: s.right(s.header(kid=None)),
    "jku": lambda s: s.wrong(jku=s.evil.url),
    "jku and kid": lambda s: s.wrong(jku=s.evil.url, kid="evil"),
    "x5u": lambda s: s.wrong(x5u=s.evil.url),
    "jwk": lambda s: s.wrong(jwk=s.evil.keys[0].as_dict(private=False)),
    "jwk without kid": lambda s: s.wrong(jwk=s.evil.keys[0].as_dict(private=False), kid=None),
    "x5c": lambda s: s.wrong(x5c=["AAAA"]),
    "crit unknown": lambda s: s.right(s.header(crit=["exp"])),
    "crit of something there": lambda s: s.right(s.header(crit=["http://x"], **{"http://x": 1})),
    "crit empty": lambda s: s.right(s.header(crit=[])),
    "crit and b64": lambda s: s.right(s.header(crit=["b64"], b64=False)),
    "b64": lambda s: s.right(s.header(b64=False)),
    "short RSA key": lambda s: signed(s.header(kid="short"), s.claims(), s.issuer.keys[1], "RS256"),
    "swapped aud": lambda s: s.right(payload=s.claims(aud="another-service")),
    "swapped iss": lambda s: s.right(payload=s.claims(iss="https://evil.example")),
    "no iss": lambda s: s.right(payload=s.claims(iss=None)),
    "no aud": lambda s: s.right(payload=s.claims(aud=None)),
    "no exp": lambda s: s.right(payload=s.claims(exp=None)),
    "expired": lambda s: s.right(payload=s.claims(exp=s.now() - 60)),
    "expired as text": lambda s: s.right(payload=s.claims(exp=str(s.now() + 60))),
    "exp without end": lambda s: s.right(payload=json.dumps(s.claims(exp=None))[:-1] + ', "exp": Infinity}'),
    "exp not a number": lambda s: s.right(payload=json.dumps(s.claims(exp=None))[:-1] + ', "exp": NaN}'),
    "exp beyond all": lambda s: s.right(payload=s.claims(exp=10**300)),
    "exp of many digits": lambda s: s.right(
        payload=json.dumps(s.claims())[:-1] + ', "z": ' + "9" * 5_000 + "}"
    ),
    "nbf in the future": lambda s: s.right(payload=s.claims(nbf=s.now() + 60)),
    "iat in the future": lambda s: s.right(payload=s.claims(iat=s.now() + 60)),
    "no sub": lambda s: s.right(payload=s.claims(sub=None)),
    "sub of control characters": lambda s: s.right(payload=s.claims(sub="anna\r\nactor: root")),
    "sub of half a surrogate": lambda s: s.right(payload=s.claims(sub="\ud800")),
    "sub too long": lambda s: s.right(payload=s.claims(sub="a" * 129)),
    "claims twice": lambda s: s.right(payload=twice(s, "aud", "another-service")),
    "groups twice": lambda s: s.right(payload=twice(s, "groups", ["tocsin-admins"])),
    "header twice": lambda s: s.right(header='{"alg": "none", "alg": "RS256", "kid": "rsa-1"}'),
    "payload not JSON": lambda s: s.right(payload="<xml/>"),
    "payload a list": lambda s: s.right(payload="[]"),
    "payload a text": lambda s: s.right(payload='"anna"'),
    "payload empty": lambda s: s.right(payload=b""),
    "payload not UTF-8": lambda s: s.right(payload=b'{"sub": "\xff"}'),
    "payload deep": lambda s: s.right(payload="[" * 3_000 + "]" * 3_000),
    "header not JSON": lambda s: s.right(header="RS256"),
    "header a list": lambda s: s.right(header="[]"),
    "edited": edited,
    "padded": lambda s: padded(s.right()),
    "four parts": lambda s: s.right() + ".AAAA",
    "five parts": lambda s: ".".join(["AAAA"] * 5),
    "two parts": lambda s: "AAAA.AAAA",
    "dots": lambda s: "..",
    "a list of JWTs": lambda s: f"{s.right()},{s.right()}",
    "standard base64": lambda s: base64.b64encode(b"\xff\xfe").decode() + s.right(),
    "longer than 8 KiB": lambda s: s.right(payload=s.claims(more="x" * 9_000)),
    "of 60 KB": lambda s: "A" * 60_000 + ".A.A",
}


def status_of(face: Face, token: str, path: str, method: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=20)
    try:
        connection.request(method, path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def recorded(face: Face, reason: Denial, since: int) -> int:
    """How many denials for that reason the ledger counts from there on, all counts told."""
    face.settle()
    return sum(
        event.count
        for event in face.events(since)
        if isinstance(event, ev.AccessRefused) and event.reason is reason
    )


def test_a_right_jwt_of_this_scene_is_believed(scene: Scene) -> None:
    """Without this, the table below would prove nothing."""
    assert status_of(scene.face, scene.right(), "/api/v1/incidents", "GET")[0] == 200
    assert status_of(scene.face, scene.right(scene.header(typ=None)), "/api/v1/incidents", "GET")[0] == 200


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_and_recorded(scene: Scene, name: str) -> None:
    token = ATTACKS[name](scene)
    before = scene.face.settle()

    for path, method in (("/api/v1/incidents", "GET"), (hot.PATH, "POST")):
        status, body = status_of(scene.face, token, path, method)
        assert status == 401, body
        assert msgspec.json.decode(body)["type"] == "urn:tocsin:problem:unauthenticated"

    assert recorded(scene.face, Denial.SIGN_IN, before) == 2
    assert scene.evil.asked == 0


def test_a_token_of_a_megabyte_is_refused_before_it_is_read(scene: Scene) -> None:
    head = b"GET /api/v1/incidents HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "

    answer = scene.face.raw(head + b"A" * 1_000_000 + b".A.A\r\n\r\n")

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")


def test_nothing_is_said_about_why_before_the_signature_holds(scene: Scene) -> None:
    said = {
        status_of(scene.face, ATTACKS[name](scene), "/api/v1/incidents", "GET")[1]
        for name in ("alg none", "HS256 with the public key", "somebody else's key", "kid of SQL", "edited")
    }

    assert len(said) == 1
    assert b"expired" in status_of(scene.face, ATTACKS["expired"](scene), "/api/v1/incidents", "GET")[1]


def test_no_part_of_a_jwt_reaches_the_ledger(scene: Scene) -> None:
    token = scene.wrong()
    before = scene.face.settle()

    status_of(scene.face, token, "/api/v1/incidents", "GET")

    assert recorded(scene.face, Denial.SIGN_IN, before) == 1
    store = scene.face.node.store
    for seq in range(before, store.head().size):
        entry = store.entry(seq)
        assert entry is not None
        assert not any(part.encode() in b"".join(entry) for part in token.split("."))


def test_a_jwt_without_a_role_is_known_but_may_nothing(scene: Scene) -> None:
    before = scene.face.settle()
    token = scene.right(payload=scene.claims(groups=["strangers"]))

    status, body = status_of(scene.face, token, "/api/v1/incidents", "GET")

    assert status == 403
    assert b"no role" in body
    assert recorded(scene.face, Denial.PERMISSION, before) == 1


def test_whoever_signs_in_with_a_jwt_stands_in_the_ledger(scene: Scene) -> None:
    alert = {"rule_id": "disk", "severity": "error", "message": "full"}
    before = scene.face.settle()

    header = {"Authorization": f"Bearer {scene.right(payload=scene.claims(sub='auth0|5f7c8ec7'))}"}
    status, _, _ = scene.face.post(alert, role=None, headers=header)

    assert status == 200
    entry = scene.face.node.store.entry(before)
    assert entry is not None
    assert msgspec.json.decode(entry[0])["actor"] == "jwt:auth0|5f7c8ec7"


def test_another_issuer_is_believed_from_the_moment_on_that_it_is_set_up(scene: Scene) -> None:
    clock = scene.face.node.clock
    with Issuer() as next_one, a_face(verifier=scene.issuer.verifier()) as face:
        next_one.keys = [a_key("ES256", "next")]
        old, new = scene.right(), next_one.token(clock)
        assert status_of(face, old, "/api/v1/incidents", "GET")[0] == 200
        assert status_of(face, new, "/api/v1/incidents", "GET")[0] == 401

        face.on_loop(face.doorkeeper.change_issuer(next_one.verifier()(clock)))

        assert status_of(face, old, "/api/v1/incidents", "GET")[0] == 401
        assert status_of(face, new, "/api/v1/incidents", "GET")[0] == 200
