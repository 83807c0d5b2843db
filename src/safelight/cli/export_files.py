"""Write the files of `safelight export` to a folder, and check its addresses."""

from pathlib import Path

import httpx
import typer

from safelight.dashboards.replaced import replacement
from safelight.errors import BadSetting
from safelight.stack.files.export import keep_apart
from safelight.stack.files.folder import drift, leftovers, write
from safelight.stack.programs import without_password
from safelight.units import counted

_LONGEST_URL = 2000
_COMPOSE = "compose.yaml"


def remote_write_url(text: str) -> str:
    """Return a valid remote-write URL. Raises BadSetting, also if the URL contains a secret."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host or len(text) > _LONGEST_URL:
        raise BadSetting(
            f"{without_password(text).partition('?')[0][:80]!r} is not a remote-write URL. Write "
            "it like https://mimir.example/api/v1/push."
        )
    if url.userinfo:
        raise BadSetting(
            f"The URL of {url.host} contains a password, and many people can read the exported "
            "files. Remove it, and put it into a file that basic_auth.password_file in "
            "prometheus.yml names."
        )
    if url.query or "#" in text:
        raise BadSetting(
            f"The URL of {url.host} has a query or fragment, which may be a token, and many people "
            "can read the exported files. Remove it, and put the token into a file that "
            "authorization.credentials_file in prometheus.yml names."
        )
    return text


def act(folder: Path, files: dict[str, str], *, check: bool, force: bool) -> None:
    """Write the files, or compare them and exit 1 if they differ."""
    if not check:
        if not force:
            keep_apart(folder, files)
        changed = write(folder, files, force=force)
        verb = "is" if len(files) == 1 else "are"
        typer.echo(f"{counted(len(files), 'file')} {verb} in {folder}; {len(changed)} changed.")
        _report_obsolete(folder, files)
        _report_missing_checkout(folder, files)
        return
    differing = drift(folder, files)
    if differing:
        typer.echo(f"Out of date: {', '.join(differing)}.", err=True)
        typer.echo("Run the same command without --check.", err=True)
    if _report_obsolete(folder, files) or differing:
        raise typer.Exit(1)
    typer.echo(f"Up to date in {folder}: {counted(len(files), 'file')}.")


def _report_obsolete(folder: Path, files: dict[str, str]) -> bool:
    """Say which files are no longer exported, and return True if there are any."""
    # The units of several services share a folder: each has a name of its own.
    obsolete = [name for name in leftovers(folder, files) if not name.endswith(".service")]
    if obsolete:
        typer.echo(f"No longer exported, so delete: {', '.join(obsolete)}.", err=True)
    explanations = dict.fromkeys(replacement(Path(name).stem) for name in obsolete)
    for explanation in filter(None, explanations):
        typer.echo(explanation, err=True)
    return bool(obsolete)


def _report_missing_checkout(folder: Path, files: dict[str, str]) -> None:
    """Say where compose.yaml must be, if its image cannot be built here."""
    place = folder.absolute()
    if _COMPOSE in files and not (
        place.name == "deploy" and (place.parent / "src" / "safelight").is_dir()
    ):
        typer.echo(
            f"{_COMPOSE} builds the image from Safelight's source: before you start it, export to "
            "the folder deploy in a checkout, or build safelight:local there.",
            err=True,
        )
