"""The tags that an image must show, or must not show, after an instruction or a caption."""

import re
from collections.abc import Mapping
from functools import cache

from safelight.models.demo.portrait import TAGS, draw
from safelight.models.demo.wording import KINDS, PEOPLE, EditKind

Expected = Mapping[str, bool]
"""True: the tag must be shown. False: it must be absent."""
_PORTRAITS = 60  # every kind of edit is applied to them, to find the tags that it changes


def of_instruction(instruction: str) -> Expected:
    """Return the expected tags of an instruction; empty if the instruction is unknown."""
    kind = _kinds().get(_plain(instruction))
    return {} if kind is None else _changes(kind)


def of_caption(caption: str) -> Expected:
    """Return the expected tags of a caption; tags that it does not mention are left out."""
    text = _plain(caption)
    expected = {tag: True for tag in TAGS if re.search(rf"\b{_spoken(tag)}\b", text)}
    place = re.search(r"\bin the (\w+)", text)
    if place and (tag := f"{place[1]} background") in TAGS:
        expected[tag] = True
    return expected | ({"old": False} if re.search(r"\byoung\b", text) else {})


def _spoken(tag: str) -> str:
    return "smiling" if tag == "smile" else tag


@cache
def _kinds() -> Mapping[str, EditKind]:
    """Return the kind of edit of every wording with every pronoun."""
    return {
        _plain(wording.format(they=they, them=them, their=their)): kind
        for kind in KINDS
        for wording in kind.wordings
        for they, them, their in PEOPLE
    }


def _changes(kind: EditKind) -> Expected:
    """Return the tags that the edit can change."""
    changes: dict[str, bool] = {}
    for before in filter(kind.applies, map(draw, range(_PORTRAITS))):
        after = kind.change(before)
        changes |= {tag: tag in after.tags for tag in before.tags ^ after.tags}
    return changes


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w ]", " ", text.casefold()).split())
