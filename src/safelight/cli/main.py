"""The command `safelight`: names the subcommands, and makes an error one line and a code."""

import sys
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

from safelight.cli.doctor import doctor
from safelight.cli.export import export
from safelight.cli.metrics import metrics
from safelight.cli.serve import serve
from safelight.cli.top import top
from safelight.cli.traffic import traffic
from safelight.cli.up import up
from safelight.errors import SafelightError

app = typer.Typer(
    name="safelight",
    help="Makes image-model services observable down to each denoising step.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (up, serve, top, traffic, metrics, doctor, export):
    app.command()(command)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    """Take the options that come before a subcommand."""
    if version:
        typer.echo(f"safelight {installed_version('safelight')}")
        raise typer.Exit


def main() -> None:
    """Run the command line; an error of ours is one line on standard error, never a traceback."""
    try:
        app()
    except SafelightError as error:
        typer.secho(f"safelight: {error}", err=True, fg="red")
        sys.exit(error.exit_code)
