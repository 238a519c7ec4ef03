"""Actions: what a person does to incidents: one by its name, several at once, or all that fit a filter."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import Api
from tocsin.cli.client import reach, server_options
from tocsin.cli.detail import headline
from tocsin.cli.exits import CONFLICT, NOT_FOUND, OK, PARTLY_DONE, USAGE, Failure
from tocsin.cli.show import (
    STATE_STYLE,
    can_ask,
    confirm,
    console,
    moment,
    output_option,
    several,
    show_json,
    table,
    text,
    wants_json,
)
from tocsin.cli.times import span
from tocsin.cli.which import INCIDENT, Filters, filter_options

BULK_MAX = 1000
"""So many incidents at most in one request."""

SHOWN_MAX = 50

note_option = click.option("--note", help="Why; it is kept with the entry and shown in the timeline.")
bulk_options = (
    click.option(
        "--incident-id", "named", multiple=True, type=INCIDENT, help="The same as the argument; may be repeated."
    ),
    click.option("--dry-run", is_flag=True, help="Only show what it would do."),
    click.option("-y", "--yes", is_flag=True, help="Do not ask before acting on all that fit a filter."),
)  # fmt: skip


def _verb(action: str, help_text: str) -> click.Command:
    """Make the command of one action."""

    def act(
        incidents: tuple[str, ...],
        named: tuple[str, ...],
        note: str | None,
        dry_run: bool,
        yes: bool,
        data: Path,
        url: str | None,
        token: str | None,
        output: str | None,
        **filters: Any,
    ) -> None:
        wanted = Wanted((*incidents, *named), Filters(**filters))
        with reach(data, url, token, writes=not dry_run) as (api, _):
            do(api, action, wanted, {"note": note} if note else {}, dry_run=dry_run, yes=yes, output=output)

    made: Callable[..., Any] = act
    for option in (output_option, server_options, *reversed(bulk_options), note_option, filter_options):
        made = option(made)
    made = click.argument("incidents", nargs=-1, type=INCIDENT, metavar="[INCIDENT]...")(made)
    return click.command(action, help=help_text)(made)


CODES = """

Exit code 0 if all of them are so now, 8 if only some, 4 if their states allow none of it, 3 if none was found."""

REMINDED = "\n\nNobody is reminded of them any more, until they get worse."

ack = _verb("ack", "Acknowledge incidents: somebody is at it." + REMINDED + CODES)
unack = _verb("unack", "Take acknowledgements back.\n\nThe incidents are OPEN again." + CODES)
resolve = _verb("resolve", "Resolve incidents: it is over." + CODES)
reopen = _verb("reopen", "Open resolved incidents again." + CODES)


@click.command()
@click.argument("incident", type=INCIDENT)
@click.argument("words", nargs=-1, required=True, metavar="TEXT")
@server_options
@output_option
def note(
    incident: str, words: tuple[str, ...], data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """Write a note into an incident's record. It changes nothing else."""
    with reach(data, url, token, writes=True) as (api, _):
        answer = api.request("POST", f"/api/v1/incidents/{incident}/notes", body={"note": " ".join(words)})
    show_one(answer, "noted", output)


class Wanted:
    """Which incidents are meant: those that are named, or those that fit. Raises: Failure (2) for none or both."""

    def __init__(self, ids: tuple[str, ...], filters: Filters) -> None:
        self.ids = tuple(dict.fromkeys(ids))
        self.filters = filters
        if self.ids and filters:
            raise Failure("Name incidents, or give filters, but not both.", USAGE)
        if not self.ids and not filters:
            raise Failure(
                "Which incidents? Name them (42, #42 or the id), or give a filter such as --rule-id.", USAGE
            )
        if len(self.ids) > BULK_MAX:
            raise Failure(
                f"{len(self.ids)} incidents are more than {BULK_MAX} at once. Make it several.", USAGE
            )


