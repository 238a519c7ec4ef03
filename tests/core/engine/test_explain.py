"""Why was I woken, and why was I not: stories read back from their entries alone."""

from typing import Any

import msgspec
import pytest
from tests.support.builders import HOUR, MINUTE, SECOND, a_policy, a_route, an_alert
from tests.support.world import World, hangs

from tocsin.core.engine import explain
from tocsin.core.engine.background import Background
from tocsin.core.engine.summarise import summarise
from tocsin.core.ledger import encoding
from tocsin.core.model import event as ev
from tocsin.core.model.alert import Alert
from tocsin.core.model.entry import Header
from tocsin.core.model.input import Manual
from tocsin.core.model.notification import DeliveryState, Refused, Retry
from tocsin.core.model.policy import Policy, RateLimit, with_addresses
from tocsin.core.model.trace import Acting, Line, Sent, Step


class Read:
    """A world's ledger, read back for one incident. erased: without any private part."""

    def __init__(self, world: World, incident: int = 1, *, erased: bool = False) -> None:
        self.world = world
        self.incident = world.incident(incident)
        policies: dict[int, Policy] = {}
        silences: dict[int, Acting] = {}
        sent: dict[int, Sent] = {}
        lines = []
        for seq, entry in enumerate(world.entries):
            private = encoding.read_private(entry.private)
            for event in entry.draft.events:
                match event:
                    case ev.PolicyAdopted():
                        assert event.policy is not None
                        policies[event.version] = with_addresses(event.policy, private.addresses)
                    case ev.SilenceCreated():
                        assert private.silence is not None
                        silences[event.silence] = Acting(silence=private.silence, until=event.ends_at)
                    case ev.SilenceEnded():
                        silences[event.silence] = msgspec.structs.replace(
                            silences[event.silence], until=entry.at
                        )
                    case ev.Notified():
                        for new in event.deliveries:
                            sent[new.delivery] = Sent(
                                channel=new.channel, target=new.target, state=DeliveryState.PENDING
                            )
                    case ev.DeliveryEnded():
                        sent[event.delivery] = msgspec.structs.replace(
                            sent[event.delivery], state=event.state
                        )
                    case _:
                        pass
            if entry.draft.incident == incident:
                header = Header(
                    actor=entry.draft.actor,
                    at=entry.at,
                    cause=None,
                    decision_hash="",
                    incident=None,
                    incident_n=None,
                    incident_prev=None,
                    kind=entry.draft.kind,
                    policy=max(policies),
                    private_hash="",
                    seq=seq,
                    v=1,
                )
                said: dict[str, Any] = {} if erased else private.named()
                lines.append(
                    Line(
                        header=header,
                        decision=encoding.read_decision(entry.decision),
                        **{name: said[name] for name in ("alert", "note", "outcome") if name in said},
                    )
                )
        alerts = {alert.id.hex(): alert for alert in world.state.members.get(incident, ())}
        background = Background(
            route=self.incident.route,
            policies=policies,
            silences=tuple(silences.values()),
            deliveries=sent,
            alerts=alerts,
        )
        self.steps: list[Step] = explain.explain(lines, background)
        self.summary = summarise(
            self.incident,
            self.steps,
            repeats=sum(alert.repeats for alert in alerts.values()),
            silenced_by=sorted({number for alert in alerts.values() for number in alert.silenced_by}),
        )


