"""A leak on purpose: each Python process that has this folder in PYTHONPATH keeps some bytes."""

import os
import threading


def leak(bytes_per_second: int) -> None:
    """Keep more and more bytes, for ever."""
    kept = []
    pause = threading.Event()
    while not pause.wait(1):
        kept.append(os.urandom(bytes_per_second))


hourly = int(os.environ.get("SOAK_LEAK_BYTES_PER_HOUR", "0"))
if hourly:
    threading.Thread(target=leak, args=(hourly // 3600,), daemon=True).start()
