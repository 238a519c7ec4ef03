"""Who is told what and when: groups, reminders, limits, lines, and what becomes of a delivery."""

import pytest
from tests.support.builders import DAY, HOUR, MINUTE, NINE, SECOND, a_policy, a_route, a_target, an_alert
from tests.support.world import World, dump, hangs

from tocsin.core.engine.deliver import back_off
from tocsin.core.model import event as ev
from tocsin.core.model.input import Manual, OutcomeReported
from tocsin.core.model.notification import Accepted, Delivered, DryRun, Refused, Retry
from tocsin.core.model.policy import RateLimit, Retries


def a_world(*targets, answers=None, **more) -> World:
    return World(a_policy(*targets, **more), **({"answers": answers} if answers else {}))


def ends(world: World) -> list[str]:
    return [event.state for event in world.events(ev.DeliveryEnded)]


# Groups and reminders


def test_a_group_waits_before_it_speaks():
    world = a_world(group_by=(), group_wait=30 * SECOND)
    world.fire(host="a")
    world.wait(30 * SECOND - 1)
    world.fire("disk", "critical", host="b")
    assert world.told() == []

    world.wait(1)

    assert [(s.kind, s.severity) for s in world.sent] == [("opened", "critical")]


def test_what_ends_before_its_group_spoke_is_never_told():
    world = a_world(group_wait=30 * SECOND)
    world.fire()
    world.clear()

    world.wait(DAY)

    assert world.told() == []


def test_what_joins_or_clears_waits_for_the_interval_since_the_last_word():
    world = a_world(group_by=(), group_interval=5 * MINUTE)
    world.fire(host="a")
    world.wait(MINUTE)
    world.fire(host="b")
    world.wait(4 * MINUTE)
    assert [s.at - NINE for s in world.sent] == [0, 5 * MINUTE]

    world.clear(host="b")
    world.wait(HOUR)
    assert [s.at - NINE for s in world.sent] == [0, 5 * MINUTE, 10 * MINUTE]

    world.fire(host="c")
    assert world.told() == ["opened", "updated", "updated", "updated"]


def test_a_clear_is_not_told_by_a_route_that_tells_no_ends():
    world = a_world(group_by=(), group_interval=MINUTE, send_resolved=False)
    world.fire(host="a")
    world.fire(host="b")
    world.wait(HOUR)
    sent = len(world.sent)

    world.clear(host="a")
    world.wait(HOUR)
    world.clear(host="b")
    world.wait(HOUR)

    assert len(world.sent) == sent == 2


def test_reminders_come_while_nobody_has_it_and_stop_at_the_end():
    world = a_world(repeat_interval=HOUR)
    world.fire()
    world.wait(2 * HOUR)
    world.clear()
    world.wait(DAY)

    assert world.told() == ["opened", "reminder", "reminder", "resolved"]


def test_an_alert_that_fires_again_in_an_incident_whose_route_is_gone_belongs_to_both():
    world = a_world(group_by=("team",), group_interval=MINUTE)
    world.fire(team="x", host="a")
    world.fire(team="x", host="b")
    world.clear(team="x", host="a")
    world.adopt(a_policy(routes=(a_route("new"),)))
    world.wait(HOUR)

    step = world.fire(team="x", host="a")

    assert step.incidents == ((2, "opened"), (1, "joined"))
    assert world.incident(1).firing == 2


def test_downtime_ends_in_one_word_and_says_how_late():
    world = a_world(repeat_interval=HOUR)
    world.fire()

    world.jump(10 * HOUR + 1)

    assert world.told() == ["opened", "reminder"]
    (late,) = [entry.draft.late_by for entry in world.entries if entry.draft.late_by]
    assert late == 9 * HOUR + 1


def test_a_timer_a_little_late_is_not_called_late():
    world = a_world(repeat_interval=HOUR)
    world.fire()

    world.jump(HOUR + MINUTE)

    assert not any(entry.draft.late_by for entry in world.entries)
    assert world.told() == ["opened", "reminder"]


# The rate limit


def limited(**limit) -> World:
    return a_world(rate_limit=RateLimit(**{"limit": 2, **limit}), repeat_interval=30 * DAY)


def test_the_window_slides():
    world = limited(limit=2, window=HOUR)
    for after in (0, 30 * MINUTE, 30 * MINUTE - 1, 1, 0):
        world.wait(after)
        world.fire(host=str(len(world.state.incidents)))

    told = [(s.incident, s.at - NINE) for s in world.sent if s.kind == "opened"]
    assert told == [(1, 0), (2, 30 * MINUTE), (4, HOUR)]
    assert world.withheld() == [("opened", "rate_limited")] * 2


