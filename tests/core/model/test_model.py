"""The nouns: names that are digests, and who may what."""

import hashlib
from typing import get_type_hints

import pytest
from tests.support.builders import a_policy, a_target

from tocsin.core.model.access import GRANTS, Permission, Role, may
from tocsin.core.model.alert import Severity, fingerprint, idempotency_key, severity_rank
from tocsin.core.model.errors import Conflict, Invalid
from tocsin.core.model.notification import delivery_key
from tocsin.core.model.policy import DURATIONS, Policy, RateLimit, Retries, Route, policy_digest


def test_a_fingerprint_is_the_digest_of_canonical_json():
    text = '{"rule_id":"disk","scope":{"a":"1","b":"ü"}}'

    assert fingerprint("disk", {"b": "ü", "a": "1"}) == hashlib.sha256(text.encode()).hexdigest()


def test_an_idempotency_key_has_integer_microseconds():
    text = '{"rule_id":"disk","scope":{},"window_end":2,"window_start":1}'

    assert idempotency_key("disk", {}, 1, 2) == hashlib.sha256(text.encode()).hexdigest()


def test_severities_are_ordered():
    assert sorted(Severity, key=severity_rank.__getitem__) == ["info", "warning", "error", "critical"]


def test_one_delivery_has_one_key():
    anna, ben = a_target("anna"), a_target("ben")

    assert delivery_key("n", anna) == delivery_key("n", anna)
    assert len({delivery_key("n", anna), delivery_key("n", ben), delivery_key("m", anna)}) == 3


def test_policies_that_decide_alike_have_one_digest():
    assert policy_digest(a_policy()) == policy_digest(a_policy())
    assert policy_digest(a_policy()) != policy_digest(a_policy("ben"))


@pytest.mark.parametrize(
    ("role", "permissions"),
    [
        (Role.ADMIN, set(Permission)),
        (Role.ANALYST, {"read", "respond"}),
        (Role.SERVICE, {"read", "send"}),
        (Role.VIEWER, {"read"}),
        (Role.AUDITOR, {"read", "read-ledger"}),
    ],
)
def test_a_role_may_what_the_table_says(role, permissions):
    assert {permission for permission in Permission if may(role, permission)} == permissions
    assert role in GRANTS


def test_errors_carry_what_a_face_needs():
    assert Invalid("no", field="a.b").field == "a.b"
    assert Conflict("no", state="ACK").state == "ACK"


def test_every_length_of_time_in_a_policy_is_known_as_one():
    whole_numbers = {
        name
        for struct in (Policy, Route, RateLimit, Retries)
        for name, kind in get_type_hints(struct).items()
        if kind in (int, int | None, tuple[int, ...])
    }

    assert whole_numbers - {"limit", "greens"} == DURATIONS
