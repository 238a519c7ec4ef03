"""Event: something that was decided, with `because`. Folding events is the only way in which state changes.

Incidents, alerts, notifications, deliveries and silences are named by their numbers, which count from 1 in the
order of decision. `change` numbers order what happened to alerts; one input makes at most one.
No event holds text or labels of an alert: those stand in the entry's private part.
"""

import msgspec

from tocsin.core.model.access import Permission, Role
from tocsin.core.model.alert import Severity, Status
from tocsin.core.model.input import Action, Basis, Denial
from tocsin.core.model.notification import DeliveryState, NotificationKind, Withheld
from tocsin.core.model.policy import Policy


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True, gc=False):
    """What all events share: why. A field with its default value is left out of the bytes."""

    because: str


class IncidentOpened(Event, frozen=True, tag="incident_opened"):
    """A new incident. key: keyed digest of (route, group labels), 32 hex digits; previous: the number of the last
    incident with this key, 0 if none is remembered; policy: the version of the policy that it keeps."""

    incident: int
    id: str
    key: str
    route: str
    policy: int
    previous: int = 0


class IncidentReopened(Event, frozen=True, tag="incident_reopened"):
    """A resolved incident is open again."""

    incident: int
    generation: int
    change: int


class AlertFired(Event, frozen=True, tag="alert_fired"):
    """An alert begins to fire in an incident. id: keyed digest of its fingerprint, 32 hex digits.

    expires_after: microseconds after which it expires if it is not seen again and has no ends_at; 0 for never.
    silenced_by: numbers of the silences that match it now.
    """

    incident: int
    alert: int
    id: str
    rule_id: str
    severity: Severity
    window_start: int
    window_end: int
    change: int
    ends_at: int | None = None
    expires_after: int = 0
    silenced_by: tuple[int, ...] = ()


class AlertSeen(Event, frozen=True, tag="alert_seen"):
    """It still fires: another look (an occurrence).

    repeats, last_at: how many looks left no entry since the last one that did, and when the last of all came.
    change: 0, or the change number if its severity rose or silences take it differently now.
    silenced_by: numbers of the silences that match it now; None if that did not change.
    """

    incident: int
    id: str
    severity: Severity
    window_start: int
    window_end: int
    change: int = 0
    ends_at: int | None = None
    repeats: int = 0
    last_at: int = 0
    silenced_by: tuple[int, ...] | None = None


class AlertGreen(Event, frozen=True, tag="alert_green"):
    """A look that found nothing wrong. greens: how many in a row now; repeats, last_at: as in AlertSeen."""

    incident: int
    id: str
    greens: int
    window_start: int
    window_end: int
    repeats: int = 0
    last_at: int = 0


class AlertCleared(Event, frozen=True, tag="alert_cleared"):
    """An alert is over. status, window: of the look that cleared it; None and zeros where time did.

    repeats, last_at: as in AlertSeen.
    """

    incident: int
    id: str
    change: int
    status: Status | None = None
    window_start: int = 0
    window_end: int = 0
    repeats: int = 0
    last_at: int = 0


class IncidentResolved(Event, frozen=True, tag="incident_resolved"):
    """Over. auto: no person did it; greens: how many green evaluations it took, 0 if it was not by greens."""

    incident: int
    change: int
    auto: bool
    greens: int = 0


class IncidentAcknowledged(Event, frozen=True, tag="incident_acknowledged"):
    """Somebody has it. until: when the acknowledgement lapses, 0 for never."""

    incident: int
    by: str
    until: int = 0


class IncidentUnacknowledged(Event, frozen=True, tag="incident_unacknowledged"):
    """Nobody has it any more."""

    incident: int


class IncidentSilenced(Event, frozen=True, tag="incident_silenced"):
    """Nothing is told about this incident until then; 0 for until somebody ends it."""

    incident: int
    until: int


class IncidentUnsilenced(Event, frozen=True, tag="incident_unsilenced"):
    """It may be told again."""

    incident: int


class IncidentNoted(Event, frozen=True, tag="incident_noted"):
    """Somebody wrote something down; the text is in the private part."""

    incident: int


