"""Answers of the API as the pages of the terminal get them, each with text that would like to do harm."""

from typing import Any

EVIL = "\x1b[31mred\u202e\x07"
AT = "2026-03-04T12:00:00.250000Z"
ID = "0123456789abcdef0123456789abcdef"


def incident(number: int = 42, **more: Any) -> dict[str, Any]:
    return {
        "incident_id": ID,
        "number": number,
        "generation": 2,
        "state": "SILENCED",
        "severity": "critical",
        "title": f"disk: {EVIL} " + "and so on " * 12,
        "rule_id": "disk",
        "route": "default",
        "labels": {"host": f"db-1{EVIL}", "rule_id": "disk"},
        "opened_at": AT,
        "updated_at": AT,
        "resolved_at": None,
        "acked_by": "token:00112233",
        "acked_by_name": f"anna{EVIL}",
        "acked_at": AT,
        "silenced_until": None,
        "auto_resolved": False,
        "greens": 0,
        "previous": 41,
        "firing": 12,
        "cleared": 100,
        "silenced": 7,
        "silenced_by": [3, 1234567],
        **more,
    }


def delivery(**more: Any) -> dict[str, Any]:
    return {
        "number": 7001,
        "notification": 12,
        "incident_id": ID,
        "incident_number": 42,
        "kind": "escalated",
        "channel": "email",
        "address": f"somebody.with.a.long.name@department.example.org{EVIL}",
        "state": "dead",
        "attempts": 12,
        "at": AT,
        "due_at": None,
        "why": f"550 5.1.1 no such user {EVIL} " + "x" * 90,
        "key": "f" * 64,
        **more,
    }


DETAIL = incident(
    alerts=[
        {
            "rule_id": "disk",
            "severity": "critical",
            "status": "firing",
            "scope": {"host": f"db-1{EVIL}"},
            "message": f"97 % {EVIL}",
            "evidence": {
                "formula": f"last = 97 > 90 {EVIL}",
                "limit": "90.0",
                "window": [AT, f"{AT}{EVIL}"],
                "points": [[AT, "1.0"], [AT, "50.0"], [AT, "97.0"], [AT, "nan"], [AT, EVIL], AT],
            },
        },
        {"rule_id": "r" * 60, "severity": "info", "status": "resolved", "scope": {}, "message": None},
    ],
    deliveries=[delivery(), delivery(state="accepted", why="", address="email")],
    notes=[
        {
            "at": AT,
            "actor": "token:00112233",
            "actor_name": f"anna{EVIL}",
            "note": f"looking {EVIL} " + "at it " * 20,
        },
        {"at": AT, "actor": "os:ben", "note": None},
    ],
    timeline=[
        {
            "seq": 123456,
            "at": AT,
            "kind": "acted",
            "actor": "token:00112233",
            "actor_name": f"anna{EVIL}",
            "note": f"mine {EVIL}",
            "events": [
                {
                    "type": "incident_acknowledged",
                    "because": f"token:00112233 asked: somebody {EVIL} acknowledged it",
                }
            ],
        },
        {
            "seq": 123455,
            "at": AT,
            "kind": "alert",
            "actor": "token:1",
            "note": None,
            "events": [{"type": "notified", "kind": "opened", "because": "it is new", "deliveries": []}],
        },
    ],
)

