"""Replay of the record: are the tables what the ledger says?"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from tocsin.cli.client import db_option
from tocsin.cli.exits import VERIFICATION_FAILED, Failure, told
from tocsin.cli.ledger import data_option, stored_in, watched
from tocsin.cli.plain import plain
from tocsin.cli.show import output_option, show_json, wants_json


@click.command()
@data_option
@db_option
@output_option
def replay(data: Path, db: str, output: str | None) -> None:
    """Read the ledger again from its first entry, and compare what it says with the tables.

    The ledger is verified first. Works on a copy, beside a running server; needs room for twice the database where
    temporary files lie (TMPDIR).
    Exits 7 if anything differs. To send notifications again is another verb: tocsin replay.
    """
    from tocsin.core.ledger.verify import Damaged
    from tocsin.wiring.ledgers import replay_ledger
    from tocsin.wiring.machine import build_clock
    from tocsin.wiring.stores import name_of_store

    clock = build_clock()
    began = clock.now()
    with told(), tempfile.TemporaryDirectory(prefix="tocsin-replay-") as folder:
        store = name_of_store(data, db)
        try:
            found, total, size = replay_ledger(data, Path(folder), watched, db)
        except Damaged as error:
            raise Failure(
                f"The ledger is not sound, so nothing can be compared with it: {error}. "
                "Look with: tocsin ledger verify",
                VERIFICATION_FAILED,
            ) from error
    answer: dict[str, Any] = {
        "store": store,
        "same": not total,
        "differences": total,
        "entries": size,
        "first": [
            {"table": one.table, "key": one.key, "live": _row(one.live), "replayed": _row(one.replayed)}
            for one in found
        ],
        "seconds": round((clock.now() - began) / 1_000_000, 3),
    }
    if wants_json(output):
        show_json(answer)
    elif not total:
        click.echo(f"The tables are what the {size} entries of the ledger say.")
        click.echo(stored_in(store))
        click.echo(f"time    {answer['seconds']:.2f} s")
    else:
        click.echo(f"The tables are NOT what the ledger says: {total} rows differ.")
        click.echo(stored_in(store))
        for one in answer["first"]:
            where = (
                "is missing"
                if one["live"] is None
                else "should not be"
                if one["replayed"] is None
                else "differs"
            )
            click.echo(f"{one['table']} {plain(one['key'])}: {where}")
    if total:
        sys.exit(VERIFICATION_FAILED)


def _row(row: tuple[Any, ...] | None) -> list[Any] | None:
    """Show the columns of a row; bytes as text."""
    if row is None:
        return None
    return [value.decode(errors="backslashreplace") if isinstance(value, bytes) else value for value in row]
