"""Rules for namespaces, the prefixes of a service's metrics."""

import re

PATTERN = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
MAX_LENGTH = 40
# First words of metrics that do not belong to one service. A service with such a namespace would
# expose their names, or its alerts would also judge them.
RESERVED = frozenset(
    {
        "alertmanager",
        "alerts",
        "cgroup",
        "dcgm",
        "go",
        "gpu",
        "host",
        "http",
        "job",
        "job_handler",
        "model",
        "node",
        "process",
        "prometheus",
        "promhttp",
        "python",
        "safelight",
        "scrape",
        "up",
    }
)


def checked(text: str) -> str:
    """Return the namespace. Raises ValueError if it is malformed or reserved."""
    if not re.fullmatch(PATTERN, text) or len(text) > MAX_LENGTH:
        raise ValueError(
            f"{text[:60]!r} is not a namespace; use up to {MAX_LENGTH} small letters, digits and "
            "single underscores, a letter first"
        )
    if text in RESERVED:
        raise ValueError(
            f"the namespace {text!r} is reserved, because other metrics start with it; "
            f"choose another, such as {text}_service"
        )
    return text
