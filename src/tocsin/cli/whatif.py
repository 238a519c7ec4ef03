"""What-if: what would have been different under another policy. Needs the data directory and no server.

Reads beside a running server, without its lock, and changes nothing.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client import db_option
from tocsin.cli.exits import (
    DIFFERENCES,
    PARTLY_DONE,
    UNEXPECTED,
    VERIFICATION_FAILED,
    Failure,
    problem_of,
    told,
)
from tocsin.cli.ledger import data_option
from tocsin.cli.plain import plain
from tocsin.cli.show import console, labels, moment, several, zone
from tocsin.cli.times import PAST, Moment

if TYPE_CHECKING:
    from tocsin.core.simulation.report import Report
    from tocsin.core.simulation.what_if import Progress

OUTPUTS = ("text", "json", "ndjson", "html")
CRITICAL_NAMED = 50
"""So many are named on stderr; all of them stand in the report."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@click.option(
    "--policy",
    "candidate",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The other policy: a tocsin.yaml. Without channels in it, those of the record are told.",
)
@click.option(
    "--since", type=PAST, metavar="TIME", help="Decide again what came then or later. Default: everything."
)
@click.option("--until", type=PAST, metavar="TIME", help="And before then. Default: the end of the ledger.")
@click.option(
    "--zone",
    "night_zone",
    default="UTC",
    show_default=True,
    metavar="NAME",
    help="Where the night is, such as Europe/Berlin.",
)
@data_option
@db_option
@click.option(
    "-o",
    "--output",
    type=click.Choice(OUTPUTS),
    help="Default: what --out ends with; else text at a terminal, json in a pipe. ndjson: with its progress.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the report to this file.")
def whatif(
    candidate: Path,
    since: Moment | None,
    until: Moment | None,
    night_zone: str,
    data: Path,
    db: str,
    output: str | None,
    out: Path | None,
) -> None:
    """Decide the recorded inputs again under another policy, and show what would have been different.

    First the recorded policy is decided again too: where that differs from the record, the simulation is not exact, and
    it is told apart as drift. Exits 0 if the other policy changes nothing, 9 if it does; every CRITICAL incident of
    which nobody would be told in time is named on stderr. 8 says that nothing differs, but that some inputs could not
    be decided again because their texts were erased.
    """
    form = output or _form_of(out)
    if form == "ndjson" and out is not None:
        raise click.UsageError("Lines of progress go to stdout. Leave out --out.")
    try:
        report = _decide(
            candidate, since, until, night_zone, data, db, _lines if form == "ndjson" else _watched
        )
    except Failure as failure:
        if form == "ndjson":
            _line({"error": problem_of(failure)})
        raise
    from tocsin.cli.whatif_answer import answer

    found = answer(report)
    try:
        with _writer(out) as write:
            _render(form, found, write, is_file=out is not None)
    except OSError as error:
        raise Failure(f"{out} cannot be written: {error.strerror}.", UNEXPECTED) from error
    _name_critical(found)
    if not report.is_same:
        raise click.exceptions.Exit(DIFFERENCES)
    if report.left_out.erased:
        raise click.exceptions.Exit(PARTLY_DONE)