class FlushPlanned(Event, frozen=True, tag="flush_planned"):
    """At `due`, what people were told is compared with how things are."""

    incident: int
    due: int


class Flushed(Event, frozen=True, tag="flushed"):
    """The comparison was made. next: when to look again, 0 for when something changes."""

    incident: int
    next: int


class NewDelivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An intent that goes out. target: the target's id; key: the idempotency key of all its attempts.

    since: when the target began to be out of reach, if a delivery that failed was merged into this one, else 0. The
    time after which we give up counts from there, so that news about a dead sink does not keep it alive.
    """

    delivery: int
    channel: str
    target: str
    key: str
    since: int = 0


class Notified(Event, frozen=True, tag="notified"):
    """People are told. incident: 0 for a digest over a rule. change: what they know about from now on.

    charged: the rule whose rate window this counts against, "" if it is exempt; charge: which one of the window it is.
    asked: the channels that whoever sent it by hand named, () if they named none.
    """

    notification: int
    id: str
    incident: int
    kind: NotificationKind
    severity: Severity
    change: int
    deliveries: tuple[NewDelivery, ...]
    charged: str = ""
    charge: int = 0
    rule_id: str = ""
    dry_run: bool = False
    asked: tuple[str, ...] = ()


class NotificationWithheld(Event, frozen=True, tag="notification_withheld"):
    """People are not told. targets: ids of those who would have been; rule_id: whose digest will count it."""

    incident: int
    kind: NotificationKind
    severity: Severity
    reason: Withheld
    change: int
    targets: tuple[str, ...]
    rule_id: str = ""


class DigestPlanned(Event, frozen=True, tag="digest_planned"):
    """What the rate limit withholds of this rule is told together at `due`."""

    rule_id: str
    due: int


class DeliveryRetried(Event, frozen=True, tag="delivery_retried"):
    """An attempt failed; the next one is due then. attempts: made so far."""

    delivery: int
    attempts: int
    due: int


class DeliveryEnded(Event, frozen=True, tag="delivery_ended"):
    """No further attempt. into: the notification that speaks for it, if it was merged, else 0."""

    delivery: int
    state: DeliveryState
    attempts: int
    into: int = 0


class DeliveryRevived(Event, frozen=True, tag="delivery_revived"):
    """A delivery that had ended is attempted again, under its old key. Fields as in Notified and NewDelivery.

    attempts: made so far; was: how it had ended.
    """

    delivery: int
    notification: int
    incident: int
    kind: NotificationKind
    severity: Severity
    channel: str
    target: str
    key: str
    attempts: int
    was: DeliveryState
    dry_run: bool = False


class BulkBegan(Event, frozen=True, tag="bulk_began"):
    """Somebody did the same to `count` incidents; the entries of those that changed follow from this one."""

    action: Action
    count: int


class SilenceCreated(Event, frozen=True, tag="silence_created"):
    """A silence is known; it acts from starts_at to ends_at. Its matchers stand in the private part.

    maintenance: number of the one that made it, 0 for none.
    """

    silence: int
    id: str
    starts_at: int
    ends_at: int
    maintenance: int = 0


class SilenceMoved(Event, frozen=True, tag="silence_moved"):
    """A silence has another end."""

    silence: int
    ends_at: int


class SilenceBegan(Event, frozen=True, tag="silence_began"):
    """It acts from now on. covers: how many live alerts it covers at this moment; alerts: their numbers, in order.

    In version 1 the alerts are None: whoever folds asks the matchers.
    """

    silence: int
    covers: int
    alerts: tuple[int, ...] | None = None


class SilenceEnded(Event, frozen=True, tag="silence_ended"):
    """It no longer acts. change: the change number that its alerts get which fire untold."""

    silence: int
    change: int


class MaintenanceCreated(Event, frozen=True, tag="maintenance_created"):
    """A maintenance is known; its next window opens at next_at. Its matchers and rule stand in the private part."""

    maintenance: int
    id: str
    next_at: int


class MaintenanceMoved(Event, frozen=True, tag="maintenance_moved"):
    """A window of a maintenance has opened or was missed; the next one opens at next_at, 0 if there is none."""

    maintenance: int
    next_at: int


class MaintenanceEnded(Event, frozen=True, tag="maintenance_ended"):
    """A maintenance is over."""

    maintenance: int


class TokenCreated(Event, frozen=True, tag="token_created"):
    """Somebody may come in. token: its id; fields as in `Token`. Its name stands in the private part."""

    token: str
    role: Role
    scopes: tuple[Permission, ...] = ()
    per_minute: int = 0
    expires_at: int | None = None


class TokenRevoked(Event, frozen=True, tag="token_revoked"):
    """A token opens nothing any more."""

    token: str


class AccessRefused(Event, frozen=True, tag="access_refused"):
    """Somebody was turned away, `count` times. The address stands in the private part."""

    reason: Denial
    count: int
    permission: Permission | None = None


class StorePutBack(Event, frozen=True, tag="store_put_back"):
    """What follows was decided over a backup of `size` entries, made at `made_at`."""

    size: int
    made_at: int


class PolicyAdopted(Event, frozen=True, tag="policy_adopted"):
    """From now on this policy decides. digest: see `policy_digest`.

    policy: all of it but the addresses, which stand in the private part by the ids of their targets.
    """

    version: int
    digest: str
    policy: Policy | None = None


class NodeStarted(Event, frozen=True, tag="node_started"):
    """A node began to listen. gap: microseconds in which nobody did; leases are extended by `extended`.

    texts: which wording titles and notifications have from now on, see `compose.TEXTS`.
    """

    gap: int
    extended: int
    texts: int = 0


class LedgerBegan(Event, frozen=True, tag="ledger_began"):
    """From here on the ledger has this name, which stands in every checkpoint."""

    origin: str


class LedgerForked(Event, frozen=True, tag="ledger_forked"):
    """The ledger goes on from an older state of it, under another name.

    known_size, known_root: the newest checkpoint under the old name that is known (root: 64 hex digits); its entries
    from this one on are lost.
    """

    origin: str
    known_size: int
    known_root: str


class KeyAdopted(Event, frozen=True, tag="key_adopted"):
    """Checkpoints may be signed by this key from now on. vkey: its public half, as signed notes write it."""

    vkey: str


class KeyRetired(Event, frozen=True, tag="key_retired"):
    """Checkpoints of later sizes are no longer signed by this key."""

    vkey: str


class PrivateErased(Event, frozen=True, tag="private_erased"):
    """Private parts of earlier entries are gone. entries: (first, last) seq of each run, both included, rising.

    alerts: numbers of the live alerts that lose their labels until they are seen again.
    notifications: numbers of those that lose their words, besides those of the incidents that the entries are about.
    """

    entries: tuple[tuple[int, int], ...]
    basis: Basis
    alerts: tuple[int, ...] = ()
    notifications: tuple[int, ...] = ()


class IncidentsPruned(Event, frozen=True, tag="incidents_pruned"):
    """Incidents that are long over are no longer listed. incidents: (first, last) number of each run, rising."""

    incidents: tuple[tuple[int, int], ...]


Decided = (
    IncidentOpened
    | IncidentReopened
    | AlertFired
    | AlertSeen
    | AlertGreen
    | AlertCleared
    | IncidentResolved
    | IncidentAcknowledged
    | IncidentUnacknowledged
    | IncidentSilenced
    | IncidentUnsilenced
    | IncidentNoted
    | FlushPlanned
    | Flushed
    | Notified
    | NotificationWithheld
    | DigestPlanned
    | DeliveryRetried
    | DeliveryEnded
    | DeliveryRevived
    | BulkBegan
    | SilenceCreated
    | SilenceMoved
    | SilenceBegan
    | SilenceEnded
    | MaintenanceCreated
    | MaintenanceMoved
    | MaintenanceEnded
    | TokenCreated
    | TokenRevoked
    | AccessRefused
    | StorePutBack
    | PolicyAdopted
    | NodeStarted
    | LedgerBegan
    | LedgerForked
    | KeyAdopted
    | KeyRetired
    | PrivateErased
    | IncidentsPruned
)
"""Every event there is. A new one fails the type check wherever events are read."""
