"""Rows that show only what matters: everything else has a plain value."""

from typing import Any

from tests.support.fakes import NOON

from tocsin.core.engine.state import Counters, LiveAlert, LiveDelivery, LiveIncident
from tocsin.core.ledger.encoding import Sealed, Segment, pack
from tocsin.core.ledger.merkle import EMPTY_ROOT
from tocsin.core.model.alert import Severity
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.notification import DeliveryState, Message, NotificationKind
from tocsin.core.model.policy import Policy
from tocsin.core.model.silence import Maintenance, Matcher, Silence
from tocsin.ports import AlertRow, Batch, DeliveryRow, Head, IncidentRow, NotificationRow, PolicyRow


def a_head(size: int = 0, **fields: Any) -> Head:
    return Head(
        size=size,
        **{
            "root": EMPTY_ROOT,
            "edge": b"",
            "at": NOON,
            "alive_at": NOON,
            "counters": Counters(change=size),
            **fields,
        },
    )


def a_batch(**parts: Any) -> Batch:
    return Batch(**{"head": a_head(), **parts})


def an_alert(number: int = 1, **fields: Any) -> LiveAlert:
    return LiveAlert(
        number=number,
        **{
            "id": alert_id(number),
            "rule_id": "disk_full",
            "severity": Severity.WARNING,
            "source": "prometheus",
            "scope": b'{"host":"db-1"}',
            "seen_at": NOON,
            **fields,
        },
    )


def alert_id(number: int) -> bytes:
    """Give the 16 bytes that name alert `number` here."""
    return number.to_bytes(16, "big")


def an_incident(number: int = 1, **fields: Any) -> LiveIncident:
    return LiveIncident(
        number=number,
        **{
            "id": incident_id(number),
            "key": b"k" * 31 + bytes([number % 256]),
            "route": "default",
            "policy": 1,
            "rule_id": "disk_full",
            "opened_at": NOON,
            "updated_at": NOON,
            **fields,
        },
    )


def incident_id(number: int) -> str:
    """Give the public id of incident `number` here: 24 hex digits, and the number in 8 more."""
    return f"{'ab' * 12}{number:08x}"


def opened(
    number: int = 1,
    *,
    live: bool = True,
    title: str = "disk full",
    labels: dict[str, str] | None = None,
    **fields: Any,
) -> IncidentRow:
    """Give the row of an incident's opening; one that is not live is resolved."""
    if not live:
        fields = {"state": IncidentState.RESOLVED, "resolved_at": NOON + 1, **fields}
    return IncidentRow(
        incident=an_incident(number, **fields),
        live=live,
        title=title,
        labels=labels if labels is not None else {"host": "db-1"},
    )


def new(number: int = 1, *, live: bool = True, joined: tuple[int, ...] = (), **fields: Any) -> AlertRow:
    """Give the row of an alert that is seen for the first time."""
    return AlertRow(alert=an_alert(number, **fields), live=live, is_new=True, joined=joined)


def a_delivery(
    number: int = 1,
    state: DeliveryState = DeliveryState.PENDING,
    *,
    at: int = NOON,
    why: str = "",
    **fields: Any,
) -> DeliveryRow:
    return DeliveryRow(
        delivery=LiveDelivery(
            number=number,
            **{
                "notification": number,
                "incident": 1,
                "kind": NotificationKind.OPENED,
                "severity": Severity.WARNING,
                "channel": "webhook",
                "target": "t1",
                "key": f"{number:064x}",
                "first_at": NOON,
                "due": NOON,
                **fields,
            },
        ),
        state=state,
        at=at,
        why=why,
    )


def a_message(text: str = "The disk is full.") -> Message:
    return Message(
        notification_id="n" * 32,
        origin="tocsin-test",
        kind=NotificationKind.OPENED,
        at=NOON,
        severity=Severity.WARNING,
        title="disk full",
        text=text,
        because="new incident",
    )


def a_notification(
    number: int = 1, message: bytes = b"{}", incident: int = 1, at: int = NOON
) -> NotificationRow:
    return NotificationRow(
        number=number,
        id=f"{number:032x}",
        incident=incident,
        kind=NotificationKind.OPENED,
        at=at,
        message=message,
    )


def a_silence(number: int = 1) -> Silence:
    return Silence(
        number=number,
        id=f"{number:032x}",
        matchers=(Matcher(name="host", value="db-1"),),
        starts_at=NOON,
        ends_at=NOON + 1,
        created_by="anna",
    )


def a_maintenance(number: int = 1, **fields: Any) -> Maintenance:
    return Maintenance(
        number=number,
        **{
            "id": f"{number:032x}",
            "matchers": (Matcher(name="host", value="db-1"),),
            "rrule": "FREQ=WEEKLY;BYDAY=SU",
            "zone": "Europe/Berlin",
            "begins": "2026-03-01T02:00",
            "lasting": 3_600_000_000,
            "created_by": "anna",
            **fields,
        },
    )


def a_policy(version: int = 1, policy: Policy | None = None, **fields: Any) -> PolicyRow:
    return PolicyRow(
        version=version,
        policy=policy or Policy(),
        **{"digest": f"{version:064x}", "at": NOON, "actor": "anna", **fields},
    )


def a_segment(first_seq: int, count: int = 1) -> Segment:
    """Give a segment whose entries are (h<seq>, d<seq>, p<seq>)."""
    return Segment(
        first_seq=first_seq,
        count=count,
        root=first_seq.to_bytes(32, "big"),
        data=pack([Sealed(*an_entry(seq), b"") for seq in range(first_seq, first_seq + count)]),
    )


def an_entry(seq: int) -> tuple[bytes, bytes, bytes]:
    """Give the three parts of the entry that `a_segment` puts at `seq`."""
    return b"h%d" % seq, b"d%d" % seq, b"p%d" % seq