def test_a_notification_is_charged_once_however_many_hear_it():
    world = World(a_policy("anna", "ben", "ops@webhook", rate_limit=RateLimit(limit=2)))

    for host in "abc":
        world.fire(host=host)

    assert world.told() == ["opened"] * 6
    assert world.state.rates["disk"].times == [NINE, NINE]


def test_each_rule_has_its_own_window():
    world = limited(limit=1)

    for rule in ("disk", "cpu", "disk"):
        world.fire(rule, host=str(len(world.entries)))

    assert world.told() == ["opened", "opened"]


def test_what_ends_something_is_never_limited():
    world = limited(limit=1)
    world.fire(host="a")
    world.fire(host="b")

    world.clear(host="a")
    world.clear(host="b")

    assert world.told() == ["opened", "resolved"]  # Nobody was told that b began.


def test_an_end_is_told_even_if_the_last_news_were_limited():
    world = a_world(rate_limit=RateLimit(limit=1), group_by=(), group_interval=MINUTE)
    world.fire(host="a")
    world.wait(MINUTE)
    world.fire(host="b")
    assert world.withheld() == [("updated", "rate_limited")]

    world.clear(host="a")
    world.clear(host="b")

    assert world.told()[-1] == "resolved"


def test_the_first_word_of_something_critical_is_never_limited_nor_charged():
    world = limited(limit=0)
    world.fire(severity="error")
    assert world.told() == []
    world.wait(MINUTE)

    world.fire(severity="critical")

    assert world.told() == ["opened"]
    assert world.state.rates["disk"].times == []


def test_each_who_hears_of_something_critical_hears_the_first_word():
    on_wire = {"ops": True}
    world = a_world("anna", "ops@webhook", rate_limit=RateLimit(limit=1))
    world.answers = lambda delivery, attempt, at: None if on_wire.get(delivery.target) else Delivered()
    world.fire()
    world.wait(MINUTE)
    world.fire(severity="critical")
    assert world.told("anna") == ["opened", "updated"]
    assert world.told("ops") == ["opened"]

    on_wire.clear()
    world.report(2, Delivered())

    assert world.told("ops") == ["opened", "updated"]
    assert world.withheld() == []


