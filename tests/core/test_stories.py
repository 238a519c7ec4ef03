"""The product in words."""

import pytest
from tests.support.builders import HOUR, MINUTE, SECOND, a_policy, a_route

from tocsin.cli.gate_story import play
from tocsin.core.model.policy import RateLimit


def test_a_night_with_one_full_disk():
    story = """
        09:00  alert   disk warning host=db-1
        09:00  page    anna, ben  opened #1 warning
        09:05  ack     ben #1
        09:40  alert   disk warning host=db-1
        10:00  alert   disk critical host=db-1
        10:00  page    anna, ben  updated #1 critical
        10:20  over    disk host=db-1
        10:20  page    anna, ben  resolved #1 critical
        23:59  quiet
    """

    assert play(story, policy=a_policy("anna", "ben@webhook")) == story


def test_nobody_answers_and_is_reminded_until_somebody_does():
    story = """
        09:00  alert   disk warning host=db-1
        09:00  page    anna  opened #1 warning
        13:00  page    anna  reminder #1 warning
        17:00  page    anna  reminder #1 warning
        18:00  ack     anna #1
        08:00  quiet
    """

    assert play(story, policy=a_policy()) == story


def test_a_group_is_told_together():
    story = """
        09:00     alert   disk warning team=db host=a
        09:00:10  alert   disk warning team=db host=b
        09:00:30  page    anna  opened #1 warning
        09:01     alert   disk warning team=db host=c
        09:02     alert   disk warning team=db host=d
        09:05:30  page    anna  updated #1 warning
        09:06     alert   disk error team=db host=e
        09:06     page    anna  updated #1 error
        12:00     quiet
    """
    policy = a_policy(group_by=("team",), group_wait=30 * SECOND, group_interval=5 * MINUTE)

    assert play(story, policy=policy) == story


def test_a_silence_hides_and_gives_back():
    story = """
        09:00  hush    rule_id=disk until 10:00
        09:05  alert   disk warning host=a
        09:05  hold    anna  opened #1 suppressed
        09:30  alert   disk critical host=a
        09:30  hold    anna  opened #1 suppressed
        10:00  page    anna  opened #1 critical
        10:10  hush    rule_id=disk until 11:00
        10:20  over    disk host=a
        10:20  hold    anna  resolved #1 suppressed
        11:00  page    anna  resolved #1 critical
        12:00  quiet
    """

    assert play(story, policy=a_policy()) == story


def test_a_silenced_incident_speaks_again_when_it_must():
    story = """
        09:00  alert   disk warning host=a
        09:00  page    anna  opened #1 warning
        09:01  silence anna #1 until 10:00
        09:30  alert   disk critical host=a
        09:30  hold    anna  updated #1 suppressed
        10:00  page    anna  updated #1 critical
        10:30  quiet
    """

    assert play(story, policy=a_policy()) == story


def test_what_comes_back_soon_is_the_same_incident():
    story = """
        09:00  alert   disk warning host=a
        09:00  page    anna  opened #1 warning
        09:10  over    disk host=a
        09:10  page    anna  resolved #1 warning
        09:14  alert   disk warning host=a
        09:14  page    anna  opened #1 warning
        09:20  resolve anna #1
        09:20  page    anna  resolved #1 warning
        09:22  alert   disk warning host=a
        09:26  alert   disk warning host=a
        09:26  page    anna  opened #1 warning
        09:27  over    disk host=a
        09:27  page    anna  resolved #1 warning
        09:40  alert   disk warning host=a
        09:40  page    anna  opened #2 warning
        10:00  quiet
    """

    assert play(story, policy=a_policy()) == story


def test_a_rule_that_shouts_is_told_in_a_digest():
    story = """
        09:00  alert   disk warning host=a
        09:00  page    anna  opened #1 warning
        09:01  alert   disk warning host=b
        09:01  page    anna  opened #2 warning
        09:02  alert   disk warning host=c
        09:02  hold    anna  opened #3 rate_limited
        09:03  alert   disk critical host=d
        09:03  page    anna  opened #4 critical
        09:07  page    anna  digest #0 warning
        09:08  alert   disk warning host=e
        09:08  hold    anna  opened #5 rate_limited
        09:37  page    anna  digest #0 warning
        10:00  alert   disk warning host=f
        10:00  page    anna  opened #6 warning
        10:01  over    disk host=c
        10:02  over    disk host=a
        10:02  page    anna  resolved #1 warning
        12:00  quiet
    """

    assert play(story, policy=a_policy(rate_limit=RateLimit(limit=2))) == story


