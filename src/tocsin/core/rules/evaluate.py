"""Evaluate: one look at a rule: from a source's answers, and what is remembered, to one alert for each series.

Each series is a scope of its own. What is said of one says nothing of another: neither a firing nor a green look of one
scope ever touches the alert of another.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tocsin.core.model.alert import CANONICAL, OWN_LABELS, Alert, Link, Severity, Status
from tocsin.core.model.errors import Invalid
from tocsin.core.model.policy import DAY, MINUTE
from tocsin.core.model.rule import Absent, Judgement, NoData, Point, Rule, Series
from tocsin.core.rules import triggers

SCOPES_MAX = 1_000
POINTS_SHOWN = 60
REMEMBERED = 7 * DAY
"""A series without data for so long is forgotten, unless its alert fires."""

SAID_AGAIN = 15 * MINUTE
"""While an alert goes on firing at the same severity, its looks are repeats of the first one: counted, and no entry of
the ledger each. After so long there is a new one, with what is seen by then."""

SOURCE = "rules"
"""The `source` of all alerts of rules."""

NOTHING_OPEN = "no_incident"
"""What is answered to a green look of a scope of which nothing is open."""

THERE_IS_DATA = Judgement(severity=None, value=None, limit=None, formula="there is data")
"""Of a rule of which nothing was there before, once series come that tell its scopes apart."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Points = Mapping[str, Sequence[Point]]


