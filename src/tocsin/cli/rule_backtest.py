"""Rule backtest: what rules would have done in the last weeks, under the policy that is configured here."""

import asyncio
import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.exits import NOT_FOUND, PARTLY_DONE, UNREACHABLE, USAGE, Failure, problem_of, told
from tocsin.cli.rule_load import Loaded, asked, load, rules_argument, settle
from tocsin.cli.show import console
from tocsin.cli.times import PAST, Moment

if TYPE_CHECKING:
    from tocsin.core.model.rule import Rule
    from tocsin.runtime.backtest import Asking, Backtested

OUTPUTS = ("table", "json", "ndjson")
DAYS_MAX = 400

Watch = Callable[[str, int, int], None]
"""Is told of which rule how many looks of how many are made."""


@click.command()
@rules_argument
@click.option(
    "--days",
    type=click.IntRange(1, DAYS_MAX),
    default=90,
    show_default=True,
    help="How many days before the end to begin.",
)
@click.option("--since", type=PAST, metavar="TIME", help="Begin then, in place of --days.")
@click.option("--until", type=PAST, metavar="TIME", help="End there. Default: now.")
@click.option(
    "--csv",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the numbers from this file: columns `at`, `value`, and labels. Default: ask the source.",
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(OUTPUTS),
    help="Default: table at a terminal, json in a pipe. ndjson: with its progress.",
)
def backtest(
    what: str,
    rule_ids: tuple[str, ...],
    config: Path | None,
    data: Path,
    days: int,
    since: Moment | None,
    until: Moment | None,
    csv: Path | None,
    output: str | None,
) -> None:
    """Make every look of a past time again, and say what would have come of it: incidents, by week, at night.

    What opens, resolves and is told is decided by the policy of the configuration; nobody is told. Exits 0 if every
    look got an answer, 8 if some did not, 6 if none did; 2 if the file or the period is wrong; 3 if there is no such
    rule.
    """
    form = output or ("table" if sys.stdout.isatty() else "json")
    try:
        with told():
            loaded = load(what, rule_ids, config, data, any_source=csv is not None)
            begin, end = _period(days, since, until)
            with (_lines if form == "ndjson" else _watched)() as watch:
                found = _made(loaded, begin, end, csv, watch)
    except Failure as failure:
        if form == "ndjson":
            asked_wrongly = failure.exit_code in (USAGE, NOT_FOUND)
            _line({"error": problem_of(failure) | {"invalid": asked_wrongly}})
        raise
    _render(form, found, told_to=len(loaded.settings.channels))
    failed, looks = (sum(getattr(one, name) for one in found) for name in ("failed", "looks"))
    if failed:
        raise click.exceptions.Exit(UNREACHABLE if failed == looks else PARTLY_DONE)


def _period(days: int, since: Moment | None, until: Moment | None) -> tuple[int, int]:
    from tocsin.core.model.errors import Invalid
    from tocsin.core.model.policy import DAY
    from tocsin.wiring.machine import build_clock

    now = build_clock().now()
    end = settle(until, now)
    begin = settle(since, end) if since is not None else end - days * DAY
    if begin >= end:
        raise Invalid("The period ends before it begins. Swap the two.", field="until")
    if end - begin > DAYS_MAX * DAY:
        raise Invalid(f"The period is longer than {DAYS_MAX} days. Take a shorter one.", field="since")
    if end > now:
        raise Invalid("The period ends in the future, of which nothing is known.", field="until")
    return begin, end


def _made(loaded: Loaded, since: int, until: int, csv: Path | None, watch: Watch) -> "list[Backtested]":
    # What the houses hold lives as long as the process: the collector need not look at it again and again.
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)

    async def made() -> "list[Backtested]":
        if csv is not None:
            from tocsin.runtime.history import read_history

            return [
                await _one(rule, read_history(csv, rule).ask, loaded, since, until, watch)
                for rule in loaded.rules
            ]
        async with asked(loaded.settings) as sources:
            return [
                await _one(rule, sources[rule.source].ask, loaded, since, until, watch)
                for rule in loaded.rules
            ]

    return asyncio.run(made())


async def _one(
    rule: "Rule", ask: "Asking", loaded: Loaded, since: int, until: int, watch: Watch
) -> "Backtested":
    from tocsin.ports import SourceFailed
    from tocsin.runtime.backtest import backtest
    from tocsin.wiring.policies import build_house

    try:
        return await backtest(
            rule,
            since=since,
            until=until,
            ask=ask,
            house=build_house(loaded.settings, since),
            on_progress=lambda looks, of: watch(rule.rule_id, looks, of),
        )
    except SourceFailed as error:
        raise Failure(f"Rule {rule.rule_id}: {error}", UNREACHABLE) from error


def _render(form: str, found: "Sequence[Backtested]", *, told_to: int) -> None:
    from tocsin.cli.rule_answer import backtest_answer

    answer = {"channels": told_to, "rules": [backtest_answer(one) for one in found]}
    if form == "ndjson":
        _line({"report": answer})
    elif form == "json":
        from tocsin.cli.show import show_json

        show_json(answer)
    else:
        from tocsin.cli.rule_text import show_backtests

        show_backtests(console(), answer)


def _line(said: dict[str, Any]) -> None:
    click.echo(json.dumps(said, separators=(",", ":")).replace("\x7f", "\\u007f"))
    sys.stdout.flush()  # Whoever reads it waits for it.


@contextmanager
def _lines() -> Iterator[Watch]:
    yield lambda doing, looks, of: _line({"doing": doing, "looks": looks, "of": of})


@contextmanager
def _watched() -> Iterator[Watch]:
    """At a terminal, show on stderr how far it is."""
    if not sys.stderr.isatty():
        yield lambda doing, looks, of: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    from tocsin.cli.plain import plain

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=1)
        yield lambda doing, looks, of: progress.update(
            task, description=plain(doing, 40), completed=looks, total=max(1, of)
        )
