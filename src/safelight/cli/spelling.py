"""Finds variables that look like settings and are none: misspelt, they would have no effect."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from safelight.settings import Settings, environment_name

_PREFIX = environment_name("")
_KNOWN = ("CONFIG", *(field.upper() for field in Settings.model_fields))
_LIKE_ENOUGH = 0.7  # of difflib's ratio: a letter in three wrong
_KUBERNETES = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)")  # of a Service's links
_MOST = 10


def misspelt(names: Iterable[str]) -> list[str]:
    """Return a sentence for each variable of our prefix that is no setting, ten at most."""
    wanted = (n for n in sorted(names) if n.upper().startswith(_PREFIX) and n.isidentifier())
    rests = ((name, name.upper().removeprefix(_PREFIX)) for name in wanted)
    strange = [(name, rest) for name, rest in rests if not _is_known(rest)]
    return [_sentence(name, rest) for name, rest in strange[:_MOST]]


def _is_known(rest: str) -> bool:
    return rest in _KNOWN or _KUBERNETES.fullmatch(rest) is not None


def _sentence(name: str, rest: str) -> str:
    near = get_close_matches(rest, _KNOWN, 1, _LIKE_ENOUGH)
    hint = f"; did you mean {_PREFIX}{near[0]}?" if near else " and has no effect."
    return f"{name[:80]} is no setting{hint}"
