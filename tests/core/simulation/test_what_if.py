"""What would have been: each thing that a report says, on the smallest house that shows it."""

import msgspec
import pytest
from tests.core.simulation.recording import again, erased, recording
from tests.support.builders import DAY, HOUR, MINUTE, SECOND, a_matcher, a_policy, a_route, an_alert
from tests.support.world import World

from tocsin.core.model.errors import Invalid
from tocsin.core.model.input import (
    DeliveryDiscardAsked,
    MaintenanceCut,
    Manual,
    SilenceMoved,
)
from tocsin.core.model.notification import Accepted, Retry, Target
from tocsin.core.model.policy import Policy, RateLimit
from tocsin.core.simulation.report import Count, Report


def three(recorded: int, again: int, candidate: int) -> Count:
    return Count(recorded=recorded, again=again, candidate=candidate)


def on(world: World, candidate: Policy, **more: object) -> Report:
    return again(recording(world), candidate, until=more.pop("until", world.at + 1), **more)


def critical(world: World) -> World:
    """A CRITICAL incident that is over after an hour."""
    world.wait(MINUTE)
    world.fire("disk", "critical", host="a")
    world.wait(HOUR)
    world.clear("disk", host="a")
    world.wait(HOUR)
    return world


# What is the same


def test_an_empty_ledger_has_nothing_to_differ():
    report = again([], a_policy())

    assert report.is_same
    assert report.inputs == {"alerts": 0, "repeats": 0}
    assert report.numbers.opened == three(0, 0, 0)


def test_the_same_policy_changes_nothing_and_the_record_is_met_exactly():
    world = critical(World(a_policy("anna", "ops@webhook", group_wait=30 * SECOND)))

    report = on(world, a_policy("anna", "ops@webhook", group_wait=30 * SECOND))

    assert report.is_same
    assert (report.drift.same, report.drift.found) == (report.effect.same, report.effect.found) == (1, 0)
    assert report.numbers.kinds == {"opened": three(1, 1, 1), "resolved": three(1, 1, 1)}
    assert report.numbers.channels == {"email": three(2, 2, 2), "webhook": three(2, 2, 2)}
    assert report.numbers.first_notification.candidate.p50 == 30 * SECOND


def test_the_same_question_has_the_same_answer_byte_for_byte():
    world = critical(World(a_policy()))
    candidate = a_policy(group_wait=MINUTE)

    once, twice = (msgspec.json.encode(on(world, candidate)) for _ in range(2))

    assert once == twice


# Critical


def test_a_critical_incident_that_would_be_told_later_is_named():
    world = critical(World(a_policy()))

    (late,) = on(world, a_policy(group_wait=5 * MINUTE)).critical

    assert (late.recorded, late.rule_id, late.labels) == (1, "disk", {"host": "a"})
    assert late.late_at == late.told_at + 5 * MINUTE
    assert late.because == "group_wait: 0s -> 5m"


def test_a_critical_incident_of_which_nobody_would_be_told_is_named():
    world = critical(World(a_policy()))

    report = on(world, a_policy(routes=(a_route("quiet", "severity=critical", channels=()),)))

    (late,) = report.critical
    assert late.late_at == 0
    assert (
        late.because
        == "its route quiet tells nobody; route: default -> quiet; targets: email anna@example.org -> nobody"
    )
    assert not report.is_same


def test_a_critical_incident_that_is_over_before_the_wait_is_missed():
    world = critical(World(a_policy()))

    (late,) = on(world, a_policy(group_wait=2 * HOUR)).critical

    assert late.late_at == 0


def test_a_critical_incident_that_nobody_was_told_of_by_the_end_is_missed():
    world = World(a_policy())
    world.wait(MINUTE)
    world.fire("disk", "critical")
    world.wait(MINUTE)

    report = on(world, a_policy(group_wait=2 * HOUR))

    assert [late.late_at for late in report.critical] == [0]


def test_a_rise_to_critical_that_would_not_be_told_is_named_though_its_opening_was():
    world = World(a_policy())
    world.wait(MINUTE)
    world.fire("disk", "warning", host="a")
    world.wait(MINUTE)
    world.fire("disk", "critical", host="a")
    world.wait(HOUR)
    quiet = a_route("quiet", "severity=warning", channels=())

    report = on(world, a_policy(routes=(quiet,)))

    assert [late.rule_id for late in report.critical] == ["disk"]


