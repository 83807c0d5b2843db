"""Options read off the settings: no name, default or sentence is written twice."""

import os
import re
import sys
from inspect import cleandoc
from pathlib import Path
from shlex import quote
from shutil import which
from typing import Any, TextIO, cast

import httpx
import typer
from rich.console import Console

from safelight.errors import BadSetting
from safelight.settings import Settings, environment_name
from safelight.stack.programs import without_password

_FILE_COLUMNS = 140
_FILLING = re.compile(r"[ \t]+(?=\n)")
_HELP_COLUMNS = 35
_LAST_PORT = 65535


def knob(field: str, flag: str | None = None) -> Any:
    """Return the option for a setting; not given, it leaves the environment's or the default.

    The flag is the setting's name, unless another is clear where the option stands.
    """
    info = Settings.model_fields[field]
    return typer.Option(
        flag or f"--{field.replace('_', '-')}",
        help=f"{info.description} {_default(field)}",
        show_default=False,
    )


def model_argument() -> Any:
    """Return the argument that names the model."""
    description = Settings.model_fields["model"].description
    return typer.Argument(help=f"{description} {_default('model')}", show_default=False)


def address(text: str) -> str:
    """Return a service's address as a URL without a slash at its end; `http://` may be left out.

    Raises BadSetting.
    """
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > _LAST_PORT:
        shown = without_password(text)[:80]
        raise BadSetting(f"{shown!r} is no address; write it like http://127.0.0.1:8000.")
    return str(url).rstrip("/")


def console() -> Console:
    """Return where output goes: with colours only on a terminal, and wide enough in a file."""
    out = Console(highlight=False)
    if out.is_terminal:
        return out
    return Console(highlight=False, width=_FILE_COLUMNS, file=cast("TextIO", _Trimmed()))


class _Trimmed:
    """Standard output without the blanks that rich fills lines up with."""

    def write(self, text: str) -> int:
        sys.stdout.write(_FILLING.sub("", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


def laid_out(doc: str) -> str:
    """Return a docstring as a help: prose that wraps by itself, and examples indented alike."""
    prose, _, examples = cleandoc(doc).partition("\n\nExample")
    paragraphs = [" ".join(each.split()) for each in prose.split("\n\n")]
    if examples:
        plural, _, lines = examples.partition(":")
        commands = [f"    {line.strip()}" for line in lines.splitlines() if line.strip()]
        # A line break before what follows the first keeps typer from cutting off indentation.
        first = "" if paragraphs[1:] else "\n"
        paragraphs += [f"{first}Example{plural}:", *commands]
    return "\n\n".join(paragraphs)


def own_name() -> str:
    """Return how a shell calls this program here: by its path where its name is not found."""
    if which("safelight"):
        return "safelight"
    program = Path(sys.executable).with_name("safelight")
    if program.exists():
        return quote(_short(program))
    return f"{quote(_short(Path(sys.executable)))} -m safelight"


def _short(program: Path) -> str:
    """Return a program's path, from the working folder where that is shorter."""
    near = os.path.relpath(program)
    return min(str(program), near if os.sep in near else f"./{near}", key=len)


def _default(field: str) -> str:
    default = Settings.model_fields[field].default
    shown = "" if default is None else default
    told = f"{environment_name(field)}={shown}"
    # A long one may break after the sign: on 80 columns rich would cut it off.
    told = told.replace("=", "= ") if len(told) > _HELP_COLUMNS - len("[]") else told
    return f"[dim]\\[{told}][/dim]"
