"""The command `safelight`: register subcommands, and print errors as one line."""

import sys
from collections.abc import Iterable
from importlib import import_module
from inspect import getdoc
from typing import Annotated, NoReturn

import typer

from safelight.cli.options import format_help
from safelight.cli.spelling import unknown_settings
from safelight.cli.version import versions
from safelight.errors import SafelightError
from safelight.renamed import find
from safelight.settings import plain_output, program_environment, renamed_settings

# Each command, in the order of `--help`, and the module in this package that has its function.
COMMANDS = {
    "up": "up",
    "down": "down",
    "serve": "serve",
    "sleep": "sleeping",
    "wake": "sleeping",
    "console": "console",
    "top": "top",
    "logs": "read_logs",
    "show": "show",
    "canary": "canary",
    "traffic": "traffic",
    "diagnose": "diagnose",
    "forecast": "forecast",
    "trends": "trends",
    "shadow": "shadow",
    "rollout": "rollout",
    "radar": "radar",
    "tradeoff": "tradeoff",
    "metrics": "metrics",
    "doctor": "doctor",
    "gpu-exporter": "exporter",
    "alert-relay": "relay",
    "key": "key",
    "export": "export",
    "grafana": "grafana",
    "demo": "demo",
    "records": "records",
}
_INTERRUPTED = 130


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """Return the command line with these commands.

    Only their modules are imported: `safelight serve` needs 6 MiB less memory for that.
    """
    app = typer.Typer(
        name="safelight",
        help="Monitor image-model services down to each denoising step.",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback(invoke_without_command=True)(root)
    for name in names:
        command = getattr(import_module(f"safelight.cli.{COMMANDS[name]}"), name.replace("-", "_"))
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
            _format(command)
        else:
            app.command()(command)
    _format(app)
    return app


def _format(app: typer.Typer) -> None:
    for command in app.registered_commands:
        command.help = format_help(getdoc(command.callback) or "")


def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print what a report of a mistake needs, and exit.")
    ] = False,
) -> None:
    """Handle the options before a subcommand."""
    if version:
        typer.echo(versions())
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    for sentence in (*renamed_settings(), *unknown_settings(program_environment())):
        _print_message(sentence, "yellow")


def main() -> None:
    """Run the command line. An expected error is one line on standard error, no traceback."""
    names = [name for name in sys.argv[1:2] if name in COMMANDS]
    try:
        code = application(names or COMMANDS)(standalone_mode=False, prog_name="safelight")
    except SafelightError as error:
        _exit_with_error(str(error), error.exit_code)
    except typer.TyperException as error:
        _exit_with_error(_usage_error(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # `safelight metrics | head`: the reader has ended
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _usage_error(error: typer.TyperException) -> str:
    """Return a command line error in one line, with the help command to run."""
    message = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    renamed = find("option", getattr(error, "option_name", ""))
    if renamed is None and context and message.startswith("No such command"):
        renamed = find("command", f"{context.command_path} DIR")
    if renamed:
        message = f"{message}. {renamed.sentence.rstrip('.')}"
    return f"{message}. See: {context.command_path} --help" if context else f"{message}."


def _print_message(message: str, colour: str) -> None:
    coloured = False if plain_output() else None  # None: typer checks for a terminal
    typer.secho(f"safelight: {message}", err=True, fg=colour, color=coloured)


def _exit_with_error(message: str, code: int) -> NoReturn:
    _print_message(message, "red")
    sys.exit(code)
