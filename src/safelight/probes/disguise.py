"""Replace an object's class by a subclass of the same name; nothing else of the object changes.

Special methods such as `__call__` are looked up on the class, so only a subclass can watch them.
Copies and pickles of the object have its original class: they are not watched, unless the probe
says so.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

MARK = "_safelight_probe"


def probe_of(watched: object) -> Any:
    """Return the probe that watches the object, or None."""
    return getattr(type(watched), MARK, None)


def disguise(watched: Any, probe: object, members: Mapping[str, object]) -> type:
    """Give `watched` a subclass of its class with these members. Return the original class.

    Raises TypeError if Python cannot change the object's class: a function, or a built-in object.
    """
    original = type(watched)
    subclass = type(
        original.__name__,
        (original,),
        {
            "__module__": original.__module__,
            "__qualname__": original.__qualname__,
            "__doc__": original.__doc__,
            "__reduce_ex__": _reduce(original),
            **_copies(original),
            **members,
            MARK: probe,
        },
    )
    # Not setattr: the __setattr__ of a pipeline writes into its configuration.
    object.__setattr__(watched, "__class__", subclass)
    return original


def reveal(watched: Any, probe: object, original: type) -> None:
    """Restore the original class, unless another probe has replaced it."""
    if watched is not None and probe_of(watched) is probe:
        object.__setattr__(watched, "__class__", original)


def shallow_copy(watched: object, original: type) -> object:
    """Return what `copy.copy` returns for an object of the original class."""
    if hasattr(original, "__copy__"):
        return _revealed(original.__copy__, original)(watched)
    reduced = cast("tuple[Any, ...]", watched.__reduce_ex__(4))
    function, arguments = reduced[:2]
    state = reduced[2] if len(reduced) > 2 else None
    twin = function(*(original if each is type(watched) else each for each in arguments))
    if hasattr(twin, "__setstate__"):
        twin.__setstate__(state)
    elif state:
        vars(twin).update(state)
    return twin


def _reduce(original: Any) -> Callable[..., object]:
    """Return a `__reduce_ex__` that names the original class instead of the subclass."""

    def reduce(self: object, protocol: int) -> object:
        reduced = original.__reduce_ex__(self, protocol)
        if not isinstance(reduced, tuple):
            return reduced
        function, arguments, *rest = reduced
        named = tuple(original if each is type(self) else each for each in arguments)
        if function.__name__ == "__newobj__":  # pickle refuses it with another class
            function = original.__new__
        return (original if function is type(self) else function, named, *rest)

    return reduce


def _copies(original: type) -> dict[str, object]:
    """Return the class's own copy methods, whose results get the original class."""
    return {
        name: _revealed(getattr(original, name), original)
        for name in ("__copy__", "__deepcopy__")
        if hasattr(original, name)
    }


def _revealed(copy: Callable[..., Any], original: type) -> Callable[..., object]:
    def copied(self: object, *arguments: object) -> object:
        result = copy(self, *arguments)
        if type(result) is type(self):
            object.__setattr__(result, "__class__", original)
        return result

    return copied
