"""Options read off the settings: no name, default or sentence is written twice."""

from typing import Any

import typer
from rich.console import Console

from safelight.settings import Settings, environment_name


def knob(field: str, *names: str) -> Any:
    """Return the option for a setting; not given, it leaves the environment's or the default."""
    info = Settings.model_fields[field]
    return typer.Option(
        *(names or (f"--{field.replace('_', '-')}",)),
        help=f"{info.description} [dim]\\[{environment_name(field)}={info.default}][/dim]",
        show_default=False,
    )


def model_argument() -> Any:
    """Return the argument that names the model."""
    return typer.Argument(
        help="Hub id, local folder, or bundled demo. [dim]\\[default: demo-edit][/dim]",
        show_default=False,
    )


def console() -> Console:
    """Return where output goes: with colours only on a terminal, and wide enough in a file."""
    out = Console(highlight=False)
    return out if out.is_terminal else Console(highlight=False, width=140)
