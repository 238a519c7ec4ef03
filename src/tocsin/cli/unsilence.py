"""Unsilence: let people be told again: of incidents, or of all that a silence or a maintenance covers."""

from pathlib import Path
from typing import Any

import click

from tocsin.cli.actions import Wanted, do
from tocsin.cli.answers import Api
from tocsin.cli.client import reach, server_options
from tocsin.cli.exits import NOT_FOUND, PARTLY_DONE, USAGE, Failure
from tocsin.cli.show import console, output_option, show_json, wants_json
from tocsin.cli.silences_show import show_silence
from tocsin.cli.which import INCIDENT, Filters


@click.command()
@click.argument("what", nargs=-1, metavar="[INCIDENT|SILENCE]...")
@click.option("--incident-id", "named", multiple=True, type=INCIDENT, help="The same as the argument.")
@click.option("--note", help="Why; for incidents.")
@server_options
@output_option
def unsilence(
    what: tuple[str, ...],
    named: tuple[str, ...],
    note: str | None,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """End silences.

    Of incidents (42), or a silence (S3) or maintenance (M2) itself; several may be named.

    Who was not told meanwhile is told within a minute, if it is still wrong.

    Exit code 0 if all are over, 8 if only some, 4 if the states of the incidents do not allow it, 3 if none was found.
    """
    ends = [one for one in what if _ending(one) is not None]
    incidents = tuple(INCIDENT.convert(one, None, None) for one in what if _ending(one) is None)
    if ends and (incidents or named):
        raise Failure("Incidents and silences do not go together. Make it two commands.", USAGE)
    with reach(data, url, token, writes=True) as (api, _):
        if ends:
            _end_all(api, ends, output)
        else:
            _unsilence_incidents(api, (*incidents, *named), note, output)


def _end_all(api: Api, ends: list[str], output: str | None) -> None:
    """End silences and maintenances. Those that are not there do not keep the others from ending."""
    ended, failures = [], []
    for one in ends:
        try:
            ended.append(api.request("POST", f"{_ending(one)}/end"))
        except Failure as failure:
            if failure.exit_code != NOT_FOUND:
                raise
            failures.append(failure)
    if wants_json(output) and ended:
        show_json(ended[0] if len(ends) == 1 else ended)
    elif ended:
        for answer in ended:
            _show_ended(answer)
    if failures:
        message = " ".join(failure.message for failure in failures)
        raise Failure(message, PARTLY_DONE if ended else NOT_FOUND)


def _ending(one: str) -> str | None:
    """Give the path of a silence or a maintenance that was named as `S3` or `M2`; None if it is an incident."""
    kinds = {"S": "silences", "M": "maintenances"}
    kind = kinds.get(one[:1].upper())
    return f"/api/v1/{kind}/{one[1:]}" if kind and one[1:].isascii() and one[1:].isdecimal() else None


def _unsilence_incidents(api: Api, ids: tuple[str, ...], note: str | None, output: str | None) -> None:
    body = {"note": note} if note else {}
    wanted = Wanted(ids, Filters())
    try:
        do(api, "unsilence", wanted, body, dry_run=False, yes=True, output=output)
    except Failure as failure:
        if failure.exit_code != NOT_FOUND or len(wanted.ids) != 1:
            raise
        answer = _end_by_id(api, wanted.ids[0], failure)
        if wants_json(output):
            show_json(answer)
        else:
            _show_ended(answer)


def _show_ended(answer: dict[str, Any]) -> None:
    show_silence(answer)
    if not answer["changed"]:
        console().print("was so already", style="dim")


def _end_by_id(api: Api, wanted: str, failure: Failure) -> dict[str, Any]:
    """End the silence or the maintenance that has this public id. Raises: the failure if there is none either."""
    for kind in ("silences", "maintenances"):
        try:
            if not wanted.isdecimal():
                answer: dict[str, Any] = api.request("POST", f"/api/v1/{kind}/{wanted}/end")
                return answer
        except Failure as other:
            if other.exit_code != NOT_FOUND:
                raise
    raise failure
