"""Answers: how a request to the HTTP interface is put and its answer read, wherever it is answered."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlencode

from tocsin.cli.exits import UNEXPECTED, Failure, exit_code_of_status

Query = Mapping[str, str | int | bool | list[str] | tuple[str, ...] | None]

PAGE = 500
"""So many at most come in one answer of a list."""

ERRORS_TOLD = 100


class Api(Protocol):
    """The HTTP interface, wherever it is: across the network, or in this process."""

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """Give the decoded answer of a success. Raises: Failure with the exit code that fits."""
        ...

    def fetch(self, path: str, *, query: Query | None = None) -> bytes:
        """GET what is no JSON, or is wanted byte for byte. Raises: as `request`."""
        ...

    def save(self, path: str, file: BinaryIO, *, timeout_s: float) -> None:
        """GET what may be large, into a file. Raises: as `request`."""
        ...

    def now(self) -> datetime:
        """Give the server's time, which is the one that counts."""
        ...


def path_of(path: str, query: Query | None) -> str:
    """Give a path with its query; what is None or empty is left out."""
    wanted = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in (query or {}).items()
        if value not in (None, [], (), "")
    }
    return f"{path}?{urlencode(wanted, doseq=True)}" if wanted else path


def read_answer(status: int, body: bytes, where: str) -> Any:
    """Decode an answer. Raises: Failure with the exit code of its status, in the words of its problem."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise not_ours(status, where) from error
    if 200 <= status < 300:
        if not isinstance(answer, dict):
            raise not_ours(status, where)
        return answer
    problem = answer if isinstance(answer, dict) else {}
    said, *lines = _tell(status, problem, where).split("\n")
    raise Failure(said, exit_code_of_status(status), problem, lines=lines)


def not_ours(status: int, where: str) -> Failure:
    """Make the failure of an answer that no Tocsin gives."""
    code = exit_code_of_status(status) if status >= 400 else UNEXPECTED
    return Failure(
        f"{where} answered with HTTP {status}, but not as a Tocsin does. Is this a Tocsin? Look at --url.",
        code,
    )


def _tell(status: int, problem: Mapping[str, Any], where: str) -> str:
    """Put a problem into words: what it says itself, and the next step where it does not say one.

    Of several things that are wrong, each has a line.
    """
    detail = _in_verbs(str(problem.get("detail") or f"{where} answered with HTTP {status}."))
    if status == 401:
        return f"{detail} Give one with --token or TOCSIN_TOKEN; the first start of the server printed the admin's."
    if status == 403 and problem.get("permission") and str(problem["permission"]) not in detail:
        return f"{detail} It needs the permission {problem['permission']}."
    if status in (404, 405) and detail.startswith("/"):
        return f"{where} does not know {detail}. Is it older than this command? Compare: tocsin --version"
    if status == 409:
        return detail + _possible(detail, problem)
    errors = problem.get("errors")
    if isinstance(errors, list) and len(errors) > 1:
        first = detail.partition("\n")[0] if "\n" in detail else f"{len(errors)} things are wrong:"
        lines = [
            f"{error.get('field') or 'body'}: {error.get('message')}".replace("\n", " ")
            for error in errors[:ERRORS_TOLD]
            if isinstance(error, dict)
        ]
        return "\n".join([first, *lines])
    return detail


VERBS = {
    "GET /api/v1/incidents.": "tocsin status",
    "GET /api/v1/silences.": "tocsin silence --list",
    "GET /api/v1/maintenances.": "tocsin silence --list",
    "GET /api/v1/deliveries.": "tocsin deliveries list",
    "GET /api/v1/rules.": "tocsin rule list",
    "GET /api/v1/tokens.": "tocsin token list",
    "GET /api/v1/policy/history.": "tocsin policy history",
    "insist with force.": "insist with --force.",
    "insist: ?force=true.": "insist with --force.",
}
"""What the API says to programs -> what it is at a terminal."""


def _in_verbs(detail: str) -> str:
    """Name the next step as somebody at a terminal takes it."""
    for said, verb in VERBS.items():
        detail = detail.replace(said, verb)
    return detail


def _possible(detail: str, problem: Mapping[str, Any]) -> str:
    """Say how it stands and what can be done now, unless the detail has said so."""
    said = ""
    state, possible = problem.get("state"), problem.get("possible")
    if state and str(state) not in detail:
        said += f" It is {state}."
    if isinstance(possible, list) and possible and "ossible now" not in detail:
        said += f" Possible now: {', '.join(map(str, possible))}."
    return said


def collect(api: Api, path: str, name: str, query: Query, limit: int) -> dict[str, Any]:
    """Read pages of a list until there are `limit` items or no more; the answer of the last page, with all of them."""
    items: list[dict[str, Any]] = []
    page: dict[str, Any] = {"next_cursor": query.get("cursor")}
    while True:
        asked = {**query, "limit": min(PAGE, limit - len(items)), "cursor": page["next_cursor"]}
        page = api.request("GET", path, query=asked)
        items += page[name]
        if page["next_cursor"] is None or len(items) >= limit:
            return page | {name: items}
