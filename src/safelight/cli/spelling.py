"""Find SAFELIGHT_ variables that are not settings, such as misspelt ones."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from safelight.renamed import find
from safelight.settings import Settings, environment_name

_PREFIX = environment_name("")
_KNOWN = ("CONFIG", *(field.upper() for field in Settings.model_fields))
_MIN_SIMILARITY = 0.7  # difflib's ratio; about one wrong letter in three
# Kubernetes sets these variables for each Service.
_KUBERNETES = re.compile(r"(\w+_)?(SERVICE_(HOST|PORT\w*)|PORT_\d+_\w+)")
_MAX_SENTENCES = 10


def unknown_settings(names: Iterable[str]) -> list[str]:
    """Return a sentence for each SAFELIGHT_ variable that is not a setting, at most ten."""
    prefixed = (n for n in sorted(names) if n.upper().startswith(_PREFIX) and n.isidentifier())
    pairs = ((name, name.upper().removeprefix(_PREFIX)) for name in prefixed)
    unknown = [(name, suffix) for name, suffix in pairs if not _is_known(suffix)]
    return [_sentence(name, suffix) for name, suffix in unknown[:_MAX_SENTENCES]]


def _is_known(suffix: str) -> bool:
    if find("setting", suffix.lower()):
        return True  # `renamed_settings` has a sentence for it
    return suffix in _KNOWN or _KUBERNETES.fullmatch(suffix) is not None


def _sentence(name: str, suffix: str) -> str:
    matches = get_close_matches(suffix, _KNOWN, 1, _MIN_SIMILARITY)
    hint = f" Did you mean {_PREFIX}{matches[0]}?" if matches else " It has no effect."
    return f"{name[:80]} is not a setting.{hint}"
