"""Silences: be quiet about one incident, about all that matches, now, later, or again and again."""

from collections.abc import Callable
from typing import Any

import click

from tocsin.cli.actions import Wanted, do
from tocsin.cli.answers import Api, collect
from tocsin.cli.client import reach, server_options
from tocsin.cli.exits import USAGE, Failure
from tocsin.cli.show import (
    can_ask,
    confirm,
    console,
    output_option,
    several,
    show_json,
    show_more,
    wants_json,
)
from tocsin.cli.silences_show import show_preview, show_silence, silences_table
from tocsin.cli.times import FUTURE, LENGTH_TYPE, Moment
from tocsin.cli.which import INCIDENT, Filters

ASKED_FROM = 20
"""A silence that would cover more alerts than this is asked about at a terminal."""

MINUTES_MAX = 525_600
DAYS = 7


class SilenceId(click.ParamType[str]):
    """A silence's number, `S3` or `3`, or its public id, for a path."""

    name = "silence"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        wanted = str(value).strip()
        if wanted[:1] in "sSmM" and wanted[1:].isdecimal():
            wanted = wanted[1:]
        if not (wanted.isascii() and wanted.isalnum()) or len(wanted) > 64:
            self.fail(f"{value!r} is no silence's id. List them: tocsin silence --list", param, ctx)
        return wanted


SILENCE = SilenceId()


