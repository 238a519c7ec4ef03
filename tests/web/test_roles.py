"""Who may what, complete by construction: every route that there is, for everybody who may come.

A new route is in this table by being there. What is expected follows from the permission that it declares; one that
declares none does not come up.
"""

import http.client
import importlib.util
import re
from collections.abc import Iterator

import msgspec
import pytest
from fastapi import APIRouter, FastAPI
from tests.architecture.project import ROOT
from tests.web.faces import PEPPER, Face, a_face
from tests.web.issuers import ROLES, Issuer

from tocsin.core.model import event as ev
from tocsin.core.model.access import GRANTS, Permission, Role, Token
from tocsin.web import hot
from tocsin.web.admission import OPEN_ROUTES
from tocsin.web.app import Unguarded, build_api, check_guarded, permissions_of
from tocsin.web.auth import make_token
from tocsin.web.guard import Reader

TABLE = permissions_of(build_api())
GUARDED = [(path, method, permission) for path, method, permission in TABLE if permission is not None]
NOTHING: frozenset[Permission] = frozenset()


class Caller(msgspec.Struct, frozen=True):
    """Somebody who comes. shows: the Authorization header, "" for none; may: None if nobody knows them."""

    name: str
    shows: str
    may: frozenset[Permission] | None


class House(msgspec.Struct):
    """A server, and everybody who may come to it."""

    face: Face
    callers: list[Caller]

    def status(self, path: str, method: str, caller: Caller) -> tuple[int, dict[str, str], bytes]:
        """Ask once. What a stream would go on to say is not waited for."""
        connection = http.client.HTTPConnection("127.0.0.1", self.face.port, timeout=20)
        try:
            headers = {"Content-Type": "application/json"}
            if caller.shows:
                headers["Authorization"] = caller.shows
            body = b"{}" if method in ("POST", "PUT", "PATCH") else None
            connection.request(method, re.sub(r"\{[^}]*\}", "7", path), body, headers)
            answer = connection.getresponse()
            read = answer.read() if answer.status >= 400 else b""
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, read
        finally:
            connection.close()


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with Issuer() as issuer, a_face(verifier=issuer.verifier()) as face:
        callers = [
            Caller("nobody", "", None),
            Caller("a wrong token", "Bearer toc_00000000_" + "0" * 64, None),
        ]
        callers += [Caller(f"token {role}", f"Bearer {face.tokens[role]}", GRANTS[role]) for role in Role]
        callers += [
            Caller(f"admin's token for {scope} only", a_token(face, scopes=(scope,)), frozenset({scope}))
            for scope in Permission
        ]
        expired, revoked = a_token(face, expires_at=1), a_token(face, revoked_at=1)
        callers += [Caller("expired token", expired, None), Caller("revoked token", revoked, None)]
        clock = face.node.clock
        for group, role in ROLES:
            callers.append(
                Caller(f"jwt {role}", f"Bearer {issuer.token(clock, groups=group)}", GRANTS[Role(role)])
            )
        callers.append(Caller("jwt of no role", f"Bearer {issuer.token(clock, groups=[])}", NOTHING))
        callers.append(Caller("expired jwt", f"Bearer {issuer.token(clock, exp=1)}", None))
        yield House(face, callers)


def a_token(face: Face, *, scopes: tuple[Permission, ...] = (), **stored: int) -> str:
    """Give an admin's token. stored: what is changed of it in the store."""
    ids, at = face.node.ids, face.node.clock.now()
    shown, token = make_token(
        ids.random_bytes(36), name="one", role=Role.ADMIN, at=at, pepper=PEPPER, scopes=scopes
    )
    token = Token(**{**msgspec.structs.asdict(token), **stored})
    face.node.store.put_token(token)
    face.doorkeeper.forget()
    return f"Bearer {shown}"


def test_who_is_turned_away_changes_nothing_and_is_told_why(house: House) -> None:
    before = house.face.settle()

    for path, method, permission in GUARDED:
        for caller in house.callers:
            if caller.may is not None and permission in caller.may:
                continue
            status, headers, body = house.status(path, method, caller)
            where = f"{caller.name}: {method} {path}: {status} {body!r}"
            assert status == (401 if caller.may is None else 403), where
            assert headers["content-type"] == "application/problem+json", where
            problem = msgspec.json.decode(body)
            if caller.may is None:
                assert headers["www-authenticate"] == "Bearer", where
                assert problem["type"] == "urn:tocsin:problem:unauthenticated", where
            elif caller.may:
                assert problem["permission"] == permission, where
                assert permission in problem["detail"], where

    house.face.settle()
    assert {type(event) for event in house.face.events(before)} == {ev.AccessRefused}