def test_a_channel_that_was_down_does_not_tell_anybody_of_what_is_critical():
    down = {"webhook": True}
    world = World(
        a_policy("anna", "ops@webhook"),
        answers=lambda d, n, at: (
            Retry(why="503") if d.channel == "webhook" and down["webhook"] else Accepted()
        ),
    )
    world.wait(MINUTE)
    world.fire("disk", "critical")
    world.wait(10 * SECOND)
    down["webhook"] = False
    world.wait(HOUR)
    world.clear("disk")
    world.wait(HOUR)

    (late,) = on(world, a_policy("ops@webhook")).critical

    assert 10 * SECOND <= late.late_at - late.told_at < MINUTE


def test_other_groups_are_no_reason_to_call_a_critical_alert_late():
    world = World(a_policy(group_by=("...",)))
    for number in range(3):
        world.wait(HOUR)
        world.fire("disk", "critical", host=f"h{number}")

    report = on(world, a_policy(group_by=("rule_id",), group_interval=0))

    assert report.critical == ()
    assert report.numbers.opened == three(3, 3, 1)


def test_critical_told_earlier_is_no_reason_to_worry():
    world = critical(World(a_policy(group_wait=5 * MINUTE)))

    report = on(world, a_policy())

    assert report.critical == ()
    assert report.effect.differing == 1


# Numbers


def test_a_longer_wait_is_seen_in_the_time_to_the_first_notification():
    world = World(a_policy())
    for number in range(10):
        world.wait(DAY)
        world.fire(host=f"h{number}")

    waits = on(world, a_policy(group_wait=5 * MINUTE)).numbers.first_notification

    assert (waits.again.p50, waits.again.p90) == (0, 0)
    assert (waits.candidate.p50, waits.candidate.p90, waits.candidate.untold) == (5 * MINUTE, 5 * MINUTE, 1)


def test_notifications_are_counted_for_each_target_and_hour_and_those_at_night_in_its_zone():
    world = World(a_policy("anna", "ben"))  # It is 09:00 UTC, 10:00 in Berlin.
    world.wait(11 * HOUR + 30 * MINUTE)
    world.fire(host="a")
    world.wait(HOUR)
    world.clear(host="a")
    world.wait(HOUR)

    report = on(world, a_policy("anna", group_wait=45 * MINUTE), zone="Europe/Berlin")

    people = {one.target: (one.notifications, one.nights) for one in report.numbers.people}
    assert people == {
        "anna": (three(2, 2, 2), three(1, 1, 2)),
        "ben": (three(2, 2, 0), three(1, 1, 0)),
    }
    assert report.numbers.nights == three(2, 2, 2)
    assert [hour for hour, count in enumerate(report.numbers.hours) if count.again] == [21, 22]
    assert [hour for hour, count in enumerate(report.numbers.hours) if count.candidate] == [22]


def test_a_zone_that_is_none_is_refused_before_the_long_work():
    with pytest.raises(Invalid, match="Nowhere/Land"):
        on(World(a_policy()), a_policy(), zone="Nowhere/Land")


def test_what_a_rate_limit_withholds_is_counted_by_its_reason_and_its_digest_too():
    world = World(a_policy())
    for number in range(5):
        world.fire(host=f"h{number}")
        world.wait(SECOND)
    world.wait(HOUR)

    report = on(world, a_policy(rate_limit=RateLimit(limit=2)))

    assert report.numbers.withheld == {"rate_limited": three(0, 0, 3)}
    assert report.numbers.kinds["digest"] == three(0, 0, 1)
    assert report.effect.differing == 3
    assert {one.settings for one in report.effect.differences} == {("rate_limit: none -> 2 in 1h",)}


def test_a_difference_names_both_sides_and_the_setting_that_made_it():
    world = critical(World(a_policy()))

    (one,) = on(world, a_policy(group_wait=MINUTE)).effect.differences

    assert one.recorded == 1
    assert one.before.what == one.after.what == "told opened (email anna@example.org)"
    assert one.after.at == one.before.at + MINUTE
    assert one.settings == ("group_wait: 0s -> 1m",)


def test_of_very_many_differences_the_most_severe_are_kept_and_all_are_counted():
    world = World(a_policy())
    for number in range(250):
        world.fire(severity="critical" if number == 200 else "warning", host=f"h{number}")
        world.wait(SECOND)

    effect = on(world, a_policy(group_wait=MINUTE)).effect

    assert effect.found == 250
    assert len(effect.differences) == 200
    assert effect.differences[0].severity == "critical"
    assert [one.recorded for one in effect.differences[1:4]] == [1, 2, 3]


