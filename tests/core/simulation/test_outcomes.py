"""An attempt that was never made ends as the recorded one nearest in time did."""

import pytest
from tests.core.simulation.recording import recording
from tests.support.builders import MINUTE, SECOND, a_policy
from tests.support.world import World

from tocsin.core.model.input import Manual
from tocsin.core.model.notification import Accepted, Delivered, DeliveryState, DryRun, Refused, Retry
from tocsin.core.simulation.lookahead import look_ahead
from tocsin.core.simulation.outcomes import Outcomes, Series, outcome_of


@pytest.mark.parametrize(
    ("at", "code"),
    [(0, 1), (10, 1), (14, 1), (15, 2), (16, 2), (20, 2), (35, 2), (39, 2), (45, 3), (60, 3), (99, 3)],
)
def test_the_nearest_in_time_counts_and_of_two_the_later(at, code):
    series = Series()
    for when, what in ((10, 1), (20, 2), (30, 2), (40, 2), (50, 3)):
        series.add(when, what)

    assert series.nearest(at) == code


def test_a_target_has_its_own_outcomes_and_its_channel_speaks_for_those_without():
    outcomes = Outcomes()
    outcomes.add("anna", "email", 10, Delivered())
    outcomes.add("ben", "email", 20, Refused(why=""))

    assert outcomes.nearest("anna", "email", 99) == Delivered()
    assert outcomes.nearest("carla", "email", 99) == Refused(why="")
    assert outcomes.nearest("ops", "webhook", 99) == Accepted()


@pytest.mark.parametrize(
    ("state", "told", "because", "outcome"),
    [
        (DeliveryState.DELIVERED, None, "", Delivered()),
        (DeliveryState.ACCEPTED, None, "", Accepted()),
        (DeliveryState.DRY_RUN, None, "", DryRun()),
        (DeliveryState.DEAD, Refused(why="410"), "", Refused(why="")),
        (DeliveryState.DEAD, None, "refused; trying again cannot help", Refused(why="")),
        (DeliveryState.DEAD, Retry(why="503"), "", Retry(why="")),
        (DeliveryState.DEAD, None, "given up after trying for so long", Retry(why="")),
        (None, Retry(why="429", after_s=60), "", Retry(why="", after_s=60)),
        (None, None, "", Retry(why="")),
        (DeliveryState.MERGED, None, "", None),
    ],
)
def test_an_outcome_is_read_back_without_its_words(state, told, because, outcome):
    assert outcome_of(state, told, because) == outcome


def test_what_a_channel_answered_is_found_in_the_record_and_dry_runs_say_nothing():
    answers = {"email": Delivered(), "webhook": Retry(why="503", after_s=30)}
    world = World(
        a_policy("anna", "ops@webhook"),
        answers=lambda d, attempt, at: DryRun() if d.dry_run else answers[d.channel],
    )
    world.fire()
    world.send(world_alert(), manual=Manual(channels=("email",), dry_run=True))
    world.wait(5 * SECOND)
    answers["webhook"] = Accepted()
    world.wait(MINUTE)

    outcomes = look_ahead(recording(world)).outcomes

    assert outcomes.nearest("anna", "email", world.at) == Delivered()
    assert outcomes.nearest("ops", "webhook", world.at - MINUTE) == Retry(why="", after_s=30)
    assert outcomes.nearest("ops", "webhook", world.at) == Accepted()


def world_alert():
    from tests.support.builders import an_alert

    return an_alert(host="a")