def test_who_may_is_let_in(house: House) -> None:
    for path, method, permission in GUARDED:
        for caller in house.callers:
            if caller.may is not None and permission in caller.may:
                status, _, body = house.status(path, method, caller)
                assert status not in (401, 403, 429), f"{caller.name}: {method} {path}: {status} {body!r}"


def test_many_at_once_ask_for_the_permission_that_one_would(house: House) -> None:
    for role, status in ((Role.ANALYST, 403), (Role.ADMIN, 200)):
        body = {"action": "silence", "ids": ["7"], "dry_run": True}
        answer = house.face.ask("POST", "/api/v1/incidents/actions", body, role=role)
        assert answer[0] == status, answer


def test_nobody_is_asked_for_anything_by_the_open_routes(house: House) -> None:
    open_routes = [(path, method) for path, method, permission in TABLE if permission is None]

    assert {path for path, _ in open_routes} == set(OPEN_ROUTES)
    for path, method in open_routes:
        assert house.status(path, method, house.callers[0])[0] == 200


def test_what_is_not_there_is_hidden_from_who_may_not_come_in(house: House) -> None:
    nobody, admin = house.callers[0], house.callers[2]

    for path in ("/", "/api/v1/none", "/docs", "/openapi.json", "/healthz/", "//healthz"):
        assert house.status(path, "GET", nobody)[0] == 401, path
        assert house.status(path, "GET", admin)[0] != 401, path


def test_a_body_is_not_read_before_it_is_known_who_sends_it(house: House) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", house.face.port, timeout=20)
    connection.request("POST", "/api/v1/notify/send", b"{", {"Content-Type": "application/json"})

    assert connection.getresponse().status == 401
    connection.close()


def test_the_table_holds_what_it_must() -> None:
    declared = {(method, path): permission for path, method, permission in TABLE}

    assert declared["POST", hot.PATH] is Permission.SEND
    assert declared["POST", "/api/v1/notify/send"] is Permission.SEND
    assert declared["GET", "/api/v1/incidents"] is Permission.READ
    assert declared["GET", "/api/v1/incidents/{incident_id}"] is Permission.READ
    assert set(GRANTS) == set(Role)
    assert {role for role in Role if Permission.SEND in GRANTS[role]} == {Role.ADMIN, Role.SERVICE}
    assert {role for role in Role if Permission.RESPOND in GRANTS[role]} == {Role.ADMIN, Role.ANALYST}
    assert {role for role in Role if Permission.SILENCE in GRANTS[role]} == {Role.ADMIN}
    assert {role for role in Role if Permission.READ_LEDGER in GRANTS[role]} == {Role.ADMIN, Role.AUDITOR}
    assert {role for role in Role if Permission.ADMINISTER in GRANTS[role]} == {Role.ADMIN}
    assert GRANTS[Role.AUDITOR] == {Permission.READ, Permission.READ_LEDGER}


def test_a_get_asks_for_no_more_than_to_read() -> None:
    for path, method, permission in GUARDED:
        if method == "GET":
            assert permission in (Permission.READ, Permission.READ_LEDGER, Permission.ADMINISTER), path


def test_the_page_about_roles_is_current() -> None:
    spec = importlib.util.spec_from_file_location("reference_roles", ROOT / "scripts" / "reference_roles.py")
    assert spec is not None
    assert spec.loader is not None
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)

    assert page.PAGE.read_text() == page.generate(), "write it: python scripts/reference_roles.py"


def bare() -> FastAPI:
    return FastAPI(docs_url=None, redoc_url=None, openapi_url=None)


def test_a_route_without_a_permission_does_not_come_up() -> None:
    router = APIRouter(prefix="/deep")

    @router.get("/inside")
    def forgotten() -> None: ...

    outer = APIRouter()
    outer.include_router(router)
    app = bare()
    app.include_router(outer)

    with pytest.raises(Unguarded, match="/deep/inside"):
        check_guarded(app)


def test_a_mounted_application_does_not_come_up_either() -> None:
    app = bare()
    app.mount("/inner", FastAPI())

    with pytest.raises(Unguarded, match="/inner"):
        check_guarded(app)


def test_a_plain_route_and_a_socket_do_not_come_up_either() -> None:
    app = bare()
    app.add_route("/plain", lambda request: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(Unguarded, match="/plain"):
        check_guarded(app)

    app = bare()

    @app.websocket("/socket")
    async def socket() -> None: ...

    with pytest.raises(Unguarded, match="/socket"):
        check_guarded(app)


def test_the_documents_that_a_framework_adds_do_not_come_up_either() -> None:
    with pytest.raises(Unguarded, match="openapi"):
        check_guarded(FastAPI())


def test_a_route_with_a_permission_comes_up() -> None:
    app = bare()

    @app.get("/fine")
    def fine(reader: Reader) -> None: ...

    check_guarded(app)