def test_grouping_that_joins_incidents_shows_on_both_sides():
    world = World(a_policy(group_by=("...",)))
    for number in range(3):
        world.wait(MINUTE)
        world.fire(host=f"h{number}")

    effect = on(world, a_policy(group_by=("rule_id",))).effect

    assert (effect.differing, effect.only_before, effect.only_after) == (1, 2, 0)
    assert effect.differences[0].after.alerts == 3


def test_progress_is_told():
    world = critical(World(a_policy()))
    seen = []

    on(world, a_policy(), on_progress=lambda doing, entries: seen.append(doing))

    assert "deciding" in seen


# What happened besides alerts


def test_a_silence_acts_under_both_policies():
    world = World(a_policy())
    world.silence("rule_id=disk", lasting=HOUR)
    world.wait(MINUTE)
    world.fire()
    world.wait(2 * HOUR)

    report = on(world, a_policy(group_wait=MINUTE))

    assert report.inputs["silences"] == 1
    assert report.numbers.withheld == {"suppressed": three(1, 1, 1)}
    assert report.drift.found == 0


def test_silences_that_people_move_or_end_are_found_by_their_numbers():
    world = World(a_policy())
    world.silence("rule_id=load", lasting=HOUR)
    number = world.silence("rule_id=disk", lasting=HOUR)
    world.feed(SilenceMoved(silence=number, ends_at=world.at + 3 * HOUR))
    world.wait(MINUTE)
    world.fire("disk")
    world.wait(2 * HOUR)
    world.cut(number)
    world.wait(MINUTE)

    report = on(world, a_policy(), since=world.at - HOUR)

    assert report.drift.found == report.effect.found == 0
    assert report.inputs["silences"] == 1
    assert report.left_out.nothing == three(0, 0, 0)


def test_a_maintenance_makes_its_silences_anew_and_they_can_be_ended():
    world = World(a_policy())
    number = world.maintain("rule_id=disk", begins="2026-03-02T09:30")
    world.wait(HOUR)
    world.fire("disk")
    made = max(world.state.silences)
    world.cut(made)
    world.wait(DAY)
    world.feed(MaintenanceCut(maintenance=number))
    world.wait(DAY)

    report = on(world, a_policy())

    assert report.inputs["maintenances"] == 2
    assert report.left_out.nothing == three(0, 0, 0)
    assert report.drift.found == report.effect.found == 0


def test_an_action_that_finds_nothing_to_act_on_is_counted():
    world = World(a_policy())
    world.fire(window=(1, 2))
    world.wait(2 * HOUR)
    world.fire(window=(1, 2))  # It is seen again, which leaves no entry.
    world.wait(HOUR)
    world.act("ack", 1)
    world.wait(MINUTE)
    world.clear()

    report = on(world, a_policy(resolve_timeout=MINUTE, reopen_within=0))

    assert report.inputs["actions"] == 1
    assert report.left_out.nothing == three(0, 0, 1)


def test_an_action_that_cannot_be_taken_is_counted():
    world = World(a_policy(greens=3))
    world.fire()
    world.wait(MINUTE)
    world.green()
    world.wait(MINUTE)
    world.act("ack", 1)

    report = on(world, a_policy(greens=1))

    assert report.left_out.conflicts == three(0, 0, 1)


def test_an_action_goes_to_every_incident_that_holds_one_of_the_alerts():
    world = World(a_policy(group_by=("rule_id",), ack_timeout=HOUR))
    for number in range(3):
        world.fire(host=f"h{number}")
        world.wait(MINUTE)
    world.act("ack", 1)
    world.wait(5 * HOUR)

    report = on(world, a_policy(group_by=("...",), ack_timeout=HOUR))

    assert report.left_out.nothing == report.left_out.conflicts == three(0, 0, 0)
    assert report.numbers.kinds["reminder"].candidate == 3 * report.numbers.kinds["reminder"].again


def test_what_people_do_to_single_deliveries_is_not_done_again_and_counted():
    world = World(a_policy(), answers=lambda delivery, attempt, at: Retry(why="503"))
    world.fire()
    world.feed(DeliveryDiscardAsked(delivery=1, reason="never mind"))

    assert on(world, a_policy()).left_out.deliveries == 1