WHY = {
    "incident_id": ID,
    "number": 42,
    "policy": 3,
    "left_out": 2,
    "summary": ["Two people were told at once.", f"The webhook was not: {EVIL}."],
    "steps": [
        {
            "seq": 17,
            "at": AT,
            "policy": 3,
            "late_by_s": 0,
            "changed": None,
            "attempted": [],
            "received": {
                "rule_id": "disk",
                "scope": {"host": f"db-1{EVIL}"},
                "status": "firing",
                "severity": "critical",
                "window_start": AT,
                "window_end": "2026-03-04T12:05:00Z",
                "source": "node",
                "message": f"97 % {EVIL}",
                "formula": f"last = 97 > 90 {EVIL}",
            },
            "dedup": {"outcome": "opened", "repeats_counted_before": 3, "because": "no incident was open"},
            "silences": {"matched": [], "because": "2 silences were asked"},
            "rate_window": {
                "rule_id": "disk",
                "charged": True,
                "number_in_window": 4,
                "limit": 10,
                "window_s": 3600.0,
                "because": None,
            },
            "route": {"name": "default", "because": "it is the only one"},
            "notified": [
                {
                    "kind": "opened",
                    "channel": "email",
                    "address": f"a@example.org{EVIL}",
                    "delivery": 1,
                    "state": "delivered",
                    "because": "the incident opened",
                }
            ],
            "withheld": [
                {
                    "kind": "opened",
                    "reason": "rate_limited",
                    "channel": "webhook",
                    "address": "webhook",
                    "because": f"10 were told in the last hour {EVIL}",
                }
            ],
        },
        {
            "seq": 18,
            "at": AT,
            "policy": 3,
            "late_by_s": 90.0,
            "changed": {
                "state": "SILENCED",
                "by": "token:00112233",
                "by_name": f"anna{EVIL}",
                "until": AT,
                "note": "shh",
                "because": "os:anna did",
            },
            "attempted": [
                {
                    "delivery": 1,
                    "channel": "email",
                    "address": None,
                    "outcome": "retry",
                    "attempts": 2,
                    "said": f"451 {EVIL}",
                    "next_at": AT,
                    "because": "not now",
                }
            ],
            "received": None,
            "dedup": None,
            "silences": {
                "matched": [{"number": 3, "silence_id": ID, "comment": f"quiet {EVIL}"}],
                "because": None,
            },
            "rate_window": {
                "rule_id": "disk",
                "charged": False,
                "number_in_window": None,
                "limit": 10,
                "window_s": 3600.0,
                "because": "a resolution is never limited",
            },
            "route": None,
            "notified": [],
            "withheld": [
                {
                    "kind": "updated",
                    "reason": "suppressed",
                    "channel": None,
                    "address": None,
                    "because": "it is quiet",
                }
            ],
        },
    ],
}

REPLAY = {
    "dry_run": True,
    "matched": 3,
    "again": 0,
    "skipped": 1,
    "results": [
        delivery(outcome="would send"),
        delivery(outcome="already told", state="delivered"),
        delivery(outcome="gone", incident_number=None),
    ],
}

SILENCE = {
    "silence_id": ID,
    "number": 3,
    "matchers": ["rule_id=disk", f"host=~db-.*{EVIL}"],
    "starts_at": AT,
    "ends_at": AT,
    "ended_at": None,
    "state": "active",
    "created_by": "token:00112233",
    "created_by_name": f"anna{EVIL}",
    "comment": f"moving house {EVIL}",
    "maintenance_id": None,
}

MAINTENANCE = {
    "maintenance_id": ID,
    "number": 2,
    "matchers": ["env=test"],
    "rrule": "FREQ=WEEKLY;BYDAY=SU",
    "zone": "Europe/Berlin",
    "begins": "2026-03-01T02:00",
    "minutes": 120,
    "next_at": AT,
    "next": [{"starts_at": AT, "ends_at": AT}] * 5,
    "over": False,
    "created_by": "os:anna",
    "comment": "",
}

PREVIEW = {
    "matches_now": {"alerts": 25, "incidents": [incident()] * 2, "incidents_total": 25},
    "last_days": {
        "days": 7,
        "alerts": 31,
        "sample": [
            {"rule_id": "disk", "scope": {"host": f"db{EVIL}"}, "severity": "error", "last_seen_at": AT}
        ],
        "alerts_total_seen": 1200,
    },
    "covers_everything": True,
    "matchers": ["severity=~.*"],
}

STATS = {
    "total": 130,
    "by_state": {"OPEN": 3, "ACK": 0, "SILENCED": 1, "RESOLVED": 126},
    "by_severity": {"critical": 30, "info": 100},
    "by_rule": [{"rule_id": f"rule-{n}{EVIL}", "incidents": 130 - n, "active": 1} for n in range(25)],
    "time_to_acknowledge": {"incidents": 20, "p50_s": 61.5, "p90_s": 400.0},
    "time_to_resolve": {"incidents": 0, "p50_s": None, "p90_s": None},
    "since": AT,
    "until": AT,
}
