"""Proofs at the terminal: checkpoints and their keys, proofs of entries and incidents, envelopes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tocsin.cli.client import config_option, reach, server_options
from tocsin.cli.exits import CONFLICT, USAGE, VERIFICATION_FAILED, Failure, told
from tocsin.cli.plain import plain, plain_lines
from tocsin.cli.show import console, facts, output_option, show_json, table, text, wants_json

if TYPE_CHECKING:
    from tocsin.core.ledger.note import Key

PATH = "/api/v1/ledger"

key_option = click.option(
    "--key",
    "keys",
    multiple=True,
    metavar="VKEY",
    help="A key that you trust, as `tocsin ledger keys` prints it, or a file with some; may be repeated.",
)
out_option = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file. Default: stdout."
)


@click.command()
@server_options
@output_option
def checkpoint(data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Print a signed checkpoint of the ledger, to be kept where those who run it cannot change it.

    Whoever keeps one can tell later whether anything before it was changed or removed.
    """
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", PATH)
    if wants_json(output) and output is not None:
        show_json({name: found[name] for name in ("origin", "size", "root", "short", "checkpoint")})
    else:
        click.echo(found["checkpoint"], nl=False)


@click.command()
@server_options
@output_option
def keys(data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """List the keys that sign checkpoints, or did, and what the ledger is called."""
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", PATH)
    if wants_json(output):
        show_json({name: found[name] for name in ("origin", "keys", "names")})
        return
    out = console()
    facts(out, [("ledger", found["origin"]), ("stands at", found["short"])])
    for one in found["keys"]:
        state = "signs" if one["retired_seq"] is None else f"retired by entry {one['retired_seq']}"
        click.echo(f"\n{plain(one['vkey'])}")
        click.echo(f"  adopted by entry {one['adopted_seq']}; {state}")
    if len(found["names"]) > 1:
        shown = table(">from entry", "called")
        for name in found["names"]:
            shown.add_row(text(name["seq"]), text(name["origin"]))
        out.print()
        out.print(shown)


@click.command("rotate-key")
@server_options
@output_option
def rotate_key(data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Make another key. It signs beside the older ones until those are retired.

    Give the new vkey to whoever verifies; an export holds the checkpoint that hands over from key to key.
    """
    with reach(data, url, token, writes=True) as (api, _):
        found = api.request("POST", f"{PATH}/keys")
    _show_key(found, output)


@click.command("retire-key")
@click.argument("vkey")
@server_options
@output_option
def retire_key(vkey: str, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Let a key sign no more, once a newer one does. What it signed stays valid."""
    with reach(data, url, token, writes=True) as (api, _):
        found = api.request("POST", f"{PATH}/keys/retire", body={"vkey": vkey})
    _show_key(found, output)


def _show_key(found: dict[str, Any], output: str | None) -> None:
    if wants_json(output):
        show_json(found)
    else:
        click.echo(plain(found["vkey"]))


@click.command()
@click.option(
    "--entry", "seq", type=click.IntRange(0, (1 << 62) - 1), help="Of this entry: a tlog-proof file."
)
@click.option("--incident", help="Of all entries of this incident: JSON with their bytes.")
@click.option(
    "--since", "old", type=click.IntRange(0, (1 << 62) - 1), metavar="SIZE",
    help="That the ledger begins with what it was at this size: JSON.",
)  # fmt: skip
@out_option
@server_options
def proof(
    seq: int | None,
    incident: str | None,
    old: int | None,
    out: Path | None,
    data: Path,
    url: str | None,
    token: str | None,
) -> None:
    """Prove something to whoever does not trust this server. `tocsin ledger check` checks it.

    Give one of --entry, --incident and --since.
    """
    given = [one for one in (seq, incident, old) if one is not None]
    if len(given) != 1:
        raise Failure("Give one of --entry, --incident and --since.", USAGE)
    with reach(data, url, token, writes=False) as (api, _):
        if seq is not None:
            made = api.fetch(f"{PATH}/entries/{seq}/proof")
        elif incident is not None:
            made = api.fetch(f"/api/v1/incidents/{incident.lstrip('#')}/proof")
        else:
            made = api.fetch(f"{PATH}/consistency", query={"old": old})
    _write(made, out)


@click.command()
@click.argument("incident")
@out_option
@server_options
def envelope(incident: str, out: Path | None, data: Path, url: str | None, token: str | None) -> None:
    """Put an incident in an envelope: JSON, sealed with HMAC-SHA256, with the proof of its last entry.

    Its secret stands in tocsin.yaml: `ledger: {envelope_secrets: [{env: NAME}]}`. `tocsin ledger check` opens it.
    """
    with reach(data, url, token, writes=False) as (api, _):
        made = api.fetch(f"/api/v1/incidents/{incident.lstrip('#')}/envelope")
    _write(made, out)


EXPORT_TIMEOUT_S = 3600.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@server_options
def export(file: Path, force: bool, data: Path, url: str | None, token: str | None) -> None:
    """Write the whole ledger to FILE, a zip that anybody can verify without Tocsin.

    In it are a signed checkpoint, the tree, every entry as a line of JSON, and the program that checks all of it, which
    needs nothing but Python:

    \b
      unzip -p FILE verify_ledger.py > verify_ledger.py
      python3 verify_ledger.py FILE --key VKEY --checkpoint YOURS
    """
    if file.exists() and not force:
        raise Failure(f"{file} is there already. Name another, or replace it: --force.", CONFLICT)
    new = file.with_name(file.name + ".new")
    with told():
        try:
            with new.open("wb") as opened, reach(data, url, token, writes=False) as (api, _):
                api.save(f"{PATH}/export", opened, timeout_s=EXPORT_TIMEOUT_S)
            new.replace(file)
        finally:
            new.unlink(missing_ok=True)
    click.echo(f"{plain(file)} holds the whole ledger. Verify it with the program in it:", err=True)
    click.echo(f"  unzip -p {plain(file)} verify_ledger.py > verify_ledger.py", err=True)
    click.echo(f"  python3 verify_ledger.py {plain(file)}", err=True)


def _write(made: bytes, out: Path | None) -> None:
    if out is None:
        if sys.stdout.isatty():
            click.echo(plain_lines(made.decode(errors="backslashreplace")), nl=False)
        else:
            sys.stdout.buffer.write(made)
        return
    with _files():
        out.write_bytes(made)
    click.echo(f"{plain(out)} written.", err=True)


@contextmanager
def _files() -> Iterator[None]:
    """Tell what a file system can do to us."""
    try:
        yield
    except OSError as error:
        raise Failure(
            f"{error.filename}: {error.strerror}. Look at its name, and at who may use it."
        ) from error


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@key_option
@click.option(
    "--header", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Of a tlog-proof: the entry's header, if it is not the one that lies in the proof.",
)  # fmt: skip
@click.option(
    "--checkpoint", "older", type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Of a proof that the ledger grew: the older checkpoint, which you kept.",
)  # fmt: skip
@config_option
@output_option
def check(
    file: Path,
    keys: tuple[str, ...],
    header: Path | None,
    older: Path | None,
    config: Path | None,
    output: str | None,
) -> None:
    """Check a checkpoint, a proof or an envelope that somebody gave you. Asks no server.

    The secrets of an envelope are those of the configuration. Without --key, signatures are not verified, and that is
    said. Exits 7 if anything is wrong.
    """
    from tocsin.cli.ledger_check import check_file

    with told(), _files():
        found = check_file(
            file.read_bytes(),
            _keys(keys),
            header.read_bytes() if header else None,
            config,
            older.read_bytes() if older else None,
        )
    if wants_json(output):
        show_json(found)
    else:
        verdict = "sound" if found["sound"] else f"NOT sound: {plain(found['what'])}"
        click.echo(f"This {found['kind']} is {verdict}.")
        facts(console(), [(name, str(value)) for name, value in found["facts"].items()])
        if not found["verified"]:
            click.echo("No key was given, so nobody's signature was verified. Give one: --key", err=True)
    if not found["sound"]:
        sys.exit(VERIFICATION_FAILED)


def _keys(given: tuple[str, ...]) -> "list[Key]":
    """Read keys, each given as text or as a file with one a line. Raises: Invalid."""
    from tocsin.core.ledger.note import read_key

    lines: list[str] = []
    for one in given:
        is_file = os.path.isfile(one)
        lines += Path(one).read_text(errors="replace").split() if is_file else [one]
    return [read_key(line) for line in lines]
