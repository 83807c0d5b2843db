"""Names that users may still write although they changed, and what each name became.

A row is added here when a name changes. Old names of metrics are in `rules/renamed.py`.
"""

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

# What happens to the old name: a setting or an import works until a version, with a warning; a
# removed setting has no effect, with a warning. An
# option, a command or a key of the monitoring file is refused, and the message has the new name.
Kind = Literal["setting", "option", "command", "key", "import"]


@dataclass(frozen=True, slots=True)
class Renamed:
    """An old name. Without a new one it was removed, and `reason` says why it is not needed."""

    kind: Kind
    old: str
    new: str = ""
    until: str = ""  # the first version in which a setting or an import no longer works
    reason: str = ""

    @property
    def sentence(self) -> str:
        """Return what became of the name."""
        prefix = "SAFELIGHT_" if self.kind == "setting" else ""
        old, new = (f"{prefix}{name.upper() if prefix else name}" for name in (self.old, self.new))
        if not self.new:
            return f"{old} no longer exists: {self.reason}."
        works = f"; the old name works until version {self.until}" if self.until else ""
        return f"{old} is now {new}{works}."


RENAMED = (
    Renamed("setting", "device", "devices", until="0.2.0"),
    Renamed("setting", "cache_folder", reason="the demo models are part of the package"),
    Renamed("option", "--device", "--devices"),
    Renamed("command", "safelight export DIR", "safelight export all DIR"),
)


def find(kind: Kind, old: str, rows: Iterable[Renamed] = RENAMED) -> Renamed | None:
    """Return the row of an old name, or None."""
    return next((row for row in rows if (row.kind, row.old) == (kind, old)), None)


def with_new_names(values: dict[str, object]) -> dict[str, object]:
    """Return settings with new names instead of old ones, without removed ones, and warn.

    A new name wins.
    """
    renamed = dict(values)
    for name in values:
        if (row := find("setting", name)) is None:
            continue
        warnings.warn(row.sentence, DeprecationWarning, stacklevel=2)
        value = renamed.pop(name)
        if row.new:
            renamed.setdefault(row.new, value)
    return renamed


def imported(name: str, rows: Iterable[Renamed] = RENAMED) -> object:
    """Return what `safelight.<name>` became, and warn. Raises AttributeError if it never was."""
    row = find("import", name, rows)
    if row is None:
        raise AttributeError(f"module 'safelight' has no attribute {name!r}")
    warnings.warn(f"safelight.{row.sentence}", DeprecationWarning, stacklevel=3)
    return getattr(import_module("safelight"), row.new)