def test_what_somebody_sends_by_hand_goes_where_they_said():
    world = World(a_policy("anna", "ops@webhook"))
    world.send(an_alert(host="a"), manual=Manual(channels=("webhook",)))
    world.wait(MINUTE)
    world.send(an_alert(host="b"), manual=Manual(channels=("email",), dry_run=True))

    report = on(world, a_policy("anna", "ops@webhook"))

    assert report.is_same
    assert report.numbers.kinds == {"manual": three(1, 1, 1)}
    assert report.numbers.channels == {"webhook": three(1, 1, 1)}
    assert report.inputs["sends"] == 1


def test_the_recorded_policy_changes_when_it_did_and_the_candidate_stays():
    world = World(a_policy())
    world.fire(host="a")
    world.wait(HOUR)
    world.adopt(a_policy(group_wait=5 * MINUTE))
    world.fire(host="b")
    world.wait(HOUR)

    report = on(world, a_policy())

    assert report.inputs["policies"] == 2
    assert report.drift.found == 0
    assert (report.effect.same, report.effect.differing) == (1, 1)


# Erased


def test_what_was_erased_is_counted_and_left_out_of_all_courses():
    world = World(a_policy())
    for host in "ab":
        world.fire(host=host)
        world.wait(MINUTE)
        world.clear(host=host)
        world.wait(DAY)
    entries = recording(world)
    first = [header for header, decision, _ in entries if b'"kind":"alert"' in header][:2]

    report = again(erased(entries, which=lambda header: header in first), a_policy(), until=world.at)

    assert report.left_out.erased == 2
    assert report.inputs["alerts"] == 2
    assert (report.drift.same, report.drift.found, report.drift.left_out) == (1, 0, 1)
    assert report.effect.found == 0
    assert report.numbers.opened == three(2, 1, 1)


def test_a_policy_whose_addresses_were_erased_still_decides():
    world = critical(World(a_policy("anna", "ops@webhook")))
    entries = erased(recording(world), which=lambda header: b'"kind":"policy"' in header)

    report = again(entries, a_policy("anna", "ops@webhook"), until=world.at)

    assert report.is_same, "where a channel has one address on both sides they are the same"


def test_an_erased_silence_and_maintenance_and_dry_run_are_counted():
    world = World(a_policy())
    world.silence("rule_id=disk")
    world.maintain("rule_id=disk")
    world.send(an_alert(host="b"), manual=Manual(dry_run=True))

    report = again(
        erased(recording(world), which=lambda header: b'"kind":"policy"' not in header), a_policy()
    )

    assert report.left_out.erased == 3


# The period


def test_what_came_before_the_period_is_there_when_it_begins_and_keeps_its_rules():
    world = World(a_policy(repeat_interval=HOUR))
    world.fire(host="a")
    world.wait(90 * MINUTE)
    since = world.at
    world.fire(host="b")
    world.wait(5 * HOUR)

    report = on(world, a_policy(repeat_interval=4 * HOUR), since=since)

    assert report.since == since
    assert report.numbers.opened == three(1, 1, 1)
    assert report.numbers.kinds["reminder"] == three(10, 10, 6)
    assert report.drift.found == 0
    assert [one.recorded for one in report.effect.differences] == [2]


def test_an_incident_that_was_open_when_the_period_began_takes_what_comes_for_it():
    world = World(a_policy(group_by=("rule_id",)))
    world.fire(host="a")
    world.wait(DAY)
    since = world.at
    world.fire(host="b")
    world.wait(HOUR)

    report = on(world, a_policy(group_by=("rule_id",)), since=since)

    assert report.numbers.opened == three(0, 0, 0)
    assert report.numbers.kinds["updated"] == three(1, 1, 1)


def test_what_comes_at_the_end_or_later_is_not_decided():
    world = World(a_policy())
    world.fire(host="a")
    world.wait(HOUR)
    until = world.at
    world.fire(host="b")

    report = on(world, a_policy(), until=until)

    assert report.inputs["alerts"] == 1
    assert report.until == until


def test_a_period_without_entries_still_has_what_time_brings():
    world = World(a_policy(repeat_interval=HOUR))
    world.fire()
    world.wait(5 * HOUR)

    report = again(
        recording(world), a_policy(repeat_interval=HOUR), since=world.at + 1, until=world.at + 3 * HOUR + 1
    )

    assert report.numbers.kinds == {"reminder": three(0, 3, 3)}


# Targets


def test_the_same_address_is_the_same_target_whatever_its_id():
    world = critical(World(a_policy("anna")))
    candidate = msgspec.structs.replace(
        a_policy("anna"), targets=(Target(id="f00d", channel="email", address="anna@example.org"),)
    )

    assert on(world, candidate).is_same


