"""Memory of a process that serves requests: no pauses of the garbage collector, no kept blocks."""

import ctypes
import gc
from contextlib import suppress

_M_MMAP_THRESHOLD = -3  # mallopt(3)
_LARGE_BYTES = 1024 * 1024


_MANY = 50_000  # objects


def freeze_startup_objects() -> None:
    """Exclude all objects that exist now from garbage collection, and collect rarely.

    A full collection visits every object of every library. That takes about 60 ms, every two
    seconds under load, and stops all responses. Objects made at start-up live until the end anyway.

    Requests leave nothing for the collector. But 32 of them at once are 3 000 objects, and those
    that wait a second for the recorder are many more. With Python's limit of 700 new objects, or
    even 20 000, it would search them again and again for nothing, for some 10 ms each time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MANY, *gc.get_threshold()[1:])


def return_large_blocks() -> None:
    """Let the system have large blocks back as soon as they are freed.

    After the first large body, glibc would take the next ones from its heap, and keep that. Other C
    libraries have no such function.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
