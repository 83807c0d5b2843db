"""Alerts that no longer exist, and what replaced each: monitoring files may still name them."""

from collections.abc import Collection, Mapping
from difflib import get_close_matches

# An alert that is renamed or deleted gets a row here: its old name, and the name of its successor.
REPLACED: Mapping[str, str] = {}
_LONGEST = 60


def advice(name: str, known: Collection[str], replaced: Mapping[str, str] = REPLACED) -> str:
    """Return why there is no alert of this name, and which one is meant."""
    shown = repr(name[:_LONGEST])
    if name in replaced:
        return f"the alert {shown} was replaced by {replaced[name]}"
    if name == "Watchdog":
        return "the alert 'Watchdog' always fires and has no limit; see routes.watchdog"
    similar = get_close_matches(name[:_LONGEST], sorted(known), n=1)
    return f"there is no alert {shown}" + (f"; did you mean {similar[0]}?" if similar else "")
