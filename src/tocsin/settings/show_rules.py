"""Show rules: sources, rules and objectives, written as the file is written. What is empty is left out."""

from collections.abc import Iterable
from typing import Any, assert_never

from tocsin.core.model.policy import SECOND
from tocsin.core.model.rule import BurnRate, Cron, Interval, Rule, Slo
from tocsin.core.rules.plain import percent, plain, plain_tiers
from tocsin.settings.model import (
    HttpSettings,
    PrometheusSettings,
    Secret,
    Settings,
    SourceSettings,
    SqlSettings,
)
from tocsin.settings.words import write_duration


def shown_sources(settings: Settings) -> list[dict[str, Any]]:
    """Give the sources. Of a secret, only where it came from."""
    return [_source(source) for source in settings.sources]


def shown_rules(settings: Settings) -> list[dict[str, Any]]:
    """Give the rules without those that objectives became. Limits are always `limits`."""
    return [_rule(rule) for rule in own_rules(settings)]


def shown_slos(settings: Settings) -> list[dict[str, Any]]:
    """Give the objectives, with the tiers that hold."""
    return [_slo(one) for one in settings.slos]


def own_rules(settings: Settings) -> list[Rule]:
    """Give the rules that stand in the files as such: objectives are among the rules, too."""
    objectives = {one.name for one in settings.slos}
    return [rule for rule in settings.rules if rule.rule_id not in objectives]


def shown_secret(secret: Secret) -> str:
    """Say of a secret where it came from, or what of it may be shown."""
    return secret.shown or f"*** (from {secret.source})"


def _source(source: SourceSettings) -> dict[str, Any]:
    both = {"name": source.name, "url": shown_secret(source.url)}
    timeout = {"timeout": write_duration(round(source.timeout_s * SECOND))}
    match source:
        case SqlSettings():
            return (
                {"kind": "sql"}
                | both
                | timeout
                | {
                    "rows_max": source.rows_max,
                    "connections": source.connections,
                    "files": source.files or None,
                    "trust_readonly": source.trust_readonly,
                }
            )
        case PrometheusSettings() | HttpSettings():
            kind = "prometheus" if isinstance(source, PrometheusSettings) else "http"
            headers = {name: shown_secret(value) for name, value in source.headers}
            return {"kind": kind} | both | timeout | {"headers": headers}
        case _:
            assert_never(source)


def _rule(rule: Rule) -> dict[str, Any]:
    is_burn = isinstance(rule.trigger, BurnRate)
    shown = {
        "rule_id": rule.rule_id,
        "description": rule.description,
        "source": rule.source,
        "query": rule.query,
        "every": _every(rule.every),
        "window": None if is_burn else write_duration(rule.window),
        "step": write_duration(rule.step) if rule.step else None,
        "trigger": _numbers(plain(rule.trigger, write_duration)),
        "for": f"{rule.looks} of {rule.of}",
        "no_data": rule.no_data.value,
    }
    return _said((shown | _common(rule)).items())


def _slo(one: Slo) -> dict[str, Any]:
    shown = {
        "name": one.name,
        "description": one.description,
        "objective": _number(percent(one.objective)),
        "window": write_duration(one.window),
        "source": one.source,
        "good": one.good,
        "total": one.total,
        "every": _every(one.every),
        "tiers": _numbers(plain_tiers(one.tiers, write_duration)),
    }
    return _said((shown | _common(one)).items())


def _common(one: Rule | Slo) -> dict[str, Any]:
    return {
        "scope": dict(one.scope),
        "labels": dict(one.labels),
        "by": None if one.by is None else list(one.by),
        "owner": one.owner,
        "runbook": one.runbook,
        "zone": one.zone,
        "enabled": one.enabled,
    }


def _said(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Leave out what is empty; but `by: []` says something, and so does `enabled: false`."""
    return {
        name: value
        for name, value in items
        if (name == "by" and value == []) or value not in (None, "", {}, [])
    }


def _every(every: Interval | Cron) -> str:
    return write_duration(every.length) if isinstance(every, Interval) else every.expression


def _numbers(value: Any) -> Any:
    """Write whole numbers without a fraction, as people do."""
    match value:
        case dict():
            return {name: _numbers(one) for name, one in value.items()}
        case list():
            return [_numbers(one) for one in value]
        case float():
            return _number(value)
        case _:
            return value


def _number(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 1e15 else value
