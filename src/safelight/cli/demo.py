"""`safelight demo`: write test images and demo weights, and run the demo stories."""

from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from safelight.cli.options import console, program_name
from safelight.cli.records_access import check_writable
from safelight.errors import BadSetting

_FIRST_UNSEEN_PORTRAIT = 90_000_000  # no demo was trained on portraits from this number on
_LARGEST_SEED = 2**32 - 1
STORIES = ("io-bottleneck", "vram-leak", "shadow-worse", "bad-background", "wrong-model")

demo = typer.Typer(
    help="Write test images and the demos' weights, and run stories that show a fault."
)

Seed = Annotated[
    int, typer.Option(min=0, max=_LARGEST_SEED, help="Each seed draws another person.")
]


@demo.command()
def portrait(
    file: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("portrait.png"),
    seed: Seed = 7,
    side: Annotated[int, typer.Option(min=32, max=4096, help="Width and height in pixels.")] = 256,
) -> None:
    """Write a portrait that you can edit.

    Examples:

        safelight demo portrait me.png

        safelight demo portrait you.png --seed 8
    """
    from safelight.models.demo.painter import paint
    from safelight.models.demo.portrait import draw

    image = paint(draw(_FIRST_UNSEEN_PORTRAIT + seed))
    _write(file, image.resize((side, side), Image.Resampling.BICUBIC))


@demo.command()
def sheet(
    file: Annotated[Path, typer.Argument(help="PNG to write.")] = Path("sheet.png"), seed: Seed = 7
) -> None:
    """Apply every edit of demo-edit to a portrait and write one PNG with the results.

    Example:

        safelight demo sheet edits.png
    """
    from safelight.models.backend import ModelOrder
    from safelight.models.demo.sheet import edited
    from safelight.models.demo.sheet import sheet as contact_sheet
    from safelight.models.extras import require
    from safelight.models.load import load_backend

    require("models")
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console(), transient=True) as progress:
        bar = progress.add_task("loading demo-edit", total=None)
        backend = load_backend(ModelOrder("demo-edit", warm_up=False))
        cells = edited(
            backend,
            _FIRST_UNSEEN_PORTRAIT + seed,
            lambda done, total: progress.update(
                bar, completed=done, total=total, description="edits"
            ),
        )
    _write(file, contact_sheet(cells))


@demo.command()
def save(
    name: Annotated[str, typer.Argument(help="demo-edit, demo-generate or demo-recognize.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet.")],
) -> None:
    """Write a demo's weights to a folder that `from_pretrained` can load.

    Example:

        safelight demo save demo-edit ./my-editor
    """
    from safelight.models.demo.bundle import DEMOS
    from safelight.models.demo.bundle import save as save_demo
    from safelight.models.extras import require

    if name not in DEMOS:
        raise BadSetting(f"{name[:40]!r} is not a demo. Choose one of {', '.join(DEMOS)}.")
    require("models")
    try:
        save_demo(name, folder)
    except OSError as error:
        raise BadSetting(f"{folder} cannot be written: {error.strerror}.") from None
    typer.echo(f"{folder}: load it with from_pretrained, or run: {program_name()} serve {folder}")


@demo.command()
def story(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(STORIES)}.")],
    html: Annotated[
        Path | None, typer.Option(help="Also write the diagnosis as an HTML page.")
    ] = None,
) -> None:
    """Run or replay a fault and print its diagnosis. A story takes 30 seconds to 3 minutes.

    io-bottleneck: latency rises while the GPU waits for input. vram-leak: GPU memory grows in
    steps. shadow-worse: a faster second model is worse. bad-background: edits of images with a
    busy background fail. wrong-model: a model file is swapped; all requests succeed.

    Example:

        safelight demo story io-bottleneck
    """
    from safelight.cli.story import run_story

    if name not in STORIES:
        raise BadSetting(f"{name[:40]!r} is not a story. Choose one of {', '.join(STORIES)}.")
    check_writable(html)
    run_story(name, html)


def _write(file: Path, image: Image.Image) -> None:
    content = BytesIO()
    image.save(content, "PNG")
    try:
        file.write_bytes(content.getvalue())
    except OSError as error:
        raise BadSetting(f"{file} cannot be written: {error.strerror}.") from None
    typer.echo(f"{file}, {image.width} x {image.height} pixels")
