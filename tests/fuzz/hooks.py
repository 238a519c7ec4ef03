"""Hooks: what the fuzzer has to know of Tocsin that no description says."""

import os
from typing import Any

import schemathesis
from schemathesis.core import transport
from schemathesis.specs.openapi import checks

# Who fails to sign in 20 times a minute hears 429 from then on, and the fuzzer tries each operation without a token.
checks.AUTH_REJECTION_STATUSES = transport.AUTH_REJECTION_STATUSES | {429}  # type: ignore[attr-defined]

OWN_TOKEN = os.environ["FUZZ_TOKEN"].split("_")[1]

MEANING = (
    "lies before window_start",
    "lies outside of 1970 to 9999",
    "there is no such day, hour or offset",
    "expected `int | str | null`, got `float`",
    "expected `int | str`, got `float`",
)


@schemathesis.hook
def before_call(context: Any, case: Any, **_: Any) -> None:
    """Who revokes their own token hears nothing but 401 from then on; the fuzzer shall not, by chance or by a link."""
    if OWN_TOKEN in str((case.path_parameters or {}).get("token_id", "")):
        case.path_parameters["token_id"] = "00000000"


@schemathesis.check
def what_fits_is_taken(ctx: Any, response: Any, case: Any) -> bool | None:
    """As `positive_data_acceptance`, but some of what fits the description is refused for what it means."""
    if response.status_code in (400, 422) and _is_about_meaning(response.json()):
        return None
    return checks.positive_data_acceptance(ctx, response, case)


def _is_about_meaning(problem: dict[str, Any]) -> bool:
    """Say whether it was what was asked that was wrong, and not the form (which lists all of its errors).

    No schema can say what stands in a file of a policy or of rules, that a window ends after it begins, that a silence lies ahead, that a channel is configured, that
    a pattern is RE2, or that a cursor is one that we gave; nor has the format of instants any bounds; nor is 5.0 another
    number than 5, of which the intake of alerts takes the second only.
    """
    if "errors" not in problem:
        return "field" in problem
    if all(error["field"].startswith(("policy.yaml", "rules.yaml")) for error in problem["errors"]):
        return True
    return all(any(words in error["message"] for words in MEANING) for error in problem["errors"])
