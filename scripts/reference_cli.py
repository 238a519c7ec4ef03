"""The reference of the command line, from click: every command with its arguments, options, defaults, variables.

A part of what `scripts/reference.py` writes.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tocsin.cli.client import server_options
from tocsin.cli.main import main
from tocsin.cli.show import output_option

COMMON = "Common options"


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Give every command with its full name, groups before what is in them."""
    root = click.Context(main, info_name="tocsin")
    for name in main.list_commands(root):
        command = main.get_command(root, name)
        assert command is not None, name
        yield from _within(f"tocsin {name}", command, click.Context(command, parent=root, info_name=name))


def _within(
    name: str, command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield name, command, context
    if isinstance(command, click.Group):
        for inner_name in command.list_commands(context):
            inner = command.get_command(context, inner_name)
            assert inner is not None, inner_name
            inside = click.Context(inner, parent=context, info_name=inner_name)
            yield from _within(f"{name} {inner_name}", inner, inside)


def generate() -> str:
    """Give the reference as Markdown."""
    common = _common()
    said = {_row(option, click.Context(option_holder)) for option_holder, option in common}
    parts = [f"## {COMMON}\n\nOf all verbs that talk to a server.\n\n", _table(sorted(said))]
    for name, command, context in commands():
        depth = "##" if name.count(" ") == 1 else "###"
        parts.append(f"\n{depth} {name}\n\n{_help(command)}\n")
        if isinstance(command, click.Group):
            continue
        parts.append(f"\n```text\n{_usage(name, command, context)}\n```\n")
        rows = [_row(option, context) for option in options(command)]
        own = [row for row in rows if row not in said]
        if own:
            parts.append("\n" + _table(own))
        shared = [row for row in rows if row in said]
        if shared:
            if len(shared) == len(said):
                parts.append(f"\nAnd the [{COMMON.lower()}](#{COMMON.lower().replace(' ', '-')}).\n")
            else:
                parts.append("\n" + _table(shared) if not own else _lines(shared))
    return "".join(parts).strip()


def options(command: click.Command) -> list[click.Option]:
    """Give the options that people are meant to use."""
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def _common() -> list[tuple[click.Command, click.Option]]:
    @click.command()
    @server_options
    @output_option
    def holder(**_: Any) -> None:
        """Holds the options that the verbs share."""

    return [(holder, option) for option in options(holder)]


def _usage(name: str, command: click.Command, context: click.Context) -> str:
    return " ".join([name, *command.collect_usage_pieces(context)])


def _help(command: click.Command) -> str:
    """Give the help text as paragraphs; what click keeps as it stands becomes a code block."""
    shown = []
    for part in inspect.cleandoc(command.help or "").split("\n\n"):
        if part.startswith("\b\n"):
            shown.append("```text\n" + part.removeprefix("\b\n") + "\n```")
        else:
            shown.append(" ".join(part.split()))
    return "\n\n".join(shown)


def _row(option: click.Option, context: click.Context) -> str:
    """Give one option as a row of the table."""
    names = [*option.opts, *option.secondary_opts]
    spelled = ", ".join(
        f"`{name}`" for name in sorted(names, key=lambda name: (len(name) > 2, names.index(name)))
    )
    if not option.is_flag:
        spelled += f" `{option.make_metavar(context)}`".replace("|", "\\|")
    notes = [" ".join((option.help or "").split()).replace("|", "\\|")]
    if option.multiple and "repeated" not in notes[0]:
        notes.append("May be repeated.")
    default = _default(option)
    variable = f"`{option.envvar}`" if option.envvar else ""
    return f"| {spelled} | {default} | {variable} | {' '.join(filter(None, notes))} |\n"


def _default(option: click.Option) -> str:
    if option.required:
        return "required"
    value = option.default
    if option.is_flag:
        if not option.secondary_opts:
            return ""
        return f"`{(option.opts if value else option.secondary_opts)[-1]}`"
    if value is None or value == () or type(value).__name__ == "Sentinel" or callable(value):
        return ""
    return f"`{value.as_posix() if isinstance(value, Path) else value}`"


def _table(rows: list[str]) -> str:
    return "| option | default | variable | |\n|---|---|---|---|\n" + "".join(rows)


def _lines(rows: list[str]) -> str:
    return "".join(rows)
