"""Rules try: what rules see now, and what they would have done, before they wake anybody. Nothing is remembered.

The rules come as text and ask the sources that are configured, with whatever queries they like: who may do this may
read whatever the sources let Tocsin read.
"""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field, Strict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from tocsin.core.model.alert import Severity
from tocsin.core.model.errors import Invalid, Unavailable
from tocsin.core.rules.glance import Glance, Verdict
from tocsin.runtime.trial import Trial, trial
from tocsin.web.api.rules import PointOut
from tocsin.web.bounded import Trials
from tocsin.web.forms import Document, Shown, instant
from tocsin.web.guard import Admin, TheNode
from tocsin.web.incident_forms import Form
from tocsin.web.moments import AS_JSON, Moment
from tocsin.web.simulated import answers, simulated

router = APIRouter(prefix="/api/v1")

RULES_MAX = 20
SCOPES_MAX = 100
POINTS_MAX = 500
TIME_S_MAX = 60.0
DAYS_MAX = 400

EXAMPLE = """rules:
- rule_id: orders.low
  source: shop
  severity: warning
  query: SELECT count(*) AS value FROM orders WHERE at >= :since AND at < :until
  trigger: {kind: threshold, op: lt, value: 10}
"""

RuleId = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]


class TrialForm(Form):
    """Rules, and the moment at which to look. rules: the text of a file of rules."""

    rules: Annotated[Document, Field(examples=[EXAMPLE])]
    at: Annotated[Moment | None, Field(description="Now, if it is left out.")] = None


class BacktestForm(Form):
    """Rules, and the period in which to try them: `days` before `until`, or from `since` on.

    rules: the text of a file of rules. rule: one of them; all, if it is left out.
    """

    rules: Annotated[Document, Field(examples=[EXAMPLE])]
    rule: Annotated[RuleId | None, Field(description="All, if it is left out.")] = None
    days: Annotated[int, Strict(), Field(ge=1, le=DAYS_MAX), AS_JSON] = 90
    since: Annotated[Moment | None, Field(description="In place of `days`.")] = None
    until: Annotated[Moment | None, Field(description="Now, if it is left out.")] = None


class LineOut(BaseModel):
    """A limit as the points would pass it."""

    value: float
    severity: Severity


class GlanceOut(BaseModel):
    """What is seen of one scope.

    value: what was compared, null if there was too little to say anything; limit: the one that was passed, else the one
    that is nearest to being passed. numbers: those of the formula, by name.
    points: of the rule's first question, evenly thinned; lines: limits that can be compared with single points.
    """

    scope: dict[str, str]
    verdict: Verdict
    severity: Severity | None
    value: float | None
    limit: float | None
    formula: str
    numbers: dict[str, float]
    points: list[PointOut]
    lines: list[LineOut]


class TrialOut(BaseModel):
    """What one rule sees. looks, of: it would fire once so many of so many looks were wrong; this is one look.

    failure: why there is no answer, null if there is one. scopes: the first of `scopes_total`.
    """

    rule_id: str
    at: Shown
    window_start: Shown
    window_end: Shown
    looks: int
    of: int
    failure: str | None
    scopes: list[GlanceOut]
    scopes_total: int


class TrialsOut(BaseModel):
    rules: list[TrialOut]


@router.post("/rules/test")
async def try_rules(form: TrialForm, node: TheNode, admin: Admin, trials: Trials) -> TrialsOut:
    """Look once at rules that are sent along, without telling anybody."""
    async with trials.room():
        sources = dict(node.evaluator.sources)
        checks = {name: source.check for name, source in sources.items()}
        rules = await run_in_threadpool(node.read_rules, form.rules, checks)
        if len(rules) > RULES_MAX:
            raise Invalid(
                f"These are {len(rules)} rules; at most {RULES_MAX} are looked at. Send fewer.", field="rules"
            )
        at = node.clock.now() if form.at is None else form.at
        try:
            async with asyncio.timeout(TIME_S_MAX):
                made = [await trial(rule, at, sources) for rule in rules]
        except TimeoutError:
            raise Unavailable(
                f"The sources took more than {TIME_S_MAX:.0f} s. Send fewer rules, or ask for less."
            ) from None
    return TrialsOut(rules=[TrialOut(**_out(one)) for one in made])


@router.post("/rules/backtest", response_class=Response, responses=answers("{doing, looks, of}"))
async def backtest_rules(form: BacktestForm, request: Request, node: TheNode, admin: Admin) -> Response:
    """Make every look of a past time again for rules that are sent along, and show what would have come of it."""
    if form.since is not None and form.until is not None and form.until <= form.since:
        raise Invalid("The period ends before it begins. Swap the two.", field="until")
    options = [f"--days={form.days}"]
    options += [f"--rule={form.rule}"] if form.rule is not None else []
    for name, moment in (("since", form.since), ("until", form.until)):
        if moment is not None:
            options.append(f"--{name}={instant(moment)}")
    return await simulated(node.backtests, form.rules, options, request)


def _out(made: Trial) -> dict[str, Any]:
    rule = made.rule
    return {
        "rule_id": rule.rule_id,
        "at": made.at,
        "window_start": made.at - rule.window,
        "window_end": made.at,
        "looks": rule.looks,
        "of": rule.of,
        "failure": made.failure or None,
        "scopes": [_glance(one) for one in made.glances[:SCOPES_MAX]],
        "scopes_total": len(made.glances),
    }


def _glance(one: Glance) -> dict[str, Any]:
    judged = one.judgement
    step = -(-len(one.points) // POINTS_MAX) or 1
    kept = one.points[::-1][::step][::-1]  # The newest one always.
    return {
        "scope": one.scope,
        "verdict": one.verdict,
        "severity": judged.severity,
        "value": judged.value,
        "limit": judged.limit,
        "formula": judged.formula,
        "numbers": judged.numbers,
        "points": [{"at": point.at, "value": point.value} for point in kept],
        "lines": [{"value": line.value, "severity": line.severity} for line in one.lines],
    }
