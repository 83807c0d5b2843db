"""What reads bytes from outside, each as a function of bytes that must never fail in another way.

A target returns if the bytes are accepted or refused as documented. Everything else is a crash.
"""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from starlette.requests import Request

from safelight.errors import BadInput, BadSetting
from safelight.quality.images import decode_within, measure, trust_measured_images
from safelight.quality.instructions import load_taxonomy
from safelight.serving.http.body import check, measure_image, parse_fields, parse_image
from safelight.serving.http.sizes import Sides
from safelight.serving.job import EditParameters, GenerateParameters, PredictParameters
from safelight.serving.wire.protocol import Frames, Message, ProtocolError
from safelight.settings import Settings
from safelight.stack.monitoring import read

SETTINGS = Settings()
SIDES = Sides(512)
PIXELS = 4_000_000  # each picture is decoded within a second
_HALVES = 2
_FOLDER = TemporaryDirectory(prefix="safelight-fuzz-")

Result = TypeVar("Result")
Target = Callable[[bytes], None]


def decoders(data: bytes) -> None:
    """Measure an image file and decode it: both agree, and refuse in words."""
    with suppress(BadInput):
        width, height = measure(data)
        if width * height > PIXELS:
            return
        image = decode_within(data, 64, PIXELS)
        assert image.mode == "RGB", image.mode
        assert max(image.size) <= 64, image.size


def multipart(data: bytes) -> None:
    """Parse a form. The first line of the data is its content type."""
    content_type, _, body = data.partition(b"\n")
    _edit(b"multipart/form-data; " + content_type, body)


def json(data: bytes) -> None:
    """Parse a JSON body, as one with an image and as one without."""
    _edit(b"application/json", data)
    with suppress(BadInput):
        _, fields = _finished(parse_fields(_request(b"application/json"), data))
        for kind in (GenerateParameters, PredictParameters):
            with suppress(BadInput):
                check(kind, fields, SETTINGS, SIDES)


def frames(data: bytes) -> None:
    """Read messages of the wire. Where the stream is cut makes no difference."""
    middle = len(data) // _HALVES
    assert _messages(data) == _messages(data[:middle], data[middle:])


def taxonomy(data: bytes) -> None:
    """Read a file of instruction types."""
    with suppress(BadSetting):
        assert load_taxonomy(_file("taxonomy.yaml", data)).names


def monitoring(data: bytes) -> None:
    """Read a monitoring file."""
    with suppress(BadSetting):
        read(_file("monitoring.toml", data), secrets_here=False)


def _edit(content_type: bytes, body: bytes) -> None:
    with suppress(BadInput):
        image, fields = _finished(parse_image(_request(content_type), body))
        check(EditParameters, fields, SETTINGS, SIDES)
        _finished(measure_image(image, SIDES, SETTINGS))


def _request(content_type: bytes) -> Request:
    headers = [(b"content-type", content_type)]
    return Request({"type": "http", "headers": headers, "query_string": b""})


def _finished(coroutine: Coroutine[object, None, Result]) -> Result:
    """Return the result of a coroutine that does not wait: a small body is parsed at once."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    raise AssertionError("It waited for something.")


def _messages(*chunks: bytes) -> tuple[list[Message], bool]:
    """Return the messages in a stream, and whether it was refused."""
    reader, found = Frames(), []

    def read_all() -> Iterator[Message]:
        for chunk in chunks:
            yield from reader.feed(chunk)

    try:
        for message in read_all():
            found.append(message)
    except ProtocolError:
        return found, True
    return found, False


def _file(name: str, data: bytes) -> Path:
    path = Path(_FOLDER.name) / name
    path.write_bytes(data)
    return path


TARGETS: dict[str, Target] = {
    target.__name__: target for target in (decoders, multipart, json, frames, taxonomy, monitoring)
}

trust_measured_images()
