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
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(data: Path, yes: bool) -> None:
    """Revoke all tokens, make a new key for their hashes, and show a new token for an admin, once."""
    if not yes:
        click.confirm(f"Every token of {data} stops working, for good. Go on?", abort=True, err=True)
    if not data.is_dir():
        raise Failure(f"There is no data directory {data}. Say where it is: --data.", CONFLICT)
    with told():
        from tocsin.cli.local import opened

        with opened(data, writes=True) as local:
            shown = local.reset_tokens()
    click.echo(
        "All tokens are revoked. This is the admin's new token. It is shown only now; keep it:", err=True
    )
    sys.stderr.flush()
    click.echo(shown)
