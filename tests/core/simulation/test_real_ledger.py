"""On a ledger that the real pump wrote, with everything in it that a ledger can hold."""

import msgspec
import pytest
from tests.core.ledger.ledgers import a_policy, make_ledger

from tocsin.core.ledger.encoding import read_entry, unpack
from tocsin.core.model import event as ev
from tocsin.core.simulation.fold import Fold
from tocsin.core.simulation.what_if import what_if


@pytest.fixture(scope="module", params=[1, 2])
def entries(request, tmp_path_factory):
    ledger = make_ledger(tmp_path_factory.mktemp("real"), seed=request.param, turns=200)
    return [parts for segment in ledger.segments for parts in unpack(segment.data)]


def second_policy_at(entries) -> int:
    adopted = [
        entry.header.at
        for entry in (read_entry(*parts) for parts in entries)
        if isinstance(entry.decision.events[0], ev.PolicyAdopted)
    ]
    return adopted[1]


def test_the_same_policy_changes_nothing_until_the_record_has_another(entries):
    until = second_policy_at(entries)

    report = what_if(lambda: entries, a_policy(), until=until)

    assert report.is_same
    assert report.effect.same > 5
    assert sum(report.inputs.values()) > 40


def test_from_then_on_the_other_one_changes_nothing(entries):
    since = second_policy_at(entries) + 1

    report = what_if(lambda: entries, a_policy(2), since=since)

    assert report.effect.found == 0


def test_another_policy_is_decided_to_the_end_and_every_time_alike(entries):
    candidate = msgspec.structs.replace(a_policy(), rate_limit=None)

    once, twice = (msgspec.json.encode(what_if(lambda: entries, candidate)) for _ in range(2))

    assert once == twice


def test_all_of_it_can_be_folded(entries):
    fold = Fold()

    for parts in entries:
        fold.take(read_entry(*parts))

    assert fold.state.counters.incident > 5
    assert len(fold.archive.incidents) + len(fold.state.incidents) == fold.state.counters.incident
