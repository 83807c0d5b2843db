"""What one check of `safelight doctor` found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `needed` is True if `safelight up` fails without it."""

    area: str
    name: str
    found: bool
    detail: str
    needed: bool = True
    remedy: str = ""

    @property
    def blocks(self) -> bool:
        """Return True if `safelight up` would fail because this is missing."""
        return self.needed and not self.found
