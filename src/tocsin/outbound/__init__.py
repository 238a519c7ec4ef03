"""The guarded way out: one HTTP client, one resolver, one address guard."""

from tocsin.outbound.addresses import address_is_allowed, is_never_allowed, networks_of
from tocsin.outbound.answers import (
    ANSWER_BYTES_MAX,
    Answer,
    Failure,
    FailureKind,
    body_of,
    outcome_of,
    request_faults,
    retry_after_s,
)
from tocsin.outbound.client import Outbound

__all__ = [
    "ANSWER_BYTES_MAX",
    "Answer",
    "Failure",
    "FailureKind",
    "Outbound",
    "address_is_allowed",
    "body_of",
    "is_never_allowed",
    "networks_of",
    "outcome_of",
    "request_faults",
    "retry_after_s",
]