def test_who_could_not_be_reached_hears_one_word_for_all():
    story = """
        09:00     down    email
        09:00     alert   disk warning host=a
        09:00     page    anna, ops  opened #1 warning
        09:00:30  alert   disk critical host=a
        09:00:30  page    anna  opened #1 critical
        09:00:30  page    ops  updated #1 critical
        09:01     over    disk host=a
        09:01     page    anna, ops  resolved #1 critical
        09:02     up      email
        10:00     quiet
    """

    assert play(story, policy=a_policy("anna", "ops@webhook")) == story


def test_an_acknowledgement_that_nobody_renews_lapses():
    story = """
        09:00  alert   disk warning host=a
        09:00  page    anna  opened #1 warning
        09:10  ack     anna #1
        09:20  alert   disk error host=a
        09:20  page    anna  updated #1 error
        11:20  page    anna  reminder #1 error
        11:30  ack     ben #1
        13:20  page    anna  reminder #1 error
        13:30  quiet
    """

    assert play(story, policy=a_policy(ack_timeout=70 * MINUTE, repeat_interval=2 * HOUR)) == story


def test_a_tree_of_routes_tells_each_their_own():
    story = """
        09:00  alert   disk warning team=db host=a
        09:00  page    dba  opened #1 warning
        09:00  page    ops  opened #2 warning
        09:01  alert   disk warning team=web host=b
        09:01  page    ops  opened #3 warning
        09:02  green   disk team=db host=a
        09:03  over    disk team=db host=a
        09:03  page    dba  resolved #1 warning
        09:03  page    ops  resolved #2 warning
        10:00  quiet
    """
    routes = (
        a_route("db", "team=db", continue_=True, channels=("email",)),
        a_route("all", channels=("webhook",)),
    )

    assert play(story, policy=a_policy("dba", "ops@webhook", routes=routes)) == story


def test_what_is_sent_by_hand_to_a_channel_is_heard_there_and_nowhere_else():
    story = """
        09:00  send    disk error host=a via webhook
        09:00  page    ops  manual #1 error
        15:00  resolve ben #1
        15:00  page    ops  resolved #1 error
        20:00  quiet
    """

    assert play(story, policy=a_policy("anna", "ops@webhook")) == story


def test_what_happens_to_it_later_is_heard_by_everybody():
    story = """
        09:00     send    disk error team=db host=a via webhook
        09:00     page    ops  manual #1 error
        10:00     alert   disk error team=db host=a
        10:00     page    anna  opened #1 error
        11:00     send    disk error team=db host=b via webhook
        11:00     page    ops  manual #1 error
        11:10     alert   disk warning team=db host=c
        11:10     page    anna, ops  updated #1 error
        14:00     quiet
    """

    assert (
        play(story, policy=a_policy("anna", "ops@webhook", group_by=("team",), group_interval=MINUTE))
        == story
    )


def test_what_worsens_by_hand_on_one_channel_is_heard_elsewhere_when_its_source_says_so_too():
    story = """
        09:00  alert   disk warning host=a
        09:00  page    anna, ops  opened #1 warning
        09:30  send    disk critical host=a via webhook
        09:30  page    ops  manual #1 critical
        09:40  alert   disk critical host=a
        09:40  page    anna  updated #1 critical
        12:00  quiet
    """

    assert play(story, policy=a_policy("anna", "ops@webhook")) == story


def test_a_story_that_is_not_true_is_told_as_it_was():
    story = """
        09:00  alert   disk warning host=a
        09:00  page    ben  opened #1 warning
    """

    assert play(story, policy=a_policy()) == story.replace("ben", "anna")


def test_a_story_knows_its_words():
    with pytest.raises(ValueError, match="knows no 'sing'"):
        play("09:00  sing    anna", policy=a_policy())
