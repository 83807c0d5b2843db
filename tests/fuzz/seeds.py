"""Inputs to start from: valid ones of each kind, and those that once crashed a target."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

from safelight.serving.wire.protocol import Message, encode
from safelight.serving.wire.schema import Cancel, Follow, Jobs, Started, Step
from scripts.fuzz_images import FORMATS, picture
from tests.serving.prepared import an_order

CORPUS = Path(__file__).parent / "corpus"
DELIVERY = Path(__file__).parents[2] / "docs" / "delivery.md"


def pictures() -> Iterator[bytes]:
    """Yield small images of each format, in some modes."""
    for media_type in FORMATS:
        for seed in range(4):
            yield picture(media_type, (9, 7), seed, 6)


def forms() -> Iterator[bytes]:
    """Yield a form, with its content type in the first line."""
    image = picture("image/png", (64, 64), 1, 1)
    head = b'--b\r\nContent-Disposition: form-data; name="'
    field = head + b'instruction"\r\n\r\nmake him old\r\n'
    file = head + b'image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n' + image + b"\r\n"
    yield b"boundary=b\n" + field + file + b"--b--\r\n"


def objects() -> Iterator[bytes]:
    """Yield a JSON body of each task."""
    image = b64encode(picture("image/png", (64, 64), 1, 1)).decode()
    yield json.dumps({"image": image, "instruction": "make him old", "steps": 4}).encode()
    yield json.dumps({"prompt": "an old person", "width": 64, "seed": 1}).encode()
    yield json.dumps({"image": f"data:image/png;base64,{image}", "top": 3}).encode()


def streams() -> Iterator[bytes]:
    """Yield messages of the wire."""
    for message in (
        Message(Cancel("1")),
        Message(Follow("1", 2)),
        Message(Started(["1", "2"])),
        Message(Step(["1"], 3), (b"preview",)),
        Message(Jobs([an_order("1")]), (b"image",)),
    ):
        yield b"".join(encode(message))


def types() -> Iterator[bytes]:
    """Yield the begin of the built-in file of instruction types: PyYAML is slow with the whole."""
    lines = (files("safelight.quality") / "taxonomy.yaml").read_text().splitlines(keepends=True)
    yield "".join(lines[:17]).encode()
    yield b"a:\n  keeps: 0.5\n  patterns: ['x+', 'y']\n"


def monitorings() -> Iterator[bytes]:
    """Yield the examples of monitoring files in the documentation."""
    for block in re.findall(r"```toml\n(.*?)```", DELIVERY.read_text(), re.DOTALL):
        yield block.encode()


VALID: dict[str, Callable[[], Iterator[bytes]]] = {
    "decoders": pictures,
    "multipart": forms,
    "json": objects,
    "frames": streams,
    "taxonomy": types,
    "monitoring": monitorings,
}


def write(target: str, folder: Path) -> None:
    """Write the valid inputs of a target to a folder."""
    for number, content in enumerate(VALID[target]()):
        (folder / f"valid-{number}").write_bytes(content)