def _decide(
    candidate: Path,
    since: Moment | None,
    until: Moment | None,
    night_zone: str,
    data: Path,
    db: str,
    watched: "Callable[[int], AbstractContextManager[Progress]]",
) -> "Report":
    """Read the ledger, and decide it again. watched: shows how much of so many entries is done."""
    from tocsin.core.ledger.encoding import unpack
    from tocsin.core.ledger.verify import Damaged
    from tocsin.core.simulation.what_if import what_if
    from tocsin.wiring.machine import build_clock
    from tocsin.wiring.policies import read_candidate
    from tocsin.wiring.stores import open_ledger

    with told():
        policy, has_targets = read_candidate(candidate)
        now = EPOCH + timedelta(microseconds=build_clock().now())
        begin, end = (_instant(moment, now) if moment else None for moment in (since, until))
        # The states that are built live as long as the process: the collector need not look at them again and again.
        gc.freeze()
        gc.set_threshold(200_000, 20, 50)
        try:
            reader = open_ledger(data, db)
            try:
                ledger = reader.end()

                def read() -> Iterator[tuple[bytes, bytes, bytes]]:
                    for segment in reader.segments():
                        yield from unpack(segment.data)

                with watched(ledger.size) as progress:
                    return what_if(
                        read,
                        policy,
                        since=begin or 0,
                        until=min(end, ledger.at + 1) if end is not None else ledger.at + 1,
                        zone=night_zone,
                        keeps_targets=not has_targets,
                        on_progress=progress,
                    )
            finally:
                reader.close()
        except Damaged as error:
            raise Failure(f"The ledger cannot be read: {error}.", VERIFICATION_FAILED) from error


def _instant(moment: Moment, now: datetime) -> int:
    return (moment.settle(now) - EPOCH) // timedelta(microseconds=1)


def _form_of(out: Path | None) -> str:
    if out is not None:
        return {".html": "html", ".htm": "html", ".json": "json"}.get(out.suffix.lower(), "text")
    return "text" if sys.stdout.isatty() else "json"


@contextmanager
def _writer(out: Path | None) -> Iterator[Callable[[str], None]]:
    if out is None:
        yield lambda text: click.echo(text, nl=False)
        return
    with out.open("w", encoding="utf-8") as file:
        yield lambda text: void(file.write(text))


def void(_: object) -> None:
    """Take anything, and say nothing."""


def _render(form: str, found: dict[str, Any], write: Callable[[str], None], *, is_file: bool) -> None:
    if form == "ndjson":
        _line({"report": found})
    elif form == "json":
        import json

        write(json.dumps(found, indent=2, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n")
    elif form == "html":
        from tocsin.cli.whatif_page import page

        write(page(found))
    else:
        from tocsin.cli.whatif_text import show_report

        out = console()
        with out.capture() as captured:
            show_report(out, found)
        shown = captured.get()
        write(click.unstyle(shown) if is_file else shown)


def _line(said: dict[str, Any]) -> None:
    import json

    click.echo(json.dumps(said, separators=(",", ":")).replace("\x7f", "\\u007f"))
    sys.stdout.flush()  # Whoever reads it waits for it.


@contextmanager
def _lines(size: int) -> Iterator["Progress"]:
    yield lambda doing, entries: _line({"doing": doing, "entries": entries, "of": size})


def _name_critical(found: dict[str, Any]) -> None:
    """Name what must never be silent."""
    critical = found["critical"]
    if not critical:
        return
    count = several(len(critical), "CRITICAL incident")
    click.echo(f"{count} would be told late or not at all under the other policy:", err=True)
    for one in critical[:CRITICAL_NAMED]:
        name = f"#{one['recorded']} {one['rule_id']}" if one["recorded"] else one["rule_id"]
        what = plain(f"{name} {labels(one['labels'])}".strip())
        then = f"{moment(one['late_at'])} ({zone()})" if one["late_at"] else "never"
        click.echo(f"  {what}: told {moment(one['told_at'])}, then {then}", err=True)
    if len(critical) > CRITICAL_NAMED:
        click.echo(f"  and {len(critical) - CRITICAL_NAMED} more: --output json", err=True)


@contextmanager
def _watched(size: int) -> Iterator["Progress"]:
    """At a terminal, show on stderr how far it is."""
    if not sys.stderr.isatty():
        yield lambda doing, entries: None
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        # Reading ahead takes about a tenth of the time.
        task = progress.add_task("reading", total=10 * max(1, size))

        def on(doing: str, entries: int) -> None:
            done = entries if doing == "reading" else size + 9 * entries
            progress.update(task, description=doing, completed=done)

        yield on
