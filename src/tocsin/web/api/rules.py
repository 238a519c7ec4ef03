"""Rules: what the Alert Center looks at, what it saw, and what is left of the objectives' error budgets."""

import asyncio
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.errors import NotFound, Unavailable
from tocsin.core.model.policy import SECOND
from tocsin.core.model.rule import Cron, Interval, NoData, Point, Slo
from tocsin.core.rules import objectives, slo
from tocsin.core.rules.evaluate import Look
from tocsin.core.rules.plain import kind_of, plain
from tocsin.ports import Source, SourceFailed
from tocsin.runtime.evaluator import Standing
from tocsin.runtime.node import Node
from tocsin.web.forms import Shown, Text, instant
from tocsin.web.guard import Admin, Reader, TheNode
from tocsin.web.incident_forms import Form

router = APIRouter(prefix="/api/v1")

RuleName = Annotated[str, Path(max_length=128, description="The rule's `rule_id`.")]
SloName = Annotated[str, Path(max_length=128, description="The objective's name.")]


class RuleState(StrEnum):
    """How a rule stands. PENDING: looks were wrong, but not yet enough of them; WAITING: it has not looked since the
    start; FAILING: it gets no answer from its source."""

    FIRING = "firing"
    PENDING = "pending"
    GREEN = "green"
    WAITING = "waiting"
    FAILING = "failing"
    DISABLED = "disabled"


class ScopeStatus(StrEnum):
    """What a look at a scope came to. PENDING: it was wrong, or one before it, but not yet enough of them."""

    FIRING = "firing"
    PENDING = "pending"
    GREEN = "green"


class RuleOut(BaseModel):
    """A rule and how it stands.

    every: a length of time in seconds, or a cron expression; window_s: how much each look covers.
    looks, of: it fires once so many of so many looks were wrong. due_at: of its next look; done_at: of its last.
    scopes, firing: how many it saw in its last look, and how many of them fire.
    failing_since, failure: since when it gets no answer, and why.
    """

    rule_id: str
    description: str
    state: RuleState
    source: str
    every: str
    zone: str
    window_s: float
    trigger: str
    looks: int
    of: int
    no_data: NoData
    owner: str
    runbook: str
    labels: dict[str, str]
    due_at: Shown | None
    done_at: Shown | None
    scopes: int
    firing: int
    failing_since: Shown | None
    failure: str


class PointOut(BaseModel):
    at: Shown
    value: float


class ScopeOut(BaseModel):
    """The last look at one scope. wrong: how many of its last looks were, see `looks` and `of` of the rule.

    formula: with its numbers; value, limit: null if nothing was compared.
    """

    scope: dict[str, str]
    status: ScopeStatus
    wrong: int
    severity: Severity
    formula: str
    value: float | None
    limit: float | None
    points: list[PointOut]


class RuleDetail(RuleOut):
    """query: as it is asked, empty if the trigger brings its own; last: the last look at each of the first 100 scopes.

    trigger_settings: the keys of `trigger` as in the configuration, `limits` always as a list, lengths of time in
    seconds; of an objective its queries `good` and `total` too.
    """

    query: str
    trigger_settings: dict[str, Any]
    last: list[ScopeOut]


class RuleList(BaseModel):
    rules: list[RuleOut]
    total: int


class ForgetForm(Form):
    """reason: for whoever reads the timelines."""

    reason: Annotated[Text, Field(min_length=1, max_length=2_000, examples=["This shop was closed."])]


class ForgottenOut(BaseModel):
    """ended: how many scopes fired, and are over now."""

    rule_id: str
    ended: int


class SloOut(BaseModel):
    """An objective. objective: the share of good events; window_s: in any time of this length."""

    name: str
    description: str
    objective: float
    window_s: float
    source: str
    owner: str
    state: RuleState


class BudgetOut(BaseModel):
    """What is left of a scope's error budget. good, total: events in the window; spent, left: shares of the budget.

    left is below 0 if more was spent than was allowed.
    """

    scope: dict[str, str]
    good: float
    total: float
    spent: float
    left: float


class SloDetail(SloOut):
    """budgets: as they are now, by scope."""

    budgets: list[BudgetOut]


class SloList(BaseModel):
    slos: list[SloOut]
    total: int


@router.get("/rules")
async def list_rules(node: TheNode, reader: Reader) -> RuleList:
    """List the rules and how they stand, by name."""
    standings = node.evaluator.standings()
    heard = _heard(standings)
    return RuleList(rules=[RuleOut(**_out(one, heard)) for one in standings], total=len(standings))


@router.get("/rules/{rule_id}", responses={404: {}})
async def get_rule(rule_id: RuleName, node: TheNode, reader: Reader) -> RuleDetail:
    """Show one rule, with what its last look saw."""
    standing = _standing(node, rule_id)
    rule = standing.rule
    return RuleDetail(
        **_out(standing, _heard(node.evaluator.standings())),
        query=rule.query,
        trigger_settings=plain(rule.trigger, lambda length: length / SECOND),
        last=[*map(_scope, standing.looks), *(_silent(*one) for one in standing.silent)],
    )


@router.post("/rules/{rule_id}/forget", responses={404: {}})
async def forget_rule(rule_id: RuleName, form: ForgetForm, node: TheNode, admin: Admin) -> ForgottenOut:
    """End all that fires of a rule, and forget its scopes. Those that are seen again fire again."""
    _standing(node, rule_id)
    ended = await node.evaluator.forget(rule_id, admin.actor, form.reason)
    return ForgottenOut(rule_id=rule_id, ended=ended)


