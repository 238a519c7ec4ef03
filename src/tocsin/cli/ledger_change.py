"""Changes to the record at the terminal: erasing private parts, and going on from an older state."""

from pathlib import Path

import click

from tocsin.cli.client import config_option, data_option, db_option, reach, server_options
from tocsin.cli.exits import NOT_FOUND, USAGE, Failure, told
from tocsin.cli.plain import plain
from tocsin.cli.show import can_ask, confirm, console, facts, output_option, show_json, wants_json

SHOWN_MAX = 20


@click.command()
@click.option(
    "--entry", "entries", type=click.IntRange(0), multiple=True, help="This entry; may be repeated."
)
@click.option("--subject", help="All entries in which this text stands: an address, a name.")
@click.option("--reason", required=True, help="Why; it is recorded.")
@click.option("--dry-run", is_flag=True, help="Only show what would be erased.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@server_options
@output_option
def erase(
    entries: tuple[int, ...],
    subject: str | None,
    reason: str,
    dry_run: bool,
    yes: bool,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Erase private parts of entries for good: texts, labels, addresses.

    What was decided stays, and the ledger can still be verified and replayed: it says that they were erased. Titles,
    notifications and what providers answered go too, for the incidents that they are about. Older backups keep them.
    """
    if bool(entries) == bool(subject):
        raise Failure("Give either --entry or --subject.", USAGE)
    wanted = {"entries": list(entries)} if entries else {"subject": subject}
    with reach(data, url, token, writes=not dry_run) as (api, _):
        path = "/api/v1/ledger/erasures"
        asked = {**wanted, "reason": reason}
        found = api.request("POST", path, body={**asked, "dry_run": True})
        if found["entries"] and not dry_run:
            if can_ask() and not yes:
                _show(found, asked=True)
                confirm("Erase them for good?")
            found = api.request("POST", path, body={**asked, "dry_run": False})
    if wants_json(output):
        show_json(found)
    else:
        _show(found, asked=False)
    if not found["entries"]:
        raise Failure("That text stands in no entry.", NOT_FOUND)


def _show(found: dict[str, list[int]], *, asked: bool) -> None:
    count = len(found["entries"])
    if not count:
        return
    what = "would be erased" if asked or found["dry_run"] else "erased"
    click.echo(f"Private parts of {count} {'entry' if count == 1 else 'entries'} {what}.", err=asked)
    rows = [("entries", _listed(found["entries"]))]
    if found["incidents"]:
        rows.append(("incidents", _listed(found["incidents"], "#")))
    facts(console(stderr=asked), rows)


def _listed(numbers: list[int], mark: str = "") -> str:
    shown = ", ".join(f"{mark}{number}" for number in numbers[:SHOWN_MAX])
    return f"{shown}, and {len(numbers) - SHOWN_MAX} more" if len(numbers) > SHOWN_MAX else shown


@click.command()
@click.option("--reason", required=True, help="Why an older state is meant; it is recorded.")
@data_option
@db_option
@config_option
@output_option
def fork(reason: str, data: Path, db: str, config: Path | None, output: str | None) -> None:
    """Let the ledger go on from an older state, under another name.

    For a data directory, or a PostgreSQL, that was put back by other means than `tocsin restore`: a server refuses to
    start on it, because checkpoints of entries were signed that it does not have. Do it with the data directory of that
    server. No server may run. Exits 4, and changes nothing, if nothing that was signed there is lost; 1 if one runs.
    """
    with told():
        from tocsin.cli.local import user_name
        from tocsin.wiring.ledgers import fork_ledger
        from tocsin.wiring.outside import read_configuration
        from tocsin.wiring.stores import open_ledger

        open_ledger(data, db).close()  # It says so if there is none, instead of making one.
        settings = read_configuration(config, data)
        made, unsigned = fork_ledger(settings, data, db, reason=reason, actor=f"os:{user_name()}")
    answer = {"origin": made.origin, "known_size": made.known_size, "known_root": made.known_root}
    if wants_json(output):
        show_json(answer)
    else:
        click.echo(f"The ledger goes on as {plain(made.origin)}.")
        click.echo(
            f"The newest checkpoint that is known of before: {made.known_size}:{made.known_root[:8]}. What was after "
            "the state that was put back is lost; its first entry here says so."
        )
    if unsigned:
        click.echo(
            f"Only its first checkpoint was not signed; the next start does it. {plain(unsigned)}", err=True
        )
