"""Every route that is written is served, and asks for a permission; what changes something asks for more than to read.

`build_api` refuses a route without one, so neither these tests nor a server come up with it; that it does is shown in
tests/web/test_roles.py, and what each role may then do.
"""

import importlib
import pkgutil

from fastapi import APIRouter

from tocsin.core.model.access import Permission
from tocsin.web import api
from tocsin.web.admission import OPEN_ROUTES
from tocsin.web.app import build_api, permission_of, permissions_of, routes_of

ONLY_LOOKING = {"/api/v1/silences/preview", "/api/v1/whatif"}
"""Routes that take a form and change nothing."""


def test_every_router_that_is_written_is_served():
    served = {route.path for route in routes_of(build_api())}

    for module in pkgutil.iter_modules(api.__path__):
        router = getattr(importlib.import_module(f"{api.__name__}.{module.name}"), "router", None)
        if isinstance(router, APIRouter):
            assert {route.path for route in router.routes} <= served, module.name


def test_every_route_asks_for_a_permission_but_those_of_health():
    for route in routes_of(build_api()):
        assert (permission_of(route) is None) == (route.path in OPEN_ROUTES), route.path
    assert set(OPEN_ROUTES) == {"/healthz", "/readyz"}


def test_what_changes_something_asks_for_more_than_to_read():
    weak = {
        path
        for path, method, permission in permissions_of(build_api())
        if method not in ("GET", "HEAD") and permission in (Permission.READ, Permission.READ_LEDGER, None)
    }

    assert weak == ONLY_LOOKING