@router.get("/slos")
async def list_slos(node: TheNode, reader: Reader) -> SloList:
    """List the objectives, by name."""
    slos = [_slo(node, one) for one in sorted(node.evaluator.slos, key=lambda one: one.name)]
    return SloList(slos=[SloOut(**one) for one in slos], total=len(slos))


@router.get("/slos/{name}", responses={404: {}})
async def get_slo(name: SloName, node: TheNode, reader: Reader) -> SloDetail:
    """Show one objective, and ask its source what is left of its error budget."""
    found = next((one for one in node.evaluator.slos if one.name == name), None)
    if found is None:
        raise NotFound(f"There is no objective {name[:80]!r}. List them: GET /api/v1/slos.")
    return SloDetail(**_slo(node, found), budgets=await _budgets(node, found))


def _standing(node: Node, rule_id: str) -> Standing:
    try:
        return node.evaluator.standing(rule_id)
    except KeyError:
        raise NotFound(f"There is no rule {rule_id[:80]!r}. List them: GET /api/v1/rules.") from None


def _out(standing: Standing, heard: Mapping[str, Standing]) -> dict[str, Any]:
    rule = standing.rule
    return {
        "rule_id": rule.rule_id,
        "description": rule.description,
        "state": _state(standing),
        "source": rule.source,
        "every": _every(rule.every),
        "zone": rule.zone,
        "window_s": rule.window / 1e6,
        "trigger": kind_of(rule.trigger),
        "looks": rule.looks,
        "of": rule.of,
        "no_data": rule.no_data,
        "owner": rule.owner,
        "runbook": rule.runbook,
        "labels": rule.labels | rule.scope,
        "due_at": None if standing.due is None else instant(standing.due),
        "done_at": instant(standing.done) if standing.done else None,
        "scopes": len(standing.looks) + len(standing.silent),
        "firing": sum(look.alert.status is Status.FIRING for look in standing.looks) + len(standing.silent),
        "failing_since": instant(standing.failing_since) if standing.failing_since else None,
        "failure": _failure(standing, heard),
    }


def _heard(standings: list[Standing]) -> dict[str, Standing]:
    """Give a rule for each source that has heard why there is no answer."""
    return {one.rule.source: one for one in standings if one.failure}


def _failure(standing: Standing, heard: Mapping[str, Standing]) -> str:
    """Say why a rule gets no answer; if it has not asked itself since the start, what another one heard."""
    if standing.failure or not standing.failing_since:
        return standing.failure
    source = standing.rule.source
    other = heard.get(source)
    why = f", as rule {other.rule.rule_id} heard: {other.failure}" if other is not None else "."
    return f"Source {source} gave no answer{why}"


def _every(every: Interval | Cron) -> str:
    if isinstance(every, Cron):
        return every.expression
    return f"{every.length / SECOND:.6f}".rstrip("0").rstrip(".") + "s"


def _state(standing: Standing) -> RuleState:
    if not standing.rule.enabled:
        return RuleState.DISABLED
    if standing.failing_since:
        return RuleState.FAILING
    if standing.silent or any(look.alert.status is Status.FIRING for look in standing.looks):
        return RuleState.FIRING
    if any(look.wrong for look in standing.looks):
        return RuleState.PENDING
    return RuleState.GREEN if standing.looked else RuleState.WAITING


def _scope(look: Look) -> ScopeOut:
    return ScopeOut(
        scope=look.scope,
        status=_status(look),
        wrong=look.wrong,
        severity=look.alert.severity,
        formula=look.judgement.formula,
        value=look.judgement.value,
        limit=look.judgement.limit,
        points=[PointOut(at=instant(point.at), value=point.value) for point in look.points],
    )


def _status(look: Look) -> ScopeStatus:
    if look.alert.status is Status.FIRING:
        return ScopeStatus.FIRING
    return ScopeStatus.PENDING if look.wrong else ScopeStatus.GREEN


def _silent(scope: dict[str, str], severity: Severity, seen_at: int) -> ScopeOut:
    """Show a scope that fires, and of which the last look had nothing to say."""
    since = f" since {instant(seen_at)}" if seen_at else ""
    said = f"no data{since}; it goes on firing"
    return ScopeOut(
        scope=scope,
        status=ScopeStatus.FIRING,
        wrong=0,
        severity=severity,
        formula=said,
        value=None,
        limit=None,
        points=[],
    )


def _slo(node: Node, one: Slo) -> dict[str, Any]:
    return {
        "name": one.name,
        "description": one.description,
        "objective": one.objective,
        "window_s": one.window / 1e6,
        "source": one.source,
        "owner": one.owner,
        "state": _state(node.evaluator.standing(one.name)),
    }


async def _budgets(node: Node, one: Slo) -> list[BudgetOut]:
    source: Source = node.evaluator.sources[one.source]
    try:
        good, total = await asyncio.gather(
            *(source.ask(ask) for ask in objectives.budget_asks(one, node.clock.now()))
        )
    except SourceFailed as error:
        raise Unavailable(f"Source {one.source} gives no answer: {error}") from None
    goods = {tuple(sorted(series.labels.items())): _last(series.points) for series in good}
    budgets = []
    for series in total:
        of_good = goods.get(tuple(sorted(series.labels.items())))
        of_all = _last(series.points)
        if of_good is None or of_all is None:
            continue
        left = slo.budget(one.objective, of_good, of_all)
        budgets.append(
            BudgetOut(scope=series.labels, good=of_good, total=of_all, spent=left.spent, left=left.left)
        )
    return sorted(budgets, key=lambda budget: sorted(budget.scope.items()))


def _last(points: tuple[Point, ...]) -> float | None:
    return points[-1].value if points else None
