"""Main: the verbs of the terminal. Each lives in a module of its own, loaded only when it is asked for."""

import importlib
import sys

import click

VERBS = {
    "serve": ("tocsin.cli.serve", "serve"),
    "demo": ("tocsin.cli.demo", "demo"),
    "send": ("tocsin.cli.incidents", "send"),
    "status": ("tocsin.cli.incidents", "status"),
    "channel": ("tocsin.cli.channel", "channel"),
    "ledger": ("tocsin.cli.ledger", "ledger"),
}
"""verb -> where its command is."""


class Verbs(click.Group):
    """Loads a command when it is first needed, so that `tocsin --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, attribute = VERBS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tocsin")
def main() -> None:
    """Tocsin: alerts in, incidents, the right person told, a record that proves itself."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(
                errors="replace"
            )  # A terminal without Unicode loses a character, not the answer.


if __name__ == "__main__":
    main(prog_name="tocsin")
