"""Migrate: from the embedded store to PostgreSQL, with everything, verified afterwards."""

from pathlib import Path

import click

from tocsin.cli.client import DATA
from tocsin.cli.exits import NOT_FOUND, VERIFICATION_FAILED, Failure, told
from tocsin.cli.plain import plain
from tocsin.cli.show import doing, output_option, show_json, wants_json


@click.command("migrate-store")
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False), default=DATA, show_default=True,
    help="The data directory to move from. No server may run on it.",
)  # fmt: skip
@click.option(
    "--db", metavar="URL", required=True, envvar="TOCSIN_DB",
    help="The empty database to move to: postgresql://user@host/database.",
)  # fmt: skip
@output_option
def migrate_store(data: Path, db: str, output: str | None) -> None:
    """Move everything in the data directory to PostgreSQL, for several nodes.

    The ledger goes with all else, entry by entry as it is, and is verified where it arrives. The database in the
    directory is renamed, not deleted; the keys stay in it, and every node needs them. Exits 1 if the database is not
    empty, 7 if what arrived is not sound.
    """
    from tocsin.core.ledger.verify import Damaged
    from tocsin.wiring.stores import MOVED, move_store

    if not (data / "tocsin.db").is_file():
        raise Failure(f"There is no Tocsin in {data}. Name its data directory: --data DIR.", NOT_FOUND)
    with told():
        try:
            with doing("Moving") as tell:
                head = move_store(data, db, tell)
        except Damaged as error:
            raise Failure(
                f"What arrived is not sound ({error}). Drop the database; {data} is as it was.",
                VERIFICATION_FAILED,
            ) from error
    answer = {"entries": head.size, "root": head.root.hex(), "short": f"{head.size}:{head.root.hex()[:8]}"}
    if wants_json(output):
        show_json(answer)
        return
    click.echo(f"The database holds the ledger up to {answer['short']}, and all that belongs to it.")
    click.echo(f"The old one is {plain(data / MOVED)}.")
    click.echo(f"Start a node: tocsin serve --db URL --data {plain(data)}")