def test_a_target_that_the_record_does_not_know_is_somebody_else():
    world = critical(World(a_policy("anna")))

    report = on(world, a_policy("carla"))

    assert {one.address: one.notifications for one in report.numbers.people} == {
        "anna@example.org": three(2, 2, 0),
        "carla@example.org": three(0, 0, 2),
    }


def test_a_candidate_without_targets_can_keep_those_of_the_record():
    world = critical(World(a_policy("anna", "ops@webhook")))
    routes = a_policy(group_wait=MINUTE).routes

    report = on(world, Policy(routes=routes, rate_limit=None), keeps_targets=True)

    assert report.numbers.channels == {"email": three(2, 2, 2), "webhook": three(2, 2, 2)}
    assert report.effect.differing == 1


def test_a_candidate_that_is_no_policy_is_refused():
    with pytest.raises(Invalid, match="pager"):
        on(World(a_policy()), a_policy(channels=("pager",)))


def test_a_candidate_may_match_on_anything_that_an_alert_has():
    world = critical(World(a_policy()))
    late = a_route("night", "host=~a.*", group_wait=MINUTE)
    assert late.matchers == (a_matcher("host=~a.*"),)

    report = on(world, a_policy(routes=(late,)))

    assert report.effect.differences[0].settings == ("route: default -> night", "group_wait: 0s -> 1m")


# Long after


def test_what_somebody_reopens_weeks_later_is_found_again_also_if_it_ended_before_the_period():
    world = World(a_policy(ack_timeout=HOUR))
    for host in "ab":
        world.fire(host=host)
        world.wait(MINUTE)
        world.clear(host=host)
        world.wait(3 * DAY)
    since = world.at
    world.fire(host="c")
    world.wait(MINUTE)
    world.clear(host="c")
    world.wait(20 * DAY)
    world.act("reopen", 2)
    world.wait(MINUTE)
    world.act("reopen", 3)
    world.act("ack", 3)
    world.wait(DAY)

    report = on(world, a_policy(ack_timeout=HOUR), since=since)

    assert report.inputs["actions"] == 3
    assert report.numbers.reopened == three(2, 2, 2)
    assert report.left_out.nothing == report.left_out.conflicts == three(0, 0, 0)
    assert report.drift.found == report.effect.found == 0


def test_what_is_critical_and_untold_when_the_period_begins_can_still_be_late():
    world = World(a_policy(group_wait=10 * MINUTE))
    world.fire("disk", "critical", host="told")
    world.wait(HOUR)
    world.fire("disk", "critical", host="untold")
    world.wait(MINUTE)
    since = world.at
    world.fire("load", "warning")
    world.wait(DAY)

    report = on(world, a_policy("ben", group_wait=10 * MINUTE), since=since)

    assert report.critical == (), "ben hears at once of what is new to him"
    assert report.numbers.kinds["opened"].again == 2
    assert report.drift.found == 0


def test_a_critical_alert_that_ends_untold_under_both_policies_is_nobodys_loss():
    world = World(a_policy(group_wait=HOUR))
    world.wait(MINUTE)
    world.fire("disk", "critical")
    world.wait(MINUTE)
    world.clear("disk")
    world.wait(DAY)

    report = on(world, a_policy(group_wait=2 * HOUR))

    assert report.critical == ()


def test_a_critical_alert_in_two_incidents_is_told_of_once_for_each():
    both = (a_route("one", "severity=critical", continue_=True), a_route("two", "severity=critical"))
    world = World(a_policy(routes=both))
    world.wait(MINUTE)
    world.fire("disk", "critical")
    world.wait(HOUR)
    world.clear("disk")
    world.wait(HOUR)
    one_less = (a_route("one", "severity=critical", continue_=True, channels=()), both[1])

    report = on(world, a_policy(routes=one_less))

    assert report.critical == (), "the other incident told them"
    assert report.effect.differing == 1


def test_when_the_first_to_tell_is_late_everybody_who_waited_is_named():
    world = World(a_policy())
    for number in range(3):
        world.wait(MINUTE)
        world.fire("disk", "critical", host=f"h{number}")
    world.wait(HOUR)

    report = on(world, a_policy(group_by=("rule_id",), group_wait=10 * MINUTE))

    assert [late.recorded for late in report.critical] == [1, 2, 3]
    assert len({late.late_at for late in report.critical}) == 1
