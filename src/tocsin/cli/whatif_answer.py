"""Answer: a what-if's report as plain data: instants as ISO 8601, lengths of time in seconds."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tocsin.core.simulation.report import Report

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANTS = ("since", "until", "at", "opened_at", "resolved_at", "told_at", "late_at")
LENGTHS = ("p50", "p90")


def answer(report: Report) -> dict[str, Any]:
    """Give the report as JSON has it; an instant that never was is None."""
    found: dict[str, Any] = _plain(msgspec.to_builtins(report))
    found["same"] = report.is_same
    for name, compared in (("drift", report.drift), ("effect", report.effect)):
        found[name]["found"] = compared.found
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {_name(name): _value(name, inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _name(name: str) -> str:
    return f"{name}_s" if name in LENGTHS else name


def _value(name: str, value: Any) -> Any:
    if name in INSTANTS and isinstance(value, int):
        return instant(value)
    if name in LENGTHS and isinstance(value, int):
        return value / 1_000_000
    if name == "labels":
        return value  # A label may have any name.
    return _plain(value)


def instant(at: int) -> str | None:
    """Write an instant in ISO 8601, UTC; None for 0."""
    return (EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z") if at else None
