"""Which: how a person names incidents: by `#42`, `42` or public id, or by a filter that they fit."""

import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tocsin.cli.exits import USAGE, Failure
from tocsin.cli.times import PAST, Moment

if TYPE_CHECKING:
    from tocsin.cli.answers import Api

_F = TypeVar("_F", bound=Callable[..., Any])

SEVERITIES = ("info", "warning", "error", "critical")
STATES = ("OPEN", "ACK", "SILENCED", "RESOLVED")
ID_LENGTH_MAX = 64


class Id(click.ParamType[str]):
    """An incident's number or public id, without the `#`; letters and digits only, as it becomes part of a path."""

    name = "incident"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        wanted = str(value).strip().removeprefix("#")
        if not (wanted.isascii() and wanted.isalnum()) or len(wanted) > ID_LENGTH_MAX:
            self.fail(
                f"{value!r} is not an incident's id or number. List them: tocsin status",
                param,
                ctx,
            )
        return wanted


INCIDENT = Id()


def filter_options(command: _F) -> _F:
    """Add the filters of incidents to a verb; it takes them as **filters, which `Filters` reads."""
    options = (
        click.option(
            "--state", "states", type=click.Choice(STATES, case_sensitive=False), multiple=True,
            help="Only in this state; may be repeated.",
        ),
        click.option("--severity", type=click.Choice(SEVERITIES, case_sensitive=False)),
        click.option("--rule-id", help="Only incidents that this rule opened."),
        click.option(
            "--scope", "scopes", multiple=True, metavar="NAME=VALUE",
            help="Only incidents of this scope; may be repeated.",
        ),
        click.option("--text", "words", help="Only incidents whose title has this text."),
        click.option("--since", type=PAST, metavar="TIME", help="Opened then or later: -2h, 09:30, ISO 8601."),
        click.option("--until", type=PAST, metavar="TIME", help="Opened before then."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


class Filters:
    """Which incidents are wanted."""

    def __init__(
        self,
        states: Iterable[str] = (),
        severity: str | None = None,
        rule_id: str | None = None,
        scopes: tuple[str, ...] = (),
        words: str | None = None,
        since: Moment | None = None,
        until: Moment | None = None,
    ) -> None:
        self._states = [state.upper() for state in states]
        self._severity = severity
        self._rule_id = rule_id
        self._scope = read_scope(scopes)
        self._words = words
        self._since, self._until = since, until

    def __bool__(self) -> bool:
        return any(
            value not in (None, "", [], {})
            for value in (
                self._states, self._severity, self._rule_id, self._scope, self._words, self._since, self._until,
            )
        )  # fmt: skip

    def _times(self, api: "Api") -> dict[str, str]:
        found = {"since": self._since, "until": self._until}
        return {name: moment.at(api) for name, moment in found.items() if moment is not None}

    def query(self, api: "Api") -> dict[str, Any]:
        """Give them as a query of `GET /api/v1/incidents`."""
        scope = [f"{name}={value}" for name, value in self._scope.items()]
        wanted = {
            "state": self._states,
            "severity": self._severity,
            "rule_id": self._rule_id,
            "scope": scope,
            "text": self._words,
        }
        return wanted | self._times(api)

    def body(self, api: "Api") -> dict[str, Any]:
        """Give them as the filter of a bulk action."""
        wanted = {
            "state": self._states,
            "severity": self._severity,
            "rule_id": self._rule_id,
            "scope": self._scope,
            "text": self._words,
        }
        return {name: value for name, value in wanted.items() if value} | self._times(api)


def read_scope(texts: Iterable[str], option: str = "--scope") -> dict[str, str]:
    """Read a scope, given as JSON, as `name=value`, or as several of these. Raises: Failure (2)."""
    scope: dict[str, str] = {}
    for text in texts:
        name, found, value = text.partition("=")
        if found and name.strip() and text.lstrip()[:1] not in "{[":
            scope[name.strip()] = value
        else:
            scope |= _read_json(text, option)
    return scope


def _read_json(text: str, option: str) -> dict[str, str]:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Failure(
            f"{option} {text!r} is neither name=value nor JSON: {error}. Write it like host=db-1 or "
            '\'{"host": "db-1"}\'.',
            USAGE,
        ) from error
    if not isinstance(read, dict) or not all(isinstance(value, str) for value in read.values()):
        raise Failure(f'{option} is an object with text values, like \'{{"host": "db-1"}}\'.', USAGE)
    return read
