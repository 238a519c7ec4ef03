"""Golden vectors: one entry of every event and every kind of input, from values that are written out here.

`python -m tests.core.ledger.golden` prints `golden.json` anew. What stands there stands in ledgers all over the
world: append to it, and change nothing that is there. A change of form is another version: `golden_v1.json` is what
version 1 wrote.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from tocsin.core.ledger.encoding import seal
from tocsin.core.ledger.merkle import Frontier
from tocsin.core.model import event as ev
from tocsin.core.model.access import Permission, Role
from tocsin.core.model.alert import Alert, Link, Severity, Status
from tocsin.core.model.entry import Draft
from tocsin.core.model.input import Action, Basis, Denial
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DeliveryState,
    DryRun,
    NotificationKind,
    Refused,
    Retry,
    Target,
    Withheld,
)
from tocsin.core.model.policy import (
    Change,
    Policy,
    RateLimit,
    Retries,
    Route,
    addresses_of,
    without_addresses,
)
from tocsin.core.model.silence import Maintenance, Matcher, MatchOp, Silence

FILE = Path(__file__).with_name("golden.json")
START = 1_800_000_000_000_000
INCIDENT = "5d41402abc4b2a76b9719d9100000001"
OTHER = "7d793037a0760186574b028200000002"
ALERT = "900150983cd24fb0d6963f7d28e17f72"
SILENCE = "0cc175b9c0f1b6a831c399e200000001"
_TROUBLE = Alert(
    rule_id="disk",
    scope={"cluster": "c1", "host": "h1", "żółw": "", "": "\ufb33"},
    severity=Severity.WARNING,
    status=Status.GREEN,
    message="disk is nearly full \u2014 \u0007 \U0001f525",
    window_start=START - 60_000_000,
    window_end=START,
    annotations={"runbook": "https://runbook.example.org/disk"},
    links=(Link(href="https://graphs.example.org/1", text="graph"), Link(href="https://example.org")),
    evidence={"value": "97.3", "samples": [1, -2, None, True, (1 << 53) - 1]},
    source="tests",
    ends_at=START + 1,
)
_POLICY = Policy(
    routes=Route(
        name="default",
        channels=("email",),
        group_by=("...",),
        group_wait=0,
        routes=(Route(name="database", matchers=(Matcher(name="team", value="db"),), continue_=True),),
    ),
    targets=(Target(id="0a1b2c3d4e5f6071", channel="email", address="anna@example.org"),),
    rate_limit=RateLimit(limit=10, window=1, digest_after=2, digest_interval=3),
    retries=Retries(steps=(1, 2), give_up=3),
)
_VKEY = "tocsin-0a1b2c3d+89abcdef+AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyAh"
_DELIVERY = ev.NewDelivery(
    delivery=1, channel="email", target="0a1b2c3d4e5f6071", key=hashlib.sha256(b"1").hexdigest()
)


def _alert(*events: ev.Decided, **more: Any) -> Draft:
    private = {"alert": _TROUBLE}
    return Draft(kind="alert", actor="token:7f3a", events=events, incident=1, private=private, **more)


def _action(*events: ev.Decided, note: str = "") -> Draft:
    return Draft(
        kind="action", actor="user:anna", events=events, incident=1, private={"note": note} if note else {}
    )


def _outcome(outcome: object, *events: ev.Decided) -> Draft:
    return Draft(kind="outcome", actor="system", events=events, incident=1, private={"outcome": outcome})


def _due(timer: str, *events: ev.Decided, incident: int = 1, **more: Any) -> Draft:
    return Draft(kind=f"due_{timer}", actor="system", events=events, incident=incident, **more)


def _ended(number: int, state: DeliveryState, into: int = 0) -> ev.DeliveryEnded:
    return ev.DeliveryEnded(delivery=number, state=state, attempts=2, into=into, because="it ended")


_FIRED = ev.AlertFired(
    incident=1,
    alert=1,
    id=ALERT,
    rule_id="disk",
    severity=Severity.WARNING,
    window_start=START - 60_000_000,
    window_end=START,
    change=1,
    because="it opened the incident",
)
_FLUSHED = ev.Flushed(incident=1, next=0, because="told what is new")

DRAFTS: list[tuple[str, Draft]] = [
    (
        "a node starts",
        Draft(
            kind="node",
            actor="system",
            events=(ev.NodeStarted(gap=0, extended=0, texts=2, because="a node began to listen"),),
        ),
    ),
    (
        "a policy is adopted",
        Draft(
            kind="policy",
            actor="settings",
            events=(
                ev.PolicyAdopted(
                    version=1,
                    digest="ab" * 32,
                    policy=without_addresses(_POLICY),
                    because="settings brought another policy",
                ),
            ),
            private={"addresses": addresses_of(_POLICY)},
        ),
    ),
    (
        "an alert opens an incident",
        _alert(
            ev.IncidentOpened(
                incident=1,
                id=INCIDENT,
                key="c3" * 16,
                route="default",
                policy=1,
                because="no incident with its route and group is open",
            ),
            _FIRED,
            ev.FlushPlanned(incident=1, due=START, because="an alert fires"),
            ev.Notified(
                notification=1,
                id="d4" * 16,
                incident=1,
                kind=NotificationKind.OPENED,
                severity=Severity.WARNING,
                change=1,
                deliveries=(_DELIVERY,),
                charged="disk",
                rule_id="disk",
                because="something is wrong that this target was not told of",
            ),
            _FLUSHED,
        ),
    ),
    (
        "the same alert opens another incident, with every field set",
        Draft(
            kind="alert",
            actor="token:żółw \u0007\U0001f525",
            incident=2,
            follows=True,
            late_by=3_600_000_000,
            events=(
                ev.IncidentOpened(
                    incident=2,
                    id=OTHER,
                    key="d4" * 16,
                    route="database",
                    policy=1,
                    previous=1,
                    because="no incident with its route and group is open",
                ),
                ev.AlertFired(
                    incident=2,
                    alert=1,
                    id=ALERT,
                    rule_id='d"\\/\u2028isk',
                    severity=Severity.CRITICAL,
                    window_start=0,
                    window_end=(1 << 53) - 1,
                    change=1,
                    ends_at=START + 1,
                    expires_after=7_200_000_000,
                    silenced_by=(1, 2),
                    because="it opened the incident",
                ),
            ),
            private={"alert": _TROUBLE},
        ),
    ),
    (
        "an alert is seen again",
        _alert(
            ev.AlertSeen(
                incident=1,
                id=ALERT,
                severity=Severity.ERROR,
                window_start=START,
                window_end=START + 1,
                change=2,
                ends_at=START + 2,
                repeats=41,
                last_at=START - 1,
                because="its severity rose",
            )
        ),
    ),
    (
        "a green look",
        _alert(
            ev.AlertGreen(
                incident=1,
                id=ALERT,
                greens=1,
                window_start=START,
                window_end=START + 1,
                because="green look 1 of 3",
            )
        ),
    ),
    (
        "the last alert clears",
        _alert(
            ev.AlertCleared(
                incident=1,
                id=ALERT,
                change=3,
                status=Status.GREEN,
                window_start=START,
                window_end=START + 2,
                because="3 consecutive green looks",
            ),
            ev.IncidentResolved(
                incident=1, change=3, auto=True, greens=3, because="all of its alerts are clear"
            ),
        ),
    ),
    (
        "it comes back",
        _alert(ev.IncidentReopened(incident=1, generation=2, change=4, because="it came back"), _FIRED),
    ),
    (
        "a lease runs out",
        Draft(
            kind="expiry",
            actor="system",
            incident=1,
            events=(
                ev.AlertCleared(
                    incident=1, id=ALERT, change=5, because="nobody has vouched for it since its end"
                ),
            ),
        ),
    ),
    (
        "somebody acknowledges",
        _action(
            ev.IncidentAcknowledged(incident=1, by="user:anna", until=START + 9, because="asked"),
            note="on it",
        ),
    ),
    ("somebody gives it back", _action(ev.IncidentUnacknowledged(incident=1, because="asked"))),
    ("somebody silences it", _action(ev.IncidentSilenced(incident=1, until=0, because="asked"))),
    ("somebody ends that", _action(ev.IncidentUnsilenced(incident=1, because="asked"))),
    (
        "somebody writes",
        _action(ev.IncidentNoted(incident=1, because="wrote"), note='"\\\b\f\n\r\t\x1f\x7f é €'),
    ),
    (
        "an attempt fails",
        _outcome(
            Retry(why="503", after_s=20),
            ev.DeliveryRetried(delivery=1, attempts=1, due=START, because="attempt 1 failed"),
        ),
    ),
    (
        "an attempt fails otherwise",
        _outcome(
            Retry(why="timeout"),
            ev.DeliveryRetried(delivery=1, attempts=2, due=START, because="attempt 2 failed"),
        ),
    ),
    ("it is delivered", _outcome(Delivered(detail="ok"), _ended(1, DeliveryState.DELIVERED))),
    ("it is accepted", _outcome(Accepted(), _ended(2, DeliveryState.ACCEPTED))),
    ("it was a dry run", _outcome(DryRun(preview="{}"), _ended(3, DeliveryState.DRY_RUN))),
    ("it is refused", _outcome(Refused(why="410"), _ended(4, DeliveryState.DEAD))),
    (
        "a flush tells nobody",
        _due(
            "flush",
            ev.NotificationWithheld(
                incident=1,
                kind=NotificationKind.UPDATED,
                severity=Severity.ERROR,
                reason=Withheld.RATE_LIMITED,
                change=6,
                targets=("0a1b2c3d4e5f6071", "18293a4b5c6d7e8f"),
                rule_id="disk",
                because="rule disk had 10 notifications in 60 min",
            ),
            ev.DigestPlanned(
                rule_id="disk", due=START + 300_000_000, because="the rate limit withheld something"
            ),
            _ended(5, DeliveryState.MERGED, into=2),
            ev.Flushed(incident=1, next=START + 14_400_000_000, because="nothing to tell"),
        ),
    ),
    (
        "a dry run",
        Draft(
            kind="send",
            actor="token:7f3a",
            events=(
                ev.Notified(
                    notification=2,
                    id="e5" * 16,
                    incident=0,
                    kind=NotificationKind.MANUAL,
                    severity=Severity.INFO,
                    change=0,
                    deliveries=(_DELIVERY,),
                    rule_id="disk",
                    dry_run=True,
                    asked=("email",),
                    because="somebody asked for it, as a dry run",
                ),
            ),
            private={"alert": _TROUBLE},
        ),
    ),
    (
        "a digest is due",
        _due(
            "digest",
            ev.Notified(
                notification=2,
                id="e5" * 16,
                incident=0,
                kind=NotificationKind.DIGEST,
                severity=Severity.ERROR,
                change=0,
                deliveries=(_DELIVERY,),
                rule_id="disk",
                dry_run=True,
                because="the rate limit withheld 1 notifications",
            ),
            incident=0,
            late_by=60_000_001,
        ),
    ),
    ("an acknowledgement lapses", _due("ack", ev.IncidentUnacknowledged(incident=1, because="it lapsed"))),
    (
        "an incident's silence runs out",
        _due("unsilence", ev.IncidentUnsilenced(incident=1, because="it ran out")),
    ),
    (
        "somebody wants silence",
        Draft(
            kind="silence",
            actor="user:anna",
            events=(
                ev.SilenceCreated(silence=1, id=SILENCE, starts_at=START, ends_at=START + 1, because="asked"),
            ),
            private={
                "silence": Silence(
                    number=1,
                    id=SILENCE,
                    matchers=(Matcher(name="host", op=MatchOp.MATCHES, value="h.*"),),
                    starts_at=START,
                    ends_at=START + 1,
                    created_by="user:anna",
                    comment="works",
                )
            },
        ),
    ),
    (
        "a silence begins",
        _due(
            "silence_begin",
            ev.SilenceBegan(silence=1, covers=1, alerts=(1,), because="its time has come"),
            incident=0,
        ),
    ),
    (
        "a silence ends",
        _due("silence_end", ev.SilenceEnded(silence=1, change=7, because="its time is over"), incident=0),
    ),
    (
        "what an input says on top of that",
        _alert(
            ev.IncidentOpened(
                incident=1,
                id=INCIDENT,
                key="c3" * 16,
                route="default",
                policy=1,
                because="no incident with its route and group is open",
            ),
            ev.AlertSeen(
                incident=1,
                id=ALERT,
                severity=Severity.INFO,
                window_start=START,
                window_end=START,
                silenced_by=(),
                because="its severity fell",
            ),
            ev.AlertSeen(
                incident=1,
                id=ALERT,
                severity=Severity.INFO,
                window_start=START,
                window_end=START,
                silenced_by=(1,),
                because="its severity fell",
            ),
            ev.AlertGreen(
                incident=1,
                id=ALERT,
                greens=2,
                window_start=START,
                window_end=START,
                repeats=2,
                last_at=START,
                because="green look 2 of 3",
            ),
            ev.AlertCleared(
                incident=1,
                id=ALERT,
                change=8,
                status=Status.RESOLVED,
                window_start=START,
                window_end=START,
                repeats=3,
                last_at=START,
                because="its source says that it is over",
            ),
            ev.Notified(
                notification=3,
                id="f6" * 16,
                incident=1,
                kind=NotificationKind.RESOLVED,
                severity=Severity.INFO,
                change=8,
                deliveries=(
                    ev.NewDelivery(
                        delivery=9, channel="webhook", target="f0e1d2c3b4a59687", key="a7" * 32, since=START
                    ),
                ),
                because="it is over, and this target was told of it",
            ),
        ),
    ),
    (
        "a notification that counts against a rate window",
        Draft(
            kind="alert",
            actor="token:7f3a",
            events=(
                ev.Notified(
                    notification=4,
                    id="f7" * 16,
                    incident=1,
                    kind=NotificationKind.UPDATED,
                    severity=Severity.WARNING,
                    change=9,
                    deliveries=(_DELIVERY,),
                    charged="disk",
                    charge=3,
                    because="alerts joined, cleared or rose since this target was told",
                ),
            ),
            incident=1,
            private={"alert": _TROUBLE},
        ),
    ),
    (
        "the same is done to several incidents",
        Draft(
            kind="bulk",
            actor="jwt:9f2c",
            events=(
                ev.BulkBegan(action=Action.ACK, count=1, because="jwt:9f2c asked for ack of 2 incidents"),
            ),
        ),
    ),
    (
        "a delivery that had ended is attempted again",
        Draft(
            kind="delivery",
            actor="user:anna",
            events=(
                ev.DeliveryRevived(
                    delivery=2,
                    notification=1,
                    incident=1,
                    kind=NotificationKind.OPENED,
                    severity=Severity.CRITICAL,
                    channel="email",
                    target="0a1b2c3d4e5f6071",
                    key="b8" * 32,
                    attempts=9,
                    was=DeliveryState.DEAD,
                    dry_run=True,
                    because="user:anna asked for it",
                ),
            ),
            incident=1,
            private={"note": "the receiver is back"},
        ),
    ),
    (
        "a silence gets another end",
        Draft(
            kind="silence",
            actor="user:anna",
            events=(ev.SilenceMoved(silence=1, ends_at=START + 9, because="user:anna gave it another end"),),
        ),
    ),
    (
        "a maintenance is asked for",
        Draft(
            kind="maintenance",
            actor="user:anna",
            events=(
                ev.MaintenanceCreated(
                    maintenance=1,
                    id="92eb5ffee6ae2fec3ad71c7700000001",
                    next_at=START + 7,
                    because="user:anna asked for it",
                ),
            ),
            private={
                "maintenance": Maintenance(
                    number=1,
                    id="92eb5ffee6ae2fec3ad71c7700000001",
                    matchers=(Matcher(name="team", value="db"),),
                    rrule="FREQ=WEEKLY;BYDAY=SU",
                    zone="Europe/Berlin",
                    begins="2027-01-03T02:00",
                    lasting=3_600_000_000,
                    created_by="user:anna",
                    comment="patch day",
                )
            },
        ),
    ),
    (
        "a window of it opens, and it was the last",
        _due(
            "maintenance",
            ev.SilenceCreated(
                silence=2,
                id="4a8a08f09d37b7379564903800000002",
                starts_at=START + 7,
                ends_at=START + 8,
                maintenance=1,
                because="a window of its maintenance opens",
            ),
            ev.MaintenanceMoved(maintenance=1, next_at=0, because="its window has come"),
            ev.MaintenanceEnded(maintenance=1, because="it has no further window"),
            incident=0,
            private={
                "silence": Silence(
                    number=2,
                    id="4a8a08f09d37b7379564903800000002",
                    matchers=(Matcher(name="team", value="db"),),
                    starts_at=START + 7,
                    ends_at=START + 8,
                    created_by="user:anna",
                    maintenance=1,
                )
            },
        ),
    ),
    (
        "a policy is adopted in the place of another",
        Draft(
            kind="policy",
            actor="settings",
            events=(
                ev.PolicyAdopted(
                    version=2,
                    digest="cd" * 32,
                    policy=without_addresses(_POLICY),
                    because="settings brought another policy",
                ),
            ),
            private={
                "addresses": addresses_of(_POLICY),
                "changes": (
                    Change(path="keep", before=1, after=None),
                    Change(path="routes[database].channels", before=None, after=["email"]),
                ),
            },
        ),
    ),
    (
        "a token is made",
        Draft(
            kind="token",
            actor="token:7f3a",
            events=(
                ev.TokenCreated(
                    token="81b2",
                    role=Role.SERVICE,
                    scopes=(Permission.SEND,),
                    per_minute=600,
                    expires_at=START + 10,
                    because="token:7f3a made it",
                ),
            ),
            private={"name": "deploy bot"},
        ),
    ),
    (
        "a token is revoked",
        Draft(
            kind="token",
            actor="token:7f3a",
            events=(ev.TokenRevoked(token="81b2", because="token:7f3a revoked it"),),
        ),
    ),
    (
        "somebody is turned away",
        Draft(
            kind="access",
            actor="token:81b2",
            events=(
                ev.AccessRefused(
                    reason=Denial.PERMISSION,
                    count=2,
                    permission=Permission.SILENCE,
                    because="the permission was missing",
                ),
            ),
            private={"client": "192.0.2.7"},
        ),
    ),
    (
        "the store is put back from a backup",
        Draft(
            kind="restored",
            actor="system",
            events=(
                ev.StorePutBack(
                    size=7, made_at=START, because="the data directory was put back from a backup"
                ),
            ),
        ),
    ),
    (
        "the ledger gets its name, and a key",
        Draft(
            kind="ledger",
            actor="system",
            events=(
                ev.LedgerBegan(origin="tocsin-0a1b2c3d", because="the ledger was given its name"),
                ev.KeyAdopted(vkey=_VKEY, because="system wanted another key"),
            ),
        ),
    ),
    (
        "a key is retired",
        Draft(
            kind="ledger",
            actor="token:7f3a",
            events=(ev.KeyRetired(vkey=_VKEY, because="token:7f3a retired it"),),
        ),
    ),
    (
        "the ledger goes on from an older state",
        Draft(
            kind="ledger",
            actor="os:root",
            events=(
                ev.LedgerForked(
                    origin="tocsin-0a1b2c3d/2",
                    known_size=99,
                    known_root="ef" * 32,
                    because="the ledger goes on from an older state of it",
                ),
            ),
            private={"note": "the disk broke"},
        ),
    ),
    (
        "private parts are erased",
        Draft(
            kind="erased",
            actor="token:7f3a",
            events=(
                ev.PrivateErased(
                    entries=((2, 4), (7, 7)),
                    basis=Basis.SUBJECT,
                    alerts=(1,),
                    notifications=(1, 2),
                    because="token:7f3a had it erased",
                ),
            ),
            private={"note": "asked for by letter"},
        ),
    ),
    (
        "what was kept for long enough is erased",
        Draft(
            kind="retention",
            actor="system",
            events=(
                ev.PrivateErased(
                    entries=((8, 8),), basis=Basis.RETENTION, because="it was kept for long enough"
                ),
                ev.IncidentsPruned(incidents=((1, 1),), because="it was kept for long enough"),
            ),
        ),
    ),
]


def vectors() -> list[dict[str, str]]:
    """Seal the drafts one after another, and give each entry's parts, its leaf, and the root after it."""
    frontier = Frontier()
    ids = {1: INCIDENT, 2: OTHER}
    links: dict[int, tuple[int, int | None]] = {}
    made = []
    for seq, (name, draft) in enumerate(DRAFTS):
        incident = None
        if draft.incident:
            count, last = links.get(draft.incident, (0, None))
            incident = ids[draft.incident], count, last
            links[draft.incident] = count + 1, seq
        sealed = seal(
            draft,
            seq=seq,
            at=START + seq,
            policy=min(seq, 1),
            cause=seq - 1 if draft.follows else None,
            incident=incident,
            nonce=hashlib.sha256(b"%d" % seq).digest()[:16],
        )
        frontier.append(sealed.leaf)
        made.append(
            {
                "name": name,
                "header": sealed.header.decode(),
                "decision": sealed.decision.decode(),
                "private": sealed.private.decode(),
                "leaf": sealed.leaf.hex(),
                "root": frontier.root().hex(),
            }
        )
    return made


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1, ensure_ascii=True))
