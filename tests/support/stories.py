"""Stories at random: what may happen in a house, as plain values that can be pasted back to be told again."""

from typing import Any

from hypothesis import strategies as st
from tests.support.builders import a_policy, a_route, an_alert
from tests.support.world import World

from tocsin.core.engine.state import LiveDelivery
from tocsin.core.model import event as ev
from tocsin.core.model.errors import TocsinError
from tocsin.core.model.incident import IncidentState
from tocsin.core.model.input import (
    Action,
    BulkActed,
    DeliveryDiscardAsked,
    DeliveryRetryAsked,
    MaintenanceCut,
    Manual,
    NodeStart,
    SilenceMoved,
)
from tocsin.core.model.notification import (
    Accepted,
    Delivered,
    DryRun,
    NotificationKind,
    Outcome,
    Refused,
    Retry,
)
from tocsin.core.model.policy import DAY, HOUR, MINUTE, SECOND, Policy, RateLimit

TREE = (
    a_route("db", "team=db", continue_=True, group_by=("...",), greens=2),
    a_route("slow", "rule_id=cpu", group_wait=30 * SECOND, group_interval=MINUTE, ack_timeout=20 * MINUTE),
)
POLICIES: dict[str, Policy] = {
    "plain": a_policy("anna", "ben@webhook"),
    "grouped": a_policy(
        "anna",
        "ben@webhook",
        group_by=("team",),
        group_interval=5 * MINUTE,
        repeat_interval=HOUR,
        routes=TREE,
    ),
    "limited": a_policy(
        "anna",
        "ben@webhook",
        group_by=(),
        group_interval=MINUTE,
        repeat_interval=10 * MINUTE,
        rate_limit=RateLimit(limit=2, window=HOUR),
    ),
    "fewer": a_policy("anna", group_by=("team",), resolve_timeout=30 * MINUTE, reopen_within=MINUTE),
}
UNLIMITED = ("plain", "grouped", "fewer")
OUTCOMES: dict[str, Outcome | None] = {
    "delivered": Delivered(),
    "accepted": Accepted(),
    "retry": Retry(why="503"),
    "later": Retry(why="429", after_s=600),
    "refused": Refused(why="410"),
    "dry": DryRun(),
    "hang": None,
}

rules = st.sampled_from(("disk", "cpu"))
hosts = st.sampled_from(("a", "b"))
severities = st.sampled_from(("info", "warning", "critical"))
minutes = st.sampled_from((1, 4, 6, 20, 45, 70, 300))

fires = st.tuples(st.just("fire"), rules, hosts, severities)
greens = st.tuples(st.just("green"), rules, hosts)
clears = st.tuples(st.just("clear"), rules, hosts)
waits = st.tuples(st.just("wait"), minutes)
acts = st.tuples(
    st.just("act"),
    st.sampled_from(("ack", "unack", "silence", "unsilence", "resolve", "reopen", "note")),
    st.integers(1, 3),
    st.sampled_from((0, 0, 10)),
)
silences = st.tuples(
    st.just("silence"),
    st.sampled_from(("rule_id=disk", "severity=warning", "host=~a|b", "severity!=critical host=a")),
    st.sampled_from((0, 0, 5)),
    minutes,
)
moods = st.tuples(st.just("mood"), st.sampled_from(("email", "webhook")), st.sampled_from(tuple(OUTCOMES)))
moves = st.one_of(
    *[fires] * 5,
    *[waits] * 4,
    *[acts] * 4,
    *[silences] * 2,
    *[greens] * 2,
    *[clears] * 3,
    *[moods] * 2,
    st.tuples(st.just("lease"), rules, hosts, minutes),
    st.tuples(st.just("cut"), st.integers(1, 3)),
    st.tuples(st.just("move"), st.integers(1, 3), minutes),
    st.tuples(st.just("maintain"), st.sampled_from(("rule_id=disk", "host=a")), minutes),
    st.tuples(st.just("stop_maintaining"), st.integers(1, 2)),
    st.tuples(st.just("bulk"), st.sampled_from(("ack", "silence", "resolve", "reopen", "note"))),
    st.tuples(st.just("again"), st.integers(1, 8), st.booleans()),
    st.tuples(st.just("discard"), st.integers(1, 8)),
    st.tuples(st.just("jump"), minutes),
    st.tuples(st.just("report"), st.sampled_from(("delivered", "retry", "refused"))),
    st.tuples(st.just("send"), rules, st.booleans(), st.sampled_from(((), ("email",)))),
    st.tuples(st.just("policy"), st.sampled_from(tuple(POLICIES))),
    st.tuples(st.just("node"), st.integers(0, 3)),
)
tales = st.lists(moves, min_size=15, max_size=50)
Move = tuple[Any, ...]


