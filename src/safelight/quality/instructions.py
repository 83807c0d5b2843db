"""Turns an instruction into its type: a closed set from a YAML file, never the user's own words."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from safelight.errors import BadSetting
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.metrics.metric import OTHER

MOST_TYPES = 40
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_READ_CHARACTERS = 300  # enough to tell a type; bounds what a pattern can cost


@dataclass(frozen=True, slots=True)
class InstructionType:
    """One type: it fits where any pattern is found.

    `keeps` is the least share of the picture that such an edit leaves as it was; None says nothing.
    """

    name: str
    patterns: tuple[re.Pattern[str], ...]
    keeps: float | None = None


class Taxonomy:
    """Maps instructions to types; the first that fits, in the file's order, wins."""

    def __init__(self, types: Iterable[InstructionType]) -> None:
        self._types = tuple(types)
        self._keeps = {each.name: each.keeps for each in self._types if each.keeps is not None}
        self.classify = lru_cache(maxsize=1024)(self._classify)

    @property
    def names(self) -> tuple[str, ...]:
        """Return every value that `classify` may return."""
        return (*(found.name for found in self._types), OTHER, NO_INSTRUCTION)

    def keeps(self, name: str, default: float) -> float:
        """Return the least share of the picture that an edit of a type must keep."""
        return self._keeps.get(name, default)

    def _classify(self, instruction: str) -> str:
        text = " ".join(instruction[:_READ_CHARACTERS].casefold().split())
        if not text:
            return NO_INSTRUCTION
        for candidate in self._types:
            if any(pattern.search(text) for pattern in candidate.patterns):
                return candidate.name
        return OTHER


def load_taxonomy(file: Path | None = None) -> Taxonomy:
    """Return the taxonomy of a YAML file, or the built-in one.

    Raises BadSetting, naming the entry, where the file cannot be used.
    """
    try:
        text = file.read_text() if file else (files(__package__) / "taxonomy.yaml").read_text()
        entries = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as wrong:
        reason = " ".join(str(wrong).split())[:200]
        raise BadSetting(f"The taxonomy {file} cannot be read: {reason}.") from None
    if not isinstance(entries, dict) or not entries:
        raise BadSetting(f"The taxonomy {file} must map type names to lists of patterns.")
    if len(entries) > MOST_TYPES:
        raise BadSetting(
            f"The taxonomy {file} has {len(entries)} types; the limit is {MOST_TYPES}."
        )
    return Taxonomy(_type(name, entry) for name, entry in entries.items())


def _type(name: Any, entry: Any) -> InstructionType:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (OTHER, NO_INSTRUCTION):
        raise BadSetting(
            f"The taxonomy's type {str(name)[:60]!r} is no usable name: a-z, 0-9 and _, at most 40 "
            f"characters, and neither {OTHER} nor {NO_INSTRUCTION}."
        )
    patterns, keeps = _parts(name, entry) if isinstance(entry, dict) else (entry, None)
    if (
        not isinstance(patterns, list)
        or not patterns
        or not all(isinstance(p, str) for p in patterns)
    ):
        raise BadSetting(f"The taxonomy's type {name} needs a list of patterns.")
    try:
        return InstructionType(name, tuple(re.compile(p) for p in patterns), keeps)
    except re.error as wrong:
        raise BadSetting(f"The taxonomy's type {name} has a wrong pattern: {wrong}.") from None


def _parts(name: str, entry: dict[Any, Any]) -> tuple[Any, float]:
    """Return the patterns of an entry that also says what its edits keep. Raises BadSetting."""
    keeps: Any = entry.get("keeps")
    known = set(entry) == {"keeps", "patterns"} and type(keeps) in (int, float)
    if not known or not 0 <= float(keeps) <= 1:
        raise BadSetting(
            f"The taxonomy's type {name} must be a list of patterns, or `patterns` and `keeps`, "
            "the least share of the picture that such edits keep, 0 to 1."
        )
    return entry["patterns"], float(keeps)
