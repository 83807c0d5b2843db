"""Command line options, derived from the settings."""

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
_TRAILING_BLANKS = re.compile(r"[ \t]+(?=\n)")
_LAST_PORT = 65535


def setting_option(field: str, flag: str | None = None) -> Any:
    """Return the option for a setting. By default the flag is the setting's name.

    Without the option, the value comes from the environment, the file or the default.
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


def parse_address(text: str) -> str:
    """Return an address as a URL without a trailing slash; `http://` may be omitted.

    Raises BadSetting.
    """
    try:
        url = httpx.URL(text if "://" in text else f"http://{text}")
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > _LAST_PORT:
        safe_text = without_password(text)[:80]
        raise BadSetting(
            f"{safe_text!r} is not a valid address. Write it like http://127.0.0.1:8000."
        )
    return str(url).rstrip("/")


def console() -> Console:
    """Return the console for output: colours only on a terminal, a fixed width in a file."""
    out = Console(highlight=False)
    if out.is_terminal:
        return out
    return Console(highlight=False, width=_FILE_COLUMNS, file=cast("TextIO", _Trimmed()))


class _Trimmed:
    """Standard output without the blanks that rich adds at the end of lines."""

    def write(self, text: str) -> int:
        sys.stdout.write(_TRAILING_BLANKS.sub("", text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


def format_help(doc: str) -> str:
    """Return a docstring as help text: prose as paragraphs, examples with the same indent."""
    prose, _, examples = cleandoc(doc).partition("\n\nExample")
    paragraphs = [" ".join(each.split()) for each in prose.split("\n\n")]
    if examples:
        plural, _, lines = examples.partition(":")
        commands = [f"    {line.strip()}" for line in lines.splitlines() if line.strip()]
        # Without this line break typer removes the indent of the examples.
        first = "" if paragraphs[1:] else "\n"
        paragraphs += [f"{first}Example{plural}:", *commands]
    return "\n\n".join(paragraphs)


def program_name() -> str:
    """Return the shell command that runs this program: its name, or its path if not on PATH."""
    if which("safelight"):
        return "safelight"
    program = Path(sys.executable).with_name("safelight")
    if program.exists():
        return quote(_short(program))
    return f"{quote(_short(Path(sys.executable)))} -m safelight"


def _short(program: Path) -> str:
    """Return the shorter of a program's absolute and relative path."""
    relative = os.path.relpath(program)
    return min(str(program), relative if os.sep in relative else f"./{relative}", key=len)


def _default(field: str) -> str:
    default = Settings.model_fields[field].default
    text = "" if default is None else f", default {default}"
    return f"[dim]\\[{environment_name(field)}{text}][/dim]"
