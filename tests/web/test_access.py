"""Who may what: every route that exists, for every role, by the one table; nothing is open but health."""

import pytest
from fastapi import APIRouter, FastAPI
from tests.web.faces import Face

from tocsin.core.model.access import Permission, Role, may
from tocsin.web import hot
from tocsin.web.app import OPEN_ROUTES, Unguarded, check_guarded, permission_of, routes_of
from tocsin.web.guard import Reader


def all_routes(face: Face) -> list[tuple[str, str, Permission | None]]:
    """(method, path, permission) of every route of the application, the hot one included."""
    inner = face.app._inner
    assert isinstance(inner, FastAPI)
    routes: list[tuple[str, str, Permission | None]] = [("POST", hot.PATH, hot.PERMISSION)]
    for route in routes_of(inner):
        for method in sorted(route.methods):  # type: ignore[attr-defined]
            routes.append((method, route.path, permission_of(route)))  # type: ignore[attr-defined]
    return routes


def test_the_routes_are_found(face: Face) -> None:
    paths = {path for _, path, _ in all_routes(face)}

    assert {"/healthz", "/readyz", hot.PATH, "/api/v1/notify/send", "/api/v1/incidents"} <= paths
    assert "/api/v1/incidents/{incident_id}" in paths


def test_every_route_but_health_declares_a_permission(face: Face) -> None:
    open_routes = {path for _, path, permission in all_routes(face) if permission is None}

    assert open_routes == set(OPEN_ROUTES)


def test_each_role_may_exactly_what_the_table_says(face: Face) -> None:
    before = face.entries()
    for method, path, permission in all_routes(face):
        if permission is None:
            continue
        for role in Role:
            status, headers, answer = face.ask(method, path.replace("{incident_id}", "7"), {}, role=role)
            where = f"{role} {method} {path}: {status}"
            if may(role, permission):
                assert status not in (401, 403), where
            else:
                assert status == 403, where
                assert str(permission) in answer["detail"], where
                assert headers["content-type"] == "application/problem+json"
    assert face.entries() == before


def test_nobody_is_asked_for_a_token(face: Face) -> None:
    for method, path, permission in all_routes(face):
        status, headers, answer = face.ask(method, path, role=None)
        if permission is None:
            assert status == 200
        else:
            assert status == 401
            assert headers["www-authenticate"] == "Bearer"
            assert answer["type"] == "urn:tocsin:problem:unauthenticated"


@pytest.mark.parametrize(
    "value",
    [
        "Bearer toc_00000000_" + "0" * 64,
        "Bearer ",
        "Bearer",
        "",
        "Basic YWRtaW46YWRtaW4=",
        "toc_00000000",
        "Bearer \xff\xfe",
        "Bearer a b",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", hot.PATH), ("GET", "/api/v1/incidents")])
def test_a_wrong_token_is_no_token(face: Face, method: str, path: str, value: str) -> None:
    status, headers, _ = face.ask(method, path, role=None, headers={"Authorization": value})

    assert status == 401
    assert headers["www-authenticate"] == "Bearer"


def test_the_scheme_is_read_as_the_standard_has_it(face: Face) -> None:
    for value in ("bearer {}", "BEARER {}", "Bearer  {} "):
        header = {"Authorization": value.format(face.tokens[Role.VIEWER])}
        assert face.ask("GET", "/api/v1/incidents", role=None, headers=header)[0] == 200


def test_a_route_without_a_permission_does_not_come_up() -> None:
    router = APIRouter(prefix="/deep")

    @router.get("/inside")
    def forgotten() -> None: ...

    outer = APIRouter()
    outer.include_router(router)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(outer)

    with pytest.raises(Unguarded, match="/deep/inside"):
        check_guarded(app)


def test_a_mounted_application_does_not_come_up_either() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/inner", FastAPI())

    with pytest.raises(Unguarded, match="/inner"):
        check_guarded(app)


def test_a_route_with_a_permission_comes_up() -> None:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/fine")
    def fine(reader: Reader) -> None: ...

    check_guarded(app)