def do(
    api: Api,
    action: str,
    wanted: Wanted,
    body: dict[str, Any],
    *,
    dry_run: bool,
    yes: bool,
    output: str | None,
) -> None:
    """Do something to incidents, show what became of it, and end with the code that says so.

    body: what goes along with the action, such as a note.
    """
    if len(wanted.ids) == 1 and not dry_run:
        answer = api.request("POST", f"/api/v1/incidents/{wanted.ids[0]}/{action}", body=body)
        show_one(answer, DONE[action] + (_until(body) if action == "silence" else ""), output)
        return
    form = {"action": action, **body}
    if wanted.ids:
        form["ids"] = [int(one) if one.isdecimal() and len(one) < 19 else one for one in wanted.ids]
    else:
        form["filter"] = wanted.filters.body(api)
        if can_ask() and not dry_run and not yes:
            count = api.request("POST", PATH, body=form | {"dry_run": True})["matched"]
            confirm(f"{action} {several(count, 'incident')}?")
    answer = api.request("POST", PATH, body=form | {"dry_run": dry_run})
    if wants_json(output):
        show_json(answer)
    else:
        _show_bulk(answer)
    code = exit_code([one["outcome"] for one in answer["results"]])
    if code != OK:
        raise click.exceptions.Exit(code)


PATH = "/api/v1/incidents/actions"
DONE = {
    "ack": "acknowledged",
    "unack": "no longer acknowledged",
    "resolve": "resolved",
    "reopen": "open again",
    "silence": "silenced",
    "unsilence": "no longer silenced",
}
WOULD = {"changed": "would change", "unchanged": "is so already"}
OUTCOMES = {
    "changed": "done",
    "unchanged": "was so already",
    "conflict": "not possible",
    "not_found": "not found",
}


def exit_code(outcomes: list[str]) -> int:
    """Give the exit code for what became of each incident; nothing that fits is no error."""
    done = [outcome for outcome in outcomes if outcome in ("changed", "unchanged")]
    if len(done) == len(outcomes):
        return OK
    if done:
        return PARTLY_DONE
    return CONFLICT if "conflict" in outcomes else NOT_FOUND


def show_one(answer: dict[str, Any], done: str, output: str | None) -> None:
    """Show an incident after something was done to it."""
    if wants_json(output):
        show_json(answer)
        return
    out = console()
    out.print(headline(answer))
    covering = ", ".join(f"S{number}" for number in answer.get("silenced_by") or [])
    if done == DONE["unsilence"] and covering:
        done += f" by itself, but by {covering} (tocsin unsilence {covering.replace(',', '')})"
    out.print(text(done if answer["changed"] else f"was so already: {done}", "dim"))


def _until(body: Mapping[str, Any]) -> str:
    """Say until when, as it was asked for."""
    if "minutes" in body:
        return f" for {span(body['minutes'] * 60)}"
    return f" until {moment(body['until'])}" if "until" in body else " until somebody ends it"


def _show_bulk(answer: dict[str, Any]) -> None:
    out = console()
    words = OUTCOMES | (WOULD if answer["dry_run"] else {})
    shown = table(">#", "outcome", "state", "title, or why not", wide="title, or why not")
    for one in answer["results"][:SHOWN_MAX]:
        shown.add_row(
            text(one["number"] if one.get("number") else one.get("incident_id"), "bold", 32),
            text(words.get(one["outcome"], one["outcome"])),
            text(one.get("state") or "", STATE_STYLE.get(str(one.get("state")), "")),
            text(one.get("detail") or one.get("title") or "", "dim"),
        )
    if answer["results"]:
        out.print(shown)
    if len(answer["results"]) > SHOWN_MAX:
        out.print(f"and {len(answer['results']) - SHOWN_MAX} more; all of them: --output json", style="dim")
    dry = answer["dry_run"]
    counts = [
        f"{answer['matched']} matched",
        f"{answer['changed']} {'would change' if dry else 'changed'}",
        f"{answer['unchanged']} {'are' if dry else 'were'} so already",
        f"{answer['refused']} refused",
        *([f"{answer['not_found']} not found"] if answer.get("not_found") else []),
    ]
    head = "DRY RUN, nothing was changed: " if dry else ""
    out.print(head + ", ".join(counts), style="bold" if dry else "dim")
