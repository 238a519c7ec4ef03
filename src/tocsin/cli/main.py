"""Main: the verbs of the terminal. Each lives in a module of its own, loaded only when it is asked for."""

import importlib
import sys
from typing import Any

import click

from tocsin.cli.exits import INTERRUPTED

VERBS: dict[str, tuple[str, str, str]] = {
    "serve": ("tocsin.cli.serve", "serve", "Run Tocsin."),
    "demo": ("tocsin.cli.demo", "demo", "See what Tocsin does, in ten seconds and without any set-up."),
    "send": ("tocsin.cli.send", "send", "Tell people now."),
    "status": ("tocsin.cli.status", "status", "List incidents, or show one."),
    "why": ("tocsin.cli.why", "why", "Explain why people were told, or were not."),
    "ack": ("tocsin.cli.actions", "ack", "Acknowledge incidents: somebody is at it."),
    "unack": ("tocsin.cli.actions", "unack", "Take acknowledgements back."),
    "resolve": ("tocsin.cli.actions", "resolve", "Resolve incidents: it is over."),
    "reopen": ("tocsin.cli.actions", "reopen", "Open resolved incidents again."),
    "note": ("tocsin.cli.actions", "note", "Write a note into an incident's record."),
    "silence": ("tocsin.cli.silences", "silence", "Be quiet about incidents, or about all that matches."),
    "unsilence": ("tocsin.cli.unsilence", "unsilence", "End silences."),
    "deliveries": ("tocsin.cli.deliveries", "deliveries", "What went out, what did not, and why."),
    "replay": ("tocsin.cli.replay", "replay", "Send again what did not arrive, from the record."),
    "events": ("tocsin.cli.events", "events", "Follow what is decided, as it happens."),
    "stats": ("tocsin.cli.stats", "stats", "Count incidents, and tell how long they took."),
    "policy": ("tocsin.cli.policy", "policy", "What is in force, and what changed."),
    "token": ("tocsin.cli.tokens", "token", "Who may come in."),
    "channel": ("tocsin.cli.channel", "channel", "Ways to speak."),
    "rule": ("tocsin.cli.rule", "rule", "Rules of the Alert Center: try them before they wake anybody."),
    "config": ("tocsin.cli.config", "config", "The configuration, tocsin.yaml."),
    "ledger": (
        "tocsin.cli.ledger",
        "ledger",
        "Check the record of all decisions, prove it, and look into it.",
    ),
    "whatif": (
        "tocsin.cli.whatif",
        "whatif",
        "Decide the recorded inputs again under another policy, and show what would have been different.",
    ),
    "backup": (
        "tocsin.cli.backup",
        "backup",
        "Write everything that is stored to FILE, and verify it.",
    ),
    "restore": (
        "tocsin.cli.backup",
        "restore",
        "Fill a data directory, or a PostgreSQL, from FILE, which `tocsin backup` wrote.",
    ),
    "migrate-store": (
        "tocsin.cli.migrate",
        "migrate_store",
        "Move everything in the data directory to PostgreSQL, for several nodes.",
    ),
    "doctor": (
        "tocsin.cli.doctor",
        "doctor",
        "Look at everything that Tocsin stands on: versions, store, ledger, clock, channels, and the server.",
    ),
    "gate": (
        "tocsin.cli.gate",
        "gate",
        "Prove that this Tocsin does what it says, and that an installation is sound.",
    ),
    "completion": (
        "tocsin.cli.completion",
        "completion",
        "Print the script that makes SHELL complete tocsin's verbs, options and values.",
    ),
}
"""verb -> where its command is, and what it says of itself in short, so that `--help` need not load them all."""


class Verbs(click.Group):
    """Loads a command when it is first needed, so that `tocsin --help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module, attribute, _ = VERBS[name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click, which guesses only among commands that are loaded."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            name = args[0]
            near = get_close_matches(name, VERBS) if not name.startswith("-") else []
            if not near or "Did you mean" in error.format_message():
                raise
            near.sort(key=lambda verb: sorted(verb) != sorted(name))  # The same letters come first.
            guess = " or ".join(map(repr, near))
            raise click.UsageError(f"No such command {name!r}. Did you mean {guess}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See click, which would load every command to ask what it says of itself."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, short) for name, (_, _, short) in VERBS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """See click, for which Ctrl-C is an error like any other."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, click.Abort):
            click.echo(err=True)  # The prompt of the shell does not stand behind ^C.
            raise click.exceptions.Exit(INTERRUPTED) from None


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
