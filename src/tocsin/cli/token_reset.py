"""Token reset: all tokens are given up, because the pepper was lost or somebody else has it."""

import sys
from pathlib import Path

import click

from tocsin.cli.client import DATA
from tocsin.cli.exits import CONFLICT, Failure, told


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=DATA,
    show_default=True,
    help="The data directory; no server may run on it.",
)
@click.option(
    "--db",
    metavar="URL",
    default="",
    envvar="TOCSIN_DB",
    help="The PostgreSQL of nodes. Their tokens cannot be reset yet, so this is refused.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(data: Path, db: str, yes: bool) -> None:
    """Revoke all tokens, make a new key for their hashes, and show a new token for an admin, once.

    Only of an embedded store; nodes on a PostgreSQL have no such verb yet.
    """
    _check_embedded(data, db)
    if not yes:
        click.confirm(f"Every token of {data} stops working, for good. Go on?", abort=True, err=True)
    with told():
        from tocsin.cli.local import opened

        with opened(data, writes=True) as local:
            shown = local.reset_tokens()
    click.echo(
        "All tokens are revoked. This is the admin's new token. It is shown only now; keep it:", err=True
    )
    sys.stderr.flush()
    click.echo(shown)


def _check_embedded(data: Path, db: str) -> None:
    """See that the tokens are those of this directory alone. Raises: Failure (4)."""
    of_nodes = (
        "Nothing was changed. Where a pepper is lost, copy pepper and ledger.key from the directory of another node; "
        "what somebody else has is revoked by its id: tocsin token revoke ID --url URL"
    )
    if db:
        with told():
            from tocsin.wiring.stores import name_of_database

            name = name_of_database(db)
        raise Failure(f"The tokens in {name} are those of all nodes, and are not reset. {of_nodes}", CONFLICT)
    if not data.is_dir():
        raise Failure(f"There is no data directory {data}. Say where it is: --data.", CONFLICT)
    if not (data / "tocsin.db").is_file():
        raise Failure(
            f"{data} holds no tokens; if it is a node's, they lie in its PostgreSQL and are not reset. {of_nodes}",
            CONFLICT,
        )
