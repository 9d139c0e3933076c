"""``streamer completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> None:
    """What makes the shell complete commands and options with the tab key.

    \b
    Examples:
      eval "$(streamer completion bash)"         # in ~/.bashrc
      eval "$(streamer completion zsh)"          # in ~/.zshrc
      streamer completion fish > ~/.config/fish/completions/streamer.fish
    """
    root = click.get_current_context().find_root().command
    made_by = get_completion_class(shell)
    assert made_by is not None  # noqa: S101 (for mypy: the choice allows no other)
    click.echo(made_by(root, {}, "streamer", "_STREAMER_COMPLETE").source())
