"""Token: who may come in: made, listed, revoked."""

import sys
from pathlib import Path
from typing import Any

import click

from tocsin.cli.answers import collect
from tocsin.cli.client import reach, server_options
from tocsin.cli.exits import USAGE, Failure
from tocsin.cli.show import (
    console,
    moment,
    output_option,
    show_json,
    show_more,
    table,
    text,
    wants_json,
    zone,
)
from tocsin.cli.times import FUTURE, Moment
from tocsin.cli.token_reset import reset

ROLES = ("admin", "analyst", "service", "viewer", "auditor")
PERMISSIONS = ("read", "read-ledger", "send", "respond", "silence", "administer")
PATH = "/api/v1/tokens"


@click.group()
def token() -> None:
    """Who may come in."""


token.add_command(reset)


@token.command()
@click.option("--name", required=True, help="Whose it is; it stands beside what was done with it.")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What its bearer is.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(PERMISSIONS),
    multiple=True,
    help="Only this of what the role may; may be repeated. Default: all of it.",
)
@click.option("--expires", type=FUTURE, metavar="TIME", help="Not after then: 90d, ISO 8601. Default: never.")
@click.option("--per-minute", type=click.IntRange(1), help="At most so many requests a minute.")
@server_options
@output_option
def create(
    name: str,
    role: str,
    scopes: tuple[str, ...],
    expires: Moment | None,
    per_minute: int | None,
    data: Path,
    url: str | None,
    token: str | None,
    output: str | None,
) -> None:
    """Make a token. It is shown this once; in a pipe it stands alone on stdout, and the rest on stderr."""  # fmt: skip
    form: dict[str, Any] = {"name": name, "role": role, "scopes": list(scopes)}
    if per_minute is not None:
        form["per_minute"] = per_minute
    with reach(data, url, token, writes=True) as (api, _):
        if expires is not None:
            form["expires_at"] = expires.at(api)
        made = api.request("POST", PATH, body=form)
    if output == "json":
        show_json(made)
        return
    ends = f"until {moment(made['expires_at'])} ({zone()})" if made["expires_at"] else "until it is revoked"
    click.echo(f"Token {made['id']} of role {made['role']}, {ends}. It is shown only now; keep it:", err=True)
    sys.stderr.flush()
    click.echo(made["token"])


@token.command("list")
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@server_options
@output_option
def list_tokens(limit: int, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """List tokens, without what they are."""
    with reach(data, url, token, writes=False) as (api, _):
        found = collect(api, PATH, "tokens", {}, limit)
    if wants_json(output):
        show_json(found)
        return
    out = console()
    shown = table("id", "role", f"made ({zone(short=True)})", "ends", "name", wide="name")
    for one in found["tokens"]:
        name = text(one["name"])
        limits = [*one["scopes"], *([f"{one['per_minute']} a minute"] if one.get("per_minute") else [])]
        if limits:
            name.append("\n")
            name.append_text(text(f"only {', '.join(limits)}", "dim"))
        shown.add_row(
            text(one["id"], "bold"),
            text(one["role"]),
            text(moment(one["created_at"], short=True), "dim"),
            _ends(one),
            name,
        )
    out.print(shown)
    show_more(out, found, len(found["tokens"]))


def _ends(one: dict[str, Any]) -> Any:
    if one["revoked_at"]:
        return text("revoked", "red")
    return text(moment(one["expires_at"], short=True) or "never")


@token.command()
@click.argument("token_id", metavar="ID")
@click.option(
    "--force", is_flag=True, help="Even the last admin's token that works: nobody could administer then."
)
@server_options
@output_option
def revoke(
    token_id: str, force: bool, data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """Revoke a token, by its id (the first part after toc_). It opens nothing any more, at once."""
    if token_id.startswith("toc_"):
        raise Failure("Give the token's id, not the token itself. List them: tocsin token list", USAGE)
    if not (token_id.isascii() and token_id.replace("-", "").isalnum()):
        raise Failure(f"{token_id!r} is no token's id. List them: tocsin token list", USAGE)
    with reach(data, url, token, writes=True) as (api, _):
        answer = api.request("DELETE", f"{PATH}/{token_id}", query={"force": True} if force else None)
    if wants_json(output):
        show_json(answer)
    else:
        console().print(f"Token {answer['id']} is revoked since {moment(answer['revoked_at'])} ({zone()}).")