def test_an_incident_says_what_opened_it_and_who_was_told():
    world = World(a_policy("anna", "ben@webhook", routes=(a_route("db", "team=db"),)))

    world.fire("disk", "critical", host="db-1", team="db", source="prometheus")
    read = Read(world)

    opened = read.steps[0]
    assert opened.received is not None
    assert opened.received.scope == {"host": "db-1", "team": "db"}
    assert (opened.received.status, opened.received.severity, opened.received.source) == (
        "firing",
        "critical",
        "prometheus",
    )
    assert opened.dedup is not None
    assert (opened.dedup.outcome, opened.dedup.repeats_counted_before) == ("opened", 0)
    assert opened.route is not None
    assert (opened.route.name, opened.route.because) == (
        "db",
        "it matches team=db, and no incident with its route and group is open",
    )
    assert opened.silences is not None
    assert (opened.silences.matched, opened.silences.because) == ([], "no silence matched it")
    assert [(n.kind, n.channel, n.address, n.state) for n in opened.notified] == [
        ("opened", "email", "anna@example.org", "delivered"),
        ("opened", "webhook", "ben@example.org", "delivered"),
    ]
    assert opened.rate_window is not None
    assert (opened.rate_window.charged, opened.rate_window.because) == (False, "this policy limits nothing")
    assert [(s.attempted[0].outcome, s.attempted[0].address) for s in read.steps[1:]] == [
        ("delivered", "anna@example.org"),
        ("delivered", "ben@example.org"),
    ]
    assert len(read.summary) == 3
    assert "rule disk (host=db-1, team=db) fired at critical: it matches team=db" in read.summary[0]
    assert read.summary[1] == (
        "Notified at 2027-01-15 09:00:00 UTC: anna@example.org by email and ben@example.org by webhook "
        "(opened: something is wrong that this target was not told of)."
    )
    assert read.summary[2].startswith("It is OPEN, and nobody has it")


def test_what_is_seen_again_is_an_occurrence_and_what_repeats_is_counted_before_the_next_one():
    world = World(a_policy())
    world.fire(window=(0, 60 * SECOND))
    for _ in range(3):
        world.wait(MINUTE)
        world.fire(window=(0, 60 * SECOND))
    world.wait(MINUTE)
    world.fire(window=(60 * SECOND, 120 * SECOND))
    world.fire(window=(60 * SECOND, 120 * SECOND))

    read = Read(world)

    again = read.steps[-1]
    assert again.dedup is not None
    assert (again.dedup.outcome, again.dedup.repeats_counted_before) == ("occurrence", 3)
    assert again.dedup.because == "it fires already; this is another look"
    assert (again.notified, again.withheld, again.rate_window) == ([], [], None)
    assert any("were seen 4 times without news" in sentence for sentence in read.summary)


def test_a_silence_is_named_where_it_covered_the_alert_when_it_came():
    world = World(a_policy())
    silence = world.silence("rule_id=disk", lasting=HOUR)

    world.fire("disk", host="a")
    read = Read(world)

    step = read.steps[0]
    assert step.silences is not None
    assert [(matched.number, matched.silence_id) for matched in step.silences.matched] == [
        (silence, world.state.silences[silence].silence.id)
    ]
    assert [(w.kind, w.reason, w.address, w.because) for w in step.withheld] == [
        ("opened", "suppressed", "anna@example.org", "silences cover all of its alerts")
    ]
    assert step.notified == []
    assert read.summary[1] == "Nobody has been notified."
    assert "because silences cover all of its alerts (silence S1)" in read.summary[2]
    assert read.summary[-1].startswith("It is OPEN, and nobody has it; silence S1 covers all of its alerts")


def test_silences_that_cover_a_part_of_an_incident_are_said_to():
    world = World(a_policy(group_by=()))
    world.fire("disk", host="a")
    world.fire("disk", host="b")
    world.fire("disk", host="c")
    world.silence("host=a")
    world.silence("host=~a|b")

    assert "nobody has it; silences S1 and S2 cover 2 of its 3 alerts that fire;" in Read(world).summary[
        -1
    ].replace(" since", ";")


def test_a_silence_is_named_also_where_it_began_after_the_alert():
    world = World(a_policy(repeat_interval=HOUR))
    world.fire("disk", host="a")
    world.wait(10 * MINUTE)
    world.silence("host=b", lasting=3 * HOUR)
    hides = world.silence("host=a", lasting=2 * HOUR)
    world.wait(HOUR)

    step = Read(world).steps[-1]

    assert step.withheld[0].kind == "reminder"
    assert step.silences is not None
    assert [(m.number, m.silence_id) for m in step.silences.matched] == [
        (hides, world.state.silences[hides].silence.id)
    ]


