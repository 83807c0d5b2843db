"""`safelight demo`: a portrait to try an edit on, a sheet of edits, a demo's weights."""

from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from safelight.cli.options import console, own_name
from safelight.cli.records_access import refuse_unwritable
from safelight.errors import BadSetting

_UNSEEN = 90_000_000  # portraits from here on were in nobody's training
_MOST_SEED = 2**32 - 1
STORIES = ("io-bottleneck", "vram-leak", "bad-background")

demo = typer.Typer(
    help="The demos' painted world: a portrait, edits, weights, and stories of what goes wrong."
)

Seed = Annotated[int, typer.Option(min=0, max=_MOST_SEED, help="Another seed, another person.")]


@demo.command()
def portrait(
    file: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("portrait.png"),
    seed: Seed = 7,
    side: Annotated[int, typer.Option(min=32, max=4096, help="Its width and height.")] = 256,
) -> None:
    """Paint a portrait to try an edit on.

    Examples:

        safelight demo portrait me.png

        safelight demo portrait you.png --seed 8
    """
    from safelight.models.demo.painter import paint
    from safelight.models.demo.portrait import draw

    picture = paint(draw(_UNSEEN + seed)).resize((side, side), Image.Resampling.BICUBIC)
    _write(file, picture)


@demo.command()
def sheet(
    file: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("sheet.png"), seed: Seed = 7
) -> None:
    """Edit a portrait in every way that demo-edit knows, and lay before and after side by side.

    Example:

        safelight demo sheet edits.png
    """
    from safelight.models.backend import ModelOrder
    from safelight.models.demo.sheet import edited
    from safelight.models.demo.sheet import sheet as laid
    from safelight.models.load import load_backend

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("loading demo-edit", total=None)
        backend = load_backend(ModelOrder("demo-edit", warm_up=False))
        cells = edited(
            backend,
            _UNSEEN + seed,
            lambda done, total: progress.update(
                bar, completed=done, total=total, description="edits"
            ),
        )
    _write(file, laid(cells))


@demo.command()
def save(
    name: Annotated[str, typer.Argument(help="demo-edit, demo-generate or demo-recognize.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not be there yet.")],
) -> None:
    """Write a demo's weights as a folder that any program loads with `from_pretrained`.

    Example:

        safelight demo save demo-edit ./my-editor
    """
    from safelight.models.demo.bundle import DEMOS
    from safelight.models.demo.bundle import save as written

    if name not in DEMOS:
        raise BadSetting(f"{name[:40]!r} is no demo; they are {', '.join(DEMOS)}.")
    try:
        written(name, folder)
    except OSError as wrong:
        raise BadSetting(f"{folder} cannot be written: {wrong.strerror}.") from None
    typer.echo(f"{folder}: load it with from_pretrained, or: {own_name()} serve {folder}")


@demo.command()
def story(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(STORIES)}.")],
    html: Annotated[Path | None, typer.Option(help="Write the diagnosis as a page too.")] = None,
) -> None:
    """Make something go wrong, or replay it, and have it explained: half a minute to three.

    io-bottleneck: latency climbs while the device waits. vram-leak: card memory climbs like a
    staircase. bad-background: edits fail where the background is busy; advice, leaderboard, radar.

    Example:

        safelight demo story io-bottleneck
    """
    from safelight.cli.story import told

    if name not in STORIES:
        raise BadSetting(f"{name[:40]!r} is no story; they are {', '.join(STORIES)}.")
    refuse_unwritable(html)
    told(name, html)


def _write(file: Path, picture: Image.Image) -> None:
    content = BytesIO()
    picture.save(content, "PNG")
    try:
        file.write_bytes(content.getvalue())
    except OSError as wrong:
        raise BadSetting(f"{file} cannot be written: {wrong.strerror}.") from None
    typer.echo(f"{file}, {picture.width} x {picture.height} pixels")
