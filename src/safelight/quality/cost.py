"""Refuse an image file that would cost far more than its size, before it is opened or decoded.

Only the structure is read: markers of JPEG, chunks of PNG. The number of steps is bounded, so that
this can run on an event loop.
"""

import re
from collections import Counter
from collections.abc import Callable

from safelight.errors import ImageTooCostly

LONGEST_SIDE_PIXELS = 20_000
_MARKERS = 1024  # of a JPEG, before its end; 20 MB are 320 segments of the largest size
_CHUNKS = 8192  # of a PNG; a file of 20 MB has 2 560 of the usual size
_FILL_BYTES = 1024  # between two markers of a JPEG
_LOOSE_BYTES = 4096  # before the first scan of a JPEG, outside of its segments; Pillow reads each
_ESCAPES = 1_000_000  # bytes 0xFF from the first scan on; one in 256 is usual, and each costs time
# Metadata that Pillow joins, parses or inflates when it opens a file.
_EXIF, _EXIFS = b"Exif", 4  # segments of 64 KiB; the standard has one
_APP1, _APP13, _PHOTOSHOPS = 0xE1, 0xED, 16
_INFLATED = {b"iCCP": 1, b"zTXt": 4, b"iTXt": 4}  # chunks of a PNG, up to 1 MB each
_SCAN_PIXELS = (
    600_000_000  # of all scans together: the usual 10 scans of 40 megapixels, and half more
)
# ITU-T T.81, table B.1
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_WITHOUT_LENGTH = frozenset({0x00, 0x01, *range(0xD0, 0xD9)})
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in a scan, 0xFF 0x00 is data; D0 to D7 go on
_PNG_HEAD_BYTES, _PNG_FRAME_BYTES = 8, 12  # the signature; length, name and checksum of a chunk


def count_scans(content: bytes, name: str) -> int:
    """Return the number of scans of a JPEG, else 1. Raises ImageTooCostly."""
    count = _COUNTERS.get(name)
    return count(content) if count else 1


def check_size(width: int, height: int, scans: int = 1) -> None:
    """Raise ImageTooCostly if a side is too long, or if all scans together have too many pixels."""
    if max(width, height) > LONGEST_SIDE_PIXELS:
        raise ImageTooCostly(
            f"The image has {width} x {height} pixels, and a side may have at most "
            f"{LONGEST_SIDE_PIXELS}."
        )
    if scans > 1 and scans * width * height > _SCAN_PIXELS:
        raise ImageTooCostly(f"The image has {scans} scans of {width} x {height} pixels.")


def _scans_of_jpeg(content: bytes) -> int:
    place, scans, loose = 2, 0, 0
    seen = Counter[int]()
    for _ in range(_MARKERS):
        end = len(content) if scans else min(len(content), place + _LOOSE_BYTES + 2)
        found = _MARKER.search(content, place, end)
        if not scans:
            loose += max(0, (end if found is None else found.start()) - place)
        if loose > _LOOSE_BYTES:
            raise ImageTooCostly(
                f"The image has more than {_LOOSE_BYTES} bytes outside of its segments."
            )
        if found is None:
            return scans  # it is damaged: the decoder says how
        after = content[found.end() - 1 : found.end() + _FILL_BYTES]
        rest = after.lstrip(b"\xff")
        if len(after) > _FILL_BYTES and not rest:
            raise ImageTooCostly(f"The image has more than {_FILL_BYTES} fill bytes in a row.")
        if not rest or rest[0] == _END_OF_IMAGE:
            return scans
        loose += 0 if scans else len(after) - len(rest)
        marker = rest[0]
        place = found.end() + len(after) - len(rest)
        if marker == _START_OF_SCAN and not scans and content.count(b"\xff", place) > _ESCAPES:
            raise ImageTooCostly(f"The image has more than {_ESCAPES} bytes of 255 in its scans.")
        scans += marker == _START_OF_SCAN
        if marker not in _WITHOUT_LENGTH:
            _count_metadata(seen, marker, content[place + 2 : place + 6])
            place += int.from_bytes(content[place : place + 2], "big")
    raise ImageTooCostly(f"The image has more than {_MARKERS} markers.")


def _count_metadata(seen: Counter[int], marker: int, name: bytes) -> None:
    seen[marker] += marker == _APP13 or (marker == _APP1 and name == _EXIF)
    if seen[_APP1] > _EXIFS or seen[_APP13] > _PHOTOSHOPS:
        raise ImageTooCostly("The image has too many segments of metadata.")


def _check_chunks(content: bytes) -> int:
    place, seen = _PNG_HEAD_BYTES, Counter[bytes]()
    for _ in range(_CHUNKS):
        head = content[place : place + 8]
        if len(head) < 8 or head[4:] == b"IEND":
            return 1
        name = head[4:]
        seen[name] += name in _INFLATED
        if seen[name] > _INFLATED.get(name, 0):
            raise ImageTooCostly(f"The image has too many chunks of {name.decode()}.")
        place += int.from_bytes(head[:4], "big") + _PNG_FRAME_BYTES
    raise ImageTooCostly(f"The image has more than {_CHUNKS} chunks.")


_COUNTERS: dict[str, Callable[[bytes], int]] = {"JPEG": _scans_of_jpeg, "PNG": _check_chunks}
BOUNDED = frozenset(_COUNTERS)
"""The formats whose headers are read in a bounded time."""