def test_the_rate_limit_says_which_of_the_window_it_was_and_when_the_digest_comes():
    limit = RateLimit(limit=2, window=HOUR, digest_after=5 * MINUTE)
    world = World(a_policy(rate_limit=limit))
    for host in "abc":
        world.fire("disk", host=host)

    charged, withheld = Read(world, 2).steps[0].rate_window, Read(world, 3).steps[0].rate_window

    assert charged is not None
    assert (charged.rule_id, charged.charged, charged.number_in_window, charged.limit, charged.window_s) == (
        "disk", True, 2, 2, 3600,
    )  # fmt: skip
    assert withheld is not None
    assert (withheld.charged, withheld.number_in_window) == (False, None)
    assert withheld.digest_at == world.at + 5 * MINUTE
    assert withheld.because == "rule disk had 2 notifications in 60 min"
    assert "to be told in the digest of 2027-01-15 09:05:00 UTC" in Read(world, 3).summary[2]


def test_what_is_exempt_from_the_rate_limit_says_why():
    world = World(a_policy(rate_limit=RateLimit(limit=0)))
    world.fire("disk", "critical", host="a")
    world.clear("disk", host="a")
    world.send(msgspec.structs.replace(_by_hand(), window_end=1), manual=Manual())

    because = [
        step.rate_window.because
        for number in (1, 2)
        for step in Read(world, number).steps
        if step.rate_window is not None
    ]

    assert because == [
        "the first that tells somebody of trouble at critical is never limited",
        "a notification of kind resolved is never limited",
        "a notification of kind manual is never limited",
    ]


def _by_hand() -> Alert:
    return an_alert("deploy", "info", host="x", message="hello")


@pytest.mark.parametrize(
    ("evidence", "formula"),
    [
        ({"formula": "last = 97 > 90", "points": []}, "last = 97 > 90"),
        ({"formula": "x" * 5_000}, "x" * 1_000),
        ({"formula": ["no text"]}, None),
        (["no rule's"], None),
        (None, None),
    ],
)
def test_what_came_says_what_it_said_and_how_a_rule_came_to_it(evidence: object, formula: str | None):
    world = World(a_policy())
    alert = an_alert("disk", message="97 % full", host="a")
    world.send(msgspec.structs.replace(alert, evidence=evidence))

    received = Read(world).steps[0].received

    assert received is not None
    assert (received.message, received.formula) == ("97 % full", formula)


def test_what_ends_says_why():
    world = World(a_policy())
    world.fire("disk", host="a")
    world.clear("disk", host="a", message="The rule was removed.")

    ends = [step.received for step in Read(world).steps if step.changed is not None]

    assert [received.message for received in ends if received is not None] == ["The rule was removed."]


def test_an_alert_that_joins_says_so():
    world = World(a_policy(group_by=("team",), group_interval=5 * MINUTE))
    world.fire("disk", team="db", host="a")
    world.wait(MINUTE)
    world.fire("disk", team="db", host="b")
    world.wait(5 * MINUTE)

    read = Read(world)

    joined, flushed = read.steps[-3], read.steps[-2]
    assert joined.dedup is not None
    assert joined.dedup.outcome == "joined"
    assert joined.route is not None
    assert (joined.route.name, joined.route.because) == (
        "default",
        "its route and group have an open incident",
    )
    assert (flushed.received, flushed.dedup, flushed.route) == (None, None, None)
    assert [(n.kind, n.because) for n in flushed.notified] == [
        ("updated", "alerts joined, cleared or rose since this target was told")
    ]
    assert "since then updated once" in read.summary[1]


def test_greens_are_counted_and_the_last_one_resolves():
    world = World(a_policy(greens=2))
    world.fire("disk", host="a")
    world.wait(MINUTE)
    world.green("disk", host="a")
    world.wait(MINUTE)
    world.green("disk", host="a")

    read = Read(world)

    counted, resolved = (
        step for step in read.steps if step.received is not None and step.received.status == "green"
    )
    assert counted.dedup is not None
    assert (counted.dedup.outcome, counted.dedup.because) == ("green_counted", "green look 1 of 2")
    assert resolved.dedup is not None
    assert resolved.dedup.outcome == "resolved"
    assert resolved.changed is not None
    assert (resolved.changed.state, resolved.changed.by) == ("RESOLVED", "api")
    assert [n.kind for n in resolved.notified] == ["resolved"]
    assert read.summary[-1].startswith(
        "It is RESOLVED since 2027-01-15 09:02:00 UTC: all of its alerts are clear"
    )


