"""Classify instructions into a closed set of types from a YAML file."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import yaml

from safelight.errors import BadSetting
from safelight.metrics.catalog import NO_INSTRUCTION
from safelight.metrics.metric import OTHER

TYPE_LIMIT = 40
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_READ_CHARACTERS = 300  # limits the cost of the patterns


@dataclass(frozen=True, slots=True)
class InstructionType:
    """One type: it matches if any of its patterns is found.

    `keeps` is the share of the input image that such an edit must keep; None: the default.
    """

    name: str
    patterns: tuple[re.Pattern[str], ...]
    keeps: float | None = None


class Taxonomy:
    """Maps instructions to types; the first match in the file's order wins."""

    def __init__(self, types: Iterable[InstructionType]) -> None:
        self._types = tuple(types)
        self._keeps = {each.name: each.keeps for each in self._types if each.keeps is not None}
        self.classify = lru_cache(maxsize=1024)(self._classify)

    @property
    def names(self) -> tuple[str, ...]:
        """Return every value that `classify` may return."""
        return (*(each.name for each in self._types), OTHER, NO_INSTRUCTION)

    def keeps(self, name: str, default: float) -> float:
        """Return the share of the input image that an edit of a type must keep."""
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

    Raises BadSetting, with the name of the invalid entry.
    """
    try:
        text = file.read_text() if file else (files(__package__) / "taxonomy.yaml").read_text()
        entries = yaml.safe_load(text)
    except Exception as error:  # noqa: BLE001 - PyYAML passes on what Python raises, on `!!int x`
        reason = " ".join(str(error).split())[:200]
        raise BadSetting(f"The taxonomy {file} cannot be read: {reason}.") from None
    if not isinstance(entries, dict) or not entries:
        raise BadSetting(f"The taxonomy {file} must map type names to lists of patterns.")
    if len(entries) > TYPE_LIMIT:
        raise BadSetting(
            f"The taxonomy {file} has {len(entries)} types; the limit is {TYPE_LIMIT}."
        )
    return Taxonomy(_type(name, entry) for name, entry in entries.items())


def _type(name: object, entry: object) -> InstructionType:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in (OTHER, NO_INSTRUCTION):
        raise BadSetting(
            f"The taxonomy's type name {str(name)[:60]!r} is invalid. Use a-z, 0-9 and _, at "
            f"most 40 characters, and neither {OTHER} nor {NO_INSTRUCTION}."
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
    except (re.error, OverflowError, RecursionError) as error:
        raise BadSetting(f"The taxonomy's type {name} has an invalid pattern: {error}.") from None


def _parts(name: str, entry: Mapping[object, object]) -> tuple[object, float]:
    """Return the patterns and `keeps` of an entry that has both. Raises BadSetting."""
    keeps = entry.get("keeps")
    number = keeps if isinstance(keeps, int | float) and not isinstance(keeps, bool) else -1.0
    if set(entry) != {"keeps", "patterns"} or not 0 <= number <= 1:
        raise BadSetting(
            f"The taxonomy's type {name} must be a list of patterns, or `patterns` and `keeps`, "
            "the share of the input image that such edits must keep, 0 to 1."
        )
    return entry["patterns"], float(number)