def _spans(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add how long it lasts: one of --minutes, --for and --until."""
    command = click.option("--until", type=FUTURE, metavar="TIME", help="Until then: 09:30, +2h, ISO 8601.")(
        command
    )
    command = click.option(
        "--for", "length_s", type=LENGTH_TYPE, metavar="LENGTH", help="For so long: 90s, 5m, 2h, 1d."
    )(command)
    return click.option("--minutes", type=click.IntRange(1, MINUTES_MAX), help="For so many minutes.")(
        command
    )


@click.command()
@click.argument("incidents", nargs=-1, type=INCIDENT, metavar="[INCIDENT]...")
@click.option("--incident-id", "named", multiple=True, type=INCIDENT, help="The same as the argument.")
@click.option("--rule-id", help="All of this rule; the same as --match rule_id=...")
@click.option(
    "--match",
    "matchers",
    multiple=True,
    metavar="MATCHER",
    help="All that matches: name=value, !=, =~ or !~ (RE2). Several must all match.",
)
@_spans
@click.option("--from", "start", type=FUTURE, metavar="TIME", help="Not before then. Default: now.")
@click.option("--comment", "--note", "comment", help="Why.")
@click.option("--rrule", help="Again and again by this rule (RFC 5545), such as FREQ=WEEKLY;BYDAY=SU.")
@click.option("--zone", help="With --rrule: the zone of its wall time, such as Europe/Berlin.")
@click.option(
    "--begins", metavar="LOCAL", help="With --rrule: the first window, in wall time: 2026-03-01T02:00."
)
@click.option("--list", "lists", is_flag=True, help="List silences and maintenance windows.")
@click.option(
    "--state", type=click.Choice(["pending", "active", "ended"]), help="With --list: only these silences."
)
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="With --list.")
@click.option("--preview", is_flag=True, help="Only show what it would match, now and in the last days.")
@click.option(
    "--days", type=click.IntRange(1, 90), default=DAYS, show_default=True, help="With --preview: how many."
)
@click.option("--extend", type=SILENCE, metavar="SILENCE", help="Give this silence another end.")
@click.option("--force", is_flag=True, help="Even if it matches everything.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before one that covers much.")
@server_options
@output_option
def silence(**given: Any) -> None:
    """Be quiet about incidents, or about all that matches. Everything is still recorded.

    \b
    tocsin silence 42 --for 2h                     one incident
    tocsin silence --rule-id disk --minutes 30     all of a rule
    tocsin silence --match host=db-1 --until 09:00
    tocsin silence --match env=test --rrule 'FREQ=WEEKLY;BYDAY=SU'
                   --zone Europe/Berlin --begins 2026-03-01T02:00 --for 2h

    An incident without an end is silent until `tocsin unsilence`. Before a silence that covers more than 20 alerts
    it asks, if this is a terminal.
    """  # fmt: skip
    Silencing(given).run()


class Silencing:
    """What `tocsin silence` was asked to do. Its parts exclude each other; that is checked before anything is sent."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._given = given
        self._matchers = [*given["matchers"]]
        if given["rule_id"] is not None:
            self._matchers.insert(0, f"rule_id={given['rule_id']}")
        self._ids = (*given["incidents"], *given["named"])
        self._output: str | None = given["output"]
        self._minutes: int | None = given["minutes"]
        self._length_s: int | None = given["length_s"]
        self._until: Moment | None = given["until"]
        self._check()

    def _check(self) -> None:
        given = self._given
        if sum(value is not None for value in (self._minutes, self._length_s, self._until)) > 1:
            raise Failure("--minutes, --for and --until say the same. Give one of them.", USAGE)
        asked = [
            name
            for name, is_there in (
                ("an incident", bool(self._ids)),
                ("--match or --rule-id", bool(self._matchers)),
                ("--extend", given["extend"] is not None),
                ("--list", given["lists"]),
            )
            if is_there
        ]
        if len(asked) > 1:
            raise Failure(f"{' and '.join(asked)} do not go together. Make it several commands.", USAGE)
        if not asked:
            raise Failure(
                "Silence what? Name an incident (42), or give --rule-id or --match name=value. "
                "What there is: tocsin silence --list",
                USAGE,
            )
        recurs = [name for name in ("rrule", "zone", "begins") if given[name] is not None]
        if recurs and len(recurs) < 3:
            raise Failure("A window that comes back needs all of --rrule, --zone and --begins.", USAGE)
        if recurs and not self._matchers:
            raise Failure("A window that comes back needs --match or --rule-id.", USAGE)

    def run(self) -> None:
        """Do it."""
        given = self._given
        reads = given["lists"] or given["preview"]
        with reach(given["data"], given["url"], given["token"], writes=not reads) as (api, _):
            if given["lists"]:
                self._list(api)
            elif given["extend"] is not None:
                self._extend(api)
            elif self._ids:
                self._incidents(api)
            elif given["preview"]:
                self._show_preview(self._preview(api))
            else:
                self._create(api)

    def _list(self, api: Api) -> None:
        query = {"state": self._given["state"]}
        limit = self._given["limit"]
        found = collect(api, "/api/v1/silences", "silences", query, limit)
        windows = collect(api, "/api/v1/maintenances", "maintenances", {}, limit)
        if wants_json(self._output):
            show_json(found | {"maintenances": windows["maintenances"]})
            return
        out = console()
        out.print(silences_table(found["silences"], windows["maintenances"]))
        show_more(out, found, len(found["silences"]))

    def _extend(self, api: Api) -> None:
        end = self._end(api, "ends_at")
        if not end:
            raise Failure("Extend it until when? Give --for 2h, --minutes or --until.", USAGE)
        answer = api.request("POST", f"/api/v1/silences/{self._given['extend']}/extend", body=end)
        self._show(answer)

    def _incidents(self, api: Api) -> None:
        body = self._end(api, "until")
        if self._given["comment"]:
            body["note"] = self._given["comment"]
        do(
            api, "silence", Wanted(self._ids, Filters()), body,
            dry_run=self._given["preview"], yes=True, output=self._output,
        )  # fmt: skip

    def _end(self, api: Api, name: str) -> dict[str, Any]:
        """Give the end as the API takes it; a length in whole minutes counts from when the server decides."""
        if self._minutes is not None:
            return {"minutes": self._minutes}
        if self._length_s is not None and self._length_s % 60 == 0 and self._length_s <= MINUTES_MAX * 60:
            return {"minutes": self._length_s // 60}
        until = self._until
        if self._length_s is not None:
            until = FUTURE.convert(f"+{self._length_s}s", None, None)
        return {} if until is None else {name: until.at(api)}

    def _preview(self, api: Api) -> dict[str, Any]:
        body = {"matchers": self._matchers, "days": self._given["days"]}
        answer: dict[str, Any] = api.request("POST", "/api/v1/silences/preview", body=body)
        return answer

    def _show_preview(self, answer: dict[str, Any]) -> None:
        if wants_json(self._output):
            show_json(answer)
        else:
            show_preview(answer)

    def _create(self, api: Api) -> None:
        body = {"matchers": self._matchers, "force": self._given["force"], **self._when(api)}
        if self._given["comment"]:
            body["comment"] = self._given["comment"]
        if can_ask() and not self._given["yes"]:
            covered = self._preview(api)["matches_now"]["alerts"]
            if covered > ASKED_FROM:
                confirm(f"It covers {several(covered, 'alert')} that fire now. Silence them?")
        self._show(api.request("POST", "/api/v1/silences", body=body))

    def _when(self, api: Api) -> dict[str, Any]:
        """Give its span, or the rule by which it comes back."""
        given = self._given
        end = self._end(api, "ends_at")
        if not end:
            raise Failure("For how long? Give --for 2h, --minutes 30 or --until 09:00.", USAGE)
        if given["rrule"] is not None:
            if "minutes" not in end or given["start"] is not None:
                raise Failure(
                    "A window that comes back has its length in whole minutes (--for 2h) and starts with --begins.",
                    USAGE,
                )
            rule = {"rrule": given["rrule"], "zone": given["zone"], "begins": given["begins"], **end}
            return {"recurrence": rule}
        if given["start"] is None:
            return end
        start = given["start"].at(api)
        if "minutes" in end:
            return {"starts_at": start, "ends_at": _later(start, end["minutes"])}
        return {"starts_at": start, **end}

    def _show(self, answer: dict[str, Any]) -> None:
        if wants_json(self._output):
            show_json(answer)
        else:
            show_silence(answer)


def _later(start: str, minutes: int) -> str:
    from datetime import datetime, timedelta

    end = datetime.fromisoformat(start) + timedelta(minutes=minutes)
    return end.isoformat().replace("+00:00", "Z")
