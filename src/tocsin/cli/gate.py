"""Gate: the proof that an installation, or a build of it, does what it says; one verdict of many checks.

The checks of the build need nothing and leave nothing behind. Those of a live installation read its data directory,
beside a server that runs on it.
"""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tocsin.cli.client import config_option, db_option, server_options
from tocsin.cli.exits import NOT_FOUND, UNEXPECTED, USAGE, VERIFICATION_FAILED, Failure
from tocsin.cli.show import console, output_option, show_json, text, wants_json

if TYPE_CHECKING:
    from tocsin.cli.gate_check import Asked, Checked, Found

BUILD: dict[str, tuple[str, str]] = {
    "notify_completeness": ("gate_completeness", "completeness"),
    "notify_accuracy": ("gate_accuracy", "accuracy"),
    "notify_performance": ("gate_performance", "performance"),
    "notify_audit": ("gate_audit", "audit"),
    "notify_determinism": ("gate_determinism", "determinism"),
}
LIVE: dict[str, tuple[str, str]] = {
    f"live_{name}": ("gate_live", name)
    for name in (
        "schema", "ledger", "replay", "keys", "clock", "channels", "backup", "accounting", "server",
    )
}  # fmt: skip
"""check -> where it is. They are made in this order."""

STYLE = {"PASS": "green", "WARN": "yellow", "FAIL": "bold red", "SKIP": "dim"}
NAME_WIDTH = max(map(len, (*BUILD, *LIVE)))


@click.command()
@server_options
@db_option
@config_option
@click.option(
    "--only",
    multiple=True,
    type=click.Choice([*BUILD, *LIVE]),
    metavar="CHECK",
    help="Make this check. May be repeated.",
)
@click.option("--quick", is_flag=True, help="Leave out what takes long on a large ledger.")
@click.option("--strict", is_flag=True, help="A warning fails the gate too.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write a report there.")
@click.option("--badge", type=click.Path(path_type=Path, dir_okay=False), help="Write a badge (SVG) there.")
@click.option("--json", "as_json", is_flag=True, help="The same as --output json.")
@output_option
@click.pass_context
def gate(
    context: click.Context,
    data: Path,
    url: str | None,
    token: str | None,
    db: str,
    config: Path | None,
    only: tuple[str, ...],
    quick: bool,
    strict: bool,
    markdown: Path | None,
    badge: Path | None,
    as_json: bool,
    output: str | None,
) -> None:
    """Prove that this Tocsin does what it says, and that an installation is sound.

    Five checks are about the program itself and need nothing: notify_completeness, notify_accuracy,
    notify_performance, notify_audit and notify_determinism. The live ones are about the data directory, if there is
    one, or about a node and its PostgreSQL. Nothing is changed and nobody is told anything. Exits 0 if nothing failed,
    7 if anything did.
    """
    from tocsin.cli.gate_check import Asked

    is_named = context.get_parameter_source("data") is not click.core.ParameterSource.DEFAULT
    is_there = bool(db) or (data / "tocsin.db").exists()
    if not is_there and (is_named or any(name in LIVE for name in only)):
        raise Failure(
            f"There is no Tocsin in {data}. Name the data directory of a server: --data DIR.", NOT_FOUND
        )
    asked = Asked(data if is_there else None, config, url, token, quick, db)
    names = [name for name in (*BUILD, *(LIVE if is_there else ())) if not only or name in only]
    if config is not None and not config.exists():
        raise Failure(f"There is no configuration {config}.", USAGE)
    shows = not (as_json or wants_json(output))
    made = []
    for checked in look(names, asked):
        made.append(checked)
        if shows:
            _show(checked)
    failed = [one.name for one in made if one.verdict == "FAIL" or (strict and one.verdict == "WARN")]
    if shows:
        _close(made, failed)
    else:
        from tocsin.cli.gate_report import as_answer

        show_json(as_answer(made, failed))
    _write(made, failed, markdown, badge)
    if failed:
        raise click.exceptions.Exit(VERIFICATION_FAILED)


def look(names: list[str], asked: "Asked") -> "Iterator[Checked]":
    """Make these checks, one after the other."""
    from tocsin.cli.gate_check import Checked
    from tocsin.wiring.machine import build_clock

    clock = build_clock()
    for name in names:
        began = clock.now()
        found = _look(name, asked)
        yield Checked(name, found, (clock.now() - began) / 1e6)


def _look(name: str, asked: "Asked") -> "Found":
    """Make one check; that it cannot be made is a finding too."""
    from tocsin.cli.gate_check import Found

    module, attribute = (BUILD | LIVE)[name]
    try:
        found: Found = getattr(importlib.import_module(f"tocsin.cli.{module}"), attribute)(asked)
    except Exception as error:  # A gate that falls over one mistake finds no other.
        return Found(
            "fail", f"It could not be looked at: {type(error).__name__}: {error}", "Look at its cause."
        )
    return found


def _show(checked: "Checked") -> None:
    from rich.table import Table

    found = checked.found
    out = console()
    row = Table.grid(padding=(0, 2, 0, 0))
    for width in (NAME_WIDTH, 4, 7):
        row.add_column(width=width, no_wrap=True, justify="right" if width == 7 else "left")
    row.add_column(overflow="fold")
    said = f"{found.said} {found.step}".strip()
    row.add_row(
        text(checked.name),
        text(checked.verdict, STYLE[checked.verdict]),
        f"{checked.seconds:.1f} s",
        text(said),
    )
    for wrong in found.wrong:
        row.add_row("", "", "", text(wrong))
    out.print(row)
    if found.differs:
        sides = Table.grid(padding=(0, 2, 0, 0), expand=True)
        for _ in range(2):
            sides.add_column(ratio=1, overflow="fold")
        sides.add_row(text("expected", "dim"), text("found", "dim"))
        for expected, there in found.differs:
            sides.add_row(text(expected or "(nothing)", "green"), text(there or "(nothing)", "red"))
        out.print(sides)


def _close(made: "list[Checked]", failed: list[str]) -> None:
    counts = {verdict: sum(one.verdict == verdict for one in made) for verdict in STYLE}
    counted = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    took = sum(one.seconds for one in made)
    click.echo("=" * 60)
    result = f"GATE FAILED: {', '.join(failed)}" if failed else "GATE PASSED"
    click.echo(f"{result}  ({counted}, {took:.1f} s)")


def _write(made: "list[Checked]", failed: list[str], markdown: Path | None, badge: Path | None) -> None:
    """Write the files that were asked for. Raises: Failure."""
    if markdown is None and badge is None:
        return
    from tocsin.cli.gate_report import as_badge, as_markdown

    for path, write in ((markdown, as_markdown), (badge, as_badge)):
        if path is not None:
            try:
                path.write_text(write(made, failed), encoding="utf-8")
            except OSError as error:
                raise Failure(f"{path} cannot be written: {error.strerror}.", UNEXPECTED) from error
