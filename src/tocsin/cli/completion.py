"""Completion: the script by which a shell completes verbs, options and their values. It asks `tocsin` itself."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "tocsin"
ASKED_BY = "_TOCSIN_COMPLETE"
"""The variable by which the script asks; click reads it."""


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes SHELL complete tocsin's verbs, options and values.

    \b
    bash: tocsin completion bash > ~/.local/share/bash-completion/completions/tocsin
    zsh:  tocsin completion zsh > "${fpath[1]}/_tocsin"
    fish: tocsin completion fish > ~/.config/fish/completions/tocsin.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    # Not `source()`: for bash that starts the bash in the PATH to ask for its version, which is not the user's.
    script = kind(context.find_root().command, {}, PROGRAM, ASKED_BY)
    click.echo(script.source_template % script.source_vars())
