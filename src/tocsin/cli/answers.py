"""Answers: how a request to the HTTP interface is put and its answer read, wherever it is answered."""

import json
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

from tocsin.cli.exits import Failure, exit_code_of_status

Query = Mapping[str, str | int | list[str] | tuple[str, ...] | None]


class Api(Protocol):
    """The HTTP interface, wherever it is: across the network, or in this process."""

    def request(self, method: str, path: str, *, query: Query | None = None, body: object = None) -> Any:
        """Give the decoded answer of a success. Raises: Failure with the exit code that fits."""
        ...


def path_of(path: str, query: Query | None) -> str:
    """Give a path with its query; what is None or empty is left out."""
    wanted = {name: value for name, value in (query or {}).items() if value not in (None, [], (), "")}
    return f"{path}?{urlencode(wanted, doseq=True)}" if wanted else path


def read_answer(status: int, body: bytes, where: str) -> Any:
    """Decode an answer. Raises: Failure with the exit code of its status, in the words of its problem."""
    try:
        answer = json.loads(body)
    except ValueError as error:
        code = exit_code_of_status(status) if status >= 400 else 1
        raise Failure(
            f"{where} answered with HTTP {status} and no JSON. Is this a Tocsin? Look at --url.", code
        ) from error
    if 200 <= status < 300:
        return answer
    detail = answer.get("detail") if isinstance(answer, dict) else None
    message = str(detail or f"{where} answered with HTTP {status}.")
    code = exit_code_of_status(status)
    if status == 401:
        message += (
            " Give one with --token or TOCSIN_TOKEN; the first start of the server printed the admin's."
        )
    if isinstance(answer, dict) and answer.get("state"):
        message += f" It is {answer['state']}."
    raise Failure(message, code)
