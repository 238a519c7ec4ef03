"""Channel: how the server's channels do; and try one out as it is configured here, without server and incident."""

import asyncio
from pathlib import Path
from typing import Any

import click

from tocsin.cli.client import config_option, data_option, reach, server_options
from tocsin.cli.exits import NOT_FOUND, OK, PARTLY_DONE, UNEXPECTED, UNREACHABLE, Failure, told
from tocsin.cli.show import console, output_option, show_json, table, text, wants_json


@click.group()
def channel() -> None:
    """Ways to speak."""


@channel.command("list")
@server_options
@output_option
def list_channels(data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """List the channels, whom they reach, and what waits or was given up."""
    with reach(data, url, token, writes=False) as (api, _):
        found = api.request("GET", "/api/v1/channels")
    if wants_json(output):
        show_json(found)
        return
    if not found["channels"]:
        console().print("No channel is configured, so nobody is told.")
        return
    shown = table("channel", "kind", ">waits", ">dead", "works", "reaches", wide="reaches")
    for one in found["channels"]:
        works = (
            "dry run"
            if one["dry_run"]
            else "fails"
            if one["failing"]
            else "yes"
            if one["last_outcome"]
            else "?"
        )
        shown.add_row(
            text(one["name"], "bold", 24),
            text(one["kind"]),
            text(one["pending"], "yellow" if one["pending"] else ""),
            text(one["dead"], "bold red" if one["dead"] else ""),
            text(works, {"fails": "bold red", "yes": "green"}.get(works, "dim")),
            text(", ".join(one["addresses"]), "", 200),
        )
    console().print(shown)


@channel.command("test")
@click.argument("name")
@click.option(
    "--dry-run/--no-dry-run", default=False, show_default=True, help="Do everything but the sending."
)
@data_option
@config_option
@output_option
def test_channel(name: str, dry_run: bool, data: Path, config: Path | None, output: str | None) -> None:
    """Send a test message through one channel, as it is configured in the file and in this shell.

    Exit code 0 if it was taken, 8 if only at some of its addresses, 6 if nobody could be reached, 1 if it was refused,
    3 if no such channel is configured.
    """
    with told():
        results = asyncio.run(_test(name, dry_run, config, data))
    if dry_run:
        click.echo(
            "DRY RUN: nothing was sent to anybody. To send: the same again without --dry-run.", err=True
        )
    if wants_json(output):
        show_json({"channel": name, "dry_run": dry_run, "results": results})
    else:
        console().print(_table(results))
    code = exit_code([result["outcome"] for result in results])
    if code != OK:
        raise click.exceptions.Exit(code)


def _table(results: list[dict[str, Any]]) -> Any:
    """Show each address with its outcome, and below it the provider's words."""
    shown = table("outcome", "where, and what it said", wide="where, and what it said")
    for result in results:
        where = text(result["address"])
        where.append("\n")
        where.append_text(text(result["why"], "dim", WHY_LENGTH_MAX))
        shown.add_row(text(WORDS[result["outcome"]]), where)
    return shown


WORDS = {
    "delivered": "delivered",
    "accepted": "accepted by the provider",
    "dry_run": "dry run, not sent",
    "retry": "not now",
    "refused": "refused",
}
WHY_LENGTH_MAX = 2000
TAKEN = ("delivered", "accepted", "dry_run")


def exit_code(outcomes: list[str]) -> int:
    """Give the exit code for the outcomes of all addresses."""
    if all(outcome in TAKEN for outcome in outcomes):
        return OK
    if any(outcome in TAKEN for outcome in outcomes):
        return PARTLY_DONE
    return UNEXPECTED if "refused" in outcomes else UNREACHABLE


async def _test(name: str, dry_run: bool, config: Path | None, data: Path) -> list[dict[str, Any]]:
    from tocsin.runtime.try_channel import said_of, try_channel
    from tocsin.wiring.machine import build_clock, build_ids
    from tocsin.wiring.outside import build_channels, build_outbound, read_configuration

    settings = read_configuration(config, data)
    outbound = build_outbound(settings)
    channels = build_channels(settings, outbound)
    tested = channels.get(name)
    if tested is None:
        known = ", ".join(channels)
        raise Failure(
            f"Channel {name!r} is not configured. Configured: {known}."
            if known
            else f"Channel {name!r} is not configured, and no other is. Write it into "
            "tocsin.yaml, or set TOCSIN_SMTP_HOST, TOCSIN_TEAMS_WEBHOOK_URL or TOCSIN_WEBHOOK_URL.",
            NOT_FOUND,
        )
    try:
        tried = await try_channel(
            tested,
            notification_id=build_ids().random_bytes(16).hex(),
            origin="tocsin-test",
            because="somebody ran `tocsin channel test`",
            at=build_clock().now(),
            dry_run=dry_run,
        )
    finally:
        await tested.close()
        await outbound.close()
    return [{"address": address} | said_of(outcome) for address, outcome in tried]
