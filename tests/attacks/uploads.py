"""Image files and bodies that cost a service far more than their sender."""

import struct
import zlib
from io import BytesIO

from PIL import Image

MEGABYTE = 1_000_000


def small_jpeg(*, progressive: bool = False, size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "JPEG", progressive=progressive)
    return buffer.getvalue()


def jpeg_of_fill_bytes(length: int = 20 * MEGABYTE) -> bytes:
    """A JPEG may have fill bytes before each marker."""
    whole = small_jpeg()
    return whole[:2] + b"\xff" * (length - len(whole)) + whole[2:]


def jpeg_of_loose_bytes(length: int = 20 * MEGABYTE, pattern: bytes = b"\xff\xd0") -> bytes:
    """Markers that begin no segment, before the first scan."""
    whole = small_jpeg()
    return whole[:2] + pattern * ((length - len(whole)) // len(pattern)) + whole[2:]


def jpeg_of_empty_segments(length: int = 20 * MEGABYTE) -> bytes:
    whole = small_jpeg()
    return whole[:2] + b"\xff\xe1\x00\x02" * ((length - len(whole)) // 4) + whole[2:]


def jpeg_of_many_scans(scans: int, size: tuple[int, int] = (8000, 5000)) -> bytes:
    """A progressive JPEG whose last scan is repeated; a decoder reads all pixels for each."""
    whole = small_jpeg(progressive=True, size=size)
    start = whole.rindex(b"\xff\xda")
    last = whole[start:-2]
    return whole[:start] + last * scans + whole[-2:]


def chunk(name: bytes, content: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def png(width: int, height: int, *, more: bytes = b"", rows: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = rows or zlib.compress(b"\0" * ((width + 7) // 8 + 1) * min(height, 64))
    parts = chunk(b"IHDR", head) + more + chunk(b"IDAT", data) + chunk(b"IEND")
    return b"\x89PNG\r\n\x1a\n" + parts


def png_of_private_chunks(number: int = 1_600_000) -> bytes:
    return png(64, 64, more=chunk(b"prVt") * number)


def png_of_profiles(number: int = 10_000) -> bytes:
    """Each chunk of 1 KB inflates to a megabyte."""
    return png(64, 64, more=chunk(b"iCCP", b"p\0\0" + zlib.compress(b"\0" * MEGABYTE, 9)) * number)


def jpeg_of_segments(kind: bytes, content: bytes, length: int = 20 * MEGABYTE) -> bytes:
    whole = small_jpeg()
    segment = kind + (len(content) + 2).to_bytes(2, "big") + content
    return whole[:2] + segment * (length // len(segment)) + whole[2:]


def png_that_declares(width: int, height: int) -> bytes:
    return png(width, height)


def json_of_many_values(length: int = 20 * MEGABYTE) -> bytes:
    return b'{"instruction":"make him old","steps":[' + b"1," * (length // 2) + b"1]}"


def json_of_many_names(length: int = 20 * MEGABYTE) -> bytes:
    return b"{" + b",".join(b'"%d":1' % n for n in range(length // 10)) + b"}"
