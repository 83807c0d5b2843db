"""The stack that the tests of this folder share; it is started once."""

from tests.stack.real import real

__all__ = ["real"]
