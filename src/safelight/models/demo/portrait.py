"""The attributes of a portrait, before it is painted.

Everything that an instruction can change is an attribute, so that the result of an edit can be
measured.
"""

import random
from dataclasses import dataclass, replace
from typing import Literal

Eyewear = Literal["none", "glasses", "sunglasses"]
HairColour = Literal["black", "brown", "blond", "red"]
Background = Literal["plain", "beach", "office", "forest", "city"]

HAIR_COLOURS: tuple[HairColour, ...] = ("black", "brown", "blond", "red")
BACKGROUNDS: tuple[Background, ...] = ("plain", "beach", "office", "forest", "city")
EYEWEAR: tuple[Eyewear, ...] = ("none", "glasses", "sunglasses")
SKINS = 6
CLOTHES = 8
SHADES = 6


@dataclass(frozen=True, slots=True)
class Portrait:
    """One person in front of a background. The numbers select colours and positions."""

    background: Background
    hair: HairColour
    long_hair: bool
    old: bool
    eyewear: Eyewear
    beard: bool
    hat: bool
    smile: bool
    skin: int
    clothes: int
    shade: int
    seed: int
    """Seed of details that no instruction changes: position of the face, background details."""

    @property
    def tags(self) -> frozenset[str]:
        """Return the tags of this person's image."""
        person = {
            "long hair": self.long_hair,
            "old": self.old,
            "glasses": self.eyewear == "glasses",
            "sunglasses": self.eyewear == "sunglasses",
            "beard": self.beard,
            "hat": self.hat,
            "smile": self.smile,
        }
        shown = {tag for tag, is_shown in person.items() if is_shown}
        return frozenset(shown | {f"{self.hair_shown} hair", f"{self.background} background"})

    @property
    def hair_shown(self) -> str:
        """Return the visible hair colour: old people have grey hair."""
        return "grey" if self.old else self.hair

    def with_(self, **changes: object) -> "Portrait":
        """Return the same person with some attributes changed."""
        return replace(self, **changes)  # type: ignore[arg-type]


TAGS = (
    "long hair",
    "old",
    "glasses",
    "sunglasses",
    "beard",
    "hat",
    "smile",
    *(f"{colour} hair" for colour in (*HAIR_COLOURS, "grey")),
    *(f"{place} background" for place in BACKGROUNDS),
)


def draw(seed: int) -> Portrait:
    """Return a random person; the same seed gives the same person."""
    chance = random.Random(seed)
    return Portrait(
        background=chance.choice(BACKGROUNDS),
        hair=chance.choice(HAIR_COLOURS),
        long_hair=chance.random() < 0.5,
        old=chance.random() < 0.25,
        eyewear=chance.choice(EYEWEAR),
        beard=chance.random() < 0.35,
        hat=chance.random() < 0.3,
        smile=chance.random() < 0.5,
        skin=chance.randrange(SKINS),
        clothes=chance.randrange(CLOTHES),
        shade=chance.randrange(SHADES),
        seed=chance.randrange(2**32),
    )
