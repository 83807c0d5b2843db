"""The command `safelight`: register subcommands, and print errors as one line."""

import sys
from importlib.metadata import version as installed_version
from inspect import getdoc
from typing import Annotated, NoReturn

import typer

from safelight.cli.demo import demo
from safelight.cli.diagnose import diagnose
from safelight.cli.doctor import doctor
from safelight.cli.export import export
from safelight.cli.exporter import gpu_exporter
from safelight.cli.forecast import forecast
from safelight.cli.grafana import grafana
from safelight.cli.key import key
from safelight.cli.metrics import metrics
from safelight.cli.options import format_help
from safelight.cli.radar import radar
from safelight.cli.records import records
from safelight.cli.relay import alert_relay
from safelight.cli.serve import serve
from safelight.cli.spelling import unknown_settings
from safelight.cli.top import top
from safelight.cli.tradeoff import tradeoff
from safelight.cli.traffic import traffic
from safelight.cli.trends import trends
from safelight.cli.up import up
from safelight.errors import SafelightError
from safelight.settings import plain_output, program_environment

_INTERRUPTED = 130

app = typer.Typer(
    name="safelight",
    help="Monitor image-model services down to each denoising step.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    up,
    serve,
    top,
    traffic,
    diagnose,
    forecast,
    trends,
    radar,
    tradeoff,
    metrics,
    doctor,
    gpu_exporter,
    alert_relay,
    key,
):
    app.command()(command)
for group, name in ((export, "export"), (grafana, "grafana"), (demo, "demo"), (records, "records")):
    app.add_typer(group, name=name)
for each in (app, export, grafana, demo, records):
    for registered in each.registered_commands:
        registered.help = format_help(getdoc(registered.callback) or "")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Handle the options before a subcommand."""
    if version:
        typer.echo(f"safelight {installed_version('safelight')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    for sentence in unknown_settings(program_environment()):
        _print_message(sentence, "yellow")


def main() -> None:
    """Run the command line. An expected error is one line on standard error, no traceback."""
    try:
        code = app(standalone_mode=False, prog_name="safelight")
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
    return f"{message}. See: {context.command_path} --help" if context else f"{message}."


def _print_message(message: str, colour: str) -> None:
    coloured = False if plain_output() else None  # None: typer checks for a terminal
    typer.secho(f"safelight: {message}", err=True, fg=colour, color=coloured)


def _exit_with_error(message: str, code: int) -> NoReturn:
    _print_message(message, "red")
    sys.exit(code)
