"""Doctor: looks at everything that Tocsin stands on, and says of each thing how it is and what to do.

It changes nothing and tells nobody anything; nothing that it prints is a secret, of a URL only the host.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.client import config_option, db_option, server_options
from tocsin.cli.exits import VERIFICATION_FAILED
from tocsin.cli.show import console, output_option, show_json, table, text, wants_json

if TYPE_CHECKING:
    from tocsin.cli.doctor_check import Check

STATE_STYLE = {"ok": "green", "warn": "yellow", "fail": "bold red", "skipped": "dim"}


@click.command()
@server_options
@db_option
@config_option
@output_option
def doctor(
    data: Path, url: str | None, token: str | None, db: str, config: Path | None, output: str | None
) -> None:
    """Look at everything that Tocsin stands on: versions, store, ledger, clock, channels, and the server.

    The channels are those of the configuration and of this shell's TOCSIN_ variables; they are connected to, and
    nothing is sent. Exits 7 if anything failed.
    """
    checks = _look(data, url, token, db, config)
    failed = sum(check.state == "fail" for check in checks)
    if wants_json(output):
        show_json({"ok": not failed, "checks": [check._asdict() for check in checks]})
    else:
        _show(checks)
    if failed:
        raise click.exceptions.Exit(VERIFICATION_FAILED)


def _look(data: Path, url: str | None, token: str | None, db: str, config: Path | None) -> "list[Check]":
    from tocsin.cli import doctor_house, doctor_network

    checks = doctor_house.look(data, db)
    if db:
        from tocsin.cli import doctor_database

        checks += doctor_database.look(data, db, config)
    return [*checks, *doctor_network.look(data, url, token, config)]


def _show(checks: "list[Check]") -> None:
    shown = table("check", "state", "what was found", wide="what was found")
    for check in checks:
        said = f"{check.said} {check.step}".strip()
        shown.add_row(
            text(check.name, "", 40), text(check.state, STATE_STYLE[check.state]), text(said, "", 2000)
        )
    console().print(shown)
    counts = {state: sum(check.state == state for check in checks) for state in STATE_STYLE}
    click.echo(", ".join(f"{count} {state}" for state, count in counts.items() if count))
