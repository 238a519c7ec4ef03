"""Rule load: which rules a verb is about, those of a file or one that is configured; and whom they ask."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from tocsin.cli.client import config_option, data_option
from tocsin.cli.exits import NOT_FOUND, USAGE, Failure

if TYPE_CHECKING:
    from tocsin.cli.times import Moment
    from tocsin.core.model.rule import Rule
    from tocsin.ports import Source
    from tocsin.settings import Settings

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES_SHOWN = 20

_F = TypeVar("_F", bound=Callable[..., Any])


class Loaded(NamedTuple):
    """The rules that are meant, and the settings that hold them."""

    rules: "tuple[Rule, ...]"
    settings: "Settings"


def rules_argument(command: _F) -> _F:
    """Add FILE|RULE_ID, --rule, --config and --data to a verb."""
    command = config_option(data_option(command))
    command = click.option(
        "--rule", "rule_ids", multiple=True, metavar="ID", help="Only this one of the file; may be repeated."
    )(command)
    return click.argument("what", metavar="FILE|RULE_ID")(command)


def load(
    what: str, rule_ids: Sequence[str], config: Path | None, data: Path, *, any_source: bool = False
) -> Loaded:
    """Read the rules that are meant.

    what: a file of rules; if there is no such file, the id of a rule that is configured.
    any_source: see `read_rules`.
    Raises: Failure (3) if there is no such rule; Invalid with all that is wrong.
    """
    from tocsin.wiring.outside import read_configuration, read_rules_of

    settings = read_configuration(config, data)
    path = Path(what)
    is_file = _is_file(path)
    if is_file:
        settings = read_rules_of(path, settings, any_source=any_source)
    known = {rule.rule_id: rule for rule in settings.rules}
    if not is_file and what not in known:
        raise Failure(f"{what} is neither a file nor the id of a configured rule. {_there(known)}", NOT_FOUND)
    wanted = rule_ids or (list(known) if is_file else [what])
    for rule_id in wanted:
        if rule_id not in known:
            raise Failure(f"There is no rule {rule_id} in {what}. {_there(known)}", NOT_FOUND)
    if not wanted:
        raise Failure(f"{what} has no rules. Write one below `rules:`.", USAGE)
    return Loaded(tuple(known[rule_id] for rule_id in dict.fromkeys(wanted)), settings)


@asynccontextmanager
async def asked(settings: "Settings") -> "AsyncIterator[Mapping[str, Source]]":
    """Make the sources that are configured, and close them again. Raises: Invalid."""
    from tocsin.wiring.outside import build_outbound, build_sources

    outbound = build_outbound(settings)
    try:
        sources = build_sources(settings, outbound)
        try:
            yield sources
        finally:
            for source in sources.values():
                await source.close()
    finally:
        await outbound.close()


def settle(moment: "Moment | None", now: int) -> int:
    """Give a moment in microseconds UTC; `now` if there is none."""
    if moment is None:
        return now
    at = moment.settle(EPOCH + timedelta(microseconds=now))
    return (at - EPOCH) // timedelta(microseconds=1)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _there(known: Mapping[str, object]) -> str:
    if not known:
        return "None is configured."
    more = f", and {len(known) - NAMES_SHOWN} more" if len(known) > NAMES_SHOWN else ""
    return f"There are: {', '.join(list(known)[:NAMES_SHOWN])}{more}."