class ScopeMemory(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is remembered of one series.

    wrong: its last looks as bits, the newest lowest, 1 for one that was wrong.
    seen_at: when it had data last, 0 for never.
    severity: that its alert fires with; None if it does not fire.
    said_at: the look whose window its alert has.
    open: its alert fired, and nobody has said since that nothing of it is open any more.
    """

    wrong: int = 0
    seen_at: int = 0
    severity: Severity | None = None
    said_at: int = 0
    open: bool = False


class Memory(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is remembered of a rule between two looks.

    done: the moment of the last look that could be made; scopes: by their canonical JSON.
    shape: what its scopes are made of; if that changes, they are others.
    """

    done: int = 0
    shape: str = ""
    scopes: dict[str, ScopeMemory] = {}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one scope. wrong: how many of its last looks were wrong, this one included."""

    scope: dict[str, str]
    judgement: Judgement
    points: tuple[Point, ...]
    alert: Alert
    wrong: int = 0


def look(rule: Rule, at: int, answers: Mapping[str, Sequence[Series]], memory: Memory) -> tuple[Look, ...]:
    """Judge the answers to a rule's questions at a moment; what is to be remembered is in `memory` then.

    answers: the series of each question, by its name.
    Returns: a look for each scope about which there is something to say, in the order of the scopes.
    Raises: Invalid if the answers cannot be told apart, or are too many; then nothing is remembered.
    """
    given = by_scope(rule, answers)
    looks: list[Look] = []
    whole = CANONICAL.encode(fixed_scope(rule)).decode()
    expected = set(memory.scopes)
    if not given and not expected and (rule.no_data is NoData.FIRING or isinstance(rule.trigger, Absent)):
        expected.add(whole)  # Nothing at all, and nothing ever: it is the rule as a whole that has no data.
    for key in sorted(given.keys() | expected):
        remembered = memory.scopes.get(key) or ScopeMemory()
        if key == whole and given and key not in given:
            if remembered.open:
                looks.append(_judged(rule, at, key, THERE_IS_DATA, {}, ScopeMemory(), ends=True))
            memory.scopes.pop(key, None)
            continue
        made = _look(rule, at, key, given.get(key), remembered)
        if made is not None:
            looks.append(made)
        if remembered.open or remembered.wrong or at - remembered.seen_at < REMEMBERED:
            memory.scopes[key] = remembered
        else:
            memory.scopes.pop(key, None)
    memory.done, memory.shape = at, shape(rule)
    return tuple(looks)


def answered(memory: Memory, look: Look, outcome: str) -> None:
    """Take note of what came of a look's alert: once nothing of it is open, nothing has to be ended any more."""
    remembered = memory.scopes.get(CANONICAL.encode(look.scope).decode())
    if remembered is not None and look.alert.status is Status.GREEN and outcome == NOTHING_OPEN:
        remembered.open = False


def ended(rule_id: str, at: int, memory: Memory, because: str) -> tuple[Alert, ...]:
    """Say that all that fires of a rule is over, because nobody looks any more; nothing is remembered then."""
    alerts = tuple(
        Alert(
            rule_id=rule_id,
            scope=scope_of(key),
            severity=remembered.severity or Severity.WARNING,
            status=Status.RESOLVED,
            message=because,
            window_start=at,
            window_end=at,
            source=SOURCE,
        )
        for key, remembered in sorted(memory.scopes.items())
        if remembered.open
    )
    memory.scopes.clear()
    return alerts


def scope_of(key: str) -> dict[str, str]:
    """Read a scope out of its key in a memory."""
    return msgspec.json.decode(key, type=dict[str, str])


def shape(rule: Rule) -> str:
    """Say what a rule's scopes are made of."""
    return CANONICAL.encode([rule.scope, rule.labels, rule.by]).decode()


def digest(rule: Rule) -> str:
    """Name a version of a rule: 16 hex digits of SHA-256 over its canonical JSON."""
    return hashlib.sha256(CANONICAL.encode(rule)).hexdigest()[:16]


def fixed_scope(rule: Rule) -> dict[str, str]:
    """Give the labels that all alerts of a rule have."""
    return rule.labels | rule.scope


def by_scope(rule: Rule, answers: Mapping[str, Sequence[Series]]) -> dict[str, dict[str, tuple[Point, ...]]]:
    """Sort the answers by scope: canonical JSON of the scope -> name of the question -> points.

    Raises: Invalid if the answers cannot be told apart, or are too many.
    """
    fixed = fixed_scope(rule)
    given: dict[str, dict[str, tuple[Point, ...]]] = {}
    for name, found in answers.items():
        for series in found:
            scope = _scope(rule, series) | fixed
            key = CANONICAL.encode(scope).decode()
            mine = given.setdefault(key, {})
            if name in mine:
                raise Invalid(
                    f"Two series have the scope {key[:200]}. Let `by` name what tells them apart, or the query add "
                    "them up."
                )
            mine[name] = series.points
    if len(given) > SCOPES_MAX:
        raise Invalid(
            f"The answer has {len(given):,} series; at most {SCOPES_MAX:,} are taken. Group them more coarsely."
        )
    return {key: mine for key, mine in given.items() if any(mine.values())}


def _scope(rule: Rule, series: Series) -> dict[str, str]:
    if rule.by is None:
        for name in OWN_LABELS:
            if name in series.labels:
                # Routes and silences that name it would mean the field, never this.
                raise Invalid(
                    f"The answer has a column or label `{name}`, which is a field of every alert. Call the column"
                    " something else (AS ...), or let `by` name the others."
                )
        return series.labels
    try:
        return {name: series.labels[name] for name in rule.by}
    except KeyError as error:
        there = ", ".join(series.labels) or "none"
        raise Invalid(f"The answer has no label {error} that `by` asks for. It has: {there}.") from None


def _look(rule: Rule, at: int, key: str, points: _Points | None, remembered: ScopeMemory) -> Look | None:
    """Look at one scope. None: there is nothing to say about it."""
    if points:
        remembered.seen_at = at
    if points or isinstance(rule.trigger, Absent):
        judgement = triggers.judge(rule, at, points or {})
        if judgement.value is None:
            return None  # Too little to say anything: neither wrong nor right.
    elif rule.no_data is NoData.KEEP:
        return None
    else:
        severity = triggers.mildest(rule.trigger) if rule.no_data is NoData.FIRING else None
        judgement = Judgement(severity=severity, value=None, limit=None, formula="no data")
    return _judged(rule, at, key, judgement, points or {}, remembered)


def _judged(
    rule: Rule,
    at: int,
    key: str,
    judgement: Judgement,
    points: _Points,
    remembered: ScopeMemory,
    *,
    ends: bool = False,
) -> Look:
    """Count the look among the last ones, and say what they come to. ends: there is nothing more to look at."""
    before = remembered.severity
    remembered.wrong = (remembered.wrong << 1 | (judgement.severity is not None)) & (1 << rule.of) - 1
    if remembered.wrong.bit_count() >= rule.looks:
        remembered.severity = judgement.severity or before or triggers.mildest(rule.trigger)
        status, remembered.open = Status.FIRING, True
    else:
        status, remembered.severity = Status.RESOLVED if ends else Status.GREEN, None
    if (
        status is not Status.FIRING
        or remembered.severity is not before
        or at - remembered.said_at >= SAID_AGAIN
    ):
        remembered.said_at = at
    said_at = remembered.said_at
    scope = scope_of(key)
    shown = _shown(points)
    alert = Alert(
        rule_id=rule.rule_id,
        scope=scope,
        severity=remembered.severity or triggers.mildest(rule.trigger),
        status=status,
        message=_message(rule, judgement, status),
        window_start=said_at - rule.window,
        window_end=said_at,
        annotations=_annotations(rule),
        links=(Link(href=rule.runbook, text="Runbook"),) if rule.runbook else (),
        evidence=_evidence(rule, at, judgement, shown),
        source=SOURCE,
    )
    wrong = remembered.wrong.bit_count()
    return Look(scope=scope, judgement=judgement, points=shown, alert=alert, wrong=wrong)


def _message(rule: Rule, judgement: Judgement, status: Status) -> str:
    said = judgement.formula
    if rule.of > 1 and status is Status.FIRING:
        said += f"; wrong in at least {rule.looks} of the last {rule.of} looks"
    return f"{rule.description}: {said}" if rule.description else said


def _annotations(rule: Rule) -> dict[str, str]:
    named = {"description": rule.description, "owner": rule.owner}
    return {name: text for name, text in named.items() if text}


def _shown(points: _Points) -> tuple[Point, ...]:
    """Give the points that are kept as evidence: those of the first question, evenly thinned, the last one always."""
    first: Sequence[Point] = next(iter(points.values()), ())
    if len(first) <= POINTS_SHOWN:
        return tuple(first)
    kept = [first[number * (len(first) - 1) // (POINTS_SHOWN - 1)] for number in range(POINTS_SHOWN)]
    return tuple(kept)


def _evidence(rule: Rule, at: int, judgement: Judgement, points: tuple[Point, ...]) -> dict[str, Any]:
    """Say how the look came to what it says. Numbers are text, because canonical JSON has no floats."""
    queries = "\n".join(ask.query for ask in triggers.asks(rule, at))
    evidence: dict[str, Any] = {
        "rule": digest(rule),
        "data_source": rule.source,
        "query_sha256": hashlib.sha256(queries.encode()).hexdigest(),
        "window": [_iso(at - rule.window), _iso(at)],
        "formula": judgement.formula,
        "points": [[_iso(point.at), repr(float(point.value))] for point in points],
    }
    if judgement.limit is not None:
        evidence["limit"] = repr(float(judgement.limit))
    if judgement.value is not None:
        evidence["value"] = repr(float(judgement.value))
        evidence["numbers"] = {name: repr(float(value)) for name, value in judgement.numbers.items()}
    return evidence


def _iso(at: int) -> str:
    return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
