"""Reload Prometheus under `safelight up`: ask it to write the rules again and to signal it."""

import os
import threading
from collections.abc import Callable
from time import monotonic

from safelight.diagnosis.prometheus import Prometheus
from safelight.errors import MonitoringFailed
from safelight.stack.services import RELOAD_SIGNAL

_SECONDS, _POLL_SECONDS = 15.0, 0.2
_NEVER = threading.Event()


def reload_by_signal(
    client: Prometheus,
    parent: int,
    clock: Callable[[], float] = monotonic,
    wait: Callable[[float], object] = _NEVER.wait,
) -> None:
    """Ask the parent process to reload, and wait until Prometheus has. Raises MonitoringFailed.

    `parent` is the process that started the console: another one must get no signal.
    """
    before, was_good = client.configured()
    if os.getppid() != parent:
        raise MonitoringFailed("`safelight up`, which started this console, has ended.")
    os.kill(parent, RELOAD_SIGNAL)
    ends_at = clock() + _SECONDS
    while clock() < ends_at:
        wait(_POLL_SECONDS)
        now, is_good = client.configured()
        if was_good and not is_good:
            raise MonitoringFailed(
                "Prometheus refused its new files. Its log, in the state folder, says why."
            )
        if now != before:
            return
    raise MonitoringFailed(
        f"`safelight up` did not reload Prometheus within {_SECONDS:g} s. Its terminal says why."
    )
