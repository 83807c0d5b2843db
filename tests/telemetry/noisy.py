"""A model factory that writes log lines in every way that a library can."""

import logging
import sys
import threading
import warnings

from safelight.models.backend import Backend, ModelOrder
from safelight.probes.guard import Guard
from tests.serving.models import painter


def make_noise() -> None:
    """Log with library loggers, a guard, a warning, a thread and a finalizer."""
    _library_lines()
    with Guard("nvml", lambda _probe: None):
        raise ValueError("guard failure")
    warnings.warn("a warning", stacklevel=1)
    thread = threading.Thread(target=_fail, name="noisy")
    thread.start()
    thread.join()
    _Unraisable()


def _library_lines() -> None:
    own = logging.getLogger("own_handler")
    own.propagate = False
    own.addHandler(logging.StreamHandler(sys.stderr))
    logging.getLogger("library").info("not shown")
    logging.getLogger("library").warning("library %s", "line")
    try:
        _fail()
    except RuntimeError:
        logging.getLogger("library").exception("library failure", stack_info=True)
        logging.getLogger("library").error("wrong %d arguments", "text")


def _fail() -> None:
    raise RuntimeError("two\nlines")


class _Unraisable:
    def __del__(self) -> None:
        raise KeyError("finalizer")


def load_noisy(order: ModelOrder) -> Backend:
    """Return a model, after log lines of every kind."""
    make_noise()
    return painter(order)
