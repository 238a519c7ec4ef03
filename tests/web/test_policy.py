"""The policy over HTTP: what decides, what decided before, and the difference."""

from typing import Any

import msgspec
import pytest
from tests.runtime.house import a_policy
from tests.web.faces import Face, a_face
from tests.web.waiting import on_its_loop

from tocsin.core.model.access import Role
from tocsin.core.model.errors import Invalid
from tocsin.core.model.input import PolicyChanged
from tocsin.core.model.policy import MINUTE, Policy, RateLimit, Route, policy_digest

POLICY = "/api/v1/policy"

FIRST = a_policy()
SECOND = msgspec.structs.replace(FIRST, rate_limit=RateLimit(limit=3))
THIRD = msgspec.structs.replace(
    SECOND,
    routes=msgspec.structs.replace(
        SECOND.routes, routes=(Route(name="db", group_wait=MINUTE), Route(name="web"))
    ),
)


def adopt(face: Face, policy: Policy) -> None:
    on_its_loop(face, face.node.ask(PolicyChanged(policy=policy), "token:somebody"))


@pytest.fixture(scope="module")
def changed() -> Any:
    with a_face() as face:
        adopt(face, SECOND)
        adopt(face, THIRD)
        yield face


def ask(face: Face, path: str) -> dict[str, Any]:
    status, _, answer = face.ask("GET", f"{POLICY}{path}", role=Role.AUDITOR)
    assert status == 200, answer
    found: dict[str, Any] = answer
    return found


def test_the_policy_in_force_is_shown_with_every_setting(changed: Face) -> None:
    answer = ask(changed, "")

    assert (answer["version"], answer["digest"]) == (3, policy_digest(THIRD))
    assert answer["actor"] == answer["actor_name"] == "token:somebody"
    assert answer["policy"]["rate_limit"]["limit"] == 3
    assert answer["policy"]["keep"] == THIRD.keep
    assert [route["name"] for route in answer["policy"]["routes"]["routes"]] == ["db", "web"]
    assert ask(changed, "/3") == answer
    assert ask(changed, "/1")["digest"] == policy_digest(FIRST)


def test_the_history_is_listed_newest_first_in_pages(changed: Face) -> None:
    first = ask(changed, "/history?limit=2")
    rest = ask(changed, f"/history?limit=2&cursor={first['next_cursor']}")

    assert [row["version"] for row in first["policies"] + rest["policies"]] == [3, 2, 1]
    assert (first["total"], rest["next_cursor"]) == (3, None)
    assert [row["actor"] for row in rest["policies"]] == ["settings"]


def test_a_difference_names_what_changed(changed: Face) -> None:
    default = ask(changed, "/diff")
    both = ask(changed, "/diff?from=1&to=3")
    back = ask(changed, "/diff?from=2&to=1")

    assert (default["from"], default["to"]) == (2, 3)
    assert [change["path"] for change in default["changes"]] == [
        "routes[default].routes",
        "routes[db]",
        "routes[web]",
    ]
    assert default["changes"][1]["after"]["group_wait"] == MINUTE
    assert both["changes"][0]["path"] == "rate_limit"
    assert both["changes"][0]["before"] is None
    assert back["changes"] == [{"path": "rate_limit", "before": both["changes"][0]["after"], "after": None}]
    assert ask(changed, "/diff?from=3&to=3")["changes"] == []


def test_the_first_policy_differs_from_nothing(face: Face) -> None:
    assert ask(face, "/diff") == {"from": 1, "to": 1, "changes": []}


@pytest.mark.parametrize("path", ["/0", "/4", "/diff?from=9", "/diff?to=9", "/" + "9" * 30])
def test_a_version_that_is_not_there_is_not_found(changed: Face, path: str) -> None:
    status, _, answer = changed.ask("GET", f"{POLICY}{path}")

    assert status == 404
    assert "history" in answer["detail"]


@pytest.mark.parametrize(("path", "status"), [("/x", 422), ("/diff?from=x", 422), ("/history?cursor=x", 400)])
def test_what_is_no_version_is_refused(changed: Face, path: str, status: int) -> None:
    assert changed.ask("GET", f"{POLICY}{path}")[0] == status


def test_a_reload_says_what_changed_and_who_asked() -> None:
    with a_face() as face:

        async def read(actor: str) -> bool:
            return await face.node.adopt(SECOND, face.node.channels, actor=actor, dry_run=False)

        face.node.reload = read

        first = face.ask("POST", "/api/v1/config/reload")[2]
        second = face.ask("POST", "/api/v1/config/reload")[2]

        assert (first["changed"], first["policy_version"], first["digest"]) == (
            True,
            2,
            policy_digest(SECOND),
        )
        assert [change["path"] for change in first["changes"]] == ["rate_limit"]
        assert ask(face, "")["actor"].startswith("token:")
        assert second == {
            "changed": False,
            "policy_version": 2,
            "digest": first["digest"],
            "changes": [],
            "rules": {"added": [], "changed": [], "removed": []},
        }


def test_a_reload_of_what_is_wrong_changes_nothing_and_says_all_of_it() -> None:
    with a_face() as face:

        async def read(actor: str) -> bool:
            raise Invalid(
                "tocsin.yaml has 2 errors.", errors=[("tocsin.yaml:1:1", "a"), ("tocsin.yaml:2:1", "b")]
            )

        face.node.reload = read
        before = face.entries()

        status, _, answer = face.ask("POST", "/api/v1/config/reload")

        assert status == 422
        assert [error["message"] for error in answer["errors"]] == ["a", "b"]
        assert face.entries() == before


def test_only_an_auditor_sees_it(face: Face) -> None:
    for role in (Role.SERVICE, Role.ANALYST, Role.VIEWER):
        for path in ("", "/history", "/diff", "/1"):
            assert face.ask("GET", f"{POLICY}{path}", role=role)[0] == 403
    for role in set(Role) - {Role.ADMIN}:
        assert face.ask("POST", "/api/v1/config/reload", role=role)[0] == 403
