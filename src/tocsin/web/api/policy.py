"""Policy: what decides, what decided before, and what changed in between; and the way to read the settings anew."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from tocsin.core.engine import policy_diff
from tocsin.core.model.errors import NotFound
from tocsin.core.model.rule import Rule, Slo
from tocsin.ports import PolicyRow, Store
from tocsin.runtime.names import Names
from tocsin.runtime.node import Node
from tocsin.web.cursors import NUMBER_MAX, Cursor, Limit, page, read_cursor
from tocsin.web.forms import Shown, instant
from tocsin.web.guard import Admin, Auditor, TheNode

router = APIRouter(prefix="/api/v1")


class VersionOut(BaseModel):
    """One version of the policy. digest: SHA-256 of its canonical JSON; at, actor: when it came, and who brought it.

    actor_name: as people call them.
    """

    version: int
    digest: str
    at: Shown
    actor: str
    actor_name: str


class PolicyOut(VersionOut):
    """policy: with every setting, also those that nobody set. Lengths of time are microseconds."""

    policy: dict[str, Any]


class PolicyList(BaseModel):
    policies: list[VersionOut]
    total: int
    filters: dict[str, Any]
    next_cursor: str | None


class ChangeOut(BaseModel):
    """before, after: None where there was nothing, or is nothing any more."""

    path: str
    before: Any
    after: Any


class DiffOut(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[int, Field(alias="from")]
    to: int
    changes: list[ChangeOut]


class RulesChanged(BaseModel):
    """Names of the rules and objectives that came, are others now, or went."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class ReloadOut(BaseModel):
    """changes: of the policy; rules: of the Alert Center."""

    changed: bool
    policy_version: int
    digest: str
    changes: list[ChangeOut]
    rules: RulesChanged


Version = Annotated[int, Query(ge=1, le=NUMBER_MAX)]


@router.get("/policy")
def get_policy(node: TheNode, auditor: Auditor) -> PolicyOut:
    """Show the policy in force."""
    return _policy_out(_newest(node.store), node.names)


@router.get("/policy/history")
def list_policies(node: TheNode, auditor: Auditor, limit: Limit = 50, cursor: Cursor = None) -> PolicyList:
    """List the versions of the policy, newest first."""
    rows = node.store.policies(read_cursor(cursor), limit + 1)
    shown, next_cursor = page(rows, limit, lambda row: row.version)
    return PolicyList(
        policies=[VersionOut(**_version_out(row, node.names)) for row in shown],
        total=_newest(node.store).version,  # They are counted from 1, and none is ever forgotten.
        filters={},
        next_cursor=next_cursor,
    )


@router.get("/policy/diff", responses={404: {}})
def diff(
    node: TheNode,
    auditor: Auditor,
    from_: Annotated[Version | None, Query(alias="from", description="The one before `to`.")] = None,
    to: Annotated[Version | None, Query(description="The one in force.")] = None,
) -> DiffOut:
    """Say what is different between two versions."""
    after = _get(node.store, to) if to is not None else _newest(node.store)
    before = _get(node.store, from_) if from_ is not None else _get(node.store, max(1, after.version - 1))
    return DiffOut(from_=before.version, to=after.version, changes=_changes(before, after))


@router.get("/policy/{version}")
def get_policy_version(version: int, node: TheNode, auditor: Auditor) -> PolicyOut:
    """Show one version of the policy."""
    return _policy_out(_get(node.store, version), node.names)


@router.post("/config/reload", responses={422: {}})
async def reload(node: TheNode, admin: Admin) -> ReloadOut:
    """Read the settings anew, and do as they say; if anything in them is wrong, nothing changes."""
    before, rules_before = await run_in_threadpool(_newest, node.store), _rules(node)
    changed = await node.reload(admin.actor)
    after = await run_in_threadpool(_newest, node.store)
    return ReloadOut(
        changed=changed,
        policy_version=after.version,
        digest=after.digest,
        changes=_changes(before, after),
        rules=_rules_changed(rules_before, _rules(node)),
    )


def _rules(node: Node) -> dict[str, tuple[Rule, Slo | None]]:
    """Give the rules in force by name, with the objective that one comes from."""
    slos = {one.name: one for one in node.evaluator.slos}
    rules = [standing.rule for standing in node.evaluator.standings()]
    return {rule.rule_id: (rule, slos.get(rule.rule_id)) for rule in rules}


def _rules_changed(
    before: Mapping[str, tuple[Rule, Slo | None]], after: Mapping[str, tuple[Rule, Slo | None]]
) -> RulesChanged:
    return RulesChanged(
        added=sorted(after.keys() - before.keys()),
        changed=sorted(name for name in after.keys() & before.keys() if after[name] != before[name]),
        removed=sorted(before.keys() - after.keys()),
    )


def _newest(store: Store) -> PolicyRow:
    rows = store.policies(None, 1)
    assert rows, "a node adopts a policy before it answers anybody"
    return rows[0]


def _get(store: Store, version: int) -> PolicyRow:
    row = store.policy(version) if 0 < version < NUMBER_MAX else None
    if row is None:
        raise NotFound(
            f"There is no version {str(version)[:20]} of the policy. List them: GET /api/v1/policy/history."
        )
    return row


def _changes(before: PolicyRow, after: PolicyRow) -> list[ChangeOut]:
    return [
        ChangeOut(path=change.path, before=change.before, after=change.after)
        for change in policy_diff.changes(before.policy, after.policy)
    ]


def _version_out(row: PolicyRow, names: Names) -> dict[str, Any]:
    return {
        "version": row.version,
        "digest": row.digest,
        "at": instant(row.at),
        "actor": row.actor,
        "actor_name": names.of(row.actor),
    }


def _policy_out(row: PolicyRow, names: Names) -> PolicyOut:
    return PolicyOut(**_version_out(row, names), policy=policy_diff.plain(row.policy))