def test_a_digest_comes_five_minutes_after_the_first_and_then_every_thirty():
    world = limited(limit=0)
    for minute in range(120):
        world.fire(host=str(minute))
        world.wait(MINUTE)

    digests = [(s.at - NINE) // MINUTE for s in world.sent if s.kind == "digest"]
    assert digests == [5, 35, 65, 95]
    counts = [event.because.split()[4] for event in world.events(ev.Notified) if event.kind == "digest"]
    assert counts == ["5", "30", "30", "30"]


def test_a_quiet_rule_has_no_digest():
    world = limited(limit=0)
    world.fire(severity="error")
    world.wait(DAY)

    assert world.told() == ["digest"]
    assert world.sent[0].severity == "error"
    assert world.state.rates["disk"].incidents == []


def test_reminders_are_limited_too():
    world = a_world(rate_limit=RateLimit(limit=1, window=DAY), repeat_interval=HOUR)
    world.fire()
    world.wait(2 * HOUR + 5 * MINUTE)

    assert world.withheld() == [("reminder", "rate_limited")] * 2
    assert world.told() == ["opened", "digest", "digest"]


def test_without_a_limit_nothing_is_counted():
    world = a_world()
    for host in range(30):
        world.fire(host=str(host))

    assert len(world.sent) == 30
    assert world.state.rates == {}


# The line to a target


def test_what_is_on_the_wire_ends_before_the_next_word_is_composed():
    world = a_world(answers=hangs)
    world.fire()
    world.clear()
    assert world.told() == ["opened"]

    world.report(1, Delivered())

    assert world.told() == ["opened", "resolved"]


def test_what_joined_while_the_line_was_busy_waits_for_the_next_group():
    world = a_world(group_by=(), group_interval=10 * MINUTE, answers=hangs)
    world.fire(host="a")
    world.wait(10 * MINUTE)
    world.fire(host="b")
    world.wait(5 * MINUTE)

    world.report(1, Delivered())
    assert world.told() == ["opened"]

    world.wait(10 * MINUTE)
    assert world.told() == ["opened", "updated"]


def test_a_line_that_is_busy_for_long_does_not_make_the_ledger_spin():
    world = a_world(repeat_interval=MINUTE, answers=hangs)
    world.fire()
    entries = len(world.entries)

    world.wait(HOUR)
    assert len(world.entries) == entries + 1

    world.report(1, Delivered())
    assert world.told() == ["opened", "reminder"]


def test_what_waits_for_another_attempt_is_merged_into_what_is_newer():
    world = a_world()
    world.answers = lambda delivery, attempt, at: Retry(why="503", after_s=600)
    world.fire()
    world.wait(MINUTE)

    world.clear()

    assert world.told() == ["opened", "resolved"]
    assert ends(world) == ["merged"]
    (merged,) = world.events(ev.DeliveryEnded)
    assert merged.into == 2
    assert world.state.deliveries[2].first_at == NINE


def test_who_heard_nothing_yet_hears_of_a_new_incident_not_of_a_change():
    world = a_world()
    world.answers = lambda delivery, attempt, at: Retry(why="503", after_s=600)
    world.fire()
    world.wait(MINUTE)

    world.fire(severity="critical")

    assert [(s.kind, s.severity) for s in world.sent] == [("opened", "warning"), ("opened", "critical")]


def test_reminders_do_not_keep_a_dead_sink_alive():
    world = a_world("anna", "ops@webhook", repeat_interval=HOUR)
    world.answers = lambda delivery, attempt, at: (
        Retry(why="gone") if delivery.target == "ops" else Delivered()
    )
    world.fire()

    world.wait(3 * DAY + HOUR)

    dead = [e for e in world.events(ev.DeliveryEnded) if e.state == "dead"]
    assert [e.delivery for e in dead] == [2]
    assert dead[0].attempts > 100
    assert world.told("anna").count("meta") == 1


def test_news_do_not_keep_a_dead_sink_alive():
    world = a_world(group_by=(), group_interval=HOUR)
    world.answers = lambda delivery, attempt, at: Retry(why="gone")
    world.fire(host="first")
    for hour in range(71):
        world.wait(HOUR)
        world.fire(host=str(hour))

    assert "dead" not in ends(world)
    world.wait(HOUR)
    assert "dead" in ends(world)


# Attempts


def test_an_attempt_ends_as_the_provider_says():
    for outcome, end in (
        (Delivered(), "delivered"),
        (Accepted(), "accepted"),
        (DryRun(), "dry_run"),
        (Refused(why="410"), "dead"),
    ):
        world = a_world(answers=hangs)
        world.fire()

        world.report(1, outcome)

        assert ends(world) == [end]
        assert world.state.deliveries == {}


def test_the_waits_between_attempts_grow_and_their_jitter_is_of_the_key():
    retries = Retries()
    steps = [1, 2, 4, 15, 60, 300, 900, 1800, 1800]

    waits = [back_off(retries, attempt, "key") for attempt in range(1, 10)]

    assert all(s * SECOND <= wait <= s * SECOND * 6 // 5 for s, wait in zip(steps, waits, strict=True))
    assert waits == [back_off(retries, attempt, "key") for attempt in range(1, 10)]
    assert waits != [back_off(retries, attempt, "another") for attempt in range(1, 10)]


def test_an_attempt_is_made_again_until_it_succeeds():
    world = a_world()
    world.answers = lambda delivery, attempt, at: Retry(why="503") if attempt < 4 else Delivered()
    world.fire()

    world.wait(MINUTE)

    assert [s.attempt for s in world.sent] == [1, 2, 3, 4]
    assert {s.delivery for s in world.sent} == {1}
    assert ends(world) == ["delivered"]


@pytest.mark.parametrize(("asked", "waited"), [(600, 600), (0, 1), (7200, 3600)])
def test_a_provider_may_ask_for_time_up_to_an_hour(asked, waited):
    world = a_world(answers=hangs)
    world.fire()

    world.report(1, Retry(why="429", after_s=asked))

    wait = world.state.deliveries[1].due - NINE
    assert waited * SECOND <= wait <= waited * SECOND * 6 // 5


def test_what_cannot_be_delivered_is_given_up_in_time_and_somebody_else_hears_of_it():
    world = a_world("anna", "ops@webhook", retries=Retries(give_up=HOUR))
    world.answers = lambda delivery, attempt, at: (
        Retry(why="x") if delivery.channel == "email" else Delivered()
    )
    world.fire()

    world.wait(HOUR - 1)
    assert world.told("ops") == ["opened"]
    world.wait(1)

    assert world.told("ops") == ["opened", "meta"]
    assert ends(world).count("dead") == 1


def test_the_last_attempt_comes_no_sooner_than_the_provider_asked_for():
    world = a_world(retries=Retries(give_up=HOUR), answers=hangs)
    world.fire()
    world.wait(HOUR - SECOND)

    world.report(1, Retry(why="429", after_s=30))

    assert world.state.deliveries[1].due == NINE + HOUR + 29 * SECOND
    world.wait(30 * SECOND)
    world.report(1, Retry(why="429", after_s=30), attempt=2)
    assert ends(world) == ["dead"]


def test_a_refusal_is_final_and_its_meta_notification_starts_no_other():
    world = a_world("anna", "ops@webhook")
    world.answers = lambda delivery, attempt, at: Refused(why="410")

    world.fire()

    assert world.told() == ["opened", "opened", "meta", "meta"]
    assert ends(world) == ["dead"] * 4


def test_with_one_channel_nobody_hears_of_its_death():
    world = a_world()
    world.answers = lambda delivery, attempt, at: Refused(why="410")

    world.fire()

    assert world.told() == ["opened"]


def test_an_outcome_that_is_out_of_date_is_ignored():
    world = a_world(answers=hangs)
    world.fire()
    world.report(1, Retry(why="503"))
    before = dump(world.state)

    for delivery, attempt in ((1, 1), (1, 3), (9, 1)):
        report = OutcomeReported(delivery=delivery, attempt=attempt, outcome=Delivered())
        assert not world._take(report, "system").drafts

    assert dump(world.state) == before


def test_a_delivery_may_outlive_its_incident():
    world = a_world("anna", "ops@webhook", reopen_within=0)
    world.answers = lambda d, attempt, at: None if d.kind == "manual" else Delivered()
    world.fire()
    world.send(an_alert(), manual=Manual(channels=("webhook",)))
    manual = world.state.counters.delivery
    world.state.incidents[1].told[1].delivery = 0  # As if it was not the head of the line.
    world.clear()
    world.wait(HOUR)
    assert world.state.incidents == {}

    world.report(manual, Delivered())

    assert world.state.deliveries == {}
    assert world.entries[-1].draft.incident == 0


# By hand


def test_what_is_sent_by_hand_is_told_whatever_holds():
    world = a_world("anna", "ops@webhook", rate_limit=RateLimit(limit=0))
    world.silence()

    world.send(an_alert(), manual=Manual())
    world.send(an_alert(), manual=Manual(channels=("webhook",)))

    assert world.told("anna") == ["manual"]
    assert world.told("ops") == ["manual", "manual"]


def test_who_was_told_by_hand_is_not_told_the_same_again():
    world = a_world("anna", "ops@webhook")

    world.send(an_alert(), manual=Manual())

    assert world.told("anna") == world.told("ops") == ["manual"]
    world.clear()
    assert world.told("anna") == world.told("ops") == ["manual", "resolved"]


def test_what_is_sent_by_hand_to_a_channel_plans_to_tell_nobody_else_and_reminds_nobody():
    world = a_world("anna", "ops@webhook")

    world.send(an_alert(), manual=Manual(channels=("email",)))
    world.wait(DAY)

    assert world.told("anna") == ["manual"]
    assert world.told("ops") == []
    assert world.events(ev.FlushPlanned, ev.Flushed) == []
    world.clear()
    assert world.told("anna") == ["manual", "resolved"]
    assert world.told("ops") == []


def test_a_send_to_a_channel_of_what_fires_already_is_one_notification_and_no_more():
    world = a_world("anna", "ops@webhook")
    world.fire()

    for severity in ("warning", "critical"):
        world.send(an_alert("disk", severity), manual=Manual(channels=("email",)))

    assert world.told("anna") == ["opened", "manual", "manual"]
    assert world.told("ops") == ["opened"]


def test_a_send_to_a_channel_opens_again_what_was_over_for_that_channel_alone():
    world = a_world("anna", "ops@webhook")
    world.fire()
    world.act("resolve")
    world.wait(MINUTE)

    assert world.send(an_alert(), manual=Manual(channels=("email",))).outcome == "reopened"
    world.wait(DAY)

    assert world.told("anna") == ["opened", "resolved", "manual"]
    assert world.told("ops") == ["opened", "resolved"]
    world.fire()
    assert world.told("ops") == ["opened", "resolved", "opened"]


def test_a_send_to_a_channel_that_takes_an_alert_from_under_its_silence_lets_everybody_hear_of_the_alert():
    world = a_world("anna", "ops@webhook")
    world.silence("source=probe")
    world.fire(source="probe")
    assert world.told() == []

    world.send(an_alert(source="manual"), manual=Manual(channels=("email",)))

    assert world.told("anna") == ["manual"]
    assert world.told("ops") == ["opened"]


def test_what_is_sent_by_hand_is_not_held():
    world = a_world()
    world.fire()
    world.act("resolve")
    world.wait(MINUTE)

    assert world.send(an_alert(), manual=Manual()).outcome == "reopened"
    assert world.told() == ["opened", "resolved", "manual"]


def test_what_is_sent_by_hand_to_named_channels_is_sent_once():
    routes = (a_route("first", continue_=True), a_route("second"))
    world = a_world(routes=routes)

    world.send(an_alert(), manual=Manual(channels=("email",)))

    assert world.told().count("manual") == 1


def test_a_dry_run_reaches_nobody_and_opens_nothing():
    world = a_world("anna", "ops@webhook", repeat_interval=HOUR, rate_limit=RateLimit(limit=1))
    world.answers = lambda delivery, attempt, at: DryRun() if delivery.dry_run else Delivered()

    rehearsed = world.send(an_alert(), manual=Manual(channels=("email",), dry_run=True))
    world.wait(2 * HOUR)

    assert (rehearsed.outcome, rehearsed.incidents) == ("dry_run", ())
    assert [(s.kind, s.incident) for s in world.sent] == [("manual", 0)]
    assert ends(world) == ["dry_run"]

    assert world.fire().incidents == ((1, "opened"),)
    assert ends(world) == ["dry_run", "delivered", "delivered"]
    assert world.withheld() == []


def test_a_dry_run_on_an_incident_leaves_it_as_it_is():
    world = a_world("anna")
    world.fire()
    before = len(world.sent)

    world.send(an_alert(), manual=Manual(dry_run=True))
    world.wait(1)

    assert len(world.sent) == before + 1
    assert world.clear().incidents == ((1, "resolved"),)


# Policies


def test_a_target_that_is_gone_hears_nothing_more_and_what_waits_for_it_ends():
    world = a_world("anna", "ops@webhook", answers=hangs, repeat_interval=HOUR)
    world.fire(host="a")
    world.fire(host="b")
    entries = len(world.entries)

    world.adopt(a_policy("anna"))

    drafts = [entry.draft for entry in world.entries[entries:]]
    assert [(d.kind, d.incident, d.follows) for d in drafts] == [
        ("policy", 0, False),
        ("cancelled", 1, True),
        ("cancelled", 2, True),
    ]
    assert ends(world) == ["cancelled", "cancelled"]
    world.report(1, Delivered())
    world.send(an_alert(host="a"), manual=Manual())
    world.wait(DAY)
    assert world.told("ops") == ["opened", "opened"]
    assert not world._take(OutcomeReported(delivery=2, attempt=1, outcome=Delivered()), "system").drafts


def test_a_digest_leaves_out_who_is_gone():
    world = a_world("anna", "ops@webhook", rate_limit=RateLimit(limit=0))
    world.fire()
    world.adopt(a_policy("anna", rate_limit=RateLimit(limit=0)))

    world.wait(HOUR)

    assert (world.told("anna"), world.told("ops")) == (["digest"], [])


def test_a_delivery_that_belongs_to_no_incident_is_cancelled_too():
    world = a_world("anna", "ops@webhook", rate_limit=RateLimit(limit=0), answers=hangs)
    world.fire()
    world.wait(HOUR)

    world.adopt(a_policy("anna"))

    assert ends(world) == ["cancelled"]


def test_the_line_of_a_target_that_left_and_ends_late_plans_nothing():
    world = a_world("anna", "ops@webhook")
    world.answers = lambda d, attempt, at: Delivered()
    world.fire()
    world.adopt(a_policy("ops@webhook", routes=(a_route("x"),)))
    world.adopt(a_policy("anna", "ops@webhook"))
    world.wait(5 * HOUR)

    assert world.told("anna") == ["opened", "reminder"]


def test_open_incidents_keep_their_route_and_limits_act_at_once():
    world = a_world(repeat_interval=HOUR)
    world.fire()

    world.adopt(a_policy(repeat_interval=DAY, rate_limit=RateLimit(limit=0)))
    world.wait(HOUR)

    assert world.withheld() == [("reminder", "rate_limited")]


def test_the_same_policy_again_changes_nothing():
    world = a_world()
    entries = len(world.entries)

    assert world.adopt(a_policy()).outcome == "unchanged"

    assert len(world.entries) == entries
    assert a_target("anna").channel == "email"
