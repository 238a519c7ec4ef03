"""Ledger: check the record, and look at single entries of it. Needs the data directory and no server.

Reads beside a running server, without its lock and without asking it anything: whoever checks should not have to
take its word.
"""

import importlib
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client import DATA, db_option
from tocsin.cli.exits import NOT_FOUND, VERIFICATION_FAILED, Failure, told
from tocsin.cli.plain import plain, plain_lines
from tocsin.cli.show import console, output_option, show_json, wants_json

if TYPE_CHECKING:
    from tocsin.core.ledger.encoding import Segment
    from tocsin.settings import Settings

PARTS = ("header", "decision", "private")
STORE_WIDTH = 72
SHOWN_EVERY = 2000
"""Entries between two movements of the progress bar."""

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    show_default=True,
    help="The server's data directory, or a copy of it.",
)


class Parts(click.Group):
    """Loads what is not here when it is first needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*self.commands, *ELSEWHERE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in ELSEWHERE:
            return super().get_command(ctx, name)
        module, attribute = ELSEWHERE[name]
        command: click.Command = getattr(importlib.import_module(f"tocsin.cli.{module}"), attribute)
        return command


ELSEWHERE = {
    "check": ("ledger_proof", "check"),
    "checkpoint": ("ledger_proof", "checkpoint"),
    "envelope": ("ledger_proof", "envelope"),
    "erase": ("ledger_change", "erase"),
    "export": ("ledger_proof", "export"),
    "fork": ("ledger_change", "fork"),
    "keys": ("ledger_proof", "keys"),
    "proof": ("ledger_proof", "proof"),
    "replay": ("ledger_replay", "replay"),
    "retire-key": ("ledger_proof", "retire_key"),
    "rotate-key": ("ledger_proof", "rotate_key"),
}
"""The verbs that live in modules of their own."""


@click.group(cls=Parts)
def ledger() -> None:
    """Check the record of all decisions, prove it, and look into it."""


@ledger.command()
@data_option
@db_option
@output_option
def verify(data: Path, db: str, output: str | None) -> None:
    """Recompute the whole ledger: was anything changed, moved or removed?

    It is also compared with the newest checkpoint that was signed in this data directory. Exits 0 if it is sound, 7 if
    it is not, or if something that was signed is not in it. Compare the root with one that you kept from earlier: who
    can write the data directory can rewrite all of it, and only an older root tells.
    """
    from tocsin.core.ledger.merkle import EMPTY_ROOT
    from tocsin.core.ledger.verify import Damaged, Verdict
    from tocsin.core.ledger.verify import verify as verify_segments
    from tocsin.runtime import highwater
    from tocsin.wiring.ledgers import lost_by
    from tocsin.wiring.machine import build_clock
    from tocsin.wiring.stores import mark_of, name_of_store, open_ledger

    clock = build_clock()
    began = clock.now()
    lost = ""
    with told():
        settings = _settings(data)
        mark = highwater.read(mark_of(settings, data))  # Before the ledger, which may grow meanwhile.
        store = name_of_store(data, db)
        try:
            reader = open_ledger(data, db)
            try:
                end = reader.end()
                segments = watched(reader.segments(), end.size)
                verdict = verify_segments(
                    segments, size=end.size, root=end.root, edge=end.edge, at=end.at, later=reader.later(),
                    then=mark.size if mark is not None else None,
                )  # fmt: skip
                if mark is not None and verdict.is_sound:
                    lost = lost_by(settings, data, mark, reader, verdict)
            finally:
                reader.close()
        except Damaged as error:
            verdict = Verdict(0, EMPTY_ROOT, 0, str(error))
    seconds = (clock.now() - began) / 1_000_000
    root = verdict.root.hex()
    answer = {
        "store": store,
        "sound": verdict.is_sound and not lost,
        "bad_seq": verdict.bad_seq,
        "what": verdict.what or lost,
        "size": verdict.size,
        "root": root,
        "short": f"{verdict.size}:{root[:8]}",
        "seconds": round(seconds, 3),
        "entries_per_s": round(verdict.size / max(seconds, 1e-6)),
    }
    if wants_json(output):
        show_json(answer)
    else:
        _show_verdict(answer)
    if not answer["sound"]:
        sys.exit(VERIFICATION_FAILED)


def _settings(data: Path) -> "Settings":
    """Read the settings for where the high-water mark is; a copy of a directory may lack what they name."""
    from tocsin.core.model.errors import Invalid
    from tocsin.settings import Settings, read_settings

    try:
        return read_settings(data=data)
    except Invalid:
        return Settings()


def stored_in(store: str) -> str:
    """Say in a line which store was read; of a long path, its end."""
    shown = plain(store)
    return f"store   {shown if len(shown) <= STORE_WIDTH else '...' + shown[3 - STORE_WIDTH :]}"


def _show_verdict(answer: dict[str, Any]) -> None:
    if answer["sound"]:
        click.echo("The ledger is sound: no entry was changed, moved or removed.")
        counted = "size    "
    elif answer["bad_seq"] is None:
        click.echo("The ledger is NOT sound: what was signed is not in it.")
        click.echo(fill(plain(answer["what"]), 80, break_long_words=False, break_on_hyphens=False))
        click.echo("Its entries fit together, so it seems to be an older copy, or another one.")
        click.echo("Put the newer one back; or, if this is meant: tocsin ledger fork")
        counted = "size    "
    else:
        click.echo(
            f"The ledger is NOT sound. First wrong entry: {answer['bad_seq']}: {plain(answer['what'])}."
        )
        counted = "read    "
    click.echo(stored_in(answer["store"]))
    click.echo(f"{counted}{answer['size']} entries")
    click.echo(f"root    {answer['root']}")
    click.echo(f"short   {answer['short']}")
    click.echo(f"time    {answer['seconds']:.2f} s, {answer['entries_per_s']} entries/s")


def watched(segments: "Iterable[Segment]", size: int, what: str = "verifying") -> "Iterator[Segment]":
    """Pass the segments on; at a terminal, show on stderr how far it is."""
    if not sys.stderr.isatty():
        yield from segments
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=max(size, 0))
        waiting = 0
        for segment in segments:
            yield segment
            waiting += segment.count
            if waiting >= SHOWN_EVERY:
                progress.advance(task, waiting)
                waiting = 0


@ledger.command()
@click.argument("seq", type=click.IntRange(0, (1 << 62) - 1))
@click.option(
    "--part", type=click.Choice(PARTS), help="Only this part, byte for byte as it is hashed, for sha256sum."
)
@data_option
@db_option
@output_option
def show(seq: int, part: str | None, data: Path, db: str, output: str | None) -> None:
    """Show one entry: its header, what was decided, and its private part.

    It is not checked; `tocsin ledger verify` does that.
    """
    from tocsin.core.ledger.merkle import hash_leaf
    from tocsin.core.ledger.verify import Damaged
    from tocsin.wiring.stores import open_ledger

    with told():
        try:
            reader = open_ledger(data, db)
            try:
                parts = reader.entry(seq)
            finally:
                reader.close()
        except Damaged as error:
            raise Failure(f"Entry {seq} cannot be read: {error}.", VERIFICATION_FAILED) from error
    if parts is None:
        raise Failure(f"There is no entry {seq} in {data}; `tocsin ledger verify` counts them.", NOT_FOUND)
    if part is not None:
        content = parts[PARTS.index(part)]
        if sys.stdout.isatty():
            click.echo(plain(content.decode(errors="backslashreplace")))
        else:
            sys.stdout.buffer.write(content)
        return
    shown = {name: _read(content) for name, content in zip(PARTS, parts, strict=True)}
    shown["leaf"] = hash_leaf(parts[0]).hex()
    if wants_json(output):
        show_json(shown)
    else:
        click.echo(plain_lines(json.dumps(shown, indent=2, ensure_ascii=False)))


def _read(part: bytes) -> Any:
    """Read a part of an entry; None if it is gone, its text if it is no JSON."""
    if not part:
        return None
    try:
        return json.loads(part)
    except (ValueError, RecursionError):
        return part.decode(errors="backslashreplace")
