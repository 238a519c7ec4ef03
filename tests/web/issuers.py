"""An issuer: real keys, a real server that gives them out as a JWKS, and JWTs, right ones and any others."""

import base64
import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from tocsin.ports import Clock
from tocsin.settings import IssuerSettings, Settings
from tocsin.web.auth import Verifier
from tocsin.wiring.access import build_verifier

NAME = "https://login.example/realms/ops"
AUDIENCE = "tocsin"
ROLES = (
    ("tocsin-admins", "admin"),
    ("on-call", "analyst"),
    ("machines", "service"),
    ("staff", "viewer"),
    ("audit", "auditor"),
)
ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")


def a_key(algorithm: str, kid: str, bits: int = 2048) -> Key:
    """Make a key for an algorithm."""
    parameters: Any = {"kid": kid, "use": "sig", "alg": algorithm}
    match algorithm:
        case "ES256":
            return ECKey.generate_key("P-256", parameters)
        case "EdDSA":
            return OKPKey.generate_key("Ed25519", parameters)
        case _:
            return RSAKey.generate_key(bits, parameters)


def b64(data: bytes | str | Mapping[str, Any]) -> bytes:
    """Write a part of a JWT."""
    if isinstance(data, Mapping):
        data = json.dumps(data)
    return base64.urlsafe_b64encode(data.encode() if isinstance(data, str) else data).rstrip(b"=")


def signed(
    header: bytes | str | Mapping[str, Any], payload: bytes | str | Mapping[str, Any], key: Any, by: str
) -> str:
    """Sign whatever it is. by: the algorithm that is really used, whatever the header says."""
    text = b64(header) + b"." + b64(payload)
    return (text + b"." + b64(JWSRegistry.algorithms[by].sign(text, key))).decode()


class Issuer:
    """Serves its keys while the block lasts. asked: how often; down: it answers 503; headers: what comes with them."""

    def __init__(self) -> None:
        self.keys = [a_key("RS256", "rsa-1")]
        self.asked = 0
        self.down = False
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None

    def __enter__(self) -> Self:
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                body = issuer.jwks() if issuer.body is None else issuer.body
                self.send_response(503 if issuer.down else 200)
                for name, value in {"Content-Length": str(len(body)), **issuer.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def jwks(self) -> bytes:
        """The public parts of the keys, as they are served."""
        return json.dumps({"keys": [key.as_dict(private=False) for key in self.keys]}).encode()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/keys"

    def settings(self, **changes: Any) -> Settings:
        """What the operator writes to believe this issuer."""
        given: dict[str, Any] = {
            "issuer": NAME,
            "audience": AUDIENCE,
            "jwks_url": self.url,
            "algorithms": ALGORITHMS,
            "role_claim": "groups",
            "roles": ROLES,
        }
        return Settings(issuer=IssuerSettings(**{**given, **changes}), allow_private=("127.0.0.0/8",))

    def verifier(self, **changes: Any) -> Callable[[Clock], Verifier]:
        """What makes the verifier of a server that is set up so."""

        def make(clock: Clock) -> Verifier:
            made = build_verifier(self.settings(**changes), clock)
            assert made is not None
            return made

        return make

    def claims(self, clock: Clock, **changes: Any) -> dict[str, Any]:
        """The claims of a good JWT for an analyst, with changes; None takes a claim away."""
        now = clock.wall() // 1_000_000
        claims = {
            "iss": NAME,
            "aud": AUDIENCE,
            "sub": "anna",
            "exp": now + 300,
            "iat": now,
            "nbf": now,
            "groups": ["on-call"],
        } | changes
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, clock: Clock, key: Key | None = None, **changes: Any) -> str:
        """A good JWT, signed with the first key (or that one), with changes to its claims."""
        key = key or self.keys[0]
        header = {"alg": key.alg, "kid": key.kid}
        assert key.alg is not None
        return signed(header, self.claims(clock, **changes), key, key.alg)
