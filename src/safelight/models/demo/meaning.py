"""What a sentence asks of the painted world: which tags a picture must show, and which not."""

import re
from collections.abc import Mapping
from functools import cache

from safelight.models.demo.portrait import TAGS, draw
from safelight.models.demo.wording import KINDS, PEOPLE, EditKind

Wanted = Mapping[str, bool]
_PEOPLE = 60  # portraits that every kind of edit is tried on, to see what it changes


def asked_of_edit(instruction: str) -> Wanted:
    """Return which tags an instruction wants shown, or not; nothing where it is not known."""
    kind = _kinds().get(_plain(instruction))
    return {} if kind is None else _wanted(kind)


def asked_of_caption(caption: str) -> Wanted:
    """Return which tags a caption tells of; what it does not name is left open."""
    text = _plain(caption)
    told = {tag: True for tag in TAGS if re.search(rf"\b{_spoken(tag)}\b", text)}
    place = re.search(r"\bin the (\w+)", text)
    if place and (tag := f"{place[1]} background") in TAGS:
        told[tag] = True
    return told | ({"old": False} if re.search(r"\byoung\b", text) else {})


def _spoken(tag: str) -> str:
    return "smiling" if tag == "smile" else tag


@cache
def _kinds() -> Mapping[str, EditKind]:
    """Return every wording with everybody in it, and the kind of edit that it asks for."""
    return {
        _plain(wording.format(they=they, them=them, their=their)): kind
        for kind in KINDS
        for wording in kind.wordings
        for they, them, their in PEOPLE
    }


def _wanted(kind: EditKind) -> Wanted:
    """Return the tags by which portraits after the edit can differ from themselves before it."""
    wanted: dict[str, bool] = {}
    for before in filter(kind.applies, map(draw, range(_PEOPLE))):
        after = kind.change(before)
        wanted |= {tag: tag in after.tags for tag in before.tags ^ after.tags}
    return wanted


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w ]", " ", text.casefold()).split())
