"""The command `safelight`: names the subcommands, and makes an error one line and a code."""

import sys
from importlib.metadata import version as installed_version
from inspect import getdoc
from typing import Annotated, Any, NoReturn

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
from safelight.cli.options import laid_out
from safelight.cli.radar import radar
from safelight.cli.records import records
from safelight.cli.relay import alert_relay
from safelight.cli.serve import serve
from safelight.cli.spelling import misspelt
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
    help="Makes image-model services observable down to each denoising step.",
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
    for known in each.registered_commands:
        known.help = laid_out(getdoc(known.callback) or "")


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.")
    ] = False,
) -> None:
    """Take the options that come before a subcommand."""
    if version:
        typer.echo(f"safelight {installed_version('safelight')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)
    for sentence in misspelt(program_environment()):
        _tell(sentence, "yellow")


def main() -> None:
    """Run the command line; an error of ours is one line on standard error, never a traceback."""
    try:
        code = app(standalone_mode=False, prog_name="safelight")
    except SafelightError as error:
        _end(str(error), error.exit_code)
    except typer.TyperException as error:
        _end(_usage(error), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(_INTERRUPTED)
    except BrokenPipeError:  # `safelight metrics | head`: nobody reads on
        sys.stderr.close()
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> str:
    """Return what was wrong with the command line, in one line, and where to read on."""
    said = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{said}. See: {context.command_path} --help" if context else f"{said}."


def _tell(message: str, colour: str) -> None:
    coloured = False if plain_output() else None  # None: where it is a terminal
    typer.secho(f"safelight: {message}", err=True, fg=colour, color=coloured)


def _end(message: str, code: int) -> NoReturn:
    _tell(message, "red")
    sys.exit(code)