class House(World):
    """A world that keeps account of who heard what, by looking at what goes out and not at what the core believes."""

    def __init__(self, policy: Policy) -> None:
        self.mood = {"email": "delivered", "webhook": "delivered"}
        self.heard: dict[tuple[int, str], set[int]] = {}
        self.last_kind: dict[tuple[int, str], str] = {}
        self.critical: set[tuple[int, str]] = set()
        self.wrongly_limited: list[tuple[int, str]] = []
        self.for_few: set[tuple[int, int]] = set()
        self.read = 0
        super().__init__(policy, answers=self.answer)

    def answer(self, delivery: LiveDelivery, attempt: int, at: int) -> Outcome | None:
        """As the channel's mood is."""
        return DryRun() if delivery.dry_run else OUTCOMES[self.mood[delivery.channel]]

    def _follow(self) -> None:
        limited: list[tuple[int, str]] = []
        for entry in self.entries[self.read :]:
            for event in entry.draft.events:
                self._account(event)
                if isinstance(event, ev.NotificationWithheld) and event.reason == "rate_limited":
                    limited += [(event.incident, target) for target in event.targets]
        self.read = len(self.entries)
        self.wrongly_limited += [
            (incident, target)
            for incident, target in limited
            if self.incident(incident).audible == "critical" and (incident, target) not in self.critical
        ]
        super()._follow()

    def _account(self, event: Any) -> None:
        match event:
            case ev.AlertFired(incident=incident, alert=alert):
                for (number, _), heard in self.heard.items():
                    if number == incident:
                        heard.discard(alert)
                self.for_few.discard((incident, alert))
            case ev.AlertSeen(incident=incident, id=id_):
                self.for_few.discard((incident, self.state.alerts[bytes.fromhex(id_)].number))
            case ev.IncidentReopened(incident=incident):
                self.critical = {pair for pair in self.critical if pair[0] != incident}
            case ev.Notified(incident=incident, kind=kind) if kind not in (
                NotificationKind.META,
                NotificationKind.DIGEST,
            ):
                members = self.state.members.get(incident, ())
                carried = {a.number for a in members if incident in a.firing_in and not a.silenced_by}
                for new in event.deliveries:
                    self.heard.setdefault((incident, new.target), set()).update(carried)
                    self.last_kind[incident, new.target] = kind
                    if event.severity == "critical":
                        self.critical.add((incident, new.target))

    def do(self, move: Move) -> bool:
        """Let one thing happen; what cannot be is refused, as it would be at any face. Says whether it was taken."""
        try:
            self._do(move)
        except TocsinError:
            return False
        return True

    def _do(self, move: Move) -> None:
        match move:
            case ("fire", rule, host, severity):
                self.fire(rule, severity, host=host, team="db" if host == "a" else "web")
            case ("lease", rule, host, duration):
                ends_at = self.at + duration * MINUTE
                self.fire(rule, ends_at=ends_at, host=host, team="db" if host == "a" else "web")
            case ("green", rule, host):
                self.green(rule, host=host, team="db" if host == "a" else "web")
            case ("clear", rule, host):
                self.clear(rule, host=host, team="db" if host == "a" else "web")
            case ("act", action, incident, until):
                self.act(action, incident, until=self.at + until * MINUTE if until else 0, note="so it is")
            case ("silence", matchers, after, lasting):
                self.silence(matchers, after=after * MINUTE, lasting=lasting * MINUTE)
            case ("cut", silence):
                self.cut(silence)
            case ("move", silence, lasting):
                self.feed(SilenceMoved(silence=silence, ends_at=self.at + lasting * MINUTE))
            case ("maintain", matchers, lasting):
                self.maintain(matchers, lasting=lasting * MINUTE)
            case ("stop_maintaining", number):
                self.feed(MaintenanceCut(maintenance=number))
            case ("bulk", action):
                self.feed(BulkActed(action=Action(action), incidents=(1, 2, 3, 99), note="all of them"))
            case ("again", delivery, forced):
                self.feed(DeliveryRetryAsked(delivery=delivery, forced=forced))
            case ("discard", delivery):
                self.feed(DeliveryDiscardAsked(delivery=delivery, reason="the house was sold"))
            case ("wait", duration):
                self.wait(duration * MINUTE)
            case ("jump", duration):
                self.jump(duration * MINUTE)
            case ("mood", channel, mood):
                self.mood[channel] = mood
            case ("report", outcome):
                for delivery, attempt in list(self.on_wire)[:1]:
                    self.report(delivery, OUTCOMES[outcome] or Delivered(), attempt=attempt)
            case ("send", rule, dry_run, channels):
                alert = an_alert(rule, host="a", team="db", source="manual")
                before, entries = set(self.for_few), len(self.entries)
                self.send(alert, manual=Manual(channels=channels, dry_run=dry_run))
                if channels:
                    fired = [e for entry in self.entries[entries:] for e in entry.draft.events]
                    self.for_few |= before | {
                        (e.incident, e.alert) for e in fired if isinstance(e, ev.AlertFired)
                    }
            case ("policy", name):
                self.adopt(POLICIES[name])
            case ("node", gap):
                self.feed(NodeStart(gap=gap * MINUTE))
            case _:
                raise AssertionError(move)

    def settle(self) -> None:
        """Let every channel work again, and everything come to rest."""
        self.mood = {"email": "delivered", "webhook": "delivered"}
        while self.on_wire:
            delivery, attempt = next(iter(self.on_wire))
            self.report(delivery, Delivered(), attempt=attempt)
        self.wait(2 * DAY)

    def unheard(self) -> list[str]:
        """Give what somebody should know by now, and does not; what was meant for a few is nobody else's to know."""
        missing = []
        for incident in self.state.incidents.values():
            for target in self.state.plan(incident).targets:
                if target.id not in self.state.plans.targets:
                    continue
                pair = incident.number, target.id
                if incident.state is IncidentState.OPEN:
                    missing += [
                        f"{target.id} does not know that {alert.number} fires in #{incident.number}"
                        for alert in self.state.members[incident.number]
                        if incident.number in alert.firing_in
                        and not alert.silenced_by
                        and alert.number not in self.heard.get(pair, ())
                        and (incident.number, alert.number) not in self.for_few
                    ]
                if incident.state is IncidentState.RESOLVED and self.last_kind.get(pair, "") not in (
                    "",
                    "resolved",
                ):
                    missing.append(f"{target.id} does not know that #{incident.number} is over")
        return missing


def tell(policy: str, tale: list[Move], *, restart_after: int = -1) -> House:
    """Let a tale happen under a policy. restart_after: how many moves until the state is lost and restored."""
    house = House(POLICIES[policy])
    for position, move in enumerate(tale):
        if position == restart_after:
            house.restart()
        house.do(move)
    return house
