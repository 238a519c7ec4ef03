"""Whoever the ledger names by an id has a name for people."""

import pytest

from tocsin.core.engine.actors import called, read_aloud

NAMES = {"f17f7f59": "anna", "local": "operator on this machine"}


@pytest.mark.parametrize(
    ("actor", "name"),
    [
        ("token:f17f7f59", "anna"),
        ("token:local", "operator on this machine"),
        ("token:0badf00d", "token:0badf00d"),
        ("os:ben", "ben"),
        ("jwt:ben@example.org", "ben@example.org"),
        ("system", "system"),
        ("settings", "settings"),
        ("", ""),
        ("os:", "os:"),
    ],
)
def test_an_actor_is_called_by_its_name_if_it_has_one(actor, name):
    assert called(actor, NAMES) == name


def test_a_reason_is_read_with_names_in_place_of_tokens():
    assert read_aloud("token:f17f7f59 asked for ack while it was OPEN", NAMES) == (
        "anna asked for ack while it was OPEN"
    )
    assert read_aloud("the acknowledgement by token:local lapsed", NAMES) == (
        "the acknowledgement by operator on this machine lapsed"
    )
    assert read_aloud("token:0badf00d asked for it", NAMES) == "token:0badf00d asked for it"