def test_what_comes_back_says_that_it_is_back():
    world = World(a_policy())
    world.fire("disk", host="a")
    world.clear("disk", host="a")
    world.wait(MINUTE)
    world.fire("disk", host="a")

    back = Read(world).steps[-2]

    assert back.changed is not None
    assert (back.changed.state, back.changed.because) == (
        "OPEN",
        "it came back soon after the incident was resolved",
    )
    assert back.dedup is not None
    assert back.dedup.outcome == "reopened"
    assert back.route is not None
    assert back.received is not None


def test_what_is_held_after_a_person_resolved_it_leaves_no_step_and_comes_back_later():
    world = World(a_policy(reopen_within=5 * MINUTE))
    world.fire("disk", host="a")
    world.act("resolve", note="fixed")
    world.wait(MINUTE)
    world.fire("disk", host="a")
    steps = len(Read(world).steps)
    world.wait(10 * MINUTE)
    world.fire("disk", host="a")

    read = Read(world)

    resolved = next(step for step in read.steps if step.changed is not None)
    assert resolved.changed is not None
    assert (resolved.changed.by, resolved.changed.note) == ("anna", "fixed")
    assert len(read.steps) > steps
    back = next(step for step in read.steps[steps:] if step.changed is not None)
    assert back.dedup is not None
    assert (back.dedup.outcome, back.dedup.repeats_counted_before) == ("reopened", 1)
    assert back.changed is not None
    assert back.changed.because == "it was resolved by hand, but its alert still fires"


def test_a_reminder_is_a_step_of_its_own():
    world = World(a_policy(repeat_interval=HOUR))
    world.fire("disk", host="a")
    world.wait(2 * HOUR)

    read = Read(world)

    reminders = [n for step in read.steps for n in step.notified if n.kind == "reminder"]
    assert [n.because for n in reminders] == ["nobody acknowledged it for the repeat interval"] * 2
    assert "reminder twice, last at 2027-01-15 11:00:00 UTC" in read.summary[1]


def test_a_delivery_that_fails_says_what_the_provider_said_and_when_it_is_tried_again():
    world = World(a_policy(), answers=hangs)
    world.fire("disk", host="a")

    world.report(1, Retry(why="451 try later", after_s=600))
    waiting = Read(world)
    world.report(1, Refused(why="550 no such user"), attempt=2)
    dead = Read(world)

    (attempt,) = waiting.steps[-1].attempted
    assert (attempt.outcome, attempt.attempts, attempt.said) == ("retry", 1, "451 try later")
    assert (attempt.channel, attempt.address) == ("email", "anna@example.org")
    assert attempt.next_at is not None
    assert attempt.next_at >= world.at + 600 * SECOND
    assert "451 try later; the next attempt is due at" in waiting.summary[2]
    assert [a.outcome for a in dead.steps[-1].attempted] == ["dead"]
    assert dead.steps[0].notified[0].state == "dead"
    assert dead.summary[2].endswith("550 no such user; it was given up.")


def test_an_acknowledgement_that_lapsed_says_whose_it_was():
    world = World(a_policy(ack_timeout=20 * MINUTE))
    world.fire("disk", host="a")
    world.act("ack", actor="ben")
    acknowledged = Read(world)
    world.wait(20 * MINUTE)
    lapsed = Read(world)

    step = acknowledged.steps[-1]
    assert step.changed is not None
    assert (step.changed.state, step.changed.by, step.changed.until) == ("ACK", "ben", world.at)
    assert acknowledged.summary[-1].startswith("ben has it, until 2027-01-15 09:20:00 UTC")
    step = next(step for step in reversed(lapsed.steps) if step.changed is not None)
    assert step.changed is not None
    assert (step.changed.by, step.changed.because) == ("system", "the acknowledgement by ben lapsed")
    assert "the acknowledgement by ben lapsed" in lapsed.summary[-1]


