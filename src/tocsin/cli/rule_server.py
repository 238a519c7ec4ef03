"""Rule server: how the rules of a server stand, and how one of them forgets."""

import textwrap
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from tocsin.cli.client import Server, find_server, server_options
from tocsin.cli.exits import UNREACHABLE, Failure
from tocsin.cli.plain import plain, plain_lines
from tocsin.cli.show import (
    SEVERITY_STYLE,
    console,
    facts,
    labels,
    moment,
    output_option,
    several,
    show_json,
    table,
    text,
    wants_json,
    zone,
)

PATH = "/api/v1/rules"
QUERY_WIDTH = 76
SLOS = "/api/v1/slos"
STATE_STYLE = {
    "firing": "bold red",
    "pending": "yellow",
    "green": "green",
    "failing": "bold red",
    "waiting": "yellow",
    "disabled": "dim",
}
STATUS_STYLE = {"firing": "bold red", "pending": "yellow", "green": "green"}


@click.command("list")
@server_options
@output_option
def list_rules(data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """List the rules of the server and how they stand, by name."""
    found = _server(data, url, token).request("GET", PATH)
    if wants_json(output):
        show_json(found)
        return
    if not found["rules"]:
        console().print("There are no rules. Write one into tocsin.yaml, or into a file of rules/ beside it.")
        return
    shown = table("rule", "state", "source", ">firing", f"next ({zone(short=True)})", "", wide="")
    for one in found["rules"]:
        shown.add_row(
            text(one["rule_id"], "bold", 32),
            text(one["state"], STATE_STYLE.get(one["state"], "")),
            text(one["source"], "", 16),
            text(f"{one['firing']} of {one['scopes']}"),
            text(moment(one["due_at"], short=True), "dim"),
            text(one["failure"] or one["description"], "", 200),
        )
    console().print(shown)


@click.command()
@click.argument("rule_id", metavar="RULE_ID")
@server_options
@output_option
def show(rule_id: str, data: Path, url: str | None, token: str | None, output: str | None) -> None:
    """Show a rule of the server, and what its last look saw."""
    found = _server(data, url, token).request("GET", f"{PATH}/{quote(rule_id, safe='')}")
    if wants_json(output):
        show_json(found)
        return
    out = console()
    out.print(text(found["rule_id"], "bold"))
    facts(out, _facts(found))
    settings = found.get("trigger_settings") or {}
    for name in ("query", "good", "total"):
        _show_query(name, found["query"] if name == "query" else settings.get(name, ""))
    for one in found["last"]:
        line = text("  ")
        line.append_text(_verdict(one))
        line.append_text(text("  " + "  ".join(filter(None, (labels(one["scope"]), one["formula"])))))
        out.print(line)


def _show_query(name: str, query: str) -> None:
    if not query:
        return
    console().print(text(f"  {name}", "dim"))
    for line in plain_lines(query).split("\n"):
        for part in textwrap.wrap(line, QUERY_WIDTH, subsequent_indent="  ", break_on_hyphens=False) or [""]:
            click.echo(f"    {part}".rstrip())


def _every(said: str) -> str:
    """Say in words how often it looks. said: `60s`, or a cron expression."""
    from tocsin.cli.rule_words import length

    if " " in said:
        return f"when the clocks show {said}"
    try:
        return f"every {length(float(said.removesuffix('s')))}"
    except ValueError:
        return f"every {said}"


def _facts(found: dict[str, Any]) -> list[tuple[str, object]]:
    from tocsin.cli.rule_words import length, no_data, once, steps, terms

    settings = found.get("trigger_settings") or {}
    zone_name = f" in {found['zone']}" if " " in found["every"] else ""
    looks = f"{_every(found['every'])}{zone_name}, over the last {length(found['window_s'])}"
    said = ", ".join(terms(settings))
    return [
        ("says", found["description"]),
        ("state", found["state"]),
        ("failing", found["failing_since"] and f"since {moment(found['failing_since'])} ({zone()})"),
        ("because", found["failure"]),
        ("asks", found["source"]),
        ("looks", looks),
        ("next", found["due_at"] and f"{moment(found['due_at'])} ({zone()})"),
        ("last", found["done_at"] and f"{moment(found['done_at'])} ({zone()})"),
        ("trigger", f"{found['trigger']}: {said}" if said else found["trigger"]),
        ("fires", "; ".join(filter(None, (steps(settings), once(found["looks"], found["of"]))))),
        ("no data", no_data(found["trigger"], found["no_data"])),
        ("labels", labels(found["labels"])),
        ("owner", found["owner"]),
        ("runbook", found["runbook"]),
    ]


def _verdict(one: dict[str, Any]) -> Any:
    if one["severity"] is not None and one["status"] == "firing":
        return text(f"{one['status']} {one['severity']}", SEVERITY_STYLE.get(one["severity"], ""))
    return text(one["status"], STATUS_STYLE.get(one["status"], ""))


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@server_options
@output_option
def budget(
    names: tuple[str, ...], data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """Say what is left of the error budgets of objectives; of all, without a NAME."""
    server = _server(data, url, token)
    wanted = names or [one["name"] for one in server.request("GET", SLOS)["slos"]]
    found = [server.request("GET", f"{SLOS}/{quote(name, safe='')}") for name in wanted]
    if wants_json(output):
        show_json({"slos": found})
        return
    if not found:
        console().print("There are no objectives. Write one below `slos:`.")
        return
    shown = table("objective", "promised", "in any", "scope", ">good", ">of", ">left", wide="scope")
    for one in found:
        for left in one["budgets"] or [None]:
            shown.add_row(
                text(one["name"], "bold", 32),
                text(f"{one['objective'] * 100:.6g} %"),
                text(f"{one['window_s'] / 86_400:g} days"),
                text(labels(left["scope"]) if left else "no data"),
                text(f"{left['good']:,.6g}" if left else ""),
                text(f"{left['total']:,.6g}" if left else ""),
                text(f"{left['left'] * 100:.1f} %", "bold red" if left["left"] < 0 else "green")
                if left
                else text(""),
            )
    console().print(shown)


@click.command()
@click.argument("rule_id", metavar="RULE_ID")
@click.option("--reason", required=True, help="Why; it stands in the record.")
@server_options
@output_option
def forget(
    rule_id: str, reason: str, data: Path, url: str | None, token: str | None, output: str | None
) -> None:
    """End all that fires of a rule, and forget its scopes. Those that are seen again fire again."""
    path = f"{PATH}/{quote(rule_id, safe='')}/forget"
    found = _server(data, url, token).request("POST", path, body={"reason": reason})
    if wants_json(output):
        show_json(found)
        return
    click.echo(f"Rule {plain(found['rule_id'])} forgot; {several(found['ended'], 'alert')} ended.")


def _server(data: Path, url: str | None, token: str | None) -> Server:
    """Give the server. How rules stand is known where they are looked at, so nobody else can answer."""
    server = find_server(data, url, token)
    if server is None:
        raise Failure(
            f"No server runs on {data}, so nobody looks at rules. To look once: tocsin rule test FILE",
            UNREACHABLE,
        )
    return server
