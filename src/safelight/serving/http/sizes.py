"""The sizes that the model can make. Arithmetic only: what it cannot make is refused at once."""

from dataclasses import dataclass

from safelight.errors import InvalidParameter

MIN_SIDE = 32
Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Sides:
    """The sides in pixels that a model makes: multiples of `multiple`, `longest` at most."""

    longest: int
    multiple: int = 8

    @property
    def shortest(self) -> int:
        """Return the shortest side that the model makes."""
        return -(-MIN_SIDE // self.multiple) * self.multiple

    def __str__(self) -> str:
        return f"from {self.shortest} to {self.longest} pixels"


def check_sides(width: int, height: int, sides: Sides) -> None:
    """Raise InvalidParameter unless the model can make an image of this size."""
    for name, side in (("width", width), ("height", height)):
        if side % sides.multiple:
            possible = max(side // sides.multiple * sides.multiple, sides.shortest)
            raise InvalidParameter(
                f"{name} is {side}; this model needs multiples of {sides.multiple}. Use {possible}."
            )
        if side < sides.shortest:
            raise InvalidParameter(f"{name} is {side}; a side is {sides}. Request more.")
    longest = max(width, height)
    if longest > sides.longest:
        raise InvalidParameter(
            f"A side has {longest} pixels and the limit is {sides.longest}. A side is {sides}. "
            "Request less, or raise SAFELIGHT_IMAGE_SIDE_PIXELS."
        )


def working_size(width: int, height: int, sides: Sides) -> Size:
    """Return the size at which the model works: the image's, reduced if a side is too long."""
    scale = min(1.0, sides.longest / max(width, height))
    size = (round(width * scale), round(height * scale))
    if min(size) < sides.shortest:
        raise InvalidParameter(
            f"The image of {width} x {height} pixels would be edited at {size[0]} x {size[1]}; "
            f"the shortest side must be at least {sides.shortest}. A side is {sides}. "
            "Send a larger or wider one."
        )
    return size


def fit(size: Size, box: Size, sides: Sides) -> Size:
    """Return the largest size with the same shape that fits into a box and that the model makes.

    Raises InvalidParameter.
    """
    boxes = (box, (sides.longest, sides.longest))
    scale = min(side / own for each in boxes for side, own in zip(each, size, strict=True))
    width, height = (max(1, round(side * scale)) for side in size)
    if min(width, height) < sides.shortest:
        raise InvalidParameter(
            f"size is {box[0]}x{box[1]}; into it, the image of {size[0]} x {size[1]} pixels fits "
            f"at {width} x {height}. A side is {sides}. Request a larger size, or auto."
        )
    return width, height