def test_a_silenced_incident_says_until_when():
    world = World(a_policy())
    world.fire("disk", host="a")
    world.act("silence", until=world.at + HOUR)
    world.wait(MINUTE)
    world.fire("disk", "critical", host="a")

    read = Read(world)

    assert [(w.reason, w.because) for w in read.steps[-1].withheld] == [
        ("suppressed", "the incident is silenced")
    ]
    assert read.summary[-1].startswith("It is SILENCED until 2027-01-15 10:00:00 UTC: anna asked for silence")


def test_what_was_sent_by_hand_was_asked_for():
    world = World(a_policy())
    world.send(_by_hand(), manual=Manual())

    step = Read(world).steps[0]

    assert [(n.kind, n.because) for n in step.notified] == [("manual", "somebody asked for it")]


def test_who_was_told_at_the_same_moment_for_another_reason_is_not_among_those_somebody_asked_for():
    world = World(a_policy("anna", "ops@webhook"))
    world.silence("source=probe")
    world.fire(source="probe")
    world.send(an_alert(source="manual"), manual=Manual(channels=("email",)))

    telling = Read(world).summary[1]

    assert "anna@example.org by email (manual: somebody asked for it); since then opened once" in telling
    assert "ops@example.org" not in telling


def test_without_its_text_an_incident_still_says_what_was_decided():
    world = World(a_policy())
    world.fire("disk", "critical", host="a", message="secret")
    world.act("ack", note="secret")

    read = Read(world, erased=True)

    step = read.steps[0]
    assert step.received is not None
    assert (step.received.rule_id, step.received.severity) == ("disk", "critical")
    assert (step.received.scope, step.received.source) == (None, None)
    assert (step.received.message, step.received.formula) == (None, None)
    assert step.notified[0].address == "anna@example.org"
    assert read.steps[-1].changed is not None
    assert read.steps[-1].changed.note is None
    assert "rule disk fired at critical" in read.summary[0]


def test_looks_that_found_nothing_to_tell_and_bare_notes_are_no_steps():
    world = World(a_policy(repeat_interval=HOUR))
    world.fire("disk", host="a")
    before = len(Read(world).steps)
    world.act("note", note="looking")

    assert len(Read(world).steps) == before


def test_a_long_story_says_that_its_beginning_is_left_out():
    world = World(a_policy())
    world.fire("disk", host="a")
    read = Read(world)

    summary = summarise(read.incident, read.steps[1:], left_out=7)

    assert summary[0] == "Incident #1 has a long story: its first 7 entries are left out here."


def test_many_addresses_are_counted_and_not_all_named():
    world = World(a_policy("a", "b", "c", "d", "e"))
    world.fire("disk", host="a")

    told = Read(world).summary[1]

    assert "a@example.org by email, b@example.org by email, c@example.org by email and 2 more (opened" in told


def test_a_summary_has_one_to_six_sentences_whatever_happened():
    world = World(a_policy(rate_limit=RateLimit(limit=1), repeat_interval=HOUR, ack_timeout=HOUR))
    world.silence("severity=warning", lasting=30 * MINUTE)
    world.fire("disk", host="a", window=(0, 1))
    world.fire("disk", host="a", window=(0, 1))
    world.answers = lambda delivery, attempt, at: Retry(why="down")
    world.wait(5 * HOUR)
    world.act("ack")

    read = Read(world)

    assert len(read.summary) == 6
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in read.summary)


def test_what_others_said_is_repeated_on_one_line_and_not_at_length():
    world = World(a_policy(), answers=hangs)
    world.fire("disk\n\x85rule", "critical", host="a\r\nb" + "x" * 10_000)
    world.report(1, Refused(why="550\n" + "no " * 10_000))

    summary = Read(world).summary

    assert "rule disk rule (host=a bxxx" in summary[0]
    assert "550 no no" in summary[2]
    assert all(len(sentence) < 700 and len(sentence.splitlines()) == 1 for sentence in summary)
