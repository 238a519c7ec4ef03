"""Rule: what rules of the Alert Center see, why, and what they would have done; and how those of a server stand."""

import importlib

import click

ELSEWHERE = {
    "test": ("rule_test", "test"),
    "explain": ("rule_explain", "explain"),
    "backtest": ("rule_backtest", "backtest"),
    "list": ("rule_server", "list_rules"),
    "show": ("rule_server", "show"),
    "forget": ("rule_server", "forget"),
    "budget": ("rule_server", "budget"),
}
"""Each verb lives in a module of its own, loaded when it is asked for."""


class Verbs(click.Group):
    """Loads a verb when it is first needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(ELSEWHERE)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in ELSEWHERE:
            return None
        module, attribute = ELSEWHERE[name]
        command: click.Command = getattr(importlib.import_module(f"tocsin.cli.{module}"), attribute)
        return command


@click.group(cls=Verbs)
def rule() -> None:
    """Rules of the Alert Center: try them before they wake anybody."""
