"""The instructions that the demo models know, in many wordings, and what each one changes.

Captions describe a portrait, for text-to-image models. The attributes are measured, not the text:
each edit names what it changes, and everything else must stay.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from safelight.models.demo.portrait import BACKGROUNDS, HAIR_COLOURS, Portrait, draw

# Attributes that become visible only by the edit must be the same each time.
_YOUTH = "brown"
_NEUTRAL = 4

PEOPLE = (("he", "him", "his"), ("she", "her", "her"), ("they", "them", "their"))


@dataclass(frozen=True, slots=True)
class EditKind:
    """One kind of edit: the attributes it sets, its wordings, and the portraits it applies to.

    `{they}`, `{them}` and `{their}` in a wording stand for he, she or they.
    """

    name: str
    sets: Mapping[str, Any]
    wordings: tuple[str, ...]
    where: Mapping[str, Any] = field(default_factory=dict)

    def applies(self, portrait: Portrait) -> bool:
        """Return whether the edit would change a portrait, by the first attribute that it sets."""
        name, value = next(iter(self.sets.items()))
        matches = all(getattr(portrait, name) == value for name, value in self.where.items())
        return matches and getattr(portrait, name) != value

    def change(self, portrait: Portrait) -> Portrait:
        """Return the portrait after the edit."""
        return portrait.with_(**self.sets)


@dataclass(frozen=True, slots=True)
class Pair:
    """A portrait, an instruction, and the expected portrait after it."""

    before: Portrait
    instruction: str
    after: Portrait
    kind: str


def _hair(colour: str) -> EditKind:
    wordings = (
        f"turn {{their}} hair {colour}",
        f"make {{their}} hair {colour}",
        f"give {{them}} {colour} hair",
        f"change the hair to {colour}",
        f"{colour} hair",
        f"dye {{their}} hair {colour}",
    )
    return EditKind(f"{colour} hair", {"hair": colour}, wordings, {"old": False})


def _background(place: str) -> EditKind:
    article = "an" if place[0] in "aeiou" else "a"
    wordings = (
        f"change background to {place}",
        f"change the background to {article} {place}",
        f"put {{them}} in {article} {place}",
        f"make the background {article} {place}",
        f"move {{them}} to the {place}",
        f"{place} in the background",
    )
    return EditKind(f"{place} background", {"background": place}, wordings)


KINDS: tuple[EditKind, ...] = (
    EditKind(
        "old",
        {"old": True},
        (
            "make {them} old",
            "make {them} look old",
            "make {them} older",
            "turn {them} old",
            "what would {they} look like in fifty years",
            "add wrinkles and grey hair",
        ),
    ),
    EditKind(
        "young",
        {"old": False, "hair": _YOUTH},
        (
            "make {them} young",
            "make {them} look younger",
            "make {them} younger",
            "turn {them} young again",
            "remove the wrinkles",
        ),
    ),
    EditKind(
        "sunglasses",
        {"eyewear": "sunglasses"},
        (
            "add sunglasses",
            "put sunglasses on {them}",
            "give {them} sunglasses",
            "make {them} wear sunglasses",
            "add dark sunglasses",
        ),
    ),
    EditKind(
        "glasses",
        {"eyewear": "glasses"},
        (
            "add glasses",
            "put glasses on {them}",
            "give {them} glasses",
            "make {them} wear glasses",
            "add reading glasses",
        ),
        where={"eyewear": "none"},
    ),
    EditKind(
        "no glasses",
        {"eyewear": "none"},
        (
            "remove the glasses",
            "take off {their} glasses",
            "remove {their} glasses",
            "no glasses",
            "make {them} without glasses",
        ),
    ),
    EditKind(
        "beard",
        {"beard": True},
        ("add a beard", "give {them} a beard", "make {them} grow a beard", "put a beard on {them}"),
    ),
    EditKind(
        "no beard",
        {"beard": False},
        ("remove the beard", "shave {their} beard", "shave off the beard", "no beard"),
    ),
    EditKind(
        "hat",
        {"hat": True},
        (
            "add a hat",
            "put a hat on {them}",
            "give {them} a hat",
            "make {them} wear a hat",
            "add a blue hat",
        ),
    ),
    EditKind(
        "no hat",
        {"hat": False},
        ("remove the hat", "take off {their} hat", "remove {their} hat", "no hat"),
    ),
    EditKind(
        "smile",
        {"smile": True},
        (
            "make {them} smile",
            "add a smile",
            "make {them} happy",
            "make {them} laugh",
            "give {them} a smile",
        ),
    ),
    *(_hair(colour) for colour in HAIR_COLOURS),
    *(_background(place) for place in BACKGROUNDS if place != "plain"),
    EditKind(
        "plain background",
        {"background": "plain", "shade": _NEUTRAL},
        (
            "remove the background",
            "remove background",
            "make the background plain",
            "erase the background",
        ),
    ),
)


def pair(seed: int) -> Pair:
    """Return a random portrait with an edit that changes it; the same seed gives the same pair."""
    chance = random.Random(f"pair {seed}")
    before = draw(chance.randrange(2**32))
    kind = chance.choice([kind for kind in KINDS if kind.applies(before)])
    return Pair(before, wording_of(kind, chance), kind.change(before), kind.name)


def pair_of(kind: EditKind, seed: int) -> Pair:
    """Return a random portrait that this kind of edit changes, and the result."""
    chance = random.Random(f"{kind.name} {seed}")
    before = draw(chance.randrange(2**32))
    while not kind.applies(before):
        before = draw(chance.randrange(2**32))
    return Pair(before, wording_of(kind, chance), kind.change(before), kind.name)


def wording_of(kind: EditKind, chance: random.Random) -> str:
    """Return a random wording of an edit."""
    they, them, their = chance.choice(PEOPLE)
    return chance.choice(kind.wordings).format(they=they, them=them, their=their)


def caption(portrait: Portrait, chance: random.Random) -> str:
    """Return a sentence with all attributes of a portrait, in random order."""
    person = chance.choice(("person", "portrait of a person", "someone"))
    age = "an old" if portrait.old else "a young"
    length = "long" if portrait.long_hair else "short"
    details = [f"{length} {portrait.hair_shown} hair"]
    if portrait.eyewear != "none":
        details.append(portrait.eyewear)
    if portrait.beard:
        details.append("a beard")
    if portrait.hat:
        details.append("a hat")
    chance.shuffle(details)
    face = "smiling, " if portrait.smile else ""
    return (
        f"{age} {person} with {' and '.join(details)}, {face}{_background_text(portrait, chance)}"
    )


def _background_text(portrait: Portrait, chance: random.Random) -> str:
    if portrait.background == "plain":
        return "plain background"
    return chance.choice((f"in the {portrait.background}", f"{portrait.background} background"))
